"""What a page loads: joined style sheets and scripts, without what no page uses."""

from __future__ import annotations

import base64
import re

from apsite.site.making.assets import SCRIPTS, STYLES, write_assets
from apsite.site.making.styles import slim, slim_styles


def test_parts_become_one_file(repository, tmp_path):
    write_assets(tmp_path)
    for folder, names, suffix in (("stylesheets", STYLES, ".css"), ("javascripts", SCRIPTS, ".js")):
        target = tmp_path / "pages/assets" / folder
        joined = (target / f"site{suffix}").read_text(encoding="utf-8")
        parts = [
            (repository / f"apsite/site/assets/{folder}/{name}{suffix}").read_text(encoding="utf-8") for name in names
        ]
        whole = [line.strip() for part in parts for line in part.splitlines()]
        kept = [line for line in joined.splitlines() if line]
        code = [line for line in whole if line and not line.startswith(("/*", "*", "//"))]
        assert kept[-1] == code[-1]
        assert set(kept[-40:]) <= set(whole), "only comments, indentation and empty lines are left out"
        assert (target / f"form{suffix}").is_file()
        assert not any((target / f"{name}{suffix}").exists() for name in names)
    styles = (tmp_path / "pages/assets/stylesheets/site.css").read_text(encoding="utf-8")
    assert styles.index(".md-header") < styles.index("[data-md-color-scheme=slate]") < styles.index(".ap-")
    assert "sourceMappingURL" not in styles
    assert "table:not([class])" not in styles, "browsers style all of a page anew for such a rule"
    fonts = [base64.b64decode(font) for font in re.findall(r'url\("data:font/woff2;base64,([^"]*)"', styles)]
    files = {path.name: path.read_bytes() for path in (tmp_path / "pages/assets/fonts").glob("*.woff2")}
    assert fonts == [files[f"{name}.woff2"] for name in ("sans-400", "sans-600", "serif-600")]
    assert set(re.findall(r"fonts/([\w-]+\.woff2)", styles)) == {"sans-greek-400.woff2"}
    assert (tmp_path / "theme/main.html").is_file()


SHEET = """/* it's a comment */
:root { --used: url("data:image/svg+xml;charset=utf-8,<svg>{;}</svg>"); --unused: 'a;b' }
.here, .gone { color: var(--used) } .gone::before { content: "}" }
@media (min-width: 10em) { .gone { margin: 0 } .here > a:not(.gone) { top: calc(1px + 2px) } }
@media print { .gone { top: 0 } }
@font-face { src: url("gone.woff2") } [dir=rtl] .here { left: 0 } p a { left: 0 }
"""


def test_rules_that_select_nothing_are_dropped():
    assert slim(SHEET, {"here"}) == (
        ':root{--used: url("data:image/svg+xml;charset=utf-8,<svg>{;}</svg>");}'
        ".here{color: var(--used)}@media (min-width: 10em){.here > a:not(.gone){top: calc(1px + 2px)}}"
        '@font-face{src: url("gone.woff2")}p a{left: 0}'
    )


def test_classes_of_pages_and_words_of_scripts_keep_their_rules(tmp_path):
    sheet = tmp_path / "assets/stylesheets/site.css"
    names = {"quoted": "<p class='x' class=\"other quoted\">", "bare": "<p class=bare>", "identity": "<p id=identity>"}
    (tmp_path / "a.html").write_text("\n".join(names.values()) + '<i style="top: var(--inline)">', encoding="utf-8")
    for path, text in (
        (
            sheet,
            "".join(f".{name}{{top:0}}" for name in (*names, "set", "late", "tabbed-set", "none"))
            + ":root{--inline:0;--none:0;}",
        ),
        (tmp_path / "assets/javascripts/site.js", 'element.classList.add("set")'),
        (tmp_path / "assets/javascripts/bundle.0.min.js", 'add("late");add("tabbed-set")'),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    slim_styles(tmp_path)
    kept = sheet.read_text(encoding="utf-8")
    assert set(re.findall(r"[\w-]+(?=\{top|:0;)", kept)) == {*names, "set", "late", "--inline"}
