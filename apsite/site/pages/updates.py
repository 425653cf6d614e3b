"""What changed in the data, by date."""

from __future__ import annotations

from typing import Any

from apsite.site.news import news
from apsite.site.page import Page, SiteFacts


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page."""
    return {"events": news(facts.catalogue)}


PAGE = Page(
    path="updates.md",
    title="Updates of the data",
    description="What was added to the benchmark, verified, corrected, disputed or withdrawn, by date.",
    context=context,
    hide=("toc",),
)
