"""The form that describes a method and starts a pull request from the browser."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

from apsite.contribution import questions
from apsite.site.page import Page, SiteFacts
from apsite.vocabulary import OTHER

MAX_ADDRESS = 8_000
"""Longest URL, in characters, that the form opens on GitHub, whose servers refuse more than about 8 KB."""


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page; keys, names and aliases of methods are taken. Without a repository it only downloads."""
    taken = sorted({name for entry in facts.catalogue.entries.values() for name in entry.labels.values()})
    return {
        "sections": [(name, list(asked)) for name, asked in groupby(questions.questions(), lambda one: one.section)],
        "introductions": questions.INTRODUCTIONS,
        "rare": questions.RARE,
        "other": OTHER,
        "nothing": questions.NOTHING,
        "html_pattern": html_pattern,
        "fraction_meaning": "A fraction from 0 to 1 with at most four decimals, such as 0.95.",
        "rules": {**questions.export(), "taken": taken, "repository": facts.repository, "max_address": MAX_ADDRESS},
    }


def html_pattern(pattern: str) -> str:
    """A pattern of the schema as HTML's ``pattern`` reads it: ``/`` and a last ``-`` in a class are escaped."""

    def escaped(found: re.Match[str]) -> str:
        return re.sub(r"-\]$", r"\-]", found[0]).replace("/", r"\/")

    return re.sub(r"\[(?:\\.|[^\]\\])*\]", escaped, pattern)


PAGE = Page(
    path="submit.md",
    title="Submit a method",
    description="Describe an adversarial pruning method in a form and open a pull request with its entry.",
    context=context,
    own=("form.css", "bibtex.js", "form.js"),
)
