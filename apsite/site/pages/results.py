"""All evaluation records in one table."""

from __future__ import annotations

from typing import Any

from apsite.comparable import Basis
from apsite.site.page import Page, SiteFacts
from apsite.site.tables import leaderboards


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page."""
    areas = {curve.record.model_key: curve.area for curve in facts.curves}
    bases = leaderboards.bases(facts.judge.settings)
    return {
        "choices": leaderboards.choices(facts.catalogue),
        "rows": leaderboards.ranked_results(facts.judge, areas),
        "pairs": sum(bases.values()),
        "paired": bases[Basis.PAIRED],
    }


PAGE = Page(
    path="results.md",
    title="All results",
    description="Every evaluation record of the benchmark in one table that can be sorted, filtered and searched.",
    context=context,
)
