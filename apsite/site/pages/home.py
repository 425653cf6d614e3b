"""The start page: leaders first, then robust accuracy against sparsity."""

from __future__ import annotations

from typing import Any

from apsite.site.page import Page, SiteFacts
from apsite.site.tables import leaderboards


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page."""
    catalogue, leads = facts.catalogue, facts.leads
    evaluated = {record.method for record in catalogue.records.values()}
    return {
        "leads": leads,
        "lead_of": leaderboards.lead_of,
        "boards": [board for board in leaderboards.leaderboards(catalogue) if board.rows],
        "trends": facts.trends,
        "totals": {
            "methods": len(catalogue.methods()),
            "evaluated": sum(not catalogue.entries[key].baseline for key in evaluated),
            "records": len(catalogue.records),
        },
        "newest": max((r.provenance.date for r in catalogue.records.values()), default=None),
    }


PAGE = Page(
    path="index.md",
    title="Adversarial pruning benchmark",
    description="Which pruning method keeps the most adversarial robustness at a given sparsity.",
    context=context,
    own=("plots.css", "plots.js"),
)
