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
from typing import Any, cast

from markupsafe import Markup

Spec = dict[str, Any]
WIDTHS = {"wide": 900, "narrow": 328}
"""Pixels; the style sheet shows the one that suits the space of the chart, and the live chart is as wide as that.

A specification may name another width than the first, as ``wide`` in its `usermeta`.
"""
LOCALE = {"decimal": ".", "thousands": ",", "grouping": [3], "currency": ["$", ""], "percent": " %"}
"""How charts write numbers: per cent with a space, as pages do."""
_SVG = "http://www.w3.org/2000/svg"
_ELEMENTS = {"svg", "g", "path", "rect", "line", "text", "defs", "clipPath"}
_ATTRIBUTES = {
    "class", "clip-path", "d", "dominant-baseline", "fill", "fill-opacity", "font-family", "font-size", "font-weight",
    "height", "id", "opacity", "rx", "ry", "stroke", "stroke-dasharray", "stroke-dashoffset", "stroke-linecap",
    "stroke-linejoin", "stroke-miterlimit", "stroke-opacity", "stroke-width", "text-anchor", "transform", "viewBox",
    "width", "x", "x1", "x2", "y", "y1", "y2",
}  # fmt: skip
_MEASURES = {"d", "transform", "height", "width", "x", "x1", "x2", "y", "y1", "y2"}
_INHERITED = {
    "fill", "fill-opacity", "font-size", "font-weight", "stroke", "stroke-dasharray", "stroke-opacity", "stroke-width",
    "text-anchor",
}  # fmt: skip
_DEFAULTS = {
    "opacity": "1", "stroke-width": "1", "text-anchor": "start", "transform": "translate(0,0)", "x1": "0", "x2": "0",
    "y1": "0", "y2": "0",
}  # fmt: skip
"""What an element has that does not say it."""
_DECIMALS = re.compile(r"-?\d*\.\d+(?:e-?\d+)?")
_MOVED = re.compile(r"translate\(([-\d.]+),([-\d.]+)\)")
_RULERS = {"mark-rule role-axis-grid", "mark-rule role-axis-tick"}
"""Groups of lines of an axis, which are most of the elements of a drawing."""
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

    def live(self, spec: Spec) -> Spec:
        """Specification that the drawing script of pages reads, which is Vega's own; wide, for the script to narrow."""
        sized = _sized(spec, spec["usermeta"].get("wide", WIDTHS["wide"]))
        sized["usermeta"]["locale"] = LOCALE
        return cast(Spec, json.loads(self._converted(sized, "json")))

    def _draw(self, spec: Spec, width: int) -> str:
        sized = _sized(spec, width)
        narrow = spec["usermeta"].get("narrow")
        if width == WIDTHS["narrow"] and narrow:
            sized["padding"]["right"] = narrow["right"]
            sized["datasets"] |= {name: [] for name in narrow["without"]}
        return self._converted(sized, "svg")

    def _converted(self, sized: Spec, kind: str) -> str:
        """A specification drawn (``svg``) or compiled (``json``)."""
        text = json.dumps(sized, sort_keys=True)
        version = metadata.version("vl-convert-python")
        name = hashlib.sha256(f"{version}\n{LOCALE}\n{text}".encode()).hexdigest()
        path = None if self._cache is None else self._cache / f"{name[:24]}.{kind}"
        if path is not None and path.is_file():
            return path.read_text(encoding="utf-8")
        import vl_convert

        made = (
            vl_convert.vegalite_to_svg(text, format_locale=LOCALE)
            if kind == "svg"
            else json.dumps(vl_convert.vegalite_to_vega(text))
        )
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made, encoding="utf-8")
        return str(made)


class NoDrawings(Drawings):
    """No drawings: replaces :class:`Drawings` for pages of text only."""

    def __call__(self, identity: str, spec: Spec) -> Markup:
        """Nothing."""
        return Markup("")

    def live(self, spec: Spec) -> Spec:
        """The specification as it is."""
        return spec


def _sized(spec: Spec, width: int) -> Spec:
    """A specification of one width in pixels, with the names beside its lines."""
    return copy.deepcopy(spec) | {"width": width, "autosize": {"type": "fit-x", "contains": "padding"}}


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
        empty = child.get("class") == "background" and not {"fill", "stroke"}.intersection(child.keys())
        if hidden or empty or child.tag.removeprefix(f"{{{_SVG}}}") not in _ELEMENTS:
            element.remove(child)
        else:
            _clean(child, tokens, identity)
    for name, value in list(element.attrib.items()):
        if name not in _ATTRIBUTES or name == "font-family" or value == _DEFAULTS.get(name):
            del element.attrib[name]
        elif name == "id":
            element.set(name, f"{identity}-{value}")
        elif name in _MEASURES:
            element.set(name, _DECIMALS.sub(_short, value))
        elif value.lower() in tokens:
            element.set(name, f"var({tokens[value.lower()]})")
        else:
            element.set(name, _REFERENCE.sub(rf"url(#{identity}-\1)", value))
    _fade(element)
    _lift(element)
    if element.get("class") in _RULERS:
        _join(element)


def _fade(mark: ET.Element) -> None:
    """Make the opacity of a mark of one colour that of its colour, as browsers draw each other one apart."""
    colours = [name for name in ("fill", "stroke") if mark.get(name, "none") not in ("none", "transparent")]
    if mark.get("opacity") and len(colours) == 1:
        name = f"{colours[0]}-opacity"
        mark.set(name, f"{float(mark.attrib.pop('opacity')) * float(mark.get(name, '1')):.3g}")


def _join(group: ET.Element) -> None:
    """Put the lines of an axis into one path, if they differ in nothing else; some have no length."""
    ends = [(_MOVED.fullmatch(line.get("transform", "translate(0,0)")), line) for line in group]
    if any(moved is None or set(line.keys()) - {"transform", "x2", "y2"} for moved, line in ends):
        return
    path = "".join(
        f"M{moved[1]} {moved[2]}l{line.get('x2', '0')} {line.get('y2', '0')}"
        for moved, line in ends
        if moved is not None and {"x2", "y2"} & set(line.keys())
    )
    group[:] = [ET.Element(f"{{{_SVG}}}path", {"d": path})] if path else []


def _lift(group: ET.Element) -> None:
    """Say once, in the group, what all of its marks have alike, and put what is in a plain group into this one."""
    for name in _INHERITED.difference(group.keys()):
        said = {child.get(name) for child in group}
        if len(group) > 1 and len(said) == 1 and (value := said.pop()) is not None:
            group.set(name, value)
            for child in group:
                del child.attrib[name]
    for at, child in reversed(list(enumerate(group))):
        if child.tag == f"{{{_SVG}}}g" and not child.attrib:
            group[at : at + 1] = list(child)
