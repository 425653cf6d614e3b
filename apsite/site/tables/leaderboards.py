"""The leaderboards as tables of rows and columns. Pure functions of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from apsite.catalogue import Catalogue
from apsite.comparable import (
    Bounds,
    Judge,
    Lead,
    Setting,
    leader_count,
    leaders,
    rankable,
    robust_bounds,
    setting_of,
    unranked,
)
from apsite.entries import Entry
from apsite.records import EvaluationRecord
from apsite.site.tables.methods import stage_order
from apsite.site.tables.parts import Part, parts
from apsite.vocabulary import Architecture, Dataset, ProvenanceKind, Structure

NETWORKS = (Architecture.RESNET18, Architecture.VGG16)
"""Networks of the survey's leaderboards; others have columns where results of them rank."""
DATASETS = tuple(dataset for dataset in Dataset if dataset is not Dataset.IMAGENET)
"""All but ImageNet, which has a separate leaderboard with other networks and sparsities."""


WHOLE = 100
"""Rows up to which the page of leaderboards has every row."""
FIRST = 40
"""Rows that a longer one has, shared by its tables; each has at least five."""
PART = 50
"""Rows of a page of one leaderboard; one with more has several pages."""


@dataclass(frozen=True)
class Cell:
    """One model in a leaderboard; `record` is ``None`` where there is no result."""

    record: EvaluationRecord | None
    leads: bool


@dataclass(frozen=True)
class Row:
    """One method in a leaderboard, a cell for each column."""

    entry: Entry
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Leaderboard:
    """Methods by networks and sparsities, for one dataset and structure."""

    identity: str  # name for URLs, such as `cifar10-unstructured`
    dataset: Dataset
    structure: Structure
    networks: tuple[Architecture, ...]  # each with all sparsities
    percents: tuple[int, ...]  # sparsities
    rows: tuple[Row, ...]
    marked: int  # how many leaders each column marks
    shown: int  # how many of the rows the page of all leaderboards has

    @property
    def parts(self) -> list[Part[Row]]:
        """Its pages; none where the page of all leaderboards has every row."""
        return parts(self.identity, self.rows, PART) if self.shown < len(self.rows) else []

    @property
    def missing(self) -> list[Entry]:
        """Methods with at least one empty cell, of the rows that the page of all leaderboards has."""
        return [row.entry for row in self.rows[: self.shown] if any(cell.record is None for cell in row.cells)]


