"""Methods side by side: one column each, one row a fact or a setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apsite.catalogue import Catalogue
from apsite.entries import Entry
from apsite.intervals import Field, Lead, field_of
from apsite.leaderboard import Setting, rankable, setting_of
from apsite.records import EvaluationRecord
from apsite.samples import Samples
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
    return {
        "columns": columns,
        "groups": groups(facts.catalogue, columns, facts.fields, facts.verdicts),
        "first": first_choice(facts.leads, columns),
    }


def groups(
    catalogue: Catalogue, columns: Sequence[Entry], fields: Mapping[Setting, Field], verdicts: Mapping[str, Samples]
) -> list[Group]:
    """Rows of the page: facts first, then the settings of each dataset and structure in which a model ranks.

    Args:
        catalogue: Entries and records.
        columns: Methods and baselines to show.
        fields: What separates the methods of each setting.
        verdicts: Per-sample results by model key, for pairs with a baseline, which no field has.
    """
    return [
        Group("Method", _facts(columns)),
        Group("Evaluation in its paper", _audits(columns)),
        *_results(catalogue, columns, fields, verdicts),
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
        FactRow("Several budgets", answers("robustness_curve")),
    )


def _results(
    catalogue: Catalogue, columns: Sequence[Entry], fields: Mapping[Setting, Field], verdicts: Mapping[str, Samples]
) -> list[Group]:
    found: dict[Setting, dict[str, EvaluationRecord]] = {}
    for record in catalogue.records.values():
        setting = setting_of(record)
        if setting is not None and rankable(record):
            found.setdefault(setting, {})[record.method] = record

    def row(setting: Setting) -> ResultRow:
        ties = _ties(tuple(found[setting].values()), fields.get(setting), verdicts)
        records = tuple(found[setting].get(entry.key) for entry in columns)
        return ResultRow(
            f"{setting.architecture.label}, {setting.percent} %",
            records,
            tuple(ties.get(record.method, ()) if record else () for record in records),
        )

    parts = []
    for dataset in Dataset:
        for structure in Structure:
            settings = sorted(s for s in found if s.dataset is dataset and s.structure is structure)
            if settings:
                parts.append(Group(f"{dataset.label}, {structure.value}", results=tuple(map(row, settings))))
    return parts


def _ties(
    records: Sequence[EvaluationRecord], field: Field | None, verdicts: Mapping[str, Samples]
) -> dict[str, tuple[str, ...]]:
    """For each method of a setting those that nothing separates from it: among methods as the leaderboard has it."""
    method_of = {record.model_key: record.method for record in records}
    separations = dict(field.separations) if field is not None else {}
    if field is None or len(field.ranked) < len(records):  # baselines have no rank, and are compared here
        separations = {**field_of(records, verdicts).separations, **separations}
    ties: dict[str, list[str]] = {}
    for (above, below), separation in separations.items():
        if not separation.separated:
            ties.setdefault(method_of[above], []).append(method_of[below])
            ties.setdefault(method_of[below], []).append(method_of[above])
    return {method: tuple(others) for method, others in ties.items()}


def _words(words: Sequence[str] | None) -> str:
    return ", ".join(str(word) for word in words) if words else NOT_SAID


PAGE = Page(
    path="compare.md",
    title="Compare",
    description="Adversarial pruning methods side by side: what they are and how they fare in the same settings.",
    context=context,
)
