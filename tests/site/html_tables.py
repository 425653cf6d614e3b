"""Reading pages back: tables as text, and what a browser would run or follow."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@dataclass
class PageContent:
    """What a page holds.

    Attributes:
        tables: Rows of cells as text, by the id of the table; hidden text and badges are left out.
        values: The `data-value` of each cell (``None`` without one), shaped as `tables`.
        text: All text outside scripts.
        scripts: Type and content of each script element.
        links: Every `href`.
        handlers: Attributes whose name begins with ``on``.
        tags: Names of all elements.
        identities: How often each ``id`` is given.
        headings: Levels of the headings in order.
    """

    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    values: dict[str, list[list[str | None]]] = field(default_factory=dict)
    text: str = ""
    scripts: list[tuple[str | None, str]] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    handlers: list[str] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    identities: Counter[str] = field(default_factory=Counter)
    headings: list[int] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = PageContent()
        self._open: list[tuple[str, str]] = []
        self._table: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.page.tags.add(tag)
        self.page.handlers += [name for name in names if name.startswith("on")]
        if names.get("id"):
            self.page.identities[names["id"] or ""] += 1
        if re.fullmatch(r"h[1-6]", tag):
            self.page.headings.append(int(tag[1]))
        if names.get("href"):
            self.page.links.append(names["href"] or "")
        if tag == "script":
            self.page.scripts.append((names.get("type"), ""))
        if tag == "table":
            self._table = names.get("id") or f"table-{len(self.page.tables)}"
            self.page.tables[self._table], self.page.values[self._table] = [], []
        if tag == "tr" and self._table:
            self.page.tables[self._table].append([])
            self.page.values[self._table].append([])
        if tag in ("td", "th") and self._table:
            self.page.tables[self._table][-1].append("")
            self.page.values[self._table][-1].append(names.get("data-value"))
        if tag not in VOID:
            self._open.append((tag, names.get("class") or ""))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass
        if tag == "table":
            self._table = None

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] == "script":
            kind, content = self.page.scripts[-1]
            self.page.scripts[-1] = (kind, content + data)
            return
        self.page.text += data
        hidden = any("ap-hidden" in classes for _, classes in self._open)
        if self._table and not hidden and any(tag in ("td", "th") for tag, _ in self._open):
            self.page.tables[self._table][-1][-1] += data


def read_page(html: str) -> PageContent:
    """Content of a page or of a Markdown file with HTML blocks."""
    reader = _Reader()
    reader.feed(html)
    for rows in reader.page.tables.values():
        for row in rows:
            row[:] = [" ".join(cell.split()) for cell in row]
    return reader.page
