"""Small multiples of a method page: geometry of plain drawings, so that the page needs no chart library.

Coordinates are in the units of the drawing's own view box. Templates write them; colours come from the style sheet.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apsite import numbers
from apsite.catalogue import Catalogue
from apsite.intervals import robust_bounds
from apsite.leaderboard import Setting, by_setting
from apsite.records import EvaluationRecord
from apsite.site.charts.charts import spread
from apsite.site.charts.curves import SPAN, Curve
from apsite.vocabulary import Architecture, Dataset, Structure, epsilon_value

WIDTH, HEIGHT = 240, 170
"""View box of a panel."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 30, 14, 12, 24
CURVE_WIDTH, CURVE_HEIGHT = 500, 280
"""View box of a drawing of curves."""
_CURVE_LEFT, _CURVE_RIGHT, _CURVE_BOTTOM = 38, 96, 32
_LABEL_HEIGHT = 17


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class Dot:
    """A model of the method: position, ends of its interval (heights), and its figure as text."""

    x: float
    y: float
    low: float
    high: float
    text: str
    label_y: float


@dataclass(frozen=True)
class Panel:
    """A method among all others on one dataset, network and structure, over sparsity.

    Attributes:
        title: What the models share.
        own: Path of the method's line.
        others: One path of all other lines.
        dots: The method's models.
        across: Sparsities.
        up: Robust accuracies.
        description: The figures in words.
    """

    title: str
    own: str
    others: str
    dots: tuple[Dot, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    description: str


@dataclass(frozen=True)
class CurveLine:
    """A robustness curve as a path of steps, with its label at the end."""

    curve: Curve
    path: str
    label: str
    label_y: float
    number: int


@dataclass(frozen=True)
class CurvePanel:
    """All robustness curves of a method on one dataset and network.

    Attributes:
        title: What the models share.
        lines: The curves, most robust at the benchmark's budget first.
        across: Budgets.
        up: Robust accuracies.
        budget: Where the benchmark's budget stands, and its text.
    """

    title: str
    lines: tuple[CurveLine, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    budget: Tick


def panels(
    catalogue: Catalogue, method: str, rankings: Mapping[Setting, list[EvaluationRecord]] | None = None
) -> list[Panel]:
    """Panels of a method, one for each dataset, network and structure in which a model of it ranks.

    Args:
        catalogue: Entries and records.
        method: Key of the method.
        rankings: All models that rank, baselines too, by setting; found if ``None``.
    """
    groups: dict[tuple[Dataset, Architecture, Structure], dict[int, list[EvaluationRecord]]] = {}
    for setting, records in (rankings or by_setting(catalogue, baselines=True)).items():
        groups.setdefault(_group(setting), {})[setting.percent] = records
    shown = {
        key: fields
        for key, fields in sorted(groups.items(), key=lambda item: item[0])
        if any(record.method == method for records in fields.values() for record in records)
    }
    top = max(
        (r.robust_accuracy or 0.0 for f in shown.values() for records in f.values() for r in records), default=0.5
    )
    ceiling = max(0.5, math.ceil(round(10 * top, 6)) / 10)
    return [_panel(catalogue, method, key, fields, ceiling) for key, fields in shown.items()]


def curve_panels(curves: Sequence[Curve]) -> list[CurvePanel]:
    """Drawings of robustness curves, one for each dataset and network, in the order of `curves`."""
    groups: dict[tuple[Dataset, Architecture], list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.record.dataset, curve.record.architecture), []).append(curve)
    return [_curve_panel(group) for group in groups.values()]


def _group(setting: Setting) -> tuple[Dataset, Architecture, Structure]:
    return setting.dataset, setting.architecture, setting.structure


def _panel(
    catalogue: Catalogue,
    method: str,
    key: tuple[Dataset, Architecture, Structure],
    fields: dict[int, list[EvaluationRecord]],
    ceiling: float,
) -> Panel:
    percents = sorted(fields)
    room = WIDTH - _LEFT - _RIGHT

    def x(percent: int) -> float:
        return _round(_LEFT + room * (percents.index(percent) + 0.5) / len(percents))

    def y(share: float) -> float:
        return _round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share / ceiling)

    lines: dict[str, dict[int, float]] = {}
    dots, said = [], []
    for percent in percents:
        for record in fields[percent]:
            robust = record.robust_accuracy or 0.0
            lines.setdefault(record.method, {})[percent] = robust
            if record.method == method:
                low, high = robust_bounds(record) or (robust, robust)
                above = sum((other.robust_accuracy or 0.0) > robust for other in fields[percent])
                # A label that would meet the lines of better models goes below the dot.
                label = y(robust) + 15 if above else y(high) - 6
                dots.append(Dot(x(percent), y(robust), y(low), y(high), numbers.percent(robust, 1), _round(label)))
                said.append(f"{numbers.percent(robust, 1)} % at {percent} %")
    dataset, network, structure = key
    paths = {
        name: "".join(
            f"M{x(a)} {y(values[a])}L{x(b)} {y(values[b])}"
            for a, b in itertools.pairwise(percents)
            if a in values and b in values
        )
        + "".join(f"M{x(p)} {y(v)}h0" for p, v in values.items())
        for name, values in lines.items()
    }
    return Panel(
        title=f"{dataset.label} {network.label}, {structure.value}",
        own=paths[method],
        others="".join(path for name, path in paths.items() if name != method),
        dots=tuple(dots),
        across=tuple(Tick(x(percent), f"{percent} %") for percent in percents),
        up=tuple(Tick(y(tenth / 10), f"{10 * tenth}") for tenth in range(0, round(10 * ceiling) + 1, 2)),
        description=f"{catalogue.entries[method].name} on {dataset.label}, {network.label}, {structure.value}: "
        f"robust accuracy {', '.join(said)} sparsity, among {len(lines) - 1} others.",
    )


