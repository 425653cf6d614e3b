"""What robustness costs: robust accuracy against clean accuracy, and against the size and the work of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from apsite import numbers
from apsite.comparable import rankable, robust_bounds, unranked
from apsite.records import EvaluationRecord
from apsite.records.census import censuses
from apsite.site.charts.panels import Frame
from apsite.site.charts.scatter import CROWD, NAMED, Point, Scatter, decade_ticks, large, rounded, scatter, share_ticks
from apsite.site.charts.sparsity import DENSE, Trend
from apsite.vocabulary import Dataset

PANEL = (330, 290, 34, 318, 16, 252)
"""Width and height of a small drawing, and the edges of the plot."""
SIZES = {"wide": (640, 400, 44, 560, 16, 360), "narrow": (340, 320, 36, 318, 16, 280)}
"""The same for drawings of costs."""
COSTS = {"weights": "non-zero weights", "macs": "effective multiply-accumulates for one image"}


def clean_panels(trend: Trend) -> list[Scatter]:
    """Robust against clean accuracy, a drawing for each sparsity on common axes; models without clean accuracy miss."""
    columns = [
        (title, [line.records[place] for line in trend.lines])
        for place, title in enumerate(trend.columns)
        if title != DENSE
    ]
    names = {line.method: line.label for line in trend.lines}
    drawn = [
        (title, [point for record in records if record for point in _clean_point(record, names)])
        for title, records in columns
    ]
    points = [point for _, found in drawn for point in found]
    if not points:
        return []
    low_x, high_x, step_x = rounded([point.x for point in points])
    low_y, high_y, step_y = rounded([point.y for point in points])
    frame = Frame(*PANEL, share_ticks(low_x, high_x, step_x), share_ticks(low_y, high_y, step_y))
    ends = low_x, low_y, high_x, high_y
    most = NAMED if len(trend.lines) <= CROWD else NAMED // 4
    return [
        scatter("panel", title, frame, _first(found), ends, less_x=False, most=most) for title, found in drawn if found
    ]


def _clean_point(record: EvaluationRecord, names: Mapping[str, str]) -> list[Point]:
    clean, robust = record.results.clean_accuracy, record.robust_accuracy
    if clean is None or robust is None:
        return []
    text = f"{names[record.method]}, {record.key.percent} %: clean {numbers.percent(clean)} %, {_robust(record)}"
    return [Point(record, names[record.method], clean, robust, text, value=clean)]


def cost_points(
    records: Sequence[EvaluationRecord], names: Mapping[str, str], dataset: Dataset, cost: str
) -> list[Point]:
    """Models of a dataset by the logarithm of a cost, one of :data:`COSTS`, the most robust first.

    Weights are counted in the evaluated network, or follow from the declared sparsity of a published one; operations
    are known only where they were counted. Models that do not rank and small networks are shown, and are not part of
    the front.
    """
    found = []
    for record in records:
        robust, value = record.robust_accuracy, cost_of(record, cost)
        if record.dataset is not dataset or robust is None or value is None or not value[0]:
            continue
        share = f"{record.key.percent} %" if record.key.percent else "dense"
        label = f"{names[record.method]} {record.architecture.code} {share}"
        how = "" if value[1] else " by the declared sparsity"
        small = record.architecture.small
        why = "".join(f"; {one}" for one in (*unranked(record), *(["small network"] if small else [])))
        kind = f", {record.structure.value}" if record.structure else ""
        text = f"{label}{kind}: {large(value[0])} {COSTS[cost]}{how}, {_robust(record)}{why}"
        ranks = not small and (rankable(record) or (record.structure is None and record.protocol.ranks))
        found.append(Point(record, label, math.log10(value[0]), robust, text, ranks, value[0]))
    return _first(found)


def cost_of(record: EvaluationRecord, cost: str) -> tuple[int, bool] | None:
    """Cost of a model and whether it was counted in the network; ``None`` where it is unknown."""
    audit = record.audit
    if audit is not None:
        return (audit.weights - audit.zero_weights if cost == "weights" else audit.effective_macs), True
    if cost == "weights" and record.architecture.registered:
        known = censuses(record.architecture, record.dataset)
        share = 1 - record.sparsity.declared if record.structure else 1
        return (round(known[0].count("weights") * share), False) if known else None
    return None


def cost_drawing(points: Sequence[Point], name: str, cost: str) -> Scatter:
    """Robust accuracy against a cost in one of :data:`SIZES`, on a logarithmic axis."""
    low_y, high_y, step = rounded([point.y for point in points])
    logs = [point.x for point in points]
    margin = 0.05 * max(max(logs) - min(logs), 0.4)
    low, high = min(logs) - margin, max(logs) + margin
    factors = (1, 2, 5) if name == "wide" else (1, 3)
    frame = Frame(*SIZES[name], decade_ticks(low, high, factors), share_ticks(low_y, high_y, step))
    most = NAMED if len(points) <= 5 * NAMED else NAMED // 2
    return scatter(name, COSTS[cost], frame, points, (low, low_y, high, high_y), less_x=True, most=most)


def _first(points: Sequence[Point]) -> list[Point]:
    return sorted(points, key=lambda point: -point.y)


def _robust(record: EvaluationRecord) -> str:
    bounds = robust_bounds(record)
    more = f" (95 % interval {numbers.interval(bounds)})" if bounds else ""
    return f"robust {numbers.percent(record.robust_accuracy)} %{more}"
