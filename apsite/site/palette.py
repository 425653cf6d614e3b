"""How methods look in charts: colour, dash and shape, chosen so that no two are told apart by colour alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

COLOURS = ("#0072b2", "#c25400", "#00805c", "#a9407f", "#876600", "#5a57c7", "#b8402f")
"""After Okabe and Ito, darkened until text in them has a contrast of 4.5:1 on the light page."""
NEUTRAL = "#667078"
DARK = {
    "#0072b2": "#5ab4f0",
    "#c25400": "#ff9552",
    "#00805c": "#4fc79c",
    "#a9407f": "#e695c6",
    "#876600": "#d9b23c",
    "#5a57c7": "#a7a4ff",
    "#b8402f": "#f28b7d",
    "#667078": "#a3afb5",
}
"""What the colours become on the dark page."""
DASHES: tuple[tuple[int, ...], ...] = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3))
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
        neutral: Labels that are there for comparison and stay grey.
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
