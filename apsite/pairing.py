"""A model beside the naive baselines of its setting, tested sample by sample where both have verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apsite.catalogue import Catalogue
from apsite.errors import DocumentError
from apsite.metrics import mcnemar_p_value
from apsite.records import EvaluationRecord
from apsite.samples import Samples, read_samples

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
