"""A comparison for people: as plain text, and as Markdown for pull requests.

Both are written from the document of :func:`apsite.contribution.comparison.comparison_to_json`, so that a comment can
be written from a file alone. Names in it are contributed: they appear inside code spans, where Markdown gives nothing
a meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from apsite.numbers import MISSING, percent
from apsite.vocabulary import Architecture, Dataset

Document = Mapping[str, Any]
_ARROW = " → "
_NOTHING = "No result, rank or method changes."


def code(text: object, limit: int = 300) -> str:
    """A code span of Markdown that shows `text` literally, on one line, also within a table.

    Backquotes become apostrophes and bars become broken bars, for no escape of them works both in tables and outside;
    what cannot be printed becomes a question mark.
    """
    shown = "".join(letter if letter.isprintable() else "?" for letter in str(text))
    shown = shown.replace("`", "'").replace("|", "\N{BROKEN BAR}").strip() or " "
    return f"`{shown if len(shown) <= limit else shown[: limit - 1] + '…'}`"


def to_markdown(document: Document, heading: str = "###") -> str:
    """The comparison as Markdown with tables; every contributed name is in a code span."""
    lines = [f"{heading} What changes", ""]
    lines += [f"- {line}" for line in _method_lines(document, code)]
    if document["records"]:
        lines += [
            "",
            "| Result | | Clean (%) | AutoAttack (%) | HO-FMN (%) | Protocol | Provenance |",
            "|---|---|--:|--:|--:|---|---|",
            *(
                f"| {code(one['model_key'])} | {one['kind']} | {_figure(one, 'clean_accuracy')} | "
                f"{_figure(one, 'autoattack')} | {_figure(one, 'hofmn')} | {_word(one, 'protocol')} | "
                f"{_word(one, 'provenance')} |"
                for one in document["records"]
            ),
        ]
    if document["settings"]:
        lines += ["", f"{heading} Ranks", ""]
        lines += ["Models that share a rank are tied: nothing separates them.", ""]
    for one in document["settings"]:
        lines += [
            f"**{_setting(one)}**: {_lead_line(one, code)}",
            "",
            "| Model | Rank | AutoAttack (%) |",
            "|---|--:|--:|",
            *(
                f"| {code(model['model_key'])} | {_pair(model['rank_before'], model['rank_after'])} | "
                f"{_pair(percent(model['robust_before']), percent(model['robust_after']))} |"
                for model in one["models"]
            ),
            "",
        ]
    if _is_empty(document):
        lines.append(_NOTHING)
    return "\n".join(lines).rstrip() + "\n"


def to_text(document: Document) -> str:
    """The comparison as plain text, one fact a line."""
    lines = list(_method_lines(document, str))
    for one in document["records"]:
        figures = f"clean {_figure(one, 'clean_accuracy')}, AutoAttack {_figure(one, 'autoattack')}"
        lines.append(f"{one['kind']}: {one['model_key']}: {figures}, {_word(one, 'provenance')}")
    for one in document["settings"]:
        lines.append(f"{_setting(one)}: {_lead_line(one, str)}")
        lines += [
            f"  rank {_pair(model['rank_before'], model['rank_after'])}  {model['name']}  "
            f"AutoAttack {_pair(percent(model['robust_before']), percent(model['robust_after']))}"
            for model in one["models"]
        ]
    return "\n".join(lines or [_NOTHING]) + "\n"


def _is_empty(document: Document) -> bool:
    return not (any(document["methods"].values()) or document["records"] or document["settings"])


def _method_lines(document: Document, show: Any) -> Iterator[str]:
    methods = document["methods"]
    for one in methods["added"]:
        yield f"New method: {show(one['name'])} ({show(one['key'])})"
    for one in methods["removed"]:
        yield f"Removed method: {show(one['name'])} ({show(one['key'])})"
    for one in methods["edited"]:
        yield f"Edited entry: {show(one['name'])} ({', '.join(map(show, one['fields']))})"


def _setting(one: Document) -> str:
    structure = one["structure"]
    return (
        f"{Dataset(one['dataset']).label}, {Architecture(one['architecture']).label}, {structure}, {one['percent']} %"
    )


def _lead_line(one: Document, show: Any) -> str:
    before, after = one["leader_before"], one["leader_after"]
    if after is None:
        return f"nothing ranks any more (before: {show(before)})" if before is not None else "nothing ranks"
    if before is None:
        line = f"first leader {show(after)}"
    elif before != after:
        line = f"new leader {show(after)} (before: {show(before)})"
    else:
        line = f"{show(after)} still leads"
    tied = one["tied_after"]
    return f"{line}, tied with {', '.join(map(show, tied))}" if tied else line


def _figure(one: Document, name: str) -> str:
    """A share before and after; one number where it is the same or only one side has it."""
    before, after = one["before"], one["after"]
    if before is None or after is None:
        return percent((before or after or {}).get(name))
    return _pair(percent(before[name]), percent(after[name]))


def _word(one: Document, name: str) -> str:
    before, after = one["before"], one["after"]
    if before is None or after is None:
        return str((before or after or {}).get(name, MISSING))
    return _pair(before[name], after[name])


def _pair(before: object, after: object) -> str:
    shown = [MISSING if value is None else str(value) for value in (before, after)]
    return shown[0] if shown[0] == shown[1] else _ARROW.join(shown)
