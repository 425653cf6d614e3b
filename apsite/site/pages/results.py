"""All evaluation records in one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from apsite import numbers
from apsite.comparable import Basis
from apsite.records import EvaluationRecord
from apsite.site.page import Page, SiteFacts
from apsite.site.tables import leaderboards


@dataclass(frozen=True)
class Group:
    """Results of one dataset, network, structure and sparsity, most robust first."""

    identity: str  # the part of the model keys that they share, such as `R18_CIFAR10_US_90`
    label: str
    rows: tuple[leaderboards.RankedResult, ...]


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page."""
    areas = {curve.record.model_key: curve.area for curve in facts.curves if not curve.imported}
    bases = sum((standings.compared for standings in facts.judge.settings.values()), Counter[Basis]())
    return {
        "choices": leaderboards.choices(facts.catalogue),
        "groups": grouped(leaderboards.ranked_results(facts.judge, areas)),
        "pairs": sum(bases.values()),
        "paired": bases[Basis.PAIRED],
    }


def grouped(rows: Iterable[leaderboards.RankedResult]) -> list[Group]:
    """Results by setting; `rows` are in the order of settings already."""
    return [
        Group(identity, label(found[0].record), tuple(found))
        for identity, among in groupby(rows, lambda row: row.record.model_key.split("_", 2)[2])
        for found in [list(among)]
    ]


def label(record: EvaluationRecord) -> str:
    """Setting of a record in one line, such as ``CIFAR-10 ResNet18, unstructured 90 %``."""
    network = f"{record.dataset.label} {record.architecture.label}"
    if record.structure is None:
        return f"{network}, dense"
    return f"{network}, {record.structure.value} {numbers.sparsity(record.sparsity.declared)}"


PAGE = Page(
    path="results.md",
    title="All results",
    description="Every evaluation record of the benchmark in one table that can be sorted, filtered and searched.",
    context=context,
    own=("results.css", "results.js"),
)
