"""All evaluation records in one table."""

from __future__ import annotations

from collections import Counter
from typing import Any

from apsite.comparable import Basis
from apsite.site.page import Page, SiteFacts
from apsite.site.tables import leaderboards


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page."""
    areas = {curve.record.model_key: curve.area for curve in facts.curves if not curve.imported}
    settings = facts.judge.settings.values()
    bases = Counter(pair.basis for standings in settings for pair in standings.separations.values())
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
