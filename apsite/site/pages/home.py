"""The start page: leaders first, then robust accuracy against sparsity."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from apsite.comparable import Basis, rankable, robust_bounds
from apsite.records import EvaluationRecord
from apsite.site.charts.charts import sparsity_chart, spread
from apsite.site.page import Page, SiteFacts
from apsite.site.tables import leaderboards

_LABEL_GAP = 0.021


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page."""
    catalogue, leads, rows = facts.catalogue, facts.leads, sparsity_rows(facts)
    start = {name: rows[0][name] for name in ("dataset", "network", "structure")} if rows else {}
    drawn = {row["label"] for row in rows}
    looks = {label: look for label, look in facts.method_styles.items() if label in drawn}
    evaluated = {record.method for record in catalogue.records.values()}
    return {
        "leads": leads,
        "lead_of": leaderboards.lead_of,
        "paired": any(Basis.PAIRED in lead.bases for lead in leads.values()),
        "boards": [board for board in leaderboards.leaderboards(catalogue) if board.rows],
        "chart": sparsity_chart(rows, looks, start) if rows else None,
        "rows": rows,
        "choices": {name: list(dict.fromkeys(row[name] for row in rows)) for name in start},
        "combinations": list(dict.fromkeys(tuple(row[name] for name in start) for row in rows)),
        "totals": {
            "methods": len(catalogue.methods()),
            "evaluated": sum(not catalogue.entries[key].baseline for key in evaluated),
            "records": len(catalogue.records),
        },
        "newest": max((r.provenance.date for r in catalogue.records.values()), default=None),
    }


def sparsity_rows(facts: SiteFacts) -> list[dict[str, Any]]:
    """Rows of the chart of robust accuracy against sparsity: every model that ranks, and the baselines."""
    catalogue = facts.catalogue
    shown = [record for record in catalogue.records.values() if rankable(record)]
    place = attrgetter("dataset", "architecture", "structure")
    shown.sort(key=lambda r: (*place(r), r.method.lower(), r.key.percent or 0))
    last: dict[tuple[object, ...], float] = {}
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
                "clean": record.results.overall_clean_accuracy,
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
            end = tuple(row[name] for name in ("dataset", "network", "structure", "sparsity"))
            ends.setdefault(end, []).append(row)
    for group in ends.values():
        heights = spread([row["robust"] for row in group], _LABEL_GAP, 0.0, 1.0)
        for row, height in zip(group, heights, strict=True):
            row["label_y"] = height


PAGE = Page(
    path="index.md",
    title="Adversarial pruning benchmark",
    description="Which pruning method keeps the most adversarial robustness at a given sparsity.",
    context=context,
)
