"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from apsite.catalogue import Catalogue
from apsite.cli.options import new_table
from apsite.comparable import Judge, Separation, Standings, leader_count, leaders
from apsite.entries import Entry
from apsite.metrics import wilson_interval
from apsite.numbers import MISSING, percent
from apsite.protocol import APB_1_ATTACKS
from apsite.records import EvaluationRecord
from apsite.vocabulary import Architecture, Attack, Criterion, Dataset, Structure


def leaderboard_tables(
    catalogue: Catalogue, dataset: str | None = None, architecture: str | None = None, structure: str | None = None
) -> list[Table]:
    """One table per dataset, structure and network: methods by sparsities, with ranks, and leaders marked."""
    groups: dict[tuple[Dataset, Structure, Architecture], dict[int, Standings]] = {}
    for setting, standings in Judge(catalogue).settings.items():
        group = setting.dataset, setting.structure, setting.architecture
        if all(wanted in (None, has) for wanted, has in zip((dataset, structure, architecture), group, strict=True)):
            groups.setdefault(group, {})[setting.percent] = standings
    return [_leaderboard(catalogue, *group, groups[group]) for group in sorted(groups)]


def _leaderboard(
    catalogue: Catalogue, dataset: Dataset, structure: Structure, network: Architecture, columns: dict[int, Standings]
) -> Table:
    title = f"{dataset.label}, {structure.value} pruning, {network.label}"
    table = new_table(title, "Method", *(f">{percentage} %" for percentage in sorted(columns)))
    table.caption = "clean / AutoAttack, %, and rank; ★ leads by AutoAttack"
    best: dict[str, float] = {}
    cells: dict[tuple[str, int], Text] = {}
    for percentage, standings in columns.items():
        marked = leaders((model.record for model in standings.models), leader_count(structure))
        for model in standings.models:
            record, leads = model.record, model.key in marked
            best[record.method] = max(best.get(record.method, 0.0), model.share)
            text = f"{percent(record.results.clean_accuracy)} / {percent(model.share)} {standings.ranks[model.key]:>2}"
            cells[record.method, percentage] = Text(f"★ {text}" if leads else text, style="bold" if leads else "")
    for method in sorted(best, key=lambda method: (-best[method], method)):
        row = (cells.get((method, percentage), Text(MISSING)) for percentage in sorted(columns))
        table.add_row(Text(catalogue.entries[method].name), *row)
    return table


def method_report(catalogue: Catalogue, entry: Entry) -> Iterable[Table | Text]:
    """What is known about one method: its description, then its results."""
    pipeline, specifics = entry.pipeline, entry.specifics
    steps = (
        f"{step.name}: {'not specified' if step.objectives is None else ', '.join(step.objectives) or 'none'}"
        for step in pipeline.steps
    )
    lines = [
        f"{entry.name} ({entry.key})",
        f"  {entry.paper.title}. {entry.paper.venue} {entry.paper.year}.",
        f"  paper: {entry.paper.url or 'no URL known'}",
        f"  prunes {pipeline.stage.value} training; " + "; ".join(steps),
        f"  structure: {', '.join(specifics.structure)}; "
        f"locality: {', '.join(specifics.locality or ('not specified',))}; "
        f"criterion: {_criterion(specifics.criterion)}",
        f"  code: {entry.code_url or 'none known'}",
    ]
    yield Text("\n".join(lines))
    records = catalogue.records_of(entry.key)
    yield _results(records, Judge(catalogue).ranks) if records else Text("Results: none")
    happened = list(_happened(catalogue, entry))
    if happened:
        yield Text("\n".join(["Changes", *happened]))


def _criterion(word: Criterion | None) -> str:
    return "not specified" if word is None else f"{word} ({word.label.lower()})" if word.registered else word.value


