"""A report as text, as JSON, and as annotations of GitHub."""

from __future__ import annotations

import json
from pathlib import Path

from apsite.validation.gate import Report
from apsite.validation.positions import line_of

_SHOWN = 5
"""Uncommitted files that are named; of more, the number."""


def summary(report: Report) -> str:
    """One line: what was read and how much is wrong."""
    read = f"{number(report.entries, 'entry', 'entries')}, {number(report.records, 'record')}"
    found = number(len(report.problems), "problem") if report.problems else "no problem"
    return f"{read}, {number(report.sample_files, 'per-sample file')}: {found}"


def number(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun: ``1 record``, ``2,000 records``."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def to_text(report: Report) -> str:
    """One line per problem or, without problems, a note on uncommitted files; and the summary."""
    lines = [str(problem) for problem in report.problems]
    if report.uncommitted and not report.problems:
        shown = ", ".join(_printable(str(path)) for path in report.uncommitted[:_SHOWN])
        more = len(report.uncommitted) - _SHOWN
        lines.append(
            f"Not in a commit as on disk, so not in a pull request: {shown}{f' and {more} more' if more > 0 else ''}; "
            "use `git add` (with --force for what git ignores) and `git commit`"
        )
    return "\n".join([*lines, summary(report)]) + "\n"


def to_json(report: Report) -> str:
    """Everything as one object."""
    problems = [{"path": str(one.path), "field": one.field, "problem": one.problem} for one in report.problems]
    uncommitted = [_printable(str(path)) for path in report.uncommitted]
    return json.dumps({**vars(report), "problems": problems, "uncommitted": uncommitted}, indent=2) + "\n"


def to_github(report: Report, root: Path) -> str:
    """Workflow commands that annotate each problem at its line, with paths relative to `root`, and the summary.

    File names and messages hold contributed text; what has a meaning in a command is escaped, so that a name cannot
    begin another command or change the file of another.

    Source: the workflow commands of GitHub Actions; ``escapeData`` and ``escapeProperty`` of its toolkit.
    """
    lines = []
    for problem in report.problems:
        path = problem.path.relative_to(root) if problem.path.is_relative_to(root) else problem.path
        place = f"{problem.field}: " if problem.field else ""
        lines.append(
            f"::error file={_property(str(path))},line={line_of(problem.path, problem.field)},"
            f"title={_property(_printable(problem.field or str(path)))}::{_data(_printable(place + problem.problem))}"
        )
    return "\n".join([*lines, summary(report)]) + "\n"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    # A name on disk may hold bytes that are no UTF-8; the terminal must not fail on them.
    shown = text.encode("utf-8", "replace").decode("utf-8")
    return _data(shown).replace(":", "%3A").replace(",", "%2C")
