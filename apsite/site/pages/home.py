"""The start page: a heat map of all settings and the leaders, then robust accuracy against sparsity."""

from __future__ import annotations

from typing import Any

from apsite.site.page import Page, SiteFacts
from apsite.site.tables import heatmap, leaderboards


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page."""
    catalogue, leads = facts.catalogue, facts.leads
    evaluated = {record.method for record in catalogue.records.values()}
    leading, terms = heatmap.summary(leads)
    imagenet = leaderboards.imagenet_board(catalogue)
    return {
        "leads": leads,
        "claim": heatmap.claim,
        "leading": leading,
        "terms": terms,
        "maps": heatmap.heat_maps(facts.judge.settings, catalogue.entries),
        "strips": heatmap.strips,
        "lead_of": leaderboards.lead_of,
        "boards": [*facts.boards, *([imagenet] if imagenet is not None else [])],
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
    own=("heat.css", "plots.css", "plots.js"),
)
