"""Pages as files: templates, escaping and front matter.

Contributed text reaches a page only through a template expression, which is always escaped. Line breaks in it are
written as character references, so that no contributed line can start a Markdown or HTML block.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from apsite import numbers
from apsite.comparable import unranked
from apsite.records.patterns import left_dense
from apsite.site import links
from apsite.site.charts import palette
from apsite.site.charts.drawings import Drawings, NoDrawings
from apsite.vocabulary import ProvenanceKind

_PLAIN_TITLE = re.compile(r"[\w ()+.,:/%-]{1,80}")


@dataclass(frozen=True)
class WrittenPage:
    """A page before the site generator sees it."""

    path: str  # below the pages folder, ending in `.md`
    title: str  # for navigation; plain characters only
    text: str  # front matter, Markdown and HTML blocks


def environment(drawn: Drawings | None = None, **shared: Any) -> jinja2.Environment:
    """Template environment of all pages: everything escaped, undefined names refused.

    Args:
        drawn: What draws the charts of pages; nothing does if ``None``.
        **shared: Names that every template may use.
    """
    drawn = drawn or NoDrawings()
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("apsite.site"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=one_line,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": numbers.percent,
        "points": numbers.signed_points,
        "sparsity": numbers.sparsity,
        "interval": numbers.interval,
        "count": numbers.count,
        "large": numbers.large,
        "distance": numbers.distance,
        "unranked": unranked,
        "budget": numbers.budget,
        "raw": lambda value: "" if value is None else value,
        "json_block": json_block,
        "left_dense": left_dense,
    }
    made.globals |= {
        "external": links.external,
        "provenance_kinds": list(ProvenanceKind),
        "tokens": palette.TOKENS,
        "zip": zip,
        "drawn": drawn,
        "live": drawn.live,
        **shared,
    }
    return made


def one_line(value: object) -> object:
    """A value of a template expression with its line breaks as character references; markup is left as it is."""
    if value is None:
        raise ValueError("a template wrote a missing value; write a placeholder")
    if isinstance(value, str) and not isinstance(value, Markup):
        return Markup(re.sub(r"\r\n?|[\n\u0085\u2028\u2029]", "&#10;", str(escape(value))))  # noqa: S704 - escaped
    return value


def json_block(value: object) -> Markup:
    """JSON that is safe inside a ``<script type="application/json">`` element: no ``<``, no line break."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704 - no markup


def plain_title(text: str, fallback: str) -> str:
    """`text` if navigation and window titles, which are not escaped, can show it unchanged; `fallback` otherwise."""
    return text if _PLAIN_TITLE.fullmatch(text) else fallback


def written_page(
    templates: jinja2.Environment,
    template: str,
    path: str,
    title: str,
    description: str,
    *,
    hide: tuple[str, ...] = (),
    boost: int = 1,
    own: tuple[str, ...] = (),
    **context: Any,
) -> WrittenPage:
    """Page of a template.

    Args:
        templates: As :func:`environment` makes it.
        template: File name in the templates folder.
        path: Path below the pages folder, ending in ``.md``.
        title: Plain title, see :func:`plain_title`.
        description: One plain sentence for search engines.
        hide: Parts of the frame to leave out: ``navigation``, ``toc``.
        boost: How much more than other pages the search favours it.
        own: Scripts and style sheets of this page alone.
        **context: Names for the template.

    Raises:
        ValueError: If title or description hold characters that are special in HTML.
    """
    for text in (title, description):
        if re.search(r"[<>&\"\n]", text):
            raise ValueError(f"{text!r} is not a plain title or description")
    front: dict[str, Any] = {"title": title, "description": description}
    front |= {name: list(value) for name, value in (("hide", hide), ("own", own)) if value}
    if boost != 1:
        front["search"] = {"boost": boost}
    body = templates.get_template(template).render(url=partial(_address, path), page_title=title, **context)
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in front.items()]
    return WrittenPage(path, title, "---\n" + "\n".join(lines) + "\n---\n\n" + body.strip() + "\n")


def write_pages(folder: Path, pages: Iterable[WrittenPage]) -> None:
    """Write pages below `folder`."""
    for page in pages:
        target = folder / page.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page.text, encoding="utf-8")


def _address(page: str, target: str) -> str:
    """URL of another page or file: ``leaderboard`` for a page, ``data/apsite.csv`` for a file."""
    path, mark, fragment = target.partition("#")
    last = path.rpartition("/")[2]
    whole = f"{path}.html" if last and "." not in last else path
    return links.relative(page, whole + mark + fragment)
