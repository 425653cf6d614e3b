"""How methods look in charts: colour, dash and shape, chosen so that no two differ by colour alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

COLOURS = ("#0072b2", "#c25400", "#00805c", "#a9407f", "#876600", "#5a57c7", "#b8402f")
"""After Okabe and Ito, darkened until text in them has a contrast of 4.5:1 on the light page."""
NEUTRAL = "#667078"
INK, MUTED, LINE, PAPER = "#1a2125", "#5b666d", "#dfe3e2", "#ffffff"
"""Text, quieter text, grid lines and ground of the light page."""
TOKENS = {
    INK: "--ap-ink",
    MUTED: "--ap-muted",
    LINE: "--ap-line",
    PAPER: "--ap-paper",
    **{colour: f"--ap-series-{number}" for number, colour in enumerate(COLOURS, 1)},
    NEUTRAL: "--ap-series-neutral",
}
"""Style property for each colour of a chart. Charts are specified in the colours of the light page; wherever they are
drawn, each colour is replaced by the value of its property in the scheme of the page (``apsite.css``)."""
DASHES: tuple[tuple[int, ...], ...] = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3))
SHAPE_PATHS = {
    "circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "square": "M-3.6 -3.6h7.2v7.2h-7.2z",
    "triangle-up": "M0 -4.6L4.4 3.4H-4.4z",
    "diamond": "M0 -5L5 0L0 5L-5 0z",
    "cross": "M-1.6 -4.6h3.2v3h3v3.2h-3v3h-3.2v-3h-3v-3.2h3z",
    "triangle-down": "M0 4.6L-4.4 -3.4H4.4z",
}
"""Outlines of the shapes, for drawings without a chart library."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")


@dataclass(frozen=True)
class SeriesStyle:
    """Look of one method: stroke colour, dash pattern in pixels, and Vega symbol."""

    colour: str
    dash: tuple[int, ...]
    shape: str


def styles(labels: Iterable[str], neutral: Iterable[str] = ()) -> dict[str, SeriesStyle]:
    """A style for each label; no two share all three marks before 28 labels are used.

    Args:
        labels: Labels that get a colour each, in order.
        neutral: Labels for comparison, which stay grey.
    """
    found = {
        label: SeriesStyle(
            COLOURS[index % len(COLOURS)],
            DASHES[(index + 2 * (index // len(COLOURS))) % len(DASHES)],
            SHAPES[(index + index // len(COLOURS)) % len(SHAPES)],
        )
        for index, label in enumerate(dict.fromkeys(labels))
    }
    grey = {
        label: SeriesStyle(NEUTRAL, DASHES[(index + 2) % len(DASHES)], SHAPES[index % len(SHAPES)])
        for index, label in enumerate(dict.fromkeys(neutral))
    }
    return grey | found
