"""All results by setting, and how many of each setting one page has room for. Pure functions of the judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from apsite import numbers
from apsite.comparable import Judge
from apsite.records import EvaluationRecord
from apsite.site.tables import leaderboards
from apsite.site.tables.parts import Part, parts

WHOLE = 300
"""Rows up to which the page of all results has every row."""
FIRST = 100
"""Rows that a longer one has, shared by its settings; each has at least three."""
PART = 120
"""Rows of a page of one setting; one with more has several pages."""


@dataclass(frozen=True)
class Group:
    """Results of one dataset, network, structure and sparsity, most robust first."""

    identity: str  # the part of the model keys that they share, such as `R18_CIFAR10_US_90`
    label: str
    rows: tuple[leaderboards.RankedResult, ...]
    shown: int  # how many of them the page of all results has

    @property
    def parts(self) -> list[Part[leaderboards.RankedResult]]:
        """Its pages; none where the page of all results has every row."""
        return parts(self.identity, self.rows, PART) if self.shown < len(self.rows) else []


def groups(judge: Judge, areas: Mapping[str, float]) -> list[Group]:
    """Every record once, by setting; `areas` under curves are by model key."""
    rows = leaderboards.ranked_results(judge, areas)
    found = [(identity, tuple(among)) for identity, among in groupby(rows, lambda row: setting_key(row.record))]
    most = len(rows) if len(rows) <= WHOLE else max(3, FIRST // len(found))
    return [Group(identity, label(among[0].record), among, min(most, len(among))) for identity, among in found]


def setting_key(record: EvaluationRecord) -> str:
    """The part of its model key that a record shares with those of its setting, such as ``R18_CIFAR10_US_90``."""
    return record.model_key.split("_", 2)[2]


def label(record: EvaluationRecord) -> str:
    """Setting of a record in one line, such as ``CIFAR-10 ResNet18, unstructured 90 %``."""
    network = f"{record.dataset.label} {record.architecture.label}"
    if record.structure is None:
        return f"{network}, dense"
    return f"{network}, {record.structure.value} {numbers.sparsity(record.sparsity.declared)}"
