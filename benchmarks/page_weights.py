"""What the pages of a built site weigh: all that a reader loads to read them and to use their charts, gzipped."""

from __future__ import annotations

import gzip
import re
from dataclasses import asdict, dataclass
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

_URL = re.compile(r"url\(\"?([^\")]+)\"?\)")
_LOADED = {"script": ("src", "data-src"), "img": ("src",), "link": ("href",)}
"""Attributes that name files; a script of `data-src` loads once the page is shown."""


@dataclass(frozen=True)
class PageWeights:
    """The heaviest pages of a site.

    Attributes:
        records: Number of records of the catalogue.
        pages: Number of pages.
        plain: Weight of the heaviest page without live charts, in bytes.
        plain_page: Which that is.
        chart: The same of pages with live charts, the drawing script and the largest data of one setting included.
        chart_page: Which that is.
    """

    records: int
    pages: int
    plain: int
    plain_page: str
    chart: int
    chart_page: str

    @property
    def name(self) -> str:
        """A result of the same name replaces an older one."""
        return f"pages of {self.records} records"

    def __str__(self) -> str:
        return f"{self.name}: {self.plain_page} {self.plain:,} bytes, {self.chart_page} {self.chart:,} bytes"

    def as_json(self) -> dict[str, Any]:
        """The measurement as the results file holds it."""
        return {"kind": "pages", **asdict(self)}


class _Loaded(HTMLParser):
    """Files that a page loads: scripts, images, style sheets, and the script that draws live charts."""

    def __init__(self) -> None:
        super().__init__()
        self.files: set[str] = set()
        self.charts = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        found = next((values[name] for name in _LOADED.get(tag, ()) if name in values), None)
        if found and (tag != "link" or values.get("rel") in ("stylesheet", "icon", "preload")):
            self.files.add(found)
        if bundle := values.get("data-bundle"):
            self.charts = True
            self.files.add(bundle)


def page_weights(site: Path, records: int) -> PageWeights:
    """Weigh every page of a site; the search, which all pages share and load later, is not part of them."""

    @cache
    def weight(path: Path) -> int:
        return len(gzip.compress(path.read_bytes()))

    @cache
    def sheet(path: Path) -> set[Path]:
        """A style sheet and its fonts."""
        urls = _URL.findall(path.read_text(encoding="utf-8"))
        return {path, *((path.parent / url).resolve() for url in urls if not url.startswith("data:"))}

    data = max((weight(path) for path in site.glob("data/curves/settings/*.json")), default=0)
    plain, chart = [(0, "")], [(0, "")]
    pages = sorted(site.rglob("*.html"))
    for page in pages:
        if page.name == "404.html":  # its links begin at the root of the host
            continue
        parser = _Loaded()
        parser.feed(page.read_text(encoding="utf-8"))
        files: set[Path] = {page}
        for found in parser.files:
            path = (page.parent / found.partition("?")[0]).resolve()
            files |= sheet(path) if path.suffix == ".css" else {path}
        total = sum(map(weight, files)) + (data if page.name == "curves.html" else 0)
        (chart if parser.charts else plain).append((total, page.relative_to(site).as_posix()))
    return PageWeights(records, len(pages), *max(plain), *max(chart))
