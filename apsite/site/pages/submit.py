"""The form that describes a method and starts a pull request from the browser."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from apsite.contribution import questions
from apsite.site.page import Page, SiteFacts

MAX_ADDRESS = 8_000
"""Longest address, in characters, that the form gives to GitHub, whose servers refuse more than about 8 KB."""


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page; keys and aliases of the catalogue are taken, and without a repository it only downloads."""
    taken = sorted({name for entry in facts.catalogue.entries.values() for name in (entry.key, *entry.aliases)})
    return {
        "sections": [(name, list(asked)) for name, asked in groupby(questions.questions(), lambda one: one.section)],
        "introductions": questions.INTRODUCTIONS,
        "nothing": questions.NOTHING,
        "rules": {
            **questions.export(),
            "taken": taken,
            "repository": facts.repository,
            "max_address": MAX_ADDRESS,
        },
    }


PAGE = Page(
    path="submit.md",
    title="Submit a method",
    description="Describe an adversarial pruning method in a form and open a pull request with its entry.",
    context=context,
    own=("form.css", "form.js"),
)
