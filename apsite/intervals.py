"""Which leads are real: intervals of measured shares, paired tests, ties and ranks. Pure functions of records."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np

from apsite.catalogue import Catalogue
from apsite.errors import DocumentError
from apsite.leaderboard import Setting, by_setting, ranking
from apsite.metrics import holm, mcnemar_p_value, wilson_interval
from apsite.records import EvaluationRecord
from apsite.samples import Samples, read_samples

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


@dataclass(frozen=True)
class Field:
    """The models of one setting that rank, and which of them are really apart.

    Attributes:
        ranked: The models, most robust first.
        separations: Whether each model is separated from each one below it, by pairs of model keys.
    """

    ranked: tuple[EvaluationRecord, ...]
    separations: Mapping[tuple[str, str], Separation]

    @cached_property
    def ranks(self) -> dict[str, int]:
        """Rank by model key: one more than the number of models separated above it."""
        keys = [record.model_key for record in self.ranked]
        return {
            key: 1 + sum(self.separations[above, key].separated for above in keys[:place])
            for place, key in enumerate(keys)
        }

    @cached_property
    def lead(self) -> Lead | None:
        """The leader and those that are not separated from it; ``None`` if no model ranks."""
        if not self.ranked:
            return None
        first, *others = self.ranked
        against = {record.model_key: self.separations[first.model_key, record.model_key] for record in others}
        return Lead(
            first,
            robust_bounds(first),
            tuple(record for record in others if not against[record.model_key].separated),
            frozenset(separation.basis for separation in against.values()),
        )


def field_of(records: Sequence[EvaluationRecord], verdicts: Mapping[str, Samples] | None = None) -> Field:
    """What separates the models of one setting that rank.

    Two models with verdicts on the same samples are compared sample by sample: by the exact test of McNemar on those
    that AutoAttack left robust, its p-values adjusted by the method of Holm for all such pairs of the setting. Others
    are compared by their intervals. The work grows with the square of the number of models.

    Args:
        records: Models of one setting.
        verdicts: Per-sample results by model key, where there are any.
    """
    ranked = tuple(ranking(records))
    verdicts = verdicts or {}
    given = [(record, record.model_key, robust_bounds(record), verdicts.get(record.model_key)) for record in ranked]
    found: dict[tuple[str, str], Separation] = {}
    paired: dict[tuple[str, str], float] = {}
    for (better, upper_key, upper, first), (worse, lower_key, lower, second) in itertools.combinations(given, 2):
        pair = upper_key, lower_key
        if first is not None and second is not None and same_samples(better, first, worse, second):
            assert first.aa_robust is not None
            assert second.aa_robust is not None
            only_first = int(np.count_nonzero(first.aa_robust & ~second.aa_robust))
            only_second = int(np.count_nonzero(second.aa_robust & ~first.aa_robust))
            paired[pair] = mcnemar_p_value(only_first, only_second)
        elif upper is None or lower is None:
            in_order = (better.robust_accuracy or 0.0) > (worse.robust_accuracy or 0.0)
            found[pair] = Separation(in_order, Basis.ORDER, None)
        else:
            found[pair] = Separation(lower[1] < upper[0], Basis.INTERVALS, None)
    for pair, p_value in zip(paired, holm(list(paired.values())), strict=True):
        found[pair] = Separation(p_value < LEVEL, Basis.PAIRED, p_value)
    return Field(ranked, found)


def all_fields(catalogue: Catalogue, verdicts: Mapping[str, Samples] | None = None) -> dict[Setting, Field]:
    """What separates the methods' models in every setting in which one of them ranks; see :func:`field_of`."""
    return {setting: field_of(records, verdicts) for setting, records in by_setting(catalogue).items()}


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


SEPARATES = 0.05
"""P-value below which a paired test is taken to separate two models."""


