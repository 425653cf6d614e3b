"""Which results can be compared: settings, what may rank and why not, the order of numbers, and their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as Interface

from apsite.entries import Entry
from apsite.metrics import wilson_interval
from apsite.protocol import departures
from apsite.records import EvaluationRecord
from apsite.vocabulary import Architecture, Dataset, Protocol, Structure, epsilon_text

Bounds = tuple[float, float]
DOUBTFUL_SAMPLES = {(Protocol.SURVEY, Dataset.SVHN): 10_000}
"""How many samples intervals and tests assume where a source leaves two numbers open: the smaller one.

The survey states that it attacked the whole test set of SVHN, 26,032 images; the code in its repository takes 10,000.
"""


class JudgedData(Interface):
    """Entries and records that belong together, as a :class:`apsite.catalogue.Catalogue` has them."""

    @property
    def root(self) -> Path:
        """Folder of the data."""

    @property
    def entries(self) -> Mapping[str, Entry]:
        """By method key."""

    @property
    def records(self) -> Mapping[str, EvaluationRecord]:
        """Current results, by model key."""

    def samples_path(self, record: EvaluationRecord) -> Path | None:
        """Per-sample file of a current record."""


@dataclass(frozen=True, order=True)
class Setting:
    """What models must share to be compared. Settings sort as tables list them.

    `percent` is the declared sparsity, `epsilon` the text of ε; the benchmark's ε of the dataset if empty.
    """

    dataset: Dataset
    architecture: Architecture
    structure: Structure
    percent: float
    epsilon: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", epsilon_text(self.epsilon or self.dataset.epsilon))


def setting_of(record: EvaluationRecord) -> Setting | None:
    """Setting of a record; ``None`` for dense networks."""
    key = record.key
    if key.structure is None or key.percent is None:
        return None
    return Setting(key.dataset, key.architecture, key.structure, key.percent, record.epsilon)


def rankable(record: EvaluationRecord) -> bool:
    """Whether a record may be ranked.

    That is, a pruned network of a registered family at a sparsity that the benchmark compares, attacked with AutoAttack
    under a protocol that ranks, and not retracted.
    """
    evaluated = record.structure is not None and record.robust_accuracy is not None
    return evaluated and not unranked(record)


def unranked(record: EvaluationRecord) -> list[str]:
    """Labels that say what keeps a record from ranking; empty where it may rank, or is only dense or not attacked."""
    key, found = record.key, []
    if record.retracted is not None:
        found.append("retracted")
    other = record.epsilon != record.dataset.epsilon
    if other:
        found.append(f"ε = {record.epsilon}")
    if not record.protocol.ranks and not ((other or not key.dataset.registered) and _whole(record)):
        found.append("reduced run")
    if not key.dataset.registered:
        found.append("other dataset")
    if not key.architecture.registered:
        found.append("other network")
    if key.structure is not None and not key.compared:
        pattern = record.audit.pattern if record.audit else None
        found.append(
            f"{pattern}, measured" if pattern else "other sparsity" if key.structure.sparsities else key.structure.value
        )
    return found


def _whole(record: EvaluationRecord) -> bool:
    """Whether nothing of the protocol but ε is known to be changed."""
    changed = record.settings is not None and departures(record.settings)
    return not changed and record.results.n_samples in (None, record.dataset.ranked_samples)


def ranking(records: Iterable[EvaluationRecord]) -> list[EvaluationRecord]:
    """Rankable records, highest AutoAttack robust accuracy first, then clean accuracy, then key."""
    return sorted(filter(rankable, records), key=most_robust_first)


def most_robust_first(record: EvaluationRecord) -> tuple[float, float, str]:
    """Key by which records sort as :func:`ranking` orders them."""
    return -(record.robust_accuracy or 0.0), -(record.results.clean_accuracy or 0.0), record.model_key


def by_setting(catalogue: JudgedData, *, baselines: bool = False) -> dict[Setting, list[EvaluationRecord]]:
    """Rankings of all settings in which a model ranks, in the order of tables; of methods, or also of `baselines`."""
    groups: dict[Setting, list[EvaluationRecord]] = {}
    for record in ranking(catalogue.records.values()):
        setting = setting_of(record)
        if setting and (baselines or not catalogue.entries[record.method].baseline):
            groups.setdefault(setting, []).append(record)
    return dict(sorted(groups.items()))


def leaders(records: Iterable[EvaluationRecord], count: int) -> set[str]:
    """Model keys of the `count` most robust rankable records, and of those that equal the last of them.

    The survey sets in bold the top three for unstructured and the top one for structured pruning, by AutoAttack.
    """
    ranked = [(record.model_key, record.robust_accuracy or 0.0) for record in ranking(records)]
    threshold = ranked[count - 1][1] if count < len(ranked) else 0.0
    return {key for key, share in ranked if share >= threshold}


def leader_count(structure: Structure) -> int:
    """How many leaders the survey's tables mark: three for unstructured, one for structured pruning."""
    return 3 if structure is Structure.UNSTRUCTURED else 1


def interval_of(share: float | None, n_samples: int | None) -> Bounds | None:
    """Wilson 95 % interval of a share of `n_samples`; ``None`` where either is unknown.

    >>> low, high = interval_of(0.454, 10_000)
    >>> round(low, 4), round(high, 4)
    (0.4443, 0.4638)
    """
    if share is None or n_samples is None:
        return None
    return wilson_interval(round(share * n_samples), n_samples)


def assumed_samples(record: EvaluationRecord) -> int | None:
    """How many samples intervals and tests take the numbers of a record to be of; ``None`` where unknown."""
    stated = record.results.n_samples
    return stated and min(stated, DOUBTFUL_SAMPLES.get((record.protocol, record.dataset), stated))


def doubtful(record: EvaluationRecord) -> bool:
    """Whether intervals and tests assume fewer samples than the record states."""
    return assumed_samples(record) != record.results.n_samples


def robust_bounds(record: EvaluationRecord) -> Bounds | None:
    """Wilson 95 % interval of the AutoAttack robust accuracy of a record."""
    return interval_of(record.robust_accuracy, assumed_samples(record))
