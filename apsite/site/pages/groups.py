"""Pages of drawn charts: one for each dataset, network and structure, and one for what networks cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apsite.site.charts.scatter import front
from apsite.site.charts.tradeoffs import COSTS, clean_panels, cost_of, cost_points
from apsite.site.page import Page, SiteFacts
from apsite.vocabulary import Dataset


def members(facts: SiteFacts) -> Mapping[str, str]:
    """Titles of the pages by the identity of their group."""
    return {trend.group.identity: trend.group.title for trend in facts.trends}


def context(facts: SiteFacts, name: str) -> dict[str, Any]:
    """Names for the page of one group."""
    (trend,) = (one for one in facts.trends if one.group.identity == name)
    return {"trend": trend, "trends": facts.trends, "panels": clean_panels(trend)}


def costs(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page of costs: the points of each dataset, by cost, and the models on each front."""
    records = [record for record in facts.catalogue.records.values() if record.retracted is None]
    order = list(Dataset)
    datasets = sorted({r.dataset for r in records}, key=lambda d: order.index(d) if d in order else len(order))
    found = [
        (dataset, cost, cost_points(records, facts.labels, dataset, cost)) for dataset in datasets for cost in COSTS
    ]
    return {
        "drawings": [
            (dataset, cost, points, front(points, less_x=True)) for dataset, cost, points in found if len(points) > 1
        ],
        "cost_of": cost_of,
    }


PAGE = Page(
    path="charts/{name}.md",
    title="Charts",
    description="{title}: robust accuracy of all methods against sparsity and against clean accuracy.",
    context=context,
    template="charts.md.j2",
    members=members,
    own=("plots.css", "plots.js"),
)
COSTS_PAGE = Page(
    path="costs.md",
    title="Robustness and cost",
    description="Robust accuracy of pruned networks against their non-zero weights and their operations.",
    context=costs,
    own=("plots.css", "plots.js"),
)
