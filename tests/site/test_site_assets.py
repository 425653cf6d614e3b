"""What a page loads: joined style sheets and scripts."""

from __future__ import annotations

from apsite.site.making.assets import SCRIPTS, STYLES, write_assets


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
    assert (tmp_path / "theme/main.html").is_file()
