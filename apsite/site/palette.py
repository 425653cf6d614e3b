"""How methods look in charts: colour, dash and shape, chosen so that no two are told apart by colour alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

COLOURS = ("#0072b2", "#d55e00", "#008f68", "#b3508b", "#9a7400", "#3b93c9", "#c2503f", "#6f7780")
"""After Okabe and Ito, moved to a lightness that keeps a contrast of 3:1 on both the light and the dark page."""
DASHES: tuple[tuple[int, ...], ...] = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3))
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")


@dataclass(frozen=True)
class SeriesStyle:
    """Look of one method: stroke colour, dash pattern in pixels, and Vega symbol."""

    colour: str
    dash: tuple[int, ...]
    shape: str


def styles(labels: Iterable[str]) -> dict[str, SeriesStyle]:
    """A style for each label; no two share all three marks before 32 labels are used."""
    return {
        label: SeriesStyle(
            COLOURS[index % len(COLOURS)],
            DASHES[(index + index // len(COLOURS)) % len(DASHES)],
            SHAPES[(index + index // len(COLOURS)) % len(SHAPES)],
        )
        for index, label in enumerate(dict.fromkeys(labels))
    }
