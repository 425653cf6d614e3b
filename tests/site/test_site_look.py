"""How the site looks: its fonts and text sizes, and what other sites show of it."""

from __future__ import annotations

import re
from importlib import resources

ASSETS = resources.files("apsite.site") / "assets"
SIZES = {"small", "base", "large", "title"}


def test_text_has_four_sizes():
    for sheet in (ASSETS / "stylesheets").iterdir():
        for size in re.findall(r"font-size: ([^;]+);", sheet.read_text(encoding="utf-8")):
            relative = re.fullmatch(r"[\d.]+(em|px)|inherit", size)
            assert relative or size in {f"var(--ap-text-{name})" for name in SIZES}, (sheet.name, size)


def test_fonts_are_small_and_have_their_licences():
    files = list((ASSETS / "fonts").iterdir())
    assert sum(len(path.read_bytes()) for path in files if path.name.endswith(".woff2")) <= 60_000
    licences = [path.read_text(encoding="utf-8") for path in files if path.name.endswith("-LICENSE.txt")]
    assert len(licences) == 2
    assert all("SIL Open Font License" in text for text in licences)
    style = (ASSETS / "stylesheets/apsite.css").read_text(encoding="utf-8")
    named = set(re.findall(r"fonts/([\w-]+\.woff2)", style))
    assert named == {path.name for path in files if path.name.endswith(".woff2")}
