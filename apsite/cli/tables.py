"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from apsite.catalogue import Catalogue
from apsite.cli.options import new_table
from apsite.comparable import Judge, Separation, Standings, leader_count, leaders, unranked
from apsite.entries import Entry
from apsite.metrics import wilson_interval
from apsite.numbers import MISSING, percent
from apsite.progress import duration
from apsite.protocol import APB_1_ATTACKS
from apsite.records import EvaluationRecord
from apsite.vocabulary import Architecture, Attack, Criterion, Dataset, Structure

if TYPE_CHECKING:
    from apsite.evaluation.runs.planning import Plan


@dataclass(frozen=True)
class Fitting:
    """One of several tables with the same content: the first that is not wider than the terminal, or the last."""

    variants: Sequence[Table]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unlimited = options.update_width(1_000)
        fits = (one for one in self.variants if Measurement.get(console, unlimited, one).maximum <= options.max_width)
        yield next(fits, self.variants[-1])


def leaderboard_tables(
    catalogue: Catalogue, dataset: str | None = None, architecture: str | None = None, structure: str | None = None
) -> list[Fitting]:
    """One table per dataset, structure and network: methods by sparsities, with ranks, and leaders marked."""
    groups: dict[tuple[Dataset, Structure, Architecture], dict[float, Standings]] = {}
    for setting, standings in Judge(catalogue).settings.items():
        group = setting.dataset, setting.structure, setting.architecture
        if all(wanted in (None, has) for wanted, has in zip((dataset, structure, architecture), group, strict=True)):
            groups.setdefault(group, {})[setting.percent] = standings
    return [_leaderboard(catalogue, *group, groups[group]) for group in sorted(groups)]


def _leaderboard(
    catalogue: Catalogue, dataset: Dataset, structure: Structure, network: Architecture, columns: dict[float, Standings]
) -> Fitting:
    """In full, without clean accuracy, and with a row for each result."""
    title = f"{dataset.label}, {structure.value} pruning, {network.label}"
    wide, narrow = (new_table(title, "Method", *(f">{percentage} %" for percentage in sorted(columns))) for _ in "12")
    rows = new_table(title, "Method", ">Pruned", ">AutoAttack")
    wide.caption = "clean / AutoAttack, %, and rank; ★ leads by AutoAttack"
    narrow.caption = rows.caption = "AutoAttack, %, and rank; ★ leads"
    best: dict[str, float] = {}
    cells: dict[tuple[str, float], tuple[Text, Text]] = {}
    for percentage, standings in columns.items():
        marked = leaders((model.record for model in standings.models), leader_count(structure))
        for model in standings.models:
            record, leads = model.record, model.key in marked
            best[record.method] = max(best.get(record.method, 0.0), model.share)
            robust = f"{percent(model.share)} {standings.ranks[model.key]:>2}"
            full, short = (
                Text(f"★ {text}" if leads else text, style="bold" if leads else "")
                for text in (f"{percent(record.results.overall_clean_accuracy)} / {robust}", robust)
            )
            cells[record.method, percentage] = full, short
    for method in sorted(best, key=lambda method: (-best[method], method)):
        name, none = Text(catalogue.entries[method].name), (Text(MISSING), Text(MISSING))
        found = {percentage: cells.get((method, percentage), none) for percentage in sorted(columns)}
        wide.add_row(name, *(full for full, _ in found.values()))
        narrow.add_row(name, *(short for _, short in found.values()))
        for percentage, (_, short) in found.items():
            if short is not none[1]:
                rows.add_row(name, f"{percentage} %", short)
    return Fitting((wide, narrow, rows))


def method_report(catalogue: Catalogue, entry: Entry) -> Iterable[Fitting | Text]:
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


