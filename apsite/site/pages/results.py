"""All evaluation records in one table, and a page for each setting that has more of them than this table shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from apsite.comparable import Basis
from apsite.site.page import Page, SiteFacts
from apsite.site.tables import leaderboards
from apsite.site.writer import plain_title


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page."""
    bases = sum((standings.compared for standings in facts.judge.settings.values()), Counter[Basis]())
    shown = sum(group.shown for group in facts.results)
    return {
        "choices": leaderboards.choices(facts.catalogue),
        "groups": facts.results,
        "missing": len(facts.catalogue.records) - shown,
        "shown": shown,
        "pairs": sum(bases.values()),
        "paired": bases[Basis.PAIRED],
    }


def members(facts: SiteFacts) -> Mapping[str, str]:
    """Titles of the pages of settings by name."""
    return {
        part.name: plain_title(group.label, group.identity) + (f", rows {part.span}" if part.first > 1 else "")
        for group in facts.results
        for part in group.parts
    }


def setting(facts: SiteFacts, name: str) -> dict[str, Any]:
    """Names for one page of a setting."""
    group, part = next((group, part) for group in facts.results for part in group.parts if part.name == name)
    return {"group": group, "part": part}


PAGE = Page(
    path="results.md",
    title="All results",
    description="Every evaluation record of the benchmark in one table that can be sorted, filtered and searched.",
    context=context,
    own=("results.css", "records.js", "more.js", "results.js"),
)
SETTINGS_PAGE = Page(
    path="results/{name}.md",
    title="Results of a setting",
    description="All models of one setting: {title}.",
    context=setting,
    template="setting.md.j2",
    members=members,
    own=("results.css", "records.js", "results.js"),
    listed=False,
)
