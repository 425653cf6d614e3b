"""Plain drawings: sparsity panels and step curves of robust accuracy, for pages that need no chart library.

Coordinates are in the units of each drawing's own view box. Templates write them; colours come from the style sheet.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apsite import numbers
from apsite.catalogue import Catalogue
from apsite.comparable import Setting, robust_bounds
from apsite.records import EvaluationRecord
from apsite.site.charts.charts import ceiling, spread
from apsite.site.charts.curves import SPAN, Curve, Steps, leads
from apsite.vocabulary import Architecture, Dataset, Structure, epsilon_value

_LABEL_HEIGHT = 17
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


def panels(catalogue: Catalogue, method: str, rankings: Mapping[Setting, list[EvaluationRecord]]) -> list[Panel]:
    """Panels of a method (a key), one for each dataset, network and structure in which a model of it ranks.

    `rankings` are all models that rank, baselines too, by setting.
    """
    groups: dict[tuple[Dataset, Architecture, Structure], dict[float, list[EvaluationRecord]]] = {}
    for setting, records in sorted(rankings.items()):
        group = setting.dataset, setting.architecture, setting.structure
        groups.setdefault(group, {})[setting.percent] = records
    shown = {
        key: fields
        for key, fields in groups.items()
        if any(record.method == method for records in fields.values() for record in records)
    }
    top = ceiling(r.robust_accuracy or 0.0 for fields in shown.values() for records in fields.values() for r in records)
    return [_panel(catalogue.entries[method].name, method, key, fields, top) for key, fields in shown.items()]


def _panel(
    name: str,
    method: str,
    key: tuple[Dataset, Architecture, Structure],
    fields: dict[float, list[EvaluationRecord]],
    top: float,
) -> Panel:
    places = {percent: (number + 0.5) / len(fields) for number, percent in enumerate(fields)}
    frame = Frame(
        240, 170, 30, 226, 12, 146,
        tuple((place, f"{percent} %") for percent, place in places.items()),
        tuple((tenth / 10 / top, f"{10 * tenth}") for tenth in range(0, round(10 * top) + 1, 2)),
    )  # fmt: skip
    lines: dict[str, dict[float, float]] = {}
    dots, said = [], []
    for percent, records in fields.items():
        for record in records:
            robust = record.robust_accuracy or 0.0
            lines.setdefault(record.method, {})[percent] = robust
            if record.method == method:
                bounds = robust_bounds(record) or (robust, robust)
                y, low, high = (frame.y(share / top) for share in (robust, *bounds))
                # A label that would meet the lines of better models goes below the dot.
                label = y + 15 if any((other.robust_accuracy or 0.0) > robust for other in records) else high - 6
                dots.append(Dot(frame.x(places[percent]), y, low, high, numbers.percent(robust, 1), round(label, 1)))
                said.append(f"{numbers.percent(robust, 1)} % at {percent} %")

    def path(values: Mapping[float, float]) -> str:
        points = {percent: f"{frame.x(places[percent])} {frame.y(share / top)}" for percent, share in values.items()}
        joined = (f"M{points[a]}L{points[b]}" for a, b in itertools.pairwise(fields) if a in points and b in points)
        return "".join([*joined, *(f"M{point}h0" for point in points.values())])

    dataset, network, structure = key
    return Panel(
        title=f"{dataset.label} {network.label}, {structure.value}",
        frame=frame,
        own=path(lines[method]),
        others="".join(path(values) for other, values in lines.items() if other != method),
        dots=tuple(dots),
        description=f"{name} on {dataset.label}, {network.label}, {structure.value}: "
        f"robust accuracy {', '.join(said)} sparsity, among {len(lines) - 1} others.",
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
