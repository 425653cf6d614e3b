"""What the site says: the shared facts of one build and the pages made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from markupsafe import Markup

from apsite.catalogue import Catalogue
from apsite.documents.references import Reference
from apsite.entries import Entry
from apsite.intervals import Basis, Field, Lead, all_fields, robust_bounds
from apsite.leaderboard import Setting, by_setting
from apsite.records import EvaluationRecord
from apsite.samples import Samples
from apsite.site.charts.charts import robustness_chart, sparsity_chart, spread
from apsite.site.charts.curves import SPAN, Curve
from apsite.site.charts.drawings import Spec, no_drawing
from apsite.site.charts.palette import SeriesStyle, styles
from apsite.site.downloads import Download
from apsite.site.pages import analysis, baselines, compare, forms, methods, results, robustness, taxonomy
from apsite.site.pages.data_pages import data_pages
from apsite.site.pages.reference import reference_pages
from apsite.site.writer import Page, PageWriter
from apsite.vocabulary import Criterion, Locality, Stage, Structure

_LABEL_GAP = 0.021


@dataclass(frozen=True)
class SiteFacts:
    """Everything that pages are made from.

    Attributes:
        catalogue: Entries and records.
        references: Cited papers by key.
        curves: Robustness curves.
        downloads: Data files.
        documents: Names of the hand-written pages, without extension, such as ``protocol``.
        bundle: File name of the Vega script.
        repository: Address of the repository, for links to edit an entry; ``None`` where there is none.
        drawn: Draws a chart, given its identity on the page and its specification.
        verdicts: Per-sample results by model key, for paired tests.
        labels: Names of methods in charts, by key.
    """

    catalogue: Catalogue
    references: dict[str, Reference]
    curves: list[Curve]
    downloads: list[Download]
    documents: frozenset[str]
    bundle: str
    repository: str | None
    drawn: Callable[[str, Spec], Markup] = no_drawing
    verdicts: Mapping[str, Samples] = field(default_factory=dict)
    labels: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", results.labels(self.catalogue.entries.values()))

    @cached_property
    def fields(self) -> dict[Setting, Field]:
        """The methods' models that rank, by setting, and what separates them."""
        return all_fields(self.catalogue, self.verdicts)

    @cached_property
    def leads(self) -> dict[Setting, Lead]:
        """Leaders by setting."""
        return results.leads(self.fields)

    @cached_property
    def method_styles(self) -> dict[str, SeriesStyle]:
        """Look of every evaluated method, the same on all charts; naive criteria are grey."""
        evaluated = {record.method for record in self.catalogue.records.values()}
        ordered = sorted((self.catalogue.entries[key] for key in evaluated), key=results.stage_order)
        return styles(
            (self.labels[entry.key] for entry in _no_baselines(ordered)),
            (self.labels[entry.key] for entry in _baselines(ordered)),
        )


def all_pages(facts: SiteFacts) -> list[Page]:
    """Every generated page, in the order of the navigation."""
    catalogue = facts.catalogue
    bases = results.bases(facts.fields)
    rankings = by_setting(catalogue, baselines=True)
    writer = PageWriter(
        {
            "catalogue": catalogue,
            "entries": catalogue.entries,
            "references": facts.references,
            "labels": facts.labels,
            "documents": facts.documents,
            "repository": facts.repository,
            "bundle": facts.bundle,
            "bounds": robust_bounds,
            "traits": taxonomy.traits,
            "facets": facet_choices(),
        },
        facts.drawn,
    )
    return [
        home_page(writer, facts),
        writer.page(
            "leaderboard.md.j2",
            "leaderboard.md",
            "Leaderboard",
            "Clean and AutoAttack accuracy of adversarially pruned networks, by method, network and sparsity.",
            hide=("navigation", "toc"),
            boards=[board for board in results.leaderboards(catalogue) if board.rows],
            dense_grid=analysis.dense_grid(catalogue),
            naive_grid=analysis.naive_grid(catalogue),
            reduced=results.reduced(catalogue),
            missing_reasons=results.missing_reasons,
            board_warnings=results.board_warnings,
            **analysis.imagenet_context(catalogue),
        ),
        writer.page(
            "results.md.j2",
            "results.md",
            "All results",
            "Every evaluation record of the benchmark in one table that can be sorted, filtered and searched.",
            hide=("navigation", "toc"),
            choices=results.choices(catalogue),
            rows=results.ranked_results(catalogue, {c.record.model_key: c.area for c in facts.curves}, facts.fields),
            pairs=sum(bases.values()),
            paired=bases[Basis.PAIRED],
        ),
        curves_page(writer, facts),
        compare_page(writer, facts),
        taxonomy.page(writer, catalogue, facts.references),
        analysis.page(writer, catalogue),
        baselines.page(writer, catalogue),
        *(
            methods.method_page(writer, catalogue, facts.references, entry, facts.curves, facts.fields, rankings)
            for entry in ordered(catalogue)
        ),
        forms.submit_page(writer, catalogue, facts.repository),
        *data_pages(writer, catalogue, facts.references, facts.downloads, facts.repository),
        *reference_pages(writer),
    ]


def ordered(catalogue: Catalogue) -> list[Entry]:
    """All entries as tables list them, baselines last."""
    listed = sorted(catalogue.entries.values(), key=results.stage_order)
    return [*_no_baselines(listed), *_baselines(listed)]


def facet_choices() -> dict[str, list[tuple[str, str]]]:
    """Facets of the method tables: pairs of word and title."""
    return {
        "pipeline": [(s.value, f"{s.code} · {s.value} training") for s in Stage],
        "prunes": [(s.value, s.value) for s in Structure],
        "locality": [*((w.value, w.value) for w in Locality), ("unspecified", "not specified")],
        "criterion": [(c.value, c.value) for c in Criterion],
    }


