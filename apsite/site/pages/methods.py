"""One page for each method: what it is, how it fares, and where to get it."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apsite import numbers
from apsite.catalogue import Catalogue
from apsite.documents.changes import open_dispute
from apsite.documents.references import Reference
from apsite.entries import Entry, ReportedResult
from apsite.intervals import Field
from apsite.keys import ModelKey
from apsite.leaderboard import Setting, setting_of
from apsite.pairing import baseline_records, naive_baselines
from apsite.records import EvaluationRecord
from apsite.site.charts import panels
from apsite.site.charts.curves import Curve
from apsite.site.pages import taxonomy
from apsite.site.writer import Page, PageWriter, plain_title


@dataclass(frozen=True)
class Standing:
    """A model against its field; all but `record` are ``None`` where it does not rank.

    Attributes:
        record: The model.
        rank: Its rank.
        field: Models that rank in its setting, itself included.
        best: The most robust of them.
        median: Median robust accuracy of the field.
    """

    record: EvaluationRecord
    rank: int | None
    field: int | None
    best: EvaluationRecord | None
    median: float | None


@dataclass(frozen=True)
class Event:
    """One line of a method's history.

    Attributes:
        date: ISO day.
        subject: What it is about: ``entry``, or a model key.
        kind: What happened, in words.
        reason: Why; empty where nothing more is to be said.
        url: Where it was discussed, or ``None``.
        file: Path of the file as it was, below ``data/``; ``None`` if that is the current one.
    """

    date: str
    subject: str
    kind: str
    reason: str
    url: str | None
    file: str | None


@dataclass(frozen=True)
class Comparison:
    """A robust accuracy that a paper reports, beside the benchmark's at the nearest sparsity that is not higher.

    Attributes:
        reported: As the paper has it.
        measured: The benchmark's record; ``None`` where there is none.
        difference: Reported minus measured, a fraction; ``None`` where nothing was measured.
    """

    reported: ReportedResult
    measured: EvaluationRecord | None
    difference: float | None


def standings(catalogue: Catalogue, method: str, fields: Mapping[Setting, Field]) -> list[Standing]:
    """All records of a method, each with its rank among the models of the same setting."""
    found = []
    for record in catalogue.records_of(method):
        setting = setting_of(record)
        field = fields.get(setting) if setting else None
        rank = field.ranks.get(record.model_key) if field else None
        if field is None or rank is None:
            found.append(Standing(record, None, None, None, None))
            continue
        median = statistics.median(other.robust_accuracy or 0.0 for other in field.ranked)
        found.append(Standing(record, rank, len(field.ranked), field.ranked[0], median))
    return found


def rivals(catalogue: Catalogue, method: str, models: Sequence[Standing]) -> list[Entry]:
    """Methods that lead the settings in which a method ranks, most often first, at most five.

    Args:
        catalogue: Entries.
        method: Key of the method.
        models: Its models against their fields.
    """
    leading = Counter(model.best.method for model in models if model.best is not None and model.best.method != method)
    return [catalogue.entries[key] for key, _ in leading.most_common(5)]


def history(catalogue: Catalogue, entry: Entry) -> list[Event]:
    """What happened to the entry and the records of a method since they were first published, newest first."""
    events = [
        Event(change.date, "entry", change.kind.label, change.reason, change.url, None) for change in entry.changes
    ]
    keys = {key for key in (*catalogue.records, *catalogue.retracted) if ModelKey.parse(key).method == entry.key}
    for key in sorted(keys):
        *replaced, _ = versions = catalogue.versions(key)
        older = {record.version: f"evaluations/{record.history_path.as_posix()}" for record in replaced}
        events += [
            Event(
                change.date,
                key,
                change.kind.label,
                change.reason,
                change.url,
                older.get(change.version) if change.version is not None else None,
            )
            for record in versions
            for change in record.changes
        ]
        events += [
            Event(
                record.verification.date,
                key,
                "Verified",
                f"{numbers.count(record.verification.samples)} samples run again, "
                f"{numbers.percent(record.verification.agreement)} % with the same verdict.",
                None,
                older.get(record.version),
            )
            for record in versions
            if record.verification is not None
        ]
    # Reversed after sorting, so that of two events of one day the later one is first too.
    return sorted(events, key=lambda event: (event.date, event.subject))[::-1]


def comparisons(catalogue: Catalogue, entry: Entry) -> list[Comparison]:
    """What the paper of a method reports against what the benchmark measured."""
    found = []
    for reported in entry.reported:
        fitting = [
            record
            for record in catalogue.records_of(entry.key)
            if record.dataset is reported.dataset
            and record.architecture is reported.architecture
            and record.structure is reported.structure
            and record.robust_accuracy is not None
            and record.protocol.ranks
            and record.sparsity.declared <= reported.sparsity + 1e-9
        ]
        nearest = max(fitting, key=lambda record: record.sparsity.declared, default=None)
        robust = nearest.robust_accuracy if nearest else None
        found.append(Comparison(reported, nearest, None if robust is None else reported.robust_accuracy - robust))
    return found


def audit_sentence(entry: Entry) -> str:
    """How the paper of a method evaluated it, in words; empty where nothing is known."""
    audit = entry.audit
    if audit is None:
        return ""
    attacks = [
        *(["AutoAttack"] if audit.autoattack else []),
        *(["PGD"] if audit.pgd else []),
        *audit.others,
    ]
    tested = f"Its paper tested it with {numbers.words(attacks)}" if attacks else "Its paper names no attack"
    length = {
        True: ", with more than ten iterations of PGD",
        False: ", with at most ten iterations of PGD",
        None: ", and does not say how many iterations of PGD it ran" if audit.pgd else "",
    }[audit.pgd_over_10_iterations]
    budgets = {
        True: ", at several budgets",
        False: ", at one budget",
        None: ", and does not say at how many budgets",
    }[audit.robustness_curve]
    weak = "" if audit.autoattack is not False else " Without AutoAttack, robustness may be overestimated."
    return f"{tested}{length}{budgets}.{weak}"


def method_page(
    writer: PageWriter,
    catalogue: Catalogue,
    references: dict[str, Reference],
    entry: Entry,
    curves: list[Curve],
    fields: Mapping[Setting, Field],
    rankings: Mapping[Setting, list[EvaluationRecord]],
) -> Page:
    """Page of one method: `fields` holds the methods that rank, `rankings` these and the baselines."""
    own = [curve for curve in curves if curve.record.method == entry.key]
    naive = baseline_records(catalogue)
    found = standings(catalogue, entry.key, fields)
    title = plain_title(entry.name, entry.key.partition("_")[0])
    return writer.page(
        "method.md.j2",
        f"methods/{entry.key}.md",
        title,
        f"The adversarial pruning method {title}: taxonomy, results, checkpoints and citation.",
        hide=("toc",),
        entry=entry,
        sentence=taxonomy.sentence(entry),
        stage_title=taxonomy.STAGE_TITLES[entry.pipeline.stage],
        steps=[
            (
                taxonomy.STEP_TITLES[step.name],
                taxonomy.step_sentence(step),
                taxonomy.objective_citations(step, references),
            )
            for step in entry.pipeline.steps
        ],
        standings=found,
        ranked=any(item.rank is not None for item in found),
        comparisons=comparisons(catalogue, entry),
        beside=[
            (record, one)
            for record in catalogue.records_of(entry.key)
            if record.robust_accuracy is not None
            for one in naive_baselines(catalogue, record, among=naive)
        ],
        curves=own,
        panels=panels.panels(catalogue, entry.key, rankings),
        curve_panels=panels.curve_panels(own),
        rivals=rivals(catalogue, entry.key, found),
        panel_size=(panels.WIDTH, panels.HEIGHT),
        curve_size=(panels.CURVE_WIDTH, panels.CURVE_HEIGHT),
        audit_sentence=audit_sentence(entry),
        disputed=open_dispute(entry.changes),
        history=history(catalogue, entry),
        retracted=[record for record in catalogue.retracted.values() if record.method == entry.key],
        evaluated=set(catalogue.records),
        has_curves=any(record.results.hofmn_robust_accuracy is not None for record in catalogue.records_of(entry.key)),
    )