@dataclass(frozen=True)
class Grid:
    """Records in rows and columns; a cell is ``None`` where there is no record."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, tuple[EvaluationRecord | None, ...]], ...]


@dataclass(frozen=True)
class RankedResult:
    """A record with what ranks it. `rank` is ``None`` for records that do not rank, dense ones and baselines."""

    record: EvaluationRecord
    entry: Entry
    rank: int | None
    bounds: Bounds | None
    area: float | None


def leaderboards(catalogue: Catalogue) -> list[Leaderboard]:
    """Leaderboards of each dataset, unstructured and structured: those of the survey's Tables 3 to 6 come first."""
    found = [
        leaderboard(catalogue, dataset, structure, _networks(catalogue, dataset, structure))
        for dataset in DATASETS
        for structure in Structure
        if structure.sparsities
    ]
    if sum(len(board.rows) for board in found) <= WHOLE:
        return found
    most = max(5, FIRST // sum(bool(board.rows) for board in found))
    return [replace(board, shown=min(most, len(board.rows))) for board in found]


def _networks(catalogue: Catalogue, dataset: Dataset, structure: Structure) -> tuple[Architecture, ...]:
    """Networks with a ranking result on a dataset; both of the survey's where one of these has any, or none has."""
    found = {
        record.architecture
        for record in catalogue.records.values()
        if (record.dataset, record.structure) == (dataset, structure) and _ranks(catalogue, record)
        if not record.architecture.small
    }
    survey = NETWORKS if found & set(NETWORKS) or not found else ()
    return (*survey, *sorted(found - set(survey)))


def _ranks(catalogue: Catalogue, record: EvaluationRecord) -> bool:
    """Whether a record has a place in a leaderboard."""
    return setting_of(record) is not None and rankable(record) and not catalogue.entries[record.method].baseline


def leaderboard(
    catalogue: Catalogue, dataset: Dataset, structure: Structure, networks: tuple[Architecture, ...]
) -> Leaderboard:
    """Leaderboard of one dataset and structure.

    A method has a row if the benchmark ranks any model of it with this structure on one of `networks`, on whatever
    dataset, so that a dash says "evaluated elsewhere, not here" instead of hiding the method.
    """
    found: dict[tuple[str, Setting], EvaluationRecord] = {}
    methods: set[str] = set()
    for record in catalogue.records.values():
        setting = setting_of(record)
        if setting is None or not _ranks(catalogue, record):
            continue
        if setting.structure is structure and setting.architecture in networks:
            methods.add(record.method)
            found[record.method, setting] = record
    percents = tuple(round(100 * sparsity) for sparsity in structure.sparsities)
    columns = [Setting(dataset, network, structure, percent) for network in networks for percent in percents]
    marked = leader_count(structure)
    bold = {
        key
        for column in columns
        for key in leaders([record for (_, setting), record in found.items() if setting == column], marked)
    }
    best = {column: max((r.robust_accuracy or 0.0 for (_, s), r in found.items() if s == column), default=0.0)
            for column in columns}  # fmt: skip
    order = {key: _most_leads_first(key, found, best) for key in methods}
    rows = tuple(
        Row(
            entry,
            tuple(
                Cell(record, record is not None and record.model_key in bold)
                for record in (found.get((entry.key, column)) for column in columns)
            ),
        )
        for entry in sorted((catalogue.entries[key] for key in methods), key=lambda entry: order[entry.key])
    )
    if not any(cell.record for row in rows for cell in row.cells):
        rows = ()
    return Leaderboard(
        f"{dataset.value}-{structure.value}", dataset, structure, networks, percents, rows, marked, len(rows)
    )


def _most_leads_first(
    method: str, found: Mapping[tuple[str, Setting], EvaluationRecord], best: Mapping[Setting, float]
) -> tuple[int, float, str]:
    """Where a method is in a leaderboard: by its leads, then by its mean distance from the `best` of each column."""
    gaps = [
        limit - (found[method, one].robust_accuracy or 0.0) for one, limit in best.items() if (method, one) in found
    ]
    return -gaps.count(0.0), fmean(gaps) if gaps else 1.0, method


def dense(catalogue: Catalogue) -> list[EvaluationRecord]:
    """Records of dense pretrained networks; reduced runs and those at another ε are not compared with them."""
    return [record for record in catalogue.records.values() if record.structure is None and not unranked(record)]


def baselines(catalogue: Catalogue) -> list[EvaluationRecord]:
    """Records of baselines, which do not rank."""
    return [
        record
        for record in catalogue.records.values()
        if catalogue.entries[record.method].baseline and record.structure is not None and record.protocol.ranks
    ]


def reduced(catalogue: Catalogue) -> list[EvaluationRecord]:
    """Records of reduced or changed runs, which never rank."""
    return [record for record in catalogue.records.values() if not record.protocol.ranks]


def ranked_results(judge: Judge, areas: Mapping[str, float]) -> list[RankedResult]:
    """Every record once, grouped by setting and most robust first; `areas` under curves are by model key."""
    return [
        RankedResult(
            record,
            judge.catalogue.entries[record.method],
            judge.ranks.get(record.model_key),
            robust_bounds(record),
            areas.get(record.model_key),
        )
        for record in sorted(judge.catalogue.records.values(), key=_result_order)
    ]


def lead_of(found: dict[Setting, Lead], board: Leaderboard, network: Architecture, percent: int) -> Lead | None:
    """Leader of one column of a leaderboard; ``None`` where nothing ranks."""
    return found.get(Setting(board.dataset, network, board.structure, percent))


def missing_reasons(board: Leaderboard) -> list[tuple[Entry, list[str]]]:
    """Methods with dashes, each with the notes of its entry that say why: those that name the dataset or a gap."""
    return [
        (entry, [note for note in entry.notes if "no value" in note or "could not" in note]) for entry in board.missing
    ]


def board_warnings(board: Leaderboard) -> list[str]:
    """Warnings of the records of a leaderboard, each once."""
    records = (cell.record for row in board.rows for cell in row.cells if cell.record is not None)
    return list(dict.fromkeys(warning.message for record in records for warning in record.warnings))


def choices(catalogue: Catalogue) -> dict[str, list[tuple[str, str]]]:
    """Facets of the table of all records: pairs of word and title, of what occurs."""
    records = list(catalogue.records.values())
    structures = {record.structure for record in records}
    percents = sorted({record.key.percent or 0 for record in records})
    return {
        "dataset": [(d.value, d.label) for d in Dataset if any(r.dataset is d for r in records)],
        "architecture": [(a.value, a.label) for a in sorted({r.architecture for r in records})],
        "structure": [
            *((s.value, s.value) for s in Structure if s in structures),
            *([("dense", "dense")] if None in structures else []),
        ],
        "percent": [(str(p), f"{p} %") if p else ("dense", "dense") for p in percents],
        "provenance": [(k.value, k.value) for k in ProvenanceKind if any(r.provenance.kind is k for r in records)],
    }


def dense_grid(catalogue: Catalogue) -> Grid:
    """Dense pretrained networks (survey, Table 7): methods by dataset and network."""
    shown = [r for r in dense(catalogue) if r.dataset in DATASETS and r.architecture in NETWORKS]
    found = {(r.method, r.dataset, r.architecture): r for r in shown}
    there = {key[1:] for key in found}
    columns = {f"{d.label} {n.label}": (d, n) for d in DATASETS for n in NETWORKS if (d, n) in there}
    return _grid(catalogue, columns, found)


def baseline_grid(catalogue: Catalogue) -> Grid:
    """Baselines (survey, Table 8): criteria by network and sparsity, on CIFAR-10."""
    percents = [round(100 * sparsity) for sparsity in Structure.UNSTRUCTURED.sparsities]
    columns = {f"{network.label} {percent} %": (network, percent) for network in NETWORKS for percent in percents}
    found = {
        (r.method, r.architecture, r.key.percent): r
        for r in baselines(catalogue)
        if r.dataset is Dataset.CIFAR10 and r.structure is Structure.UNSTRUCTURED
    }
    return _grid(catalogue, columns, found)


def _grid(
    catalogue: Catalogue, columns: Mapping[str, tuple[object, ...]], found: Mapping[Any, EvaluationRecord]
) -> Grid:
    """Grid of records by method and column, of all methods that have one; `columns` are by title."""
    keys = {method for method, *_ in found}
    return Grid(
        tuple(columns),
        tuple(
            (entry, tuple(found.get((entry.key, *column)) for column in columns.values()))
            for entry in sorted((catalogue.entries[key] for key in keys), key=stage_order)
        ),
    )


def imagenet_board(catalogue: Catalogue) -> Leaderboard | None:
    """ImageNet results (survey, Table 10) as a leaderboard; ``None`` where there are none."""
    networks = _networks(catalogue, Dataset.IMAGENET, Structure.UNSTRUCTURED)
    board = leaderboard(catalogue, Dataset.IMAGENET, Structure.UNSTRUCTURED, networks)
    return board if board.rows else None


def _result_order(record: EvaluationRecord) -> tuple[object, ...]:
    key = record.key
    order = key.dataset, key.architecture, key.structure is None, key.structure, key.percent or 0
    return *order, -(record.robust_accuracy or 0.0), record.model_key
