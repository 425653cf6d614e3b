"""Methods side by side: one column per method, one row per fact or setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apsite.comparable import Judge, Lead, Setting, by_setting
from apsite.entries import Entry
from apsite.records import EvaluationRecord
from apsite.site.page import Page, SiteFacts
from apsite.site.tables import methods
from apsite.vocabulary import Dataset, Structure

FIRST = 3
"""Methods that the page shows at first."""
NOT_SAID = "not specified"


@dataclass(frozen=True)
class FactRow:
    """A fact about every method, in the order of the columns."""

    title: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class ResultRow:
    """The record of every method in one setting; ``None`` where it has none.

    Attributes:
        title: Network and sparsity.
        records: In the order of the columns.
        tied: For each of them the methods that are not separated from it.
    """

    title: str
    records: tuple[EvaluationRecord | None, ...]
    tied: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Group:
    """Rows below one heading."""

    title: str
    rows: tuple[FactRow, ...] = ()
    results: tuple[ResultRow, ...] = ()


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page: a table of all methods, of which a script shows the chosen ones."""
    columns = methods.in_order(facts.catalogue)
    return {"columns": columns, "groups": groups(facts.judge, columns), "first": first_choice(facts.leads, columns)}


def groups(judge: Judge, columns: Sequence[Entry]) -> list[Group]:
    """Rows of the page: facts first, then the settings of each dataset and structure in which a model ranks.

    Args:
        judge: Says who is tied.
        columns: Methods and baselines to show.
    """
    return [
        Group("Method", _facts(columns)),
        Group("Evaluation in its paper", _audits(columns)),
        *_results(judge, columns),
    ]


def first_choice(leads: Mapping[Setting, Lead], columns: Sequence[Entry]) -> list[str]:
    """Keys of the methods that lead most settings, the first of `columns` where none leads."""
    known = [entry.key for entry in columns]
    most = [key for key, _ in Counter(lead.record.method for lead in leads.values()).most_common() if key in known]
    return [*most, *(key for key in known if key not in most)][:FIRST]


def _facts(columns: Sequence[Entry]) -> tuple[FactRow, ...]:
    def row(title: str, *cells: str) -> FactRow:
        return FactRow(title, cells)

    return (
        row("Paper", *(f"{entry.paper.venue} {entry.paper.year}" for entry in columns)),
        row("Prunes", *(f"{entry.pipeline.stage.value} training" for entry in columns)),
        row("Schedule", *(_words(entry.pipeline.schedule) for entry in columns)),
        row("Structure", *(_words(entry.specifics.structure) for entry in columns)),
        row("Unit removed", *(_words(entry.specifics.granularity) for entry in columns)),
        row("Locality", *(_words(entry.specifics.locality) for entry in columns)),
        row(
            "Criterion",
            *(f"{entry.specifics.criterion.label} ({entry.specifics.criterion.value})" for entry in columns),
        ),
    )


def _audits(columns: Sequence[Entry]) -> tuple[FactRow, ...]:
    def answers(name: str) -> tuple[str, ...]:
        found: list[bool | None] = [getattr(entry.audit, name) if entry.audit else None for entry in columns]
        return tuple(NOT_SAID if value is None else "yes" if value else "no" for value in found)

    return (
        FactRow("AutoAttack", answers("autoattack")),
        FactRow("PGD with more than 10 iterations", answers("pgd_over_10_iterations")),
        FactRow("Several ε", answers("robustness_curve")),
    )


def _results(judge: Judge, columns: Sequence[Entry]) -> list[Group]:
    found = by_setting(judge.catalogue, baselines=True)

    def row(setting: Setting) -> ResultRow:
        by_method = {record.method: record for record in found[setting]}
        records = tuple(by_method.get(entry.key) for entry in columns)
        tied = tuple(_tied(judge, record, found[setting]) if record else () for record in records)
        return ResultRow(f"{setting.architecture.label}, {setting.percent} %", records, tied)

    parts = []
    for dataset in Dataset:
        for structure in Structure:
            settings = [setting for setting in found if (setting.dataset, setting.structure) == (dataset, structure)]
            if settings:
                parts.append(Group(f"{dataset.label}, {structure.value}", results=tuple(map(row, settings))))
    return parts


def _tied(judge: Judge, record: EvaluationRecord, others: Sequence[EvaluationRecord]) -> tuple[str, ...]:
    """Methods whose models are tied with one of the same setting."""
    found = ((other, judge.between(record, other)) for other in others if other is not record)
    return tuple(other.method for other, separation in found if separation is not None and not separation.separated)


def _words(words: Sequence[str] | None) -> str:
    return ", ".join(str(word) for word in words) if words else NOT_SAID


PAGE = Page(
    path="compare.md",
    title="Compare",
    description="Adversarial pruning methods side by side: their properties and their results in the same settings.",
    context=context,
)
