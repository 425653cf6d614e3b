"""One page for each method: what it is, how it fares, and where to get it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apsite.catalogue import Catalogue
from apsite.entries import Entry, ReportedResult
from apsite.intervals import ranks, robust_bounds
from apsite.leaderboard import Setting, by_setting, setting_of
from apsite.records import EvaluationRecord
from apsite.references import Reference
from apsite.site import taxonomy
from apsite.site.charts import field_chart
from apsite.site.curves import Curve
from apsite.site.pages import Page, PageWriter, plain_title
from apsite.vocabulary import Attack


@dataclass(frozen=True)
class Standing:
    """A model against its field. `rank` and `field` are ``None`` where it does not rank."""

    record: EvaluationRecord
    rank: int | None
    field: int | None
    best: EvaluationRecord | None


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


def standings(catalogue: Catalogue, method: str) -> list[Standing]:
    """All records of a method, each with its rank among the models of the same setting."""
    groups = by_setting(catalogue)
    rank_of: dict[Setting, dict[str, int]] = {setting: ranks(records) for setting, records in groups.items()}
    found = []
    for record in catalogue.records_of(method):
        setting = setting_of(record)
        rank = rank_of.get(setting, {}).get(record.model_key) if setting else None
        field = groups.get(setting, []) if setting and rank is not None else []
        found.append(Standing(record, rank, len(field) or None, field[0] if field else None))
    return found


def field_rows(catalogue: Catalogue, method: str) -> list[dict[str, Any]]:
    """Rows of the chart of a method's models among all models of their settings."""
    rows = []
    groups = by_setting(catalogue, baselines=True)
    own = [standing.record for standing in standings(catalogue, method) if standing.rank is not None]
    for order, record in enumerate(own):
        setting = setting_of(record)
        assert setting is not None
        text = f"{setting.dataset.label} {setting.architecture.code} {setting.structure.code} {setting.percent}%"
        for other in groups[setting]:
            bounds = robust_bounds(other)
            rows.append(
                {
                    "setting": text,
                    "order": order,
                    "name": catalogue.entries[other.method].name,
                    "robust": other.robust_accuracy,
                    "low": bounds[0] if bounds else other.robust_accuracy,
                    "high": bounds[1] if bounds else other.robust_accuracy,
                    "own": other.method == method,
                }
            )
    return rows


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


def method_page(
    writer: PageWriter,
    catalogue: Catalogue,
    references: dict[str, Reference],
    entry: Entry,
    curves: list[Curve],
) -> Page:
    """Page of one method."""
    field = field_rows(catalogue, entry.key)
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
        standings=standings(catalogue, entry.key),
        comparisons=comparisons(catalogue, entry),
        curves=[curve for curve in curves if curve.record.method == entry.key],
        chart=field_chart(field) if field else None,
        has_curves=any(record.results.hofmn for record in catalogue.records_of(entry.key)),
        attacks=list(Attack),
    )
