"""Which leads are real: intervals of measured shares, paired tests, ties and ranks. Pure functions of records."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from apsite.leaderboard import ranking
from apsite.metrics import holm, mcnemar_p_value, wilson_interval
from apsite.records import EvaluationRecord
from apsite.samples import Samples

Bounds = tuple[float, float]
LEVEL = 0.05
"""Two models are separated where the adjusted p-value of their paired test is below this."""


class Basis(StrEnum):
    """What decides whether two models are separated."""

    PAIRED = "paired test"
    INTERVALS = "intervals"
    ORDER = "plain order"


@dataclass(frozen=True)
class Separation:
    """Whether a model is separated from a lower one, what decided it, and the adjusted p-value of a paired test."""

    separated: bool
    basis: Basis
    p_value: float | None


@dataclass(frozen=True)
class Lead:
    """The most robust model of a setting.

    Attributes:
        record: The leader: highest AutoAttack robust accuracy.
        bounds: Its 95 % interval; ``None`` where the number of samples is unknown.
        tied: Other models that are not separated from the leader, most robust first.
        bases: What decided about the others.
    """

    record: EvaluationRecord
    bounds: Bounds | None
    tied: tuple[EvaluationRecord, ...]
    bases: frozenset[Basis] = frozenset()


def interval_of(share: float | None, n_samples: int | None) -> Bounds | None:
    """Wilson 95 % interval of a share of `n_samples`; ``None`` where either is unknown."""
    if share is None or n_samples is None:
        return None
    return wilson_interval(round(share * n_samples), n_samples)


def robust_bounds(record: EvaluationRecord) -> Bounds | None:
    """Wilson 95 % interval of the AutoAttack robust accuracy of a record."""
    return interval_of(record.robust_accuracy, record.results.n_samples)


def lead(records: Sequence[EvaluationRecord], verdicts: Mapping[str, Samples] | None = None) -> Lead | None:
    """Leader of models of one setting and those that are not separated from it; ``None`` if none ranks.

    Args:
        records: Models of one setting.
        verdicts: Per-sample results by model key, where there are any.
    """
    ranked = ranking(records)
    if not ranked:
        return None
    first = ranked[0]
    found = separations(ranked, verdicts or {})
    against = {record.model_key: found[first.model_key, record.model_key] for record in ranked[1:]}
    return Lead(
        first,
        robust_bounds(first),
        tuple(record for record in ranked[1:] if not against[record.model_key].separated),
        frozenset(separation.basis for separation in against.values()),
    )


def ranks(records: Sequence[EvaluationRecord], verdicts: Mapping[str, Samples] | None = None) -> dict[str, int]:
    """Rank by model key among models of one setting: one more than the number of models separated above it.

    Args:
        records: Models of one setting.
        verdicts: Per-sample results by model key, where there are any.
    """
    ranked = ranking(records)
    found = separations(ranked, verdicts or {})
    return {
        record.model_key: 1 + sum(found[other.model_key, record.model_key].separated for other in ranked[:place])
        for place, record in enumerate(ranked)
    }


def separations(
    ranked: Sequence[EvaluationRecord], verdicts: Mapping[str, Samples]
) -> dict[tuple[str, str], Separation]:
    """Whether each model is separated from each one below it, by pairs of model keys.

    Two models with verdicts on the same samples are compared sample by sample: by the exact test of McNemar on those
    that AutoAttack left robust, its p-values adjusted by the method of Holm for all such pairs of the setting. Others
    are compared by their intervals.

    Args:
        ranked: Models of one setting, most robust first.
        verdicts: Per-sample results by model key, where there are any.
    """
    found: dict[tuple[str, str], Separation] = {}
    paired: dict[tuple[str, str], float] = {}
    for better, worse in itertools.combinations(ranked, 2):
        pair = better.model_key, worse.model_key
        first, second = verdicts.get(better.model_key), verdicts.get(worse.model_key)
        if first is not None and second is not None and same_samples(better, first, worse, second):
            assert first.aa_robust is not None
            assert second.aa_robust is not None
            only_first = int((first.aa_robust & ~second.aa_robust).sum())
            only_second = int((second.aa_robust & ~first.aa_robust).sum())
            paired[pair] = mcnemar_p_value(only_first, only_second)
        else:
            found[pair] = Separation(separated(better, worse), _basis(better, worse), None)
    for pair, p_value in zip(paired, holm(list(paired.values())), strict=True):
        found[pair] = Separation(p_value < LEVEL, Basis.PAIRED, p_value)
    return found


def same_samples(one: EvaluationRecord, first: Samples, other: EvaluationRecord, second: Samples) -> bool:
    """Whether two models have verdicts of AutoAttack on the same samples, known to be the same."""
    return (
        first.aa_robust is not None
        and second.aa_robust is not None
        and first.indexed
        and second.indexed
        and one.dataset is other.dataset
        and (one.data is None or other.data is None or one.data.sha256 == other.data.sha256)
        and np.array_equal(first.index, second.index)
        and np.array_equal(first.label, second.label)
    )


def separated(better: EvaluationRecord, worse: EvaluationRecord) -> bool:
    """Whether the interval of `worse` lies wholly below that of `better`; by plain order where one has no interval."""
    upper, lower = robust_bounds(better), robust_bounds(worse)
    if upper is None or lower is None:
        return (better.robust_accuracy or 0.0) > (worse.robust_accuracy or 0.0)
    return lower[1] < upper[0]


def _basis(better: EvaluationRecord, worse: EvaluationRecord) -> Basis:
    return Basis.ORDER if robust_bounds(better) is None or robust_bounds(worse) is None else Basis.INTERVALS
