"""Which leads are real: intervals of measured shares, ties and ranks. Pure functions of records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apsite.leaderboard import ranking
from apsite.metrics import wilson_interval
from apsite.records import EvaluationRecord

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Lead:
    """The most robust model of a setting.

    Attributes:
        record: The leader: highest AutoAttack robust accuracy.
        bounds: Its 95 % interval; ``None`` where the number of samples is unknown.
        tied: Other models whose interval overlaps the leader's, most robust first.
    """

    record: EvaluationRecord
    bounds: Bounds | None
    tied: tuple[EvaluationRecord, ...]


def interval_of(share: float | None, n_samples: int | None) -> Bounds | None:
    """Wilson 95 % interval of a share of `n_samples`; ``None`` where either is unknown."""
    if share is None or n_samples is None:
        return None
    return wilson_interval(round(share * n_samples), n_samples)


def robust_bounds(record: EvaluationRecord) -> Bounds | None:
    """Wilson 95 % interval of the AutoAttack robust accuracy of a record."""
    return interval_of(record.robust_accuracy, record.results.n_samples)


def lead(records: Sequence[EvaluationRecord]) -> Lead | None:
    """Leader of models of one setting and those that the intervals do not separate from it; ``None`` if none ranks."""
    ranked = ranking(records)
    if not ranked:
        return None
    first = ranked[0]
    return Lead(first, robust_bounds(first), tuple(record for record in ranked[1:] if not separated(first, record)))


def separated(better: EvaluationRecord, worse: EvaluationRecord) -> bool:
    """Whether the interval of `worse` lies wholly below that of `better`; by plain order where one has no interval."""
    upper, lower = robust_bounds(better), robust_bounds(worse)
    if upper is None or lower is None:
        return (better.robust_accuracy or 0.0) > (worse.robust_accuracy or 0.0)
    return lower[1] < upper[0]


def ranks(records: Sequence[EvaluationRecord]) -> dict[str, int]:
    """Rank by model key among models of one setting: one more than the number of models separated above it."""
    ranked = ranking(records)
    return {record.model_key: 1 + sum(separated(other, record) for other in ranked) for record in ranked}