def _curve_panel(curves: Sequence[Curve]) -> CurvePanel:
    record = curves[0].record
    epsilon = epsilon_value(record.threat_model.epsilon or record.dataset.epsilon) * 255
    width, height = CURVE_WIDTH - _CURVE_LEFT - _CURVE_RIGHT, CURVE_HEIGHT - _TOP - _CURVE_BOTTOM

    def x(budget: float) -> float:
        return _round(_CURVE_LEFT + width * budget / SPAN)

    def y(share: float) -> float:
        return _round(_TOP + height * (1 - share))

    ordered = sorted(curves, key=lambda curve: -curve.hofmn.at(epsilon) / curve.n_samples)
    lasts = [curve.hofmn.table[-1] / curve.n_samples for curve in ordered]
    ends = spread([y(share) for share in lasts], _LABEL_HEIGHT, _TOP, y(0) - _LABEL_HEIGHT / 2)
    lines = []
    for number, (curve, label_y) in enumerate(zip(ordered, ends, strict=True)):
        steps = list(zip(curve.hofmn.budgets, curve.hofmn.counts, strict=True))
        kept = [*steps, (float(SPAN), curve.hofmn.table[-1])]
        path = f"M{x(0)} {y(kept[0][1] / curve.n_samples)}" + "".join(
            f"H{x(budget)}V{y(count / curve.n_samples)}" for budget, count in kept[1:]
        )
        key = curve.record.key
        label = "dense" if key.structure is None else f"{key.structure.code} {key.percent} %"
        lines.append(CurveLine(curve, path, label, _round(label_y + 4), number % 4))
    return CurvePanel(
        title=f"{record.dataset.label} {record.architecture.label}",
        lines=tuple(lines),
        across=tuple(Tick(x(k), f"{k}/255" if k else "0") for k in range(0, 17, 4)),
        up=tuple(Tick(y(tenth / 10), f"{10 * tenth} %") for tenth in range(0, 11, 2)),
        budget=Tick(x(epsilon), record.threat_model.epsilon or ""),
    )


def _round(value: float) -> float:
    """A coordinate to a tenth of a unit, which no eye can tell apart."""
    return round(value, 1)
