"""The form that describes a method and starts a pull request from the browser."""

from __future__ import annotations

from itertools import groupby

from apsite.catalogue import Catalogue
from apsite.contribution import questions
from apsite.site.writer import Page, PageWriter

MAX_ADDRESS = 8_000
"""Longest address, in characters, that the form gives to GitHub, whose servers refuse more than about 8 KB."""


def submit_page(writer: PageWriter, catalogue: Catalogue, repository: str | None) -> Page:
    """The page with the form.

    Args:
        writer: Writes the page.
        catalogue: Its keys and aliases are taken.
        repository: Address of the repository; ``None`` where there is none, and then the form only downloads.
    """
    taken = sorted({name for entry in catalogue.entries.values() for name in (entry.key, *entry.aliases)})
    return writer.page(
        "submit.md.j2",
        "submit.md",
        "Submit a method",
        "Describe an adversarial pruning method in a form and open a pull request with its entry.",
        hide=("navigation", "toc"),
        sections=[(name, list(found)) for name, found in groupby(questions.questions(), lambda asked: asked.section)],
        introductions=questions.INTRODUCTIONS,
        nothing=questions.NOTHING,
        rules={
            **questions.export(),
            "taken": taken,
            "repository": repository,
            "max_address": MAX_ADDRESS,
        },
    )
