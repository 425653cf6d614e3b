"""The page of the study of criteria."""

from __future__ import annotations

from typing import Any

from apsite.site.page import Page, SiteFacts
from apsite.site.tables.criteria import studies
from apsite.site.tables.criteria_beside import agreements, orders, reseeded
from apsite.site.tables.series_costs import duration


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page."""
    found = studies(facts.catalogue, facts.judge, facts.curves)
    return {
        "studies": found,
        "agreements": [agreements(facts.catalogue, study) for study in found],
        "orders": [orders(facts.judge, study) for study in found],
        "seeds": [reseeded(facts.catalogue.root, study) for study in found],
        "duration": duration,
    }


PAGE = Page(
    path="baselines.md",
    title="Criteria compared",
    description="Every pruning criterion on one dense network, fine-tuned and attacked alike, compared image by image.",
    context=context,
    own=("heat.css",),
)
