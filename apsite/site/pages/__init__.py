"""The pages of the site, each a module with one ``PAGE``, and the navigation over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apsite.site.page import Page, SiteFacts
from apsite.site.pages import (
    analysis,
    baselines,
    compare,
    curves,
    data,
    formats,
    groups,
    home,
    leaderboard,
    methods,
    python,
    results,
    submit,
    taxonomy,
    updates,
)
from apsite.site.writer import WrittenPage

NAVIGATION: dict[str, Page | tuple[Page | str, ...]] = {
    "Home": home.PAGE,
    "Results": (
        *(leaderboard.PAGE, leaderboard.PARTS_PAGE, results.PAGE, results.SETTINGS_PAGE, curves.PAGE),
        *(groups.COSTS_PAGE, compare.PAGE, groups.PAGE),
    ),
    "Methods": (methods.INDEX_PAGE, taxonomy.PAGE, "taxonomy-guide", methods.PAGE),
    "Analysis": (analysis.PAGE, baselines.PAGE, "survey"),
    "Data": (data.PAGE, formats.PAGE, updates.PAGE),
    "Contribute": (submit.PAGE, "submitting", "evaluate", "cluster", "baselines-guide"),
    "Reference": (
        *("protocol", "glossary", "cli", python.PAGE, python.MODULES_PAGE, "governance", "maintaining", "security"),
        *("architecture", "benchmarks", "changelog"),
    ),
}
"""All pages by heading (the tabs leave the start page to the logo).

Generated pages are their ``PAGE``, hand-written ones the name of their file in ``docs/``.
"""

OTHERS = "Reference"
"""Heading for hand-written pages that the navigation does not name."""


MEMBERS = 100
"""Largest family of pages in the navigation, which every page has."""


def _is_listed(page: Page, facts: SiteFacts) -> bool:
    """Whether the navigation has a page, or the members of a family."""
    return page.listed and len(page.names(facts)) <= MEMBERS


def _listed(listed: Page | tuple[Page | str, ...]) -> tuple[Page | str, ...]:
    return listed if isinstance(listed, tuple) else (listed,)


PAGES = tuple(page for listed in NAVIGATION.values() for page in _listed(listed) if isinstance(page, Page))
"""Every generated page or family of pages, in the order of the navigation."""


def written(facts: SiteFacts) -> list[WrittenPage]:
    """Every generated page as Markdown."""
    templates = facts.templates()
    return [made for page in PAGES for made in page.render(facts, templates)]


def navigation(facts: SiteFacts, documents: Mapping[str, str]) -> list[dict[str, Any]]:
    """The navigation as the generator's configuration has it: headings, each with a page or a list of pages.

    Args:
        facts: They say which members a family of pages has.
        documents: Titles of the hand-written pages by name.
    """
    left = dict(documents)

    def entries(page: Page | str) -> list[dict[str, str]]:
        if isinstance(page, Page):
            if not _is_listed(page, facts):
                return []
            return [{title: page.path.format(name=name)} for name, title in page.names(facts).items()]
        return [{left.pop(page): f"{page}.md"}] if page in left else []

    made: dict[str, Any] = {}
    for heading, listed in NAVIGATION.items():
        alone = isinstance(listed, Page) and listed.members is None
        made[heading] = (
            listed.path
            if isinstance(listed, Page) and alone
            else [entry for page in _listed(listed) for entry in entries(page)]
        )
    made[OTHERS] += [{title: f"{name}.md"} for name, title in left.items()]
    return [{heading: content} for heading, content in made.items() if content]


def unlisted(facts: SiteFacts) -> list[str]:
    """Paths of the pages that the navigation leaves out."""
    return [page.path.format(name=name) for page in PAGES if not _is_listed(page, facts) for name in page.names(facts)]