def compare_page(writer: PageWriter, facts: SiteFacts) -> Page:
    """Methods side by side: a table of all of them, of which a script shows the chosen."""
    columns = ordered(facts.catalogue)
    return writer.page(
        "compare.md.j2",
        "compare.md",
        "Compare",
        "Adversarial pruning methods side by side: what they are and how they fare in the same settings.",
        hide=("navigation", "toc"),
        columns=columns,
        groups=compare.groups(facts.catalogue, columns, facts.fields, facts.verdicts),
        first=compare.first_choice(facts.leads, columns),
    )


def home_page(writer: PageWriter, facts: SiteFacts) -> Page:
    """Start page: leaders first, then the chart."""
    rows = sparsity_rows(facts)
    leads = facts.leads
    start = {name: rows[0][name] for name in ("dataset", "network", "structure")} if rows else {}
    choices = {name: list(dict.fromkeys(row[name] for row in rows)) for name in start}
    evaluated = {r.method for r in facts.catalogue.records.values() if not facts.catalogue.entries[r.method].baseline}
    return writer.page(
        "home.md.j2",
        "index.md",
        "Adversarial pruning benchmark",
        "Which pruning method keeps the most adversarial robustness at a given sparsity.",
        hide=("navigation", "toc"),
        leads=leads,
        lead_of=results.lead_of,
        paired=any(Basis.PAIRED in lead.bases for lead in leads.values()),
        boards=[board for board in results.leaderboards(facts.catalogue) if board.rows],
        chart=sparsity_chart(rows, _only(facts.method_styles, rows), start) if rows else None,
        rows=rows,
        choices=choices,
        combinations=list(dict.fromkeys(tuple(row[name] for name in start) for row in rows)),
        totals={
            "methods": len(facts.catalogue.methods()),
            "evaluated": len(evaluated),
            "records": len(facts.catalogue.records),
        },
        newest=max((r.provenance.date for r in facts.catalogue.records.values()), default=None),
    )


def sparsity_rows(facts: SiteFacts) -> list[dict[str, Any]]:
    """Rows of the chart of robust accuracy against sparsity: every model that ranks, and the naive criteria."""
    catalogue = facts.catalogue
    shown = [
        record
        for record in catalogue.records.values()
        if record.protocol.ranks and record.structure is not None and record.robust_accuracy is not None
    ]
    shown.sort(
        key=lambda r: (
            r.dataset,
            r.architecture,
            r.structure or Structure.UNSTRUCTURED,
            r.method.lower(),
            r.key.percent or 0,
        )
    )
    last: dict[tuple[object, ...], int] = {}
    for record in shown:
        last[_line(record)] = max(last.get(_line(record), 0), record.key.percent or 0)
    rows = []
    for record in shown:
        bounds = robust_bounds(record)
        rows.append(
            {
                "label": facts.labels[record.method],
                "model_key": record.model_key,
                "dataset": record.dataset.label,
                "network": record.architecture.label,
                "structure": record.structure.value if record.structure else "",
                "sparsity": f"{record.key.percent}%",
                "clean": record.results.clean_accuracy,
                "robust": record.robust_accuracy,
                "low": bounds[0] if bounds else None,
                "high": bounds[1] if bounds else None,
                "end": record.key.percent == last[_line(record)],
                "label_y": record.robust_accuracy,
            }
        )
    _spread_labels(rows)
    return rows


def _line(record: EvaluationRecord) -> tuple[object, ...]:
    """What the models of one line of the chart share."""
    return record.method, record.dataset, record.architecture, record.structure


def _spread_labels(rows: list[dict[str, Any]]) -> None:
    """Move the labels of lines that end at the same sparsity apart."""
    ends: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["end"]:
            ends.setdefault(tuple(row[name] for name in ("dataset", "network", "structure", "sparsity")), []).append(
                row
            )
    for group in ends.values():
        heights = spread([row["robust"] for row in group], _LABEL_GAP, 0.0, 1.0)
        for row, height in zip(group, heights, strict=True):
            row["label_y"] = height


def curves_page(writer: PageWriter, facts: SiteFacts) -> Page:
    """Robustness curves: every model that can be drawn, and the most robust of them drawn at first."""
    offered = robustness.models(facts.catalogue, facts.curves, facts.labels)
    chosen = robustness.first_choice(offered)
    data = robustness.chart_data(chosen)
    end = robustness.top(chosen)
    empty = {**dict.fromkeys(data, ()), "budgets": data["budgets"]}
    return writer.page(
        "curves.md.j2",
        "curves.md",
        "Robustness curves",
        "Robust accuracy against the perturbation budget, measured sample by sample.",
        hide=("navigation", "toc"),
        offered=offered,
        choices=results.choices(facts.catalogue),
        drawing=facts.drawn("curves", robustness_chart(data, span=SPAN, top=end)) if chosen else "",
        spec=robustness_chart(empty, span=SPAN, top=end),
        page_data=robustness.page_data(offered, chosen, "data/curves/"),
        readout=robustness.readout(chosen),
        epsilon=chosen[0].record.dataset.epsilon if chosen else "",
        leaders=robustness.leader_sentence(data["leaders"]),
        span=SPAN,
    )


def _only(styles_: dict[str, SeriesStyle], rows: list[dict[str, Any]]) -> dict[str, SeriesStyle]:
    used = {row["label"] for row in rows}
    return {label: style for label, style in styles_.items() if label in used}


def _no_baselines(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if not entry.baseline]


def _baselines(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.baseline]
