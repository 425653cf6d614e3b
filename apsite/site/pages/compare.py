"""Methods side by side: one column per method, one row per fact or setting.

The page holds the columns that it shows at first; each other column is a file that it loads when it is asked for.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsite import numbers
from apsite.comparable import Judge, Lead, Setting, by_setting, doubtful, robust_bounds
from apsite.entries import Entry
from apsite.records import EvaluationRecord
from apsite.site.page import Page, SiteFacts
from apsite.site.tables import methods
from apsite.vocabulary import Criterion, Dataset, Structure

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
    """The record of every method in one setting; ``None`` where it has none."""

    title: str  # network and sparsity
    records: tuple[EvaluationRecord | None, ...]  # in the order of the columns
    tied: tuple[tuple[int, ...], ...]  # for each of them the places of the columns that are not separated from it


@dataclass(frozen=True)
class Group:
    """Rows below one heading."""

    title: str
    rows: tuple[FactRow, ...] = ()
    results: tuple[ResultRow, ...] = ()


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page: all rows, the methods that it shows at first, and those that can be chosen."""
    columns = methods.in_order(facts.catalogue)
    first = first_choice(facts.leads, columns)
    return {
        "columns": columns,
        "groups": groups(facts.judge, columns),
        "first": first,
        "shown": [place for place, entry in enumerate(columns) if entry.key in first],
    }


def column(listed: Sequence[Group], entry: Entry, place: int) -> dict[str, Any]:
    """What the file of a column holds: the head of a method, and its cells in the order of all rows.

    `place` is that of the method among all columns. A cell is a text, a result, or ``None`` for none.
    """

    def result(record: EvaluationRecord | None, tied: Sequence[int]) -> dict[str, Any] | None:
        if record is None:
            return None
        kind, source = record.provenance.kind.value, record.provenance.source
        return {
            "key": record.model_key,
            "clean": record.results.clean_accuracy,
            "robust": record.robust_accuracy,
            "interval": numbers.interval(robust_bounds(record)) + ("‡" if doubtful(record) else ""),
            "kind": kind,
            "title": ", ".join(filter(None, (f"{kind}: {source}", record.provenance.location))),
            "caution": " ".join(warning.message for warning in record.warnings),
            "tied": list(tied),
        }

    stage = entry.pipeline.stage
    return {
        "key": entry.key,
        "name": entry.name,
        "stage": [stage.code, f"pruning {stage.value} training"],
        "place": place,
        "cells": [
            cell
            for group in listed
            for cell in (
                *(row.cells[place] for row in group.rows),
                *(result(row.records[place], row.tied[place]) for row in group.results),
            )
        ],
    }


def write_columns(folder: Path, facts: SiteFacts) -> None:
    """Write the column of each method below the pages folder."""
    columns = methods.in_order(facts.catalogue)
    listed = groups(facts.judge, columns)
    target = folder / "data" / "compare"
    target.mkdir(parents=True, exist_ok=True)
    for place, entry in enumerate(columns):
        text = json.dumps(column(listed, entry, place), separators=(",", ":"), allow_nan=False)
        (target / f"{entry.key}.json").write_text(text + "\n", encoding="utf-8")


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
    facts: dict[str, Callable[[Entry], str]] = {
        "Paper": lambda entry: f"{entry.paper.venue} {entry.paper.year}",
        "Prunes": lambda entry: f"{entry.pipeline.stage.value} training",
        "Schedule": lambda entry: _words(entry.pipeline.schedule),
        "Structure": lambda entry: _words(entry.specifics.structure),
        "Unit removed": lambda entry: _words(entry.specifics.granularity),
        "Locality": lambda entry: _words(entry.specifics.locality),
        "Criterion": lambda entry: _criterion(entry.specifics.criterion),
    }
    return tuple(FactRow(title, tuple(map(fact, columns))) for title, fact in facts.items())


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
    places = {entry.key: place for place, entry in enumerate(columns)}

    def row(setting: Setting) -> ResultRow:
        by_method = {record.method: record for record in found[setting]}
        records = tuple(by_method.get(entry.key) for entry in columns)
        tied = tuple(
            tuple(sorted(places[other.method] for other in judge.tied(record) if by_method.get(other.method) is other))
            if record
            else ()
            for record in records
        )
        return ResultRow(f"{setting.architecture.label}, {setting.percent} %", records, tied)

    headed: dict[tuple[Dataset, Structure], list[ResultRow]] = {}
    for setting in found:
        headed.setdefault((setting.dataset, setting.structure), []).append(row(setting))
    return [
        Group(f"{dataset.label}, {structure.value}", results=tuple(headed[dataset, structure]))
        for dataset, structure in itertools.product(Dataset, Structure)
        if (dataset, structure) in headed
    ]


def _criterion(word: Criterion | None) -> str:
    return NOT_SAID if word is None else f"{word.label} ({word.value})" if word.registered else word.value


def _words(words: Sequence[str] | None) -> str:
    return ", ".join(str(word) for word in words) if words else NOT_SAID


PAGE = Page(
    path="compare.md",
    title="Compare",
    description="Adversarial pruning methods side by side: their properties and their results in the same settings.",
    context=context,
    own=("compare.js",),
)
