"""Styles, scripts and theme files of the site: one style sheet and one script for every page."""

from __future__ import annotations

import base64
import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

STYLES = ("apsite", "tables", "parts", "panels", "select")
"""Style sheets of every page, in their order; `form` is for one page."""
SCRIPTS = ("page", "scheme", "tables", "charts", "save", "copy", "reach", "select")
"""Scripts of every page, in their order; others are for some, `export` waits until it is used."""
PLAIN_TABLE = "plain-table"
"""Class of the tables of written pages, which have none until the site is built."""
_COMMENT = re.compile(r"^ *(/\*.*?\*/|//[^\n]*)\n+|^ +|(?<=\n)\n+", re.DOTALL | re.MULTILINE)
"""What browsers do not need: comments that begin a line, indentation and empty lines."""
_FONT = re.compile(r'"\.\./fonts/((?:sans|serif)-\d+\.woff2)"')
"""Fonts that every page shows; other letters have a file of their own, which is loaded where they are."""
_THEME_STYLES = ("main.*.min.css", "palette.*.min.css")


def write_assets(output: Path) -> None:
    """Copy assets and theme files into a build folder, with what every page loads joined into ``site.css`` and ``.js``.

    Each file more delays a page, so the theme's own style sheets are joined too; ``theme/main.html`` links the result.

    Args:
        output: Build folder; the assets go to its ``pages/assets``, the templates to its ``theme``.
    """
    package, assets = resources.files("apsite.site"), output / "pages" / "assets"
    _copy_tree(package.joinpath("assets"), assets)
    _copy_tree(package.joinpath("theme"), output / "theme")
    theme = Path(str(resources.files("material"))) / "templates/assets/stylesheets"
    above = "\n".join(_without_map(path) for pattern in _THEME_STYLES for path in sorted(theme.glob(pattern)))
    _join(assets / "stylesheets", STYLES, ".css", above)
    _embed_fonts(assets / "stylesheets" / "site.css")
    _join(assets / "javascripts", SCRIPTS, ".js")


def _join(folder: Path, names: tuple[str, ...], suffix: str, above: str = "") -> None:
    """Put parts into one file, which takes their place."""
    parts = [folder / f"{name}{suffix}" for name in names]
    texts = [above, *(_COMMENT.sub("", part.read_text(encoding="utf-8")) for part in parts)]
    for part in parts:
        part.unlink()
    (folder / f"site{suffix}").write_text("\n".join(filter(None, texts)), encoding="utf-8")


def _embed_fonts(sheet: Path) -> None:
    """Put the fonts of every page into the style sheet that names them."""

    def embedded(font: re.Match[str]) -> str:
        """Its file as a URL."""
        content = (sheet.parents[1] / "fonts" / font[1]).read_bytes()
        return f'"data:font/woff2;base64,{base64.b64encode(content).decode("ascii")}"'

    sheet.write_text(_FONT.sub(embedded, sheet.read_text(encoding="utf-8")), encoding="utf-8")


def _without_map(style: Path) -> str:
    """A style sheet without the name of its source map, which would be that of another file.

    It means tables of written pages where it says that they have no class: with a rule that asks for a missing class,
    browsers style the whole page anew whenever any element gets one.
    """
    text = style.read_text(encoding="utf-8").partition("/*# sourceMappingURL=")[0].strip()
    return text.replace("table:not([class])", f"table.{PLAIN_TABLE}")


def _copy_tree(source: Traversable, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for item in source.iterdir():
        if item.is_dir():
            _copy_tree(item, target / item.name)
        else:
            (target / item.name).write_bytes(item.read_bytes())
