"""What a page loads: joined style sheets and scripts, and the search that waits for a question."""

from __future__ import annotations

import json

import pytest

from apsite.errors import ApsiteError
from apsite.site.making.delivery import SCRIPTS, STYLES, defer_search, join_assets, join_styles

HEAD = '<head>\n      <link rel="stylesheet" href="{0}assets/stylesheets/main.1.min.css">\n{1}</head>'
OWN = '<link rel="stylesheet" href="{0}assets/stylesheets/site.css">\n'
FORM = '<link rel="stylesheet" href="assets/stylesheets/form.css">\n'


@pytest.fixture
def built(tmp_path):
    """Three pages as the generator leaves them: one below a folder, one with a style sheet of its own."""
    styles = tmp_path / "assets/stylesheets"
    styles.mkdir(parents=True)
    (styles / "main.1.min.css").write_text("a{}\n/*# sourceMappingURL=main.css.map*/", encoding="utf-8")
    (styles / "site.css").write_text("b{}", encoding="utf-8")
    (styles / "form.css").write_text("c{}", encoding="utf-8")
    (tmp_path / "methods").mkdir()
    (tmp_path / "index.html").write_text(HEAD.format("", OWN.format("")), encoding="utf-8")
    (tmp_path / "404.html").write_text(HEAD.format("/apsite/", OWN.format("/apsite/")), encoding="utf-8")
    (tmp_path / "methods/a.html").write_text(HEAD.format("../", OWN.format("../")), encoding="utf-8")
    (tmp_path / "submit.html").write_text(HEAD.format("", FORM + OWN.format("")), encoding="utf-8")
    return tmp_path


def test_style_sheets_become_one(built):
    """One file has all rules in their order; each page links to it from where it lies; that of one page stays apart."""
    join_styles(built)
    (name,) = (path.name for path in (built / "assets/stylesheets").glob("site.*.css"))
    assert (built / "assets/stylesheets" / name).read_text(encoding="utf-8") == "a{}\nb{}"
    for address, folder in (("index.html", ""), ("methods/a.html", "../"), ("404.html", "/apsite/")):
        text = (built / address).read_text(encoding="utf-8")
        assert text.count("stylesheet") == 2  # its relation and its folder
        assert f'href="{folder}assets/stylesheets/{name}"' in text
    assert "form.css" in (built / "submit.html").read_text(encoding="utf-8")


def test_pages_that_differ_are_not_joined(built):
    """A page without one of the common style sheets is an error, not a page with other looks."""
    (built / "odd.html").write_text(HEAD.format("", ""), encoding="utf-8")
    with pytest.raises(ApsiteError, match="different style sheets"):
        join_styles(built)


def test_parts_become_one_file(tmp_path):
    """All parts are in it, in their order."""
    for folder, names, suffix in (("stylesheets", STYLES, ".css"), ("javascripts", SCRIPTS, ".js")):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}{suffix}").write_text(f"/* {name} */", encoding="utf-8")
    join_assets(tmp_path)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["site.css", "site.js"]
    joined = (tmp_path / "javascripts/site.js").read_text(encoding="utf-8")
    assert joined.split("\n") == [f"/* {name} */" for name in SCRIPTS]


def test_search_is_deferred(tmp_path):
    """The theme finds settings without pages and a stand-in; the index and the engine lie where that looks for them."""
    scripts = tmp_path / "assets/javascripts"
    (scripts / "workers").mkdir(parents=True)
    (tmp_path / "search").mkdir()
    index = {"config": {"lang": ["en"]}, "docs": [{"location": "a.html", "title": "A", "text": "a"}]}
    (tmp_path / "search/search_index.json").write_text(json.dumps(index), encoding="utf-8")
    (scripts / "workers/search.1.min.js").write_text("engine", encoding="utf-8")
    (scripts / "search.js").write_text("stand-in", encoding="utf-8")
    defer_search(tmp_path)
    assert json.loads((tmp_path / "search/search_index.json").read_text(encoding="utf-8")) == index | {"docs": []}
    assert json.loads((tmp_path / "search/documents.json").read_text(encoding="utf-8")) == index
    assert (scripts / "workers/search.1.min.js").read_text(encoding="utf-8") == "stand-in"
    assert (scripts / "workers/engine.js").read_text(encoding="utf-8") == "engine"


def test_an_unknown_theme_is_named(tmp_path):
    """A theme without its engine is an error, as its search would not work."""
    (tmp_path / "search").mkdir()
    (tmp_path / "search/search_index.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ApsiteError, match="has 0 search engines"):
        defer_search(tmp_path)
