"""Robust accuracy against sparsity: a grey field of all methods, and the highlighted ones with labels at their ends.

The page's script (``plots.js``) draws the highlighted lines again for other methods, with the same geometry.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from apsite.comparable import rankable
from apsite.records import EvaluationRecord
from apsite.site.charts.charts import spread
from apsite.site.charts.palette import COLOURS, DASHES, SHAPES, SeriesStyle
from apsite.site.charts.panels import MANY, Frame, field
from apsite.vocabulary import Architecture, Dataset, Structure

LABEL_HEIGHT = 16
"""Least distance of two labels, in units of the drawing."""
LABEL_GAP = 18
"""Distance of the labels from the end of the lines."""
TABLE = 40
"""Methods in the table of a trend that has too many for all of them."""
FIRST = 3
"""How many methods are highlighted at first."""
DENSE = "dense"
SIZES = {"wide": (640, 400, 44, 500), "narrow": (340, 340, 36, 226)}
"""Width and height of the drawings, and the edges of the plot from left to right."""
LOOKS = tuple(
    SeriesStyle(colour, DASHES[(place + turn) % len(DASHES)], SHAPES[(place + turn) % len(SHAPES)])
    for turn in range(len(DASHES))
    for place, colour in enumerate(COLOURS)
)
"""Looks of highlighted methods; no two are alike, and the first ones differ in colour."""


@dataclass(frozen=True)
class Group:
    """Models of one dataset, network and structure over sparsity."""

    dataset: Dataset
    architecture: Architecture
    structure: Structure

    @property
    def identity(self) -> str:
        """Name for URLs, such as ``cifar10-resnet18-unstructured``."""
        return f"{self.dataset.value}-{self.architecture.value.replace(':', '-')}-{self.structure.value}"

    @property
    def title(self) -> str:
        """In words."""
        return f"{self.dataset.label} {self.architecture.label}, {self.structure.value}"


@dataclass(frozen=True)
class Line:
    """A method over sparsity; `records` has one for each column, ``None`` where there is none.

    `look` is the place among :data:`LOOKS` that the method has unless another one with it is highlighted.
    """

    method: str
    label: str
    look: int
    records: tuple[EvaluationRecord | None, ...]

    @property
    def shares(self) -> list[float | None]:
        """Robust accuracies."""
        return [record.robust_accuracy if record else None for record in self.records]


@dataclass(frozen=True)
class Trend:
    """All methods of a group, the most robust at the highest sparsity first."""

    group: Group
    columns: tuple[str, ...]  # `dense` if a dense network is known, then sparsities
    lines: tuple[Line, ...]

    @property
    def first(self) -> tuple[Line, ...]:
        """Methods that are highlighted at first."""
        return self.lines[:FIRST]

    @property
    def shown(self) -> tuple[Line, ...]:
        """Methods that the table has."""
        return self.lines if len(self.lines) <= MANY else self.lines[:TABLE]

    @property
    def ends(self) -> tuple[float, float]:
        """Ends of the axis of robust accuracy, from the data."""
        shares = [share for line in self.lines for share in line.shares if share is not None]
        step = step_of(max(shares) - min(shares))
        return math.floor(round(min(shares) / step, 6)) * step, math.ceil(round(max(shares) / step, 6)) * step


@dataclass(frozen=True)
class Lit:
    """A highlighted line: paths, marks, where it ends and where its label begins."""

    line: Line
    look: SeriesStyle
    path: str
    dense: str
    marks: tuple[tuple[float, float], ...]
    end: tuple[float, float]
    label: tuple[float, float]


@dataclass(frozen=True)
class TrendDrawing:
    """A drawing in one size: axes, the grey field as one path, highlighted lines."""

    name: str  # `wide` or `narrow`
    frame: Frame
    ends: tuple[float, float]
    field: str
    lit: tuple[Lit, ...]


def trends(records: Sequence[EvaluationRecord], names: dict[str, str]) -> list[Trend]:
    """Every dataset, network and structure in which two models or more rank; `names` are labels of methods by key.

    Small networks for demonstrations are left out, as from the leaderboards.
    """
    looks = {
        method: place % len(LOOKS) for place, method in enumerate(dict.fromkeys(sorted(r.method for r in records)))
    }
    ranked: dict[Group, dict[str, dict[float, EvaluationRecord]]] = {}
    dense: dict[tuple[Dataset, Architecture, str], EvaluationRecord] = {}
    for record in records:
        if record.structure is None and record.protocol.ranks and record.robust_accuracy is not None:
            dense[record.dataset, record.architecture, record.method] = record
        ranks = rankable(record) and not record.architecture.small
        if ranks and record.structure is not None and record.key.percent is not None:
            group = Group(record.dataset, record.architecture, record.structure)
            ranked.setdefault(group, {}).setdefault(record.method, {})[record.key.percent] = record
    found = []
    for group, methods in sorted(ranked.items(), key=lambda item: _order(item[0])):
        percents = sorted({percent for results in methods.values() for percent in results})
        before = {m: dense.get((group.dataset, group.architecture, m)) for m in methods}
        head = (DENSE,) if any(before.values()) else ()
        lines = [
            Line(
                method, names[method], looks[method], (*([before[method]] if head else []), *map(results.get, percents))
            )
            for method, results in methods.items()
        ]
        lines.sort(key=lambda line: [-(share or 0.0) for share in reversed(line.shares)])
        if len(lines) > 1:
            found.append(Trend(group, (*head, *(f"{percent} %" for percent in percents)), tuple(lines)))
    return found


def _order(group: Group) -> tuple[Dataset, Architecture, Structure]:
    return group.dataset, group.architecture, group.structure


def step_of(span: float) -> float:
    """Distance of the ticks of an axis of shares that spans so much."""
    return 0.02 if span <= 0.08 else 0.05 if span <= 0.3 else 0.1


def drawing(trend: Trend, name: str, lit: Sequence[Line]) -> TrendDrawing:
    """The trend in one of :data:`SIZES`, with some lines highlighted."""
    frame = frame_of(trend, name)
    low, high = trend.ends
    has_dense = trend.columns[0] == DENSE

    def points(shares: Sequence[float | None]) -> list[tuple[float, float] | None]:
        return [
            None if share is None else (frame.x(part), frame.y((share - low) / (high - low)))
            for share, (part, _) in zip(shares, frame.across_parts, strict=True)
        ]

    def path(places: Sequence[tuple[float, float] | None]) -> str:
        return "".join(
            f"M{a[0]:g} {a[1]:g}L{b[0]:g} {b[1]:g}" for a, b in itertools.pairwise(places) if a and b
        ) + "".join(f"M{place[0]:g} {place[1]:g}h0" for place in places if place)

    placed = [(line, points(line.shares)) for line in lit]
    ends = [next(place for place in reversed(places) if place) for _, places in placed]
    heights = spread([end[1] for end in ends], LABEL_HEIGHT, frame.top + 4, frame.bottom - 4)
    drawn = []
    for (line, places), look, end, height in zip(placed, distinct(lit), ends, heights, strict=True):
        pruned = places[1:] if has_dense else places
        begin = places[:2] if has_dense else []
        marks = tuple(place for place in places if place)
        label = (frame.right + LABEL_GAP, round(height, 1))
        drawn.append(Lit(line, look, path(pruned), path(begin) if all(begin) else "", marks, end, label))
    grey = "".join(path(points(shares)[has_dense:]) for shares in field([line.shares for line in trend.lines]))
    return TrendDrawing(name, frame, trend.ends, grey, tuple(drawn))


def distinct(lines: Sequence[Line]) -> list[SeriesStyle]:
    """A look for each line, its own where no line before has it or its colour, else the next that is free."""
    taken: list[int] = []
    for line in lines:
        places = [place % len(LOOKS) for place in range(line.look, line.look + len(LOOKS))]
        colours = {LOOKS[place].colour for place in taken}
        fresh = [place for place in places if LOOKS[place].colour not in colours]
        taken.append(next(place for place in [*fresh, *places] if place not in taken))
    return [LOOKS[place] for place in taken]


def frame_of(trend: Trend, name: str) -> Frame:
    """Frame of a drawing: columns evenly across, robust accuracy from the data."""
    width, height, left, right = SIZES[name]
    low, high = trend.ends
    step, count = step_of(high - low), len(trend.columns)
    ticks = range(round(low / step), round(high / step) + 1)
    return Frame(
        width, height, left, right, 14, height - 34,
        tuple((0.03 + 0.97 * place / max(1, count - 1), text) for place, text in enumerate(trend.columns)),
        tuple(((tick * step - low) / (high - low), f"{100 * tick * step:.0f}") for tick in ticks),
    )  # fmt: skip
