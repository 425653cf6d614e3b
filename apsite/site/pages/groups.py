"""One page for each dataset, network and structure: all its methods over sparsity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apsite.site.page import Page, SiteFacts


def members(facts: SiteFacts) -> Mapping[str, str]:
    """Titles of the pages by the identity of their group."""
    return {trend.group.identity: trend.group.title for trend in facts.trends}


def context(facts: SiteFacts, name: str) -> dict[str, Any]:
    """Names for the page of one group."""
    (trend,) = (one for one in facts.trends if one.group.identity == name)
    return {"trend": trend, "trends": facts.trends}


PAGE = Page(
    path="charts/{name}.md",
    title="Charts",
    description="{title}: robust accuracy of all methods against sparsity and against clean accuracy.",
    context=context,
    template="charts.md.j2",
    members=members,
    own=("plots.css", "plots.js"),
)