def _results(records: Sequence[EvaluationRecord], ranks: Mapping[str, int]) -> Fitting:
    """Every result of a method, a row each: in full, narrow enough for 80 columns, or by AutoAttack alone."""
    columns = ("Model", ">Pruned", ">Clean", ">AutoAttack", ">HO-FMN", ">Joint", "Source")
    table = new_table("Results (%)", *columns, show_edge=False, pad_edge=False)
    narrow = new_table("Results (%)", "Model", ">Pruned", ">AutoAttack", show_edge=False, pad_edge=False)
    for record in records:
        clean, robust, *others = record.results.accuracies
        rank = f" ({ranks[record.model_key]})" if record.model_key in ranks else ""
        pruned = f"{record.structure.code} {record.key.percent} %" if record.structure else "dense"
        apart = "*" if unranked(record) else ""
        source = f"{record.provenance.kind.value}{apart}"
        other = "" if record.epsilon == record.dataset.epsilon else f", ε = {record.epsilon}"
        setting, shares = f"{record.dataset.label} {record.architecture.label}{other}", map(percent, others)
        table.add_row(setting, pruned, percent(clean), percent(robust) + rank, *shares, source)
        narrow.add_row(setting, pruned, percent(robust) + rank + apart)
    codes = "US: unstructured, S: structured, SS: semi-structured"
    table.caption = f"{codes}; the sparsity is the declared one; in brackets: the rank"
    reasons = dict.fromkeys(why for record in records for why in unranked(record))
    if reasons:
        table.caption += f"\n* not ranked: {', '.join(reasons)}"
    narrow.caption = table.caption
    return Fitting((table, narrow))


def _happened(catalogue: Catalogue, entry: Entry) -> Iterable[str]:
    """A line for each correction, dispute, retraction and replacement of a method and its models, by date."""
    lines = [(change.date, change.kind.label, entry.name, change.reason) for change in entry.changes]
    for key in dict.fromkeys([*catalogue.records, *catalogue.retracted, *catalogue.superseded]):
        for record in catalogue.versions(key):
            if record.method == entry.key:
                lines += [(change.date, change.kind.label, key, change.reason) for change in record.changes]
    for date, kind, name, reason in sorted(lines, key=lambda line: line[0]):  # of one day: as they are listed
        yield f"  {date}  {kind}: {name}: {reason}"


def plan_table(plan: Plan) -> Table:
    """What each phase of an evaluation takes, and what the times follow from."""
    from apsite.evaluation.runs.planning import LIKELY

    title = f"{plan.samples:,} samples, of which about {plan.correct:,} are classified correctly"
    table = new_table(title, "Phase", ">Passes, at most", ">Time", ">At most")
    for phase, passes in plan.passes.items():
        table.add_row(phase, f"{passes:,.0f}", duration(plan.likely(phase)), duration(plan.at_most(phase)))
    table.add_section()
    times = duration(plan.total(plan.likely)), duration(plan.total(plan.at_most))
    table.add_row("all", f"{sum(plan.passes.values()):,.0f}", *times)
    forward, gradient = 1 / plan.speed.forward, 1 / plan.speed.gradient
    shared = "" if plan.workers == 1 else f" by each of {plan.workers} workers"
    table.caption = (
        f"Measured: {forward:,.0f} images a second forward, {gradient:,.0f} with gradient{shared}; "
        f"{plan.memory / 2**30:.1f} GiB in use.\nTime is for {LIKELY:.0%} of the correct samples staying robust, the "
        "limit for all of them."
    )
    return table


def result_table(record: EvaluationRecord) -> Table:
    """Summary of one evaluation: counts, shares and 95 % intervals."""
    title = f"{record.model_key}: {record.results.n_samples or 1:,} samples, l-inf {record.threat_model.epsilon}"
    table = new_table(title, "", ">robust", ">%", ">95 % interval")
    for name, share, n in _shares(record):
        count = round(share * n)
        low, high = wilson_interval(count, n)
        table.add_row(Text(name), f"{count:,}", percent(share), f"{percent(low)} – {percent(high)}")
    lines = [f"! {warning.message}" for warning in record.warnings]
    if record.audit is not None and record.audit.pattern is not None:
        follow = f"in layers with {record.audit.pattern_share:.2%} of the weights"
        lines.insert(0, f"Pattern {record.audit.pattern}, measured {follow}; shown, not ranked")
    if lines:
        table.caption = Text("\n".join(lines), justify="left")
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
    if results.whole_set is not None:
        yield "  on the whole test set", results.whole_set.clean_accuracy, results.whole_set.n_samples
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
