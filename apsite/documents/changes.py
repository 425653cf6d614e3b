"""What happened to an entry or a record after it was first published, as a dated list in the file itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsite.errors import DocumentError
from apsite.vocabulary import ChangeKind


@dataclass(frozen=True)
class Change:
    """One event in the life of an entry or a record.

    Attributes:
        date: ISO day.
        kind: What happened.
        reason: Why, as a sentence for readers.
        url: Where it was discussed, ``https`` only; ``None`` if nowhere.
        version: For ``supersedes`` the version that was replaced, 1 being the first; ``None`` for all other kinds.
        by: Maintainer who decided on a supersession that the rules alone do not allow; ``None`` elsewhere.
    """

    date: str
    kind: ChangeKind
    reason: str
    url: str | None = None
    version: int | None = None
    by: str | None = None

    @property
    def text(self) -> str:
        """The reason, and who decided, for readers."""
        return self.reason if self.by is None else f"{self.reason} Decided by {self.by}."


def open_dispute(changes: Sequence[Change]) -> Change | None:
    """The last dispute, if it is not settled."""
    either = [change for change in changes if change.kind in (ChangeKind.DISPUTED, ChangeKind.SETTLED)]
    return either[-1] if either and either[-1].kind is ChangeKind.DISPUTED else None


def retraction(changes: Sequence[Change]) -> Change | None:
    """The event that withdrew the results, if there is one."""
    return next((change for change in changes if change.kind is ChangeKind.RETRACTED), None)


def change_problems(path: Path, document: Mapping[str, Any]) -> list[DocumentError]:
    """Events that cannot follow each other in a document that has passed its schema."""
    disorder = _disorder(document.get("changes", []))
    return [DocumentError(path, f"changes[{number}]{place}", problem) for number, place, problem in disorder]


def _disorder(items: list[dict[str, Any]]) -> Iterator[tuple[int, str, str]]:
    """Number of each event that is wrong, the place in it, and the problem."""
    latest, disputed, retracted = "", False, False
    for number, item in enumerate(items):
        kind, date = item["kind"], item["date"]
        if kind == ChangeKind.SUPERSEDES and "version" not in item:
            yield number, ".version", "is missing; say which version was replaced, 1 being the first"
        for name in ("version", "by"):
            if kind != ChangeKind.SUPERSEDES and name in item:
                yield number, f".{name}", f"belongs to a change of kind 'supersedes' only, not {kind!r}; remove it"
        if kind == ChangeKind.SUPERSEDES and number:
            yield number, ".kind", "'supersedes' must be the first change of a record"
        if kind == ChangeKind.SETTLED and not disputed:
            yield number, ".kind", "'settled' requires an open dispute before it"
        if retracted:
            yield number, "", "follows a retraction, which is final; a new run supersedes the record"
        if date < latest:
            yield number, ".date", f"{date!r} is before {latest!r}; the newest change comes last"
        latest = max(latest, date)
        disputed = kind == ChangeKind.DISPUTED or (disputed and kind != ChangeKind.SETTLED)
        retracted = retracted or kind == ChangeKind.RETRACTED
