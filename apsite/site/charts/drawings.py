"""Charts drawn while the site is built, so that a page shows them before any script runs, and without scripts.

Vega itself draws them, in two widths. Their colours are properties of the page's style, so one drawing serves the light
and the dark scheme; what stays live (readouts, tooltips, choices) is loaded when a reader first touches a chart.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import xml.etree.ElementTree as ET  # of drawings that this module makes itself
from importlib import metadata
from pathlib import Path
from typing import Any

from markupsafe import Markup

Spec = dict[str, Any]
WIDTHS = {"wide": 900, "narrow": 328}
"""Pixels; the style sheet shows the one that suits the space of the chart, and the live chart is as wide as that.

A specification may name another width than the first, as ``wide`` in its `usermeta`.
"""
_SVG = "http://www.w3.org/2000/svg"
_ELEMENTS = {"svg", "g", "path", "rect", "line", "text", "defs", "clipPath"}
_ATTRIBUTES = {
    "class", "clip-path", "d", "dominant-baseline", "fill", "fill-opacity", "font-family", "font-size", "font-weight",
    "height", "id", "opacity", "rx", "ry", "stroke", "stroke-dasharray", "stroke-dashoffset", "stroke-linecap",
    "stroke-linejoin", "stroke-miterlimit", "stroke-opacity", "stroke-width", "text-anchor", "transform", "viewBox",
    "width", "x", "x1", "x2", "y", "y1", "y2",
}  # fmt: skip
_DECIMALS = re.compile(r"-?\d*\.\d+(?:e-?\d+)?")
_REFERENCE = re.compile(r"url\(#([\w-]+)\)")


class Drawings:
    """Draws specifications, and remembers what it has drawn.

    Args:
        cache: Folder for drawings of earlier builds; ``None`` keeps none.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache

    def __call__(self, identity: str, spec: Spec) -> Markup:
        """Both drawings of a specification as HTML; `identity` is the chart's on its page."""
        widths = WIDTHS | {"wide": spec["usermeta"].get("wide", WIDTHS["wide"])}
        return Markup("").join(
            Markup('<div class="ap-drawing ap-drawing--{}" data-search-exclude>{}</div>').format(
                name, _safe(self._draw(spec, width), spec, f"{identity}-{name}")
            )
            for name, width in widths.items()
        )

    def _draw(self, spec: Spec, width: int) -> str:
        sized = copy.deepcopy(spec) | {"width": width, "autosize": {"type": "fit-x", "contains": "padding"}}
        narrow = spec["usermeta"].get("narrow")
        if width == WIDTHS["narrow"] and narrow:
            sized["padding"]["right"] = narrow["right"]
            sized["datasets"] |= {name: [] for name in narrow["without"]}
        text = json.dumps(sized, sort_keys=True)
        version = metadata.version("vl-convert-python")
        name = hashlib.sha256(f"{version}\n{text}".encode()).hexdigest()
        path = None if self._cache is None else self._cache / f"{name[:24]}.svg"
        if path is not None and path.is_file():
            return path.read_text(encoding="utf-8")
        import vl_convert

        drawn = str(vl_convert.vegalite_to_svg(text))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(drawn, encoding="utf-8")
        return drawn


def no_drawing(identity: str, spec: Spec) -> Markup:
    """No drawing: replaces :class:`Drawings` for pages of text only."""
    return Markup("")


def _safe(drawing: str, spec: Spec, identity: str) -> Markup:
    """A drawing as one line of markup: known elements and attributes only, the page's colours, its own identities."""
    tokens: dict[str, str] = spec["usermeta"]["tokens"]
    root = ET.fromstring(drawing)  # noqa: S314 - Vega wrote it, with the text of contributors escaped
    _clean(root, tokens, identity)
    root.attrib.pop("height")
    root.attrib.pop("width")
    root.set("font-family", "inherit")
    ET.register_namespace("", _SVG)
    text = ET.tostring(root, encoding="unicode", short_empty_elements=False)
    return Markup(re.sub(r"\s*[\r\n\u0085\u2028\u2029]+\s*", " ", text))  # noqa: S704 - serialised from checked parts


def _short(number: re.Match[str]) -> str:
    """A coordinate to a tenth of a pixel, finer than the eye can see."""
    return f"{float(number[0]):.1f}".removesuffix(".0")


def _clean(element: ET.Element, tokens: dict[str, str], identity: str) -> None:
    for child in list(element):
        hidden = child.get("display") == "none" or (child.get("opacity") == "0" and child.tag.endswith("path"))
        if hidden or child.tag.removeprefix(f"{{{_SVG}}}") not in _ELEMENTS:
            element.remove(child)
        else:
            _clean(child, tokens, identity)
    for name, value in list(element.attrib.items()):
        if name not in _ATTRIBUTES or (name == "font-family"):
            del element.attrib[name]
        elif name == "id":
            element.set(name, f"{identity}-{value}")
        elif name == "d":
            element.set(name, _DECIMALS.sub(_short, value))
        elif value.lower() in tokens:
            element.set(name, f"var({tokens[value.lower()]})")
        else:
            element.set(name, _REFERENCE.sub(rf"url(#{identity}-\1)", value))
