"""Robustness curves of records that have per-sample results."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apsite.catalogue import Catalogue
from apsite.intervals import Bounds, interval_of
from apsite.metrics import area_under_curve, robust_accuracy, robustness_curve
from apsite.records import EvaluationRecord
from apsite.samples import Samples, read_samples
from apsite.vocabulary import epsilon_value

LIMIT = 16 / 255
"""Largest budget that charts and tables show: twice the benchmark's on CIFAR-10 and SVHN."""
_RESOLUTION = 2000
_TABLE_STEPS = 16
_GRID_STEPS = 160


@dataclass(frozen=True)
class CurvePoint:
    """Robust accuracy from one budget on (in input units), with its Wilson 95 % interval."""

    epsilon: float
    robust_accuracy: float
    bounds: Bounds


@dataclass(frozen=True)
class Curve:
    """Robust accuracy against the budget for one record.

    Attributes:
        record: The record.
        n_samples: Samples behind the curve.
        steps: Where the curve steps, ascending from 0 to :data:`LIMIT`; exact to a 2000th where there are more steps.
        grid: The curve at every tenth of 1/255 up to :data:`LIMIT`, exact, for the readout.
        table: The curve at every multiple of 1/255 up to :data:`LIMIT`, exact.
        area: Mean robust accuracy over budgets from 0 to :data:`LIMIT`.
    """

    record: EvaluationRecord
    n_samples: int
    steps: tuple[CurvePoint, ...]
    grid: tuple[CurvePoint, ...]
    table: tuple[CurvePoint, ...]
    area: float

    @property
    def epsilon(self) -> float | None:
        """Budget of the record's threat model, in input units."""
        text = self.record.threat_model.epsilon
        return None if text is None else epsilon_value(text)


def load_curves(catalogue: Catalogue) -> list[Curve]:
    """Curves of all records with distances, in catalogue order.

    Raises:
        DocumentError: If a per-sample file is missing or not what it should be.
    """
    curves = []
    for record in catalogue.records.values():
        if record.samples is None:
            continue
        path = catalogue.root / "evaluations" / record.path.parent / record.samples.file
        curve = curve_of(record, read_samples(path))
        if curve is not None:
            curves.append(curve)
    return curves


def curve_of(record: EvaluationRecord, samples: Samples) -> Curve | None:
    """Curve of a record; ``None`` if its samples have no distances."""
    if samples.distance is None:
        return None
    distances, total = samples.distance, len(samples)
    budgets, shares = robustness_curve(distances)
    inside = budgets <= LIMIT
    budgets, shares = budgets[inside], shares[inside]
    kept = _thin(shares)
    steps = [_point(float(budgets[i]), float(shares[i]), total) for i in kept]
    steps.append(_point(LIMIT, robust_accuracy(distances, LIMIT), total))

    def sampled(count: int) -> tuple[CurvePoint, ...]:
        budgets = [k * LIMIT / count for k in range(count + 1)]
        return tuple(_point(budget, robust_accuracy(distances, budget), total) for budget in budgets)

    return Curve(
        record, total, tuple(steps), sampled(_GRID_STEPS), sampled(_TABLE_STEPS), area_under_curve(distances, LIMIT)
    )


def _thin(shares: np.ndarray) -> list[int]:
    """Indices of steps to keep: all where they are few, else the last of each 2000th."""
    levels = np.floor(shares * _RESOLUTION).astype(int)
    if len(shares) <= _RESOLUTION:
        return list(range(len(shares)))
    last = np.flatnonzero(np.diff(levels) != 0)
    return sorted({0, *map(int, last), len(shares) - 1})


def _point(epsilon: float, share: float, total: int) -> CurvePoint:
    bounds = interval_of(share, total)
    assert bounds is not None
    return CurvePoint(epsilon, share, bounds)
