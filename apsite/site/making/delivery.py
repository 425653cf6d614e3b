"""What a page loads: one style sheet, scripts that wait for the page, and a search that loads when somebody searches.

The theme loads its search, an index of all pages and the engine that reads it, with every page. Here the engine's file
is taken by a stand-in (`assets/javascripts/search.js`) that answers at once and fetches both at the first question.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from apsite.errors import ApsiteError

STYLES = ("apsite", "tables", "parts", "panels")
"""Style sheets of every page, in their order; `form` is that of one page, and stays apart."""
SCRIPTS = ("page", "scheme", "tables", "charts", "records", "compare", "copy", "reach")
"""Scripts of every page, in their order; `curves` and `form` are those of one page each, `search` is a worker."""
_STYLE = re.compile(
    r'[ \t]*<link rel="stylesheet" href="((?:\.\./)*|/(?:[^"]*/)?)assets/stylesheets/([\w.-]+\.css)">\n?'
)
_APART = frozenset({"form.css"})
_STYLES = Path("assets/stylesheets")
_WORKERS = Path("assets/javascripts/workers")
_STAND_IN = Path("assets/javascripts/search.js")
_ENGINE = "engine.js"
_DIGITS = 8


def join_assets(assets: Path) -> None:
    """Make one file of the project's style sheets that every page has, and one of its scripts.

    Args:
        assets: Folder with ``stylesheets/`` and ``javascripts/``; the parts are removed.
    """
    for folder, names, suffix in (("stylesheets", STYLES, ".css"), ("javascripts", SCRIPTS, ".js")):
        parts = [assets / folder / f"{name}{suffix}" for name in names]
        joined = "\n".join(part.read_text(encoding="utf-8") for part in parts)
        for part in parts:
            part.unlink()
        (assets / folder / f"site{suffix}").write_text(joined, encoding="utf-8")


def join_styles(site: Path) -> None:
    """Make one file of the style sheets that every page has, in their order; each one more is a wait before the page.

    Args:
        site: Folder that the generator wrote.

    Raises:
        ApsiteError: If pages differ in the style sheets that they share.
    """
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    lists = {tuple(name for _, name in _STYLE.findall(text) if name not in _APART) for text in pages.values()}
    if len(lists) > 1:
        raise ApsiteError(f"{site}: pages load different style sheets: {' | '.join(map(', '.join, sorted(lists)))}")
    if not lists or not (names := lists.pop()):
        return
    joined = "\n".join(_without_map((site / _STYLES / name).read_text(encoding="utf-8")) for name in names)
    name = f"site.{hashlib.sha256(joined.encode()).hexdigest()[:_DIGITS]}.css"
    for part in names:
        (site / _STYLES / part).unlink()
    (site / _STYLES / name).write_text(joined, encoding="utf-8")
    for path, text in pages.items():
        path.write_text(_one_link(text, names[0], name), encoding="utf-8")


def _one_link(text: str, first: str, name: str) -> str:
    """A page with a link to the file `name` in the place of the `first` style sheet, and none to the others."""

    def link(found: re.Match[str]) -> str:
        if found[2] in _APART:
            return found[0]
        return found[0].replace(first, name) if found[2] == first else ""

    return _STYLE.sub(link, text)


def _without_map(style: str) -> str:
    """A style sheet without the address of its source map, which would be that of another file."""
    return re.sub(r"/\*# sourceMappingURL=.*?\*/", "", style).strip()


def defer_search(site: Path) -> None:
    """Let the theme load its search when somebody searches, and not with every page.

    The theme asks for an index, hands it to its engine and waits until that says that it is ready. It now gets an index
    of settings without pages; the stand-in in the engine's place has the addresses of the real two. Pages that are
    opened from disk, where a script may not fetch files, find the whole index as a script beside it.

    Raises:
        ApsiteError: If the theme has no engine to stand in for, or more than one.
    """
    index = site / "search" / "search_index.json"
    if not index.is_file():
        return
    engines = sorted((site / _WORKERS).glob("search.*.min.js"))
    if len(engines) != 1:
        raise ApsiteError(f"{site / _WORKERS}: has {len(engines)} search engines; the theme is of an unknown version")
    text = index.read_text(encoding="utf-8")
    index.with_suffix(".js").write_text(f"var __index = {text}", encoding="utf-8")
    index.with_name("documents.json").write_text(text, encoding="utf-8")
    index.write_text(json.dumps({"config": json.loads(text)["config"], "docs": []}), encoding="utf-8")
    engines[0].rename(site / _WORKERS / _ENGINE)
    (site / _STAND_IN).rename(engines[0])
