"""Plain drawings: sparsity panels and step curves of robust accuracy, for pages that need no chart library.

Coordinates are in the units of each drawing's own view box. Templates write them; colours come from the style sheet.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apsite import numbers
from apsite.catalogue import Catalogue
from apsite.comparable import Setting, robust_bounds
from apsite.records import EvaluationRecord
from apsite.site.charts.charts import ceiling, spread
from apsite.site.charts.curves import SPAN, Curve, Steps, leads
from apsite.vocabulary import Architecture, Dataset, Structure, epsilon_value

_LABEL_HEIGHT = 17
MANY = 60
"""Lines up to which a grey field has each of them; a fuller one has those of :data:`QUANTILES`."""
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
LOOKS = 4
"""How many colours and dashes the style sheet has for curves."""


@dataclass(frozen=True)
class Frame:
    """View box of a drawing and the edges of the plot in it, with the axes.

    `across_parts` and `up_parts` are the ticks, by their place on the axis from 0 to 1.
    """

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    across_parts: tuple[tuple[float, str], ...]
    up_parts: tuple[tuple[float, str], ...]

    def x(self, part: float) -> float:
        """Horizontal place of a part of the axis, to a tenth of a unit, finer than the eye can see."""
        return round(self.left + (self.right - self.left) * part, 1)

    def y(self, part: float) -> float:
        """Vertical place of a part of the axis."""
        return round(self.bottom - (self.bottom - self.top) * part, 1)

    @property
    def across(self) -> list[tuple[float, str]]:
        """Where the ticks of the horizontal axis are, and their texts."""
        return [(self.x(part), text) for part, text in self.across_parts]

    @property
    def up(self) -> list[tuple[float, str]]:
        """The same of the vertical axis."""
        return [(self.y(part), text) for part, text in self.up_parts]


@dataclass(frozen=True)
class Dot:
    """A model of the method: position, ends of its interval (heights), and its robust accuracy as text."""

    x: float
    y: float
    low: float
    high: float
    text: str
    label_y: float


@dataclass(frozen=True)
class Panel:
    """A method among all others on one dataset, network and structure, over sparsity.

    `own` is the path of the method's line, `others` one path of all other lines, `dots` are the method's models.
    """

    title: str
    frame: Frame
    own: str
    others: str
    dots: tuple[Dot, ...]
    description: str
    thinned: bool  # whether `others` are quantiles


@dataclass(frozen=True)
class StepLine:
    """A curve as a path of steps, with its label at the end; `number` is its look."""

    curve: Curve
    steps: Steps
    label: str
    path: str
    label_y: float
    number: int


@dataclass(frozen=True)
class LeadBar:
    """A stretch of perturbation sizes over which one curve is the highest: its ends, and its leader in words."""

    start: float
    end: float
    number: int
    text: str
    tied: bool


@dataclass(frozen=True)
class StepDrawing:
    """Robustness curves of one dataset, where the benchmark's ε is, and who leads where if they are compared."""

    title: str
    frame: Frame
    lines: tuple[StepLine, ...]
    epsilon: tuple[float, str]
    leads: tuple[LeadBar, ...]


def field(lines: Sequence[Sequence[float | None]]) -> list[Sequence[float | None]]:
    """Lines of a grey field, each with a share for every column: all of them, or quantiles where they are many."""
    if len(lines) <= MANY:
        return list(lines)
    return quantiles([[share for share in column if share is not None] for column in zip(*lines, strict=True)])


def quantiles(columns: Iterable[Sequence[float]]) -> list[Sequence[float | None]]:
    """A line for each of :data:`QUANTILES`, with a share for every column; ``None`` where a column has none."""
    found = [np.quantile(column, QUANTILES).tolist() if column else [None] * len(QUANTILES) for column in columns]
    return list(zip(*found, strict=True))


_Group = tuple[Dataset, Architecture, Structure]