def _results(records: Sequence[EvaluationRecord], ranks: Mapping[str, int]) -> Table:
    """Every result of a method, a row each, narrow enough for 80 columns."""
    columns = ("Model", ">Pruned", ">Clean", ">AutoAttack", ">HO-FMN", ">Joint", "Source")
    table = new_table("Results (%)", *columns, show_edge=False, pad_edge=False)
    for record in records:
        clean, robust, *others = record.results.accuracies
        rank = f" ({ranks[record.model_key]})" if record.model_key in ranks else ""
        pruned = f"{record.structure.code} {record.sparsity.declared * 100:.0f} %" if record.structure else "dense"
        source = f"{record.provenance.kind.value}{'' if record.protocol.ranks else '*'}"
        setting, shares = f"{record.dataset.label} {record.architecture.label}", map(percent, others)
        table.add_row(setting, pruned, percent(clean), percent(robust) + rank, *shares, source)
    table.caption = "US: unstructured, S: structured; the sparsity is the declared one; in brackets: the rank"
    if not all(record.protocol.ranks for record in records):
        table.caption += "\n* reduced run, not ranked"
    return table


def _happened(catalogue: Catalogue, entry: Entry) -> Iterable[str]:
    """A line for each correction, dispute, retraction and replacement of a method and its models, by date."""
    lines = [(change.date, change.kind.label, entry.name, change.reason) for change in entry.changes]
    for key in dict.fromkeys([*catalogue.records, *catalogue.retracted, *catalogue.superseded]):
        for record in catalogue.versions(key):
            if record.method == entry.key:
                lines += [(change.date, change.kind.label, key, change.reason) for change in record.changes]
    for date, kind, name, reason in sorted(lines, key=lambda line: line[0]):  # of one day: as they are listed
        yield f"  {date}  {kind}: {name}: {reason}"


def result_table(record: EvaluationRecord) -> Table:
    """Summary of one evaluation: counts, shares and 95 % intervals."""
    title = f"{record.model_key}: {record.results.n_samples or 1:,} samples, l-inf {record.threat_model.epsilon}"
    table = new_table(title, "", ">robust", ">%", ">95 % interval")
    for name, share, n in _shares(record):
        count = round(share * n)
        low, high = wilson_interval(count, n)
        table.add_row(Text(name), f"{count:,}", percent(share), f"{percent(low)} – {percent(high)}")
    if record.warnings:
        table.caption = Text("\n".join(f"! {warning.message}" for warning in record.warnings), justify="left")
    return table


def baselines_table(
    record: EvaluationRecord, found: Iterable[tuple[EvaluationRecord, Separation | None]], catalogue: Catalogue
) -> Table:
    """A model and the baselines of its setting, with what :meth:`apsite.comparable.Judge.baselines` found."""
    columns = ("Baseline", ">robust %", ">difference", ">images in common", ">McNemar p")
    table = new_table("Baselines at the same setting (AutoAttack)", *columns)
    for other, separation in found:
        test = separation.test if separation else None
        robust = test.second / test.n_samples if test else other.robust_accuracy
        cells = [MISSING, f"{test.n_samples:,}" if test else "none", MISSING]
        if separation is not None:
            difference = test.difference if test else (record.robust_accuracy or 0) - (other.robust_accuracy or 0)
            shown = MISSING if separation.p_value is None else f"{separation.p_value:.2g}"
            cells = [f"{100 * difference:+.2f}", cells[1], shown if separation.separated else f"{shown} (tied)"]
        table.add_row(Text(catalogue.entries[other.method].name), percent(robust), *cells)
    table.caption = Text(
        "A positive difference favours this model. Without images in common, only whole test sets are compared. "
        "P-values are adjusted for all models of the setting.",
        justify="left",
    )
    return table


def _shares(record: EvaluationRecord) -> Iterable[tuple[str, float, int]]:
    """Name, share, and how many samples it is a share of."""
    results = record.results
    n, others = results.n_samples or 1, record.hofmn_samples or 1
    left_out = f", {n - others:,} searched samples left out" if n != others else ""
    if results.clean_accuracy is not None:
        yield "clean (no attack)", results.clean_accuracy, n
    for attack, count in results.stages.items():
        if attack is not Attack.SQUARE:
            yield f"  after {attack.label}", count.robust_after / n, n
    for name, share, counted in (
        ("AutoAttack", results.aa_robust_accuracy, n),
        (f"HO-FMN{left_out}", results.hofmn_robust_accuracy, others),
        ("joint (both attacks)", results.joint_robust_accuracy, others),
    ):
        if share is not None:
            yield name, share, counted
    for result in results.attacks:
        if result.attack not in APB_1_ATTACKS:
            yield result.attack.label, result.robust_accuracy, n
