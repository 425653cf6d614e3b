"""The build: what it refuses, what it writes before the generator runs, and the server."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from threading import Thread

import pytest
import yaml

from apsite.errors import ApsiteError
from apsite.site.downloads import write_downloads
from apsite.site.making import build, generator
from apsite.site.making.bundle import write_bundle
from apsite.site.making.server import make_server


@pytest.fixture
def no_generator(monkeypatch):
    """The build without its slow ends: no chart bundle, no generator."""
    monkeypatch.setattr(generator, "run_generator", lambda configuration: None)
    monkeypatch.setattr(build, "write_bundle", lambda folder, cache: "vega.0.js")


def test_pages_data_and_settings_are_plain_files(tiny_data, tmp_path, no_generator):
    output = tmp_path / "out"
    index = build.build_site(tiny_data, output, site_url="https://example.org/x/")
    assert index == output / "site" / "index.html"
    settings = yaml.safe_load((output / "mkdocs.yml").read_text(encoding="utf-8"))
    assert settings["site_url"] == "https://example.org/x/"
    assert settings["theme"]["font"] is False

    def paths(items):
        for item in items:
            (value,) = item.values()
            yield from paths(value) if isinstance(value, list) else [value]

    listed = list(paths(settings["nav"]))
    written = {p.relative_to(output / "pages").as_posix() for p in (output / "pages").rglob("*.md")}
    unlisted = {path.removeprefix("/") for path in settings["not_in_nav"].split()}
    assert set(listed) | unlisted == written
    assert all(path.startswith("python/") for path in unlisted), "modules are listed on the page of the package"
    assert len(listed) == len(set(listed))


def test_documents_of_the_checkout_join_the_navigation(tiny_data, tmp_path, no_generator):
    (tiny_data / "docs").mkdir()
    (tiny_data / "docs/evaluate.md").write_text("# Evaluate\n", encoding="utf-8")
    (tiny_data / "docs/extra.md").write_text("# Something else\n", encoding="utf-8")
    (tiny_data / "CHANGELOG.md").write_text("# Changelog\n", encoding="utf-8")
    identity = "site_name: Mine\nplugins: [x]\nhooks: [y.py]\nINHERIT: z.yml\ntheme: {logo: x.svg}\n"
    (tiny_data / "mkdocs.yml").write_text(identity, encoding="utf-8")
    build.build_site(tiny_data, tmp_path / "out")
    settings = yaml.safe_load((tmp_path / "out/mkdocs.yml").read_text(encoding="utf-8"))
    assert settings["site_name"] == "Mine"
    assert [list(plugin) for plugin in settings["plugins"]] == [["search"]]
    assert settings["theme"]["logo"] == "assets/images/logo.svg"
    assert {"hooks", "INHERIT"}.isdisjoint(settings), "the generator would run what they name"
    nav = {title: value for item in settings["nav"] for title, value in item.items()}
    assert nav["Contribute"] == [{"Submit a method": "submit.md"}, {"Evaluate": "evaluate.md"}]
    assert {"Something else": "extra.md"} in nav["Reference"]
    assert {"Changelog": "changelog.md"} in nav["Reference"]
    assert len(nav) - 1 <= 6, "tabs beside the start page"


def test_links_of_documents_follow_the_checkout(tiny_data, tmp_path, no_generator):
    (tiny_data / "docs").mkdir()
    text = (
        "# Evaluate\n\n[code](https://github.com/apsite/apsite/issues), <https://apsite.github.io/apsite/data.html>\n"
    )
    (tiny_data / "docs/evaluate.md").write_text(text, encoding="utf-8")
    identity = "repo_url: https://github.com/me/fork\nsite_url: https://elsewhere.org/\n"
    (tiny_data / "mkdocs.yml").write_text(identity, encoding="utf-8")
    build.build_site(tiny_data, tmp_path / "out", site_url="https://me.github.io/fork/")
    page = (tmp_path / "out/pages/evaluate.md").read_text(encoding="utf-8")
    assert "(https://github.com/me/fork/issues), <https://me.github.io/fork/data.html>" in page


def test_a_second_build_replaces_the_first(tiny_data, tmp_path, no_generator):
    build.build_site(tiny_data, tmp_path / "out")
    (tmp_path / "out/pages/old.md").write_text("# Old\n", encoding="utf-8")
    build.build_site(tiny_data, tmp_path / "out")
    assert not (tmp_path / "out/pages/old.md").exists()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("docs/leaderboard.md", "# Mine\n", "a generated page has this name"),
        ("docs/untitled.md", "no heading\n", "has no heading"),
        ("mkdocs.yml", "- a\n", "must be a YAML mapping"),
        ("mkdocs.yml", "a: [\n", "is not plain YAML"),
        ("mkdocs.yml", "a: !!python/object/apply:os.getcwd []\n", "is not plain YAML"),
        ("mkdocs.yml", "site_url: !ENV HOME\n", "is not plain YAML"),
        ("mkdocs.yml", f"a: {'[' * 5_000}", "is not plain YAML"),
        ("mkdocs.yml", "repo_url: 5\n", "mkdocs.yml: repo_url: 5 is not text; put it in quotes"),
    ],
)
def test_files_that_cannot_be_used_are_named(tiny_data, tmp_path, no_generator, file, content, message):
    path = tiny_data / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ApsiteError, match=message):
        build.build_site(tiny_data, tmp_path / "out")


def test_a_folder_with_other_files_is_left_alone(tiny_data, tmp_path, no_generator):
    (tmp_path / "mine.txt").write_text("x", encoding="utf-8")
    with pytest.raises(ApsiteError, match="holds files that no build wrote"):
        build.build_site(tiny_data, tmp_path)
    assert (tmp_path / "mine.txt").exists()


def test_an_output_that_cannot_be_written_is_named(tiny_data, tmp_path, no_generator):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ApsiteError):
        build.build_site(tiny_data, tmp_path / "file")
    with pytest.raises(ApsiteError, match="cannot be written"):
        build.build_site(tiny_data, tmp_path / "file" / "below")


def test_no_data_is_an_error(tmp_path, no_generator):
    with pytest.raises(ApsiteError, match="has no folder 'entries'"):
        build.build_site(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_failure_of_the_generator_carries_its_words(tmp_path):
    (tmp_path / "mkdocs.yml").write_text("site_name: x\nnav: [missing.md]\n", encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# x\n", encoding="utf-8")
    with pytest.raises(ApsiteError, match=r"missing\.md"):
        generator.run_generator(tmp_path / "mkdocs.yml")


def test_policy_names_inline_scripts(tmp_path):
    """Each inline script is allowed by its hash, data blocks need none, and nothing else inline may run."""
    page = (
        "<meta content=\"script-src 'self' 'unsafe-inline'; style-src 'self'\"><script>a()</script>"
        '<script type="application/json">{}</script><script src="x.js"></script>'
    )
    (tmp_path / "a.html").write_text(page, encoding="utf-8")
    generator.finish_pages(tmp_path)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert text.count("sha256-") == 1
    assert "unsafe-inline" not in text


def test_pages_lose_empty_lines_but_not_those_of_code(tmp_path):
    (tmp_path / "a.html").write_text("<p>a  \n\n  b</p><pre>c\n\n  d</pre>\n\n<pre>e\n\n</pre>", encoding="utf-8")
    generator.finish_pages(tmp_path)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert text == "<p>a\nb</p><pre>c\n\n  d</pre>\n<pre>e\n\n</pre>"


def test_tables_of_written_pages_are_framed(tmp_path):
    """They can be scrolled before any script has run; other tables and what a listing shows stay as they are."""
    kept = '<table class="ap-table"><tr></tr></table><pre>&lt;table&gt;</pre>'
    (tmp_path / "a.html").write_text(f"{kept}<table>\n<tr></tr></table>", encoding="utf-8")
    generator.finish_pages(tmp_path)
    frame = '<div class="md-typeset__scrollwrap"><div class="md-typeset__table">'
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert text == f'{kept}{frame}<table class="plain-table">\n<tr></tr></table></div></div>'


def test_search_index_is_plain_text(tmp_path):
    """Signs of HTML in text stay escaped; markup, long listings and headings that say nothing go."""
    places = [
        {"location": "a.html", "title": "A", "text": "<p>a &lt;b&gt;\n<code>c</code></p>"},
        {"location": "a.html#cite", "title": "Cite", "text": ""},
        {"location": "b.html", "title": "B", "text": f"<pre>short</pre><pre>{'long ' * 2000}</pre>"},
        {"location": "b.html#cite", "title": "Cite", "text": ""},
        {"location": "b.html#one", "title": "Only here", "text": ""},
    ]
    (tmp_path / "search").mkdir()
    path = tmp_path / "search/search_index.json"
    path.write_text(json.dumps({"config": {}, "docs": places}), encoding="utf-8")
    generator.write_index(tmp_path)
    found = json.loads(path.read_text(encoding="utf-8"))["docs"]
    assert [(one["location"], one["text"]) for one in found] == [
        ("a.html", "a &lt;b&gt; c"), ("b.html", "short"), ("b.html#one", ""),
    ]  # fmt: skip
    assert path.with_suffix(".js").read_text(encoding="utf-8") == f"var __index = {path.read_text(encoding='utf-8')}"


def test_downloads_are_the_data(tiny_facts, tmp_path):
    catalogue = tiny_facts.catalogue
    folder = tmp_path / "out"
    listed = write_downloads(folder, catalogue)
    assert all((folder / item.path).stat().st_size == item.size for item in listed)
    assert set(json.loads((folder / "data/records.json").read_text(encoding="utf-8"))) == set(catalogue.records)
    for record in catalogue.records.values():
        source = catalogue.root / "evaluations" / record.path
        assert (folder / "data/evaluations" / record.path).read_bytes() == source.read_bytes()
        if record.samples:
            assert (folder / "data/evaluations" / record.method / record.samples.file).is_file()


def test_bundle_is_made_once(tmp_path):
    name = write_bundle(tmp_path / "a", tmp_path / "cache")
    script = (tmp_path / "a" / name).read_text(encoding="utf-8")
    assert "window.vega=" in script.replace(" ", "")
    assert "expressionInterpreter" in script
    assert len(script) < 700_000, "without Vega-Lite"
    (cached,) = (tmp_path / "cache").glob("*.js")
    before = cached.stat().st_mtime_ns
    assert write_bundle(tmp_path / "b", tmp_path / "cache") == name
    assert cached.stat().st_mtime_ns == before
    cached.write_text("broken", encoding="utf-8")
    assert write_bundle(tmp_path / "c", tmp_path / "cache") == name


def test_server_serves_the_site_on_this_machine_only(tmp_path):
    (tmp_path / "index.html").write_text("hello", encoding="utf-8")
    with make_server(tmp_path, 0) as server:
        assert server.server_address[0] == "127.0.0.1"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/index.html") as answer:
            assert answer.read() == b"hello"
        with pytest.raises(ApsiteError, match="cannot be used"):
            make_server(tmp_path, server.server_port)
        server.shutdown()
        thread.join()


def test_server_needs_a_site(tmp_path: Path):
    with pytest.raises(ApsiteError, match="apsite build"):
        make_server(tmp_path, 0)


def test_site_needs_no_torch():
    import subprocess
    import sys

    code = "import sys, apsite.site; assert not {'torch', 'apsite.evaluation'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
