"""Which model is more robust: comparable groups, ranks and leaders. Computed from records, never stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from apsite.catalogue import Catalogue
from apsite.records import EvaluationRecord
from apsite.vocabulary import Architecture, Dataset, Structure


@dataclass(frozen=True, order=True)
class Setting:
    """What models must share to be compared: dataset, network, structure and declared sparsity in percent.

    Settings sort in this order, datasets, networks and structures as the vocabulary lists them.
    """

    dataset: Dataset
    architecture: Architecture
    structure: Structure
    percent: int


def setting_of(record: EvaluationRecord) -> Setting | None:
    """Setting of a record; ``None`` for dense networks."""
    key = record.key
    if key.structure is None or key.percent is None:
        return None
    return Setting(key.dataset, key.architecture, key.structure, key.percent)


def rankable(record: EvaluationRecord) -> bool:
    """Whether a record may be ranked: pruned, attacked with AutoAttack, under a protocol that ranks, not retracted."""
    return (
        record.protocol.ranks
        and record.structure is not None
        and record.robust_accuracy is not None
        and record.retracted is None
    )


def ranking(records: Iterable[EvaluationRecord]) -> list[EvaluationRecord]:
    """Rankable records, highest AutoAttack robust accuracy first, then clean accuracy, then key."""
    return sorted(
        (record for record in records if rankable(record)),
        key=lambda record: (
            -(record.robust_accuracy or 0.0),
            -(record.results.clean_accuracy or 0.0),
            record.model_key,
        ),
    )


def by_setting(catalogue: Catalogue, *, baselines: bool = False) -> dict[Setting, list[EvaluationRecord]]:
    """Rankings of all settings in which a model is rankable.

    Args:
        catalogue: Entries and records.
        baselines: Whether naive baselines are ranked among the methods.
    """
    groups: dict[Setting, list[EvaluationRecord]] = {}
    for record in catalogue.records.values():
        setting = setting_of(record)
        if setting and (baselines or not catalogue.entries[record.method].baseline):
            groups.setdefault(setting, []).append(record)
    ranked = {setting: ranking(records) for setting, records in groups.items()}
    return {setting: records for setting, records in ranked.items() if records}


def leaders(records: Iterable[EvaluationRecord], count: int) -> set[str]:
    """Model keys of the `count` most robust rankable records, and of those that equal the last of them.

    The survey sets in bold the top three for unstructured and the top one for structured pruning, by AutoAttack.
    """
    ranked = ranking(records)
    if len(ranked) <= count:
        return {record.model_key for record in ranked}
    threshold = ranked[count - 1].robust_accuracy or 0.0
    return {record.model_key for record in ranked if (record.robust_accuracy or 0.0) >= threshold}


def leader_count(structure: Structure) -> int:
    """How many leaders the survey's tables mark: three for unstructured, one for structured pruning."""
    return 3 if structure is Structure.UNSTRUCTURED else 1
