"""The questions for the form's script."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from apsite.contribution.questions.answers import FRACTION, NULL_GROUPS, OPTIONAL, WHOLE
from apsite.contribution.questions.from_schema import pipelines, questions, required_fields, skeleton
from apsite.contribution.questions.question import NOTHING
from apsite.contribution.questions.wording import MESSAGES
from apsite.entries import BIBTEX_START
from apsite.keys import KEY_YEAR, YEARS_APART


def export() -> dict[str, Any]:
    """Everything that the form's script needs, as JSON values."""
    return {
        "questions": [asdict(question) for question in questions()],
        "messages": MESSAGES,
        "skeleton": skeleton(),
        "pipelines": pipelines(),
        "null_groups": list(NULL_GROUPS),
        "optional": list(OPTIONAL),
        "row_fields": {asked.name: sorted(required_fields(asked.name)) for asked in questions() if asked.rows},
        "nothing": NOTHING,
        "whole": WHOLE,
        "fraction": FRACTION,
        "key_year": KEY_YEAR,
        "years_apart": YEARS_APART,
        "bibtex_start": BIBTEX_START,
    }
