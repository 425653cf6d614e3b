"""A way to be wrong, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.repositories import git
from tests.submissions import ENTRY, RECORD, SAMPLES, Spoil, edit, write


@dataclass(frozen=True)
class Bad:
    """A way to be wrong: what is done, and the file, the field and a part of the message that must be reported."""

    name: str
    spoil: Spoil
    path: str
    field: str
    message: str


def entry(field: str, value: Any, message: str, place: str | None = None) -> Bad:
    """A wrong field of the entry."""
    return Bad(
        f"entry {field}={value!r:.70}", edit(ENTRY, (field, value)), ENTRY, field if place is None else place, message
    )


def record(field: str, value: Any, message: str, place: str | None = None) -> Bad:
    """A wrong field of a record."""
    return Bad(
        f"record {field}={value!r:.70}",
        edit(RECORD, (field, value)),
        RECORD,
        field if place is None else place,
        message,
    )


def text(name: str, content: bytes | str, message: str, path: str = ENTRY) -> Bad:
    """A file with other content."""
    return Bad(name, write(path, content), path, "", message)


def sampled(name: str, spoil: Spoil, field: str, message: str, path: str = SAMPLES) -> Bad:
    """A wrong per-sample file, or a record that it contradicts."""
    return Bad(f"samples {name}", spoil, path, field, message)


def several(*spoils: Spoil) -> Spoil:
    """One after the other."""

    def spoil(root: Path) -> None:
        for one in spoils:
            one(root)

    return spoil


def added(spoil: Spoil) -> Spoil:
    """With the files that it makes known to git, as part of the next commit."""
    return several(spoil, lambda root: git(root, "add", "--all") and None)


def move(source: str, target: str) -> Spoil:
    """Rename a file."""

    def spoil(root: Path) -> None:
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        (root / source).rename(root / target)

    return spoil


def remove(*names: str) -> Spoil:
    """Remove files."""
    return several(*((lambda root, name=name: (root / name).unlink()) for name in names))


def link(name: str, target: str) -> Spoil:
    """A symbolic link in place of a file."""

    def spoil(root: Path) -> None:
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)

    return spoil
