"""Style sheets without what no page of the built site uses: most of the theme's rules are for parts that it lacks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_NAMES = re.compile(r'\s(?:class|id)=(?:"([^"]*)"|([^\s">]+))')
_WORD = re.compile(r"[\w-]+")
_STRING = re.compile(r"""/\*.*?\*/|"[^"]*"|'[^']*'""", re.DOTALL)
_SELECTED = re.compile(r"[.#](-?[_a-zA-Z][\w-]*)")
_EXCLUDED = re.compile(r":not\([^)]*\)")
_COMMA = re.compile(r",(?![^(]*\))")
_PROPERTY = re.compile(r"(?<=[{;])(--[\w-]+):[^;}]*;?")
_NAMED_PROPERTY = re.compile(r"--[a-z][\w-]*")
_READ_PROPERTY = re.compile(r"var\(\s*(--[\w-]+)")
_SPACE = re.compile(r"\s+")
_AROUND = re.compile(r" ?([{};,]) ?")
_UNUSED = re.compile(
    r"tabbed-|mermaid$|footnote|md-(annotation|tooltip|version|tag|source__fact|status|consent|feedback)"
)
"""Classes that the theme's script sets for features of the theme that the configuration leaves off."""
_NESTING = ("@media", "@supports")


def slim_styles(site: Path) -> None:
    """Take out of the style sheet of every page the rules that select nothing, and properties that nothing reads.

    A rule stays if each class and identity that it names is one of a page, or a word of a script, which may set it.
    """
    sheet = site / "assets" / "stylesheets" / "site.css"
    if not sheet.is_file():
        return
    scripts = [path for path in (site / "assets" / "javascripts").glob("*.js") if not path.name.startswith("vega.")]
    words = {
        word
        for path in scripts
        for word in _WORD.findall(path.read_text(encoding="utf-8"))
        if not (path.name.startswith("bundle.") and _UNUSED.match(word))
    }
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        words.update(_NAMED_PROPERTY.findall(text))
        for quoted, bare in _NAMES.findall(text):
            words.update((quoted or bare).split())
    sheet.write_text(slim(sheet.read_text(encoding="utf-8"), words), encoding="utf-8")


def slim(sheet: str, words: set[str]) -> str:
    """A style sheet without the rules that name a class or identity which is not among `words`."""
    strings: list[str] = []

    def numbered(found: re.Match[str]) -> str:
        """The number of a string, since its signs mean nothing; nothing for a comment."""
        strings.append(found[0])
        return "" if found[0].startswith("/") else f"\0{len(strings) - 1}\0"

    bare = _STRING.sub(numbered, sheet)
    kept = _kept(_AROUND.sub(r"\1", _SPACE.sub(" ", bare)).strip(), words)
    read = words.union(_READ_PROPERTY.findall(kept))
    kept = _PROPERTY.sub(lambda found: found[0] if found[1] in read else "", kept)
    return re.sub("\0(\\d+)\0", lambda found: strings[int(found[1])], kept)


def _kept(sheet: str, words: set[str]) -> str:
    return "".join(_rule(before, body, words) for before, body in _rules(sheet))


def _rule(before: str, body: str | None, words: set[str]) -> str:
    if body is None:
        return before
    if before.startswith(_NESTING):
        body = _kept(body, words)
    elif not before.startswith("@"):
        before = ",".join(one for one in _COMMA.split(before) if _may_select(one, words))
    return f"{before}{{{body}}}" if before and body else ""


def _may_select(selector: str, words: set[str]) -> bool:
    return "[dir=rtl]" not in selector and words.issuperset(_SELECTED.findall(_EXCLUDED.sub("", selector)))


def _rules(sheet: str) -> Iterator[tuple[str, str | None]]:
    """What is before each block and what is in it; a statement without a block has none."""
    start = 0
    while start < len(sheet):
        opening, end = sheet.find("{", start), sheet.find(";", start)
        if 0 <= end < opening or opening < 0:
            end = end if end >= 0 else len(sheet) - 1
            yield sheet[start : end + 1], None
            start = end + 1
            continue
        depth, at = 1, opening + 1
        while depth:
            depth += {"{": 1, "}": -1}.get(sheet[at], 0)
            at += 1
        yield sheet[start:opening], sheet[opening + 1 : at - 1]
        start = at