class Fields:
    """All models that rank, baselines too, by dataset, network and structure, and the lines of their methods.

    `rankings` are they by setting, most robust first.
    """

    def __init__(self, rankings: Mapping[Setting, list[EvaluationRecord]]) -> None:
        self.groups: dict[_Group, dict[float, list[EvaluationRecord]]] = {}
        for setting, records in sorted(rankings.items()):
            group = setting.dataset, setting.architecture, setting.structure
            self.groups.setdefault(group, {})[setting.percent] = records
        self.methods = {
            group: {record.method for records in columns.values() for record in records}
            for group, columns in self.groups.items()
        }
        self._fields: dict[tuple[_Group, float], str] = {}
        self._lines: dict[tuple[_Group, float], dict[str, str]] = {}

    def frame(self, group: _Group, top: float) -> Frame:
        """Axes of a group, up to a robust accuracy."""
        columns = self.groups[group]
        return Frame(
            240, 170, 30, 226, 12, 146,
            tuple(((number + 0.5) / len(columns), f"{percent} %") for number, percent in enumerate(columns)),
            tuple((tenth / 10 / top, f"{10 * tenth}") for tenth in range(0, round(10 * top) + 1, 2)),
        )  # fmt: skip

    def lines(self, group: _Group, top: float) -> dict[str, str]:
        """Path of each method in the frame of a group: between neighbouring sparsities, and a point at each."""
        if (group, top) not in self._lines:
            frame, columns = self.frame(group, top), self.groups[group]
            points: dict[str, dict[float, str]] = {}
            for (percent, records), (x, _) in zip(columns.items(), frame.across, strict=True):
                for record in records:
                    place = f"{x} {frame.y((record.robust_accuracy or 0.0) / top)}"
                    points.setdefault(record.method, {})[percent] = place
            neighbours = list(itertools.pairwise(columns))
            self._lines[group, top] = {
                method: "".join(
                    [f"M{found[a]}L{found[b]}" for a, b in neighbours if a in found and b in found]
                    + [f"M{point}h0" for point in found.values()]
                )
                for method, found in points.items()
            }
        return self._lines[group, top]

    def others(self, group: _Group, top: float, method: str) -> str:
        """Path of the grey field behind a method: the lines of the others, or quantiles of all where they are many."""
        if len(self.methods[group]) <= MANY:
            return "".join(path for other, path in self.lines(group, top).items() if other != method)
        if (group, top) not in self._fields:
            frame, columns = self.frame(group, top), self.groups[group].values()
            lines = quantiles([record.robust_accuracy or 0.0 for record in records] for records in columns)
            self._fields[group, top] = "".join(
                "M" + "L".join(f"{x} {frame.y((y or 0.0) / top)}" for (x, _), y in zip(frame.across, line, strict=True))
                for line in lines
            )
        return self._fields[group, top]


def panels(catalogue: Catalogue, method: str, fields: Fields) -> list[Panel]:
    """Panels of a method (a key), one for each dataset, network and structure in which a model of it ranks."""
    shown = [group for group, methods in fields.methods.items() if method in methods]
    best = (records[0].robust_accuracy or 0.0 for group in shown for records in fields.groups[group].values())
    top = ceiling(best)
    return [_panel(catalogue.entries[method].name, method, group, fields, top) for group in shown]


def _panel(name: str, method: str, group: _Group, fields: Fields, top: float) -> Panel:
    frame, lines = fields.frame(group, top), fields.lines(group, top)
    dots, said = [], []
    for (percent, records), (x, _) in zip(fields.groups[group].items(), frame.across, strict=True):
        for record in (record for record in records if record.method == method):
            robust = record.robust_accuracy or 0.0
            y, low, high = (frame.y(share / top) for share in (robust, *(robust_bounds(record) or (robust, robust))))
            # A label that would meet the lines of better models goes below the dot.
            label = y + 15 if (records[0].robust_accuracy or 0.0) > robust else high - 6
            dots.append(Dot(x, y, low, high, numbers.percent(robust, 1), round(label, 1)))
            said.append(f"{numbers.percent(robust, 1)} % at {percent} %")
    dataset, network, structure = group
    return Panel(
        title=f"{dataset.label} {network.label}, {structure.value}",
        frame=frame,
        own=lines[method],
        others=fields.others(group, top, method),
        dots=tuple(dots),
        description=f"{name} on {dataset.label}, {network.label}, {structure.value}: "
        f"robust accuracy {', '.join(said)} sparsity, among {len(lines) - 1} others"
        f"{f', which {len(QUANTILES)} lines of quantiles show' if len(lines) > MANY else ''}.",
        thinned=len(lines) > MANY,
    )