@dataclass(frozen=True)
class Pair:
    """AutoAttack's verdicts on the images that two evaluations have in common.

    Attributes:
        n_samples: Images in common.
        first: How many of them the first model is robust on.
        second: How many the second one is.
        only_first: Images that only the first is robust on.
        only_second: Images that only the second is.
    """

    n_samples: int
    first: int
    second: int
    only_first: int
    only_second: int

    @property
    def difference(self) -> float:
        """Robust accuracy of the first minus that of the second on these images, a fraction."""
        return (self.first - self.second) / self.n_samples

    @property
    def p_value(self) -> float:
        """Exact McNemar test of whether the two are equally robust; see :func:`apsite.metrics.mcnemar_p_value`."""
        return mcnemar_p_value(self.only_first, self.only_second)

    @property
    def separates(self) -> bool:
        """Whether the test separates the two models."""
        return self.p_value < SEPARATES


@dataclass(frozen=True)
class Beside:
    """A naive baseline at the dataset, network, structure and sparsity of a model.

    Attributes:
        record: The baseline's record.
        pair: The model, first, and the baseline, second, on the same images; ``None`` where a per-sample file is
            missing, does not say which images it is about, or has none in common with the other.
        comparable: Whether the figures may stand beside each other without a pair: both rank or neither does.
    """

    record: EvaluationRecord
    pair: Pair | None
    comparable: bool


def pair_of(first: Samples, second: Samples) -> Pair | None:
    """Verdicts of two evaluations on the images that both have; ``None`` if they cannot be paired.

    They cannot where AutoAttack did not run, where a file does not say which images it is about, where no image is in
    both, or where an image has two different labels and so is not the same.
    """
    if first.aa_robust is None or second.aa_robust is None or not (first.indexed and second.indexed):
        return None
    common, one, two = np.intersect1d(first.index, second.index, assume_unique=True, return_indices=True)
    if not len(common) or (first.label[one] != second.label[two]).any():
        return None
    a, b = first.aa_robust[one], second.aa_robust[two]
    return Pair(len(common), int(a.sum()), int(b.sum()), int((a & ~b).sum()), int((b & ~a).sum()))


def samples_of(catalogue: Catalogue, record: EvaluationRecord) -> Samples | None:
    """Per-sample results of a record; ``None`` where it has none that can be read."""
    if record.samples is None:
        return None
    try:
        return read_samples(catalogue.root / "evaluations" / record.path.parent / record.samples.file)
    except DocumentError:
        return None  # `apsite validate` says what is wrong with it


def baseline_records(catalogue: Catalogue) -> list[EvaluationRecord]:
    """Pruned models of naive baselines that AutoAttack has evaluated."""
    naive = {key for key, entry in catalogue.entries.items() if entry.baseline}
    return [
        record
        for record in catalogue.records.values()
        if record.method in naive and record.structure is not None and record.robust_accuracy is not None
    ]


def naive_baselines(
    catalogue: Catalogue,
    record: EvaluationRecord,
    samples: Samples | None = None,
    among: Sequence[EvaluationRecord] | None = None,
) -> tuple[Beside, ...]:
    """Naive baselines at the dataset, network, structure and sparsity of a record, the most robust first.

    Args:
        catalogue: Where the baselines are.
        record: A pruned model; it need not be in the catalogue. Dense networks have no baseline.
        samples: Its per-sample results; ``None`` to read those of the catalogue.
        among: What :func:`baseline_records` gave, where many models are looked at.
    """
    if record.structure is None:
        return ()
    found = []
    for other in baseline_records(catalogue) if among is None else among:
        same = (other.dataset, other.architecture, other.structure, other.key.percent) == (
            record.dataset, record.architecture, record.structure, record.key.percent,
        )  # fmt: skip
        if not same or other.method == record.method:
            continue
        if other.threat_model.epsilon not in (None, record.threat_model.epsilon):
            continue
        if samples is None:
            samples = samples_of(catalogue, record)
        others = samples_of(catalogue, other) if samples is not None else None
        pair = None if samples is None or others is None else pair_of(samples, others)
        found.append(Beside(other, pair, other.protocol.ranks == record.protocol.ranks))
    return tuple(sorted(found, key=lambda one: -(one.record.robust_accuracy or 0.0)))
