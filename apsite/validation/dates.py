"""Days that exist and are not in the future."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from apsite.errors import DocumentError

_AHEAD = timedelta(days=1)
"""Somewhere on Earth it is tomorrow already."""


def date_problems(path: Path, days: Mapping[str, str | None]) -> list[DocumentError]:
    """Days, by their place in the document, that no calendar has or that are yet to come."""
    problems = []
    for field, text in days.items():
        try:
            if text is not None and date.fromisoformat(text) > datetime.now(UTC).date() + _AHEAD:
                wrong = f"{text!r} is in the future; give the day on which it happened"
                problems.append(DocumentError(path, field, wrong))
        except ValueError:
            problems.append(DocumentError(path, field, f"{text!r} is not a day of the calendar; write year-month-day"))
    return problems
