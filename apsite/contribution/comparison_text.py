"""A comparison as text for people, the same in the terminal, in Markdown and in the comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from apsite.contribution.comparison import Claim, Comparison, RecordChange, SettingChange
from apsite.numbers import MISSING, percent
from apsite.validation.reports import number

_SHOWN = 5
"""People or changes that a line lists."""

NOT_PLAIN = re.compile(r"[^\n -_a-~¡-¬®-ɏΑ-Ωα-ω–—‘’“”…→−≤≥]")  # noqa: RUF001
"""A character that plain text does not hold: anything but line ends, ASCII, Latin and Greek letters, and some
punctuation, so that nothing is invisible or changes the direction of a line; and the backquote, which could close a
code fence."""


def plain(text: str) -> str:
    """Text of plain characters alone; any other becomes a question mark, and a backquote an apostrophe."""
    return NOT_PLAIN.sub("?", text.replace("`", "'"))


def code(text: object, limit: int = 300) -> str:
    """A code span of Markdown that shows `text` literally, on one line, also within a table.

    Backquotes become apostrophes and bars become broken bars, for no escape of them works both in tables and outside;
    what cannot be printed becomes a question mark.
    """
    shown = "".join(letter if letter.isprintable() else "?" for letter in str(text))
    shown = shown.replace("`", "'").replace("|", "\N{BROKEN BAR}").strip() or " "
    return f"`{shown if len(shown) <= limit else shown[: limit - 1] + '…'}`"


def to_markdown(comparison: Comparison) -> str:
    """The comparison as plain text in a code fence, where Markdown gives no name a meaning."""
    return f"### What changes\n\n```text\n{plain(to_text(comparison))}```\n"


def to_text(comparison: Comparison) -> str:
    """The comparison as text, one fact per line."""
    return "\n".join(list(_lines(comparison)) or ["No result, rank or method changes."]) + "\n"


def _lines(comparison: Comparison) -> Iterator[str]:
    if comparison.claims:
        yield "Check who proposes changes of these methods:"
        yield from map(_claim, comparison.claims)
    for new in comparison.methods_added:
        yield f"New method: {new.name} ({new.key})"
    for gone in comparison.methods_removed:
        yield f"Removed method: {gone.name} ({gone.key})"
    for edited in comparison.methods_edited:
        yield f"Edited entry: {edited.name} ({', '.join(edited.fields)})"
    for record in comparison.records:
        yield from _record_lines(record)
    for one in comparison.settings:
        names = (one.setting.dataset.label, one.setting.architecture.label, one.setting.structure)
        yield f"{', '.join(names)}, {one.setting.percent} %: {_lead(one)}"
        for model in one.models:
            robust = _change(percent(model.robust_before), percent(model.robust_after))
            yield f"  rank {_change(model.rank_before, model.rank_after)}  {model.name}  AutoAttack {robust}"


def _claim(claim: Claim) -> str:
    """Whose method it is, and what is done to it by whom."""
    run = f" run by {_listed(claim.sources)}" if claim.sources else ""
    edits = [*claim.fields, *([f"{number(len(claim.models), 'record')}{run}"] if claim.models else [])]
    known = f", results so far by {_listed(claim.known)}" if claim.known else ""
    state = "new" if claim.new else "here already"
    return f"  {claim.name} ({claim.key}), {state}, paper by {_listed(claim.authors)}{known}: {_listed(edits)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _record_lines(change: RecordChange) -> Iterator[str]:
    known = [record for record in (change.before, change.after) if record is not None]
    before, after = known[0], known[-1]
    names = ("clean", "AutoAttack", "HO-FMN", "joint")
    pairs = zip(names, before.results.accuracies, after.results.accuracies, strict=True)
    parts = [f"{name} {_change(percent(old), percent(new))}" for name, old, new in pairs]
    if any(record.epsilon != record.dataset.epsilon for record in known):
        parts.append(f"ε {_change(before.epsilon, after.epsilon)}")
    parts += [_change(before.protocol, after.protocol), _change(before.provenance.kind, after.provenance.kind)]
    yield f"{change.kind}: {change.model_key}: {', '.join(parts)}"
    if change.after is not None and change.after.warnings:
        yield f"  warnings: {', '.join(warning.code for warning in change.after.warnings)}"


def _lead(one: SettingChange) -> str:
    before, after = one.leader_before, one.leader_after
    if after is None:
        return f"nothing ranks any more (before: {before})" if before is not None else "nothing ranks"
    if before is None:
        line = f"first leader {after}"
    else:
        line = f"{after} still leads" if before == after else f"new leader {after} (before: {before})"
    return f"{line}, tied with {', '.join(one.tied_after)}" if one.tied_after else line


def _change(before: object, after: object) -> str:
    """A value before and after; one where it is the same."""
    shown = [MISSING if value is None else str(value) for value in (before, after)]
    return shown[0] if shown[0] == shown[1] else " → ".join(shown)