def curve_panels(curves: Sequence[Curve]) -> list[StepDrawing]:
    """Curves of a method under HO-FMN, one drawing for each dataset and network, in the order of `curves`."""
    groups: dict[str, dict[str, Curve]] = {}
    for curve in sorted(curves, key=lambda curve: -curve.hofmn.at(_epsilon(curve)) / curve.n_samples):
        key = curve.record.key
        label = "dense" if key.structure is None else f"{key.structure.code} {key.percent} %"
        groups.setdefault(_title(curve), {})[label] = curve
    return [step_drawing(title, groups[title], compared=False) for title in dict.fromkeys(map(_title, curves))]


def step_drawing(title: str, curves: Mapping[str, Curve], *, compared: bool) -> StepDrawing:
    """Drawing of curves by their labels.

    Args:
        title: What the curves share.
        curves: Curves of one dataset.
        compared: Whether to draw the envelopes, and who leads where, instead of HO-FMN alone.
    """
    bottom = 248 if compared else 268
    frame = Frame(
        520, 300, 46, 402, 12, bottom,
        tuple((k / SPAN, f"{k}/255" if k else "0") for k in range(0, SPAN + 1, 4)),
        tuple((tenth / 10, f"{10 * tenth} %") for tenth in range(0, 11, 2)),
    )  # fmt: skip
    drawn = {label: curve.best if compared else curve.hofmn for label, curve in curves.items()}
    ends = [frame.y(steps.exact[-1] / curves[label].n_samples) for label, steps in drawn.items()]
    heights = spread(ends, _LABEL_HEIGHT, frame.top, frame.bottom - _LABEL_HEIGHT / 2)
    lines = tuple(
        StepLine(curves[label], steps, label, _path(frame, steps, curves[label].n_samples), round(y + 4, 1), n % LOOKS)
        for n, ((label, steps), y) in enumerate(zip(drawn.items(), heights, strict=True))
    )
    numbers_of = {line.curve.record.model_key: (line.number, line.label) for line in lines}
    bars = []
    for one in leads(list(curves.values())) if compared and len(curves) > 1 else []:
        number, label = numbers_of[one.record.model_key]
        start, end = round(255 * one.start, 1), round(255 * one.end, 1)
        text = f"{label} from {start:g}/255 to {end:g}/255{'' if one.separated else ' (tied)'}"
        bars.append(LeadBar(frame.x(start / SPAN), frame.x(end / SPAN), number, text, not one.separated))
    at = _epsilon(next(iter(curves.values())))
    return StepDrawing(title, frame, lines, (frame.x(at / SPAN), f"{at:g}/255"), tuple(bars))


def _path(frame: Frame, steps: Steps, total: int) -> str:
    first, *rest = zip(steps.budgets, steps.counts, strict=True)
    path = "".join(f"H{frame.x(at / SPAN)}V{frame.y(count / total)}" for at, count in rest)
    return f"M{frame.x(0)} {frame.y(first[1] / total)}{path}H{frame.right}"


def _title(curve: Curve) -> str:
    record = curve.record
    other = "" if record.epsilon == record.dataset.epsilon else f", ε = {record.epsilon}"
    return f"{record.dataset.label} {record.architecture.label}{other}"


def _epsilon(curve: Curve) -> float:
    """Perturbation size of AutoAttack in 255ths."""
    return epsilon_value(curve.record.epsilon) * 255
