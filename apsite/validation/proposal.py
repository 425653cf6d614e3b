"""What a proposed change of the data may touch, compared with the revision from which it started.

A pull request with data touches ``entries/`` and ``evaluations/`` only. It may add methods and results, edit the words
of an entry, and put a new run in the place of an old one, which then stays in ``history/`` byte for byte. Everything
else - marking as verified, retracting, disputing, removing, changing what somebody else published - is a maintainer's.
Whether the change is a maintainer's is an argument here; nothing in the change can say so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apsite.documents.json_files import parse_json, read_json
from apsite.errors import DocumentError
from apsite.records import HISTORY
from apsite.validation.revisions import (
    ChangedFile,
    TreeFile,
    changed_files,
    merge_base,
    read_objects,
    repository_root,
    tree_files,
)
from apsite.vocabulary import ChangeKind, Protocol, ProvenanceKind

MAX_FILES = 400
MAX_BYTES = 50_000_000
DATA_FOLDERS = ("entries", "evaluations")

EDITABLE = ("notes", "granularity", "changes", "checkpoint")
"""Fields of a record that a contributor may edit with no new run, each within the limits checked here."""
MEASURED = (
    "results", "sparsity", "threat_model", "protocol", "settings", "data", "passes", "seconds", "samples", "audit",
    "environment", "warnings",
)  # fmt: skip
"""Fields that come from a run or a source, and change with one only."""


@dataclass(frozen=True)
class _Proposal:
    """The two sides: files of the base by path below `root`, and what differs on disk."""

    root: Path
    maintainer: bool
    base_name: str
    base: Mapping[str, TreeFile]
    changed: Mapping[str, ChangedFile]
    old_documents: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def proposal_problems(root: Path, revision: str, *, maintainer: bool) -> list[DocumentError]:
    """Everything that the change from the common ancestor with `revision` to the files on disk may not do.

    Raises:
        ApsiteError: If `root` is in no repository, or the revision is unknown or shares no history.
    """
    commit = merge_base(root, revision)
    top, folder = repository_root(root), root.resolve()
    prefix = "" if folder == top.resolve() else f"{folder.relative_to(top.resolve()).as_posix()}/"
    mine: dict[str, ChangedFile] = {}
    others: list[ChangedFile] = []
    for file in changed_files(root, commit):
        inside = file.path.removeprefix(prefix)
        if file.path.startswith(prefix) and inside.split("/")[0] in DATA_FOLDERS:
            mine[inside] = file
        elif file.tracked:  # a note beside the data that nobody has added is no part of the proposal
            others.append(file)
    if not mine:
        return []
    problems: list[DocumentError] = []
    if not maintainer:
        problems += [
            DocumentError(
                (top if prefix else root) / file.path,
                "",
                "is no data, but this change has data too; it may touch entries/ and evaluations/ only, so put this "
                "into a change of its own",
            )
            for file in others
        ]
    base = tree_files(root, commit)
    proposal = _Proposal(root, maintainer, revision, base, mine, _old_documents(root, base, mine))
    problems += _size_problems(proposal)
    for path in mine:
        problems += _file_problems(proposal, path)
    return problems


def _old_documents(
    root: Path, base: Mapping[str, TreeFile], changed: Mapping[str, ChangedFile]
) -> dict[str, dict[str, Any]]:
    """Documents of the base that differ now, by path; those that were broken already are left out."""
    wanted = [path for path in changed if path in base and path.endswith(".json") and base[path].size <= 1_000_000]
    documents = {}
    for path, content in zip(wanted, read_objects(root, [base[path].object_name for path in wanted]), strict=True):
        try:
            documents[path] = parse_json(Path(path), content)
        except DocumentError:
            continue
    return documents


def _size_problems(proposal: _Proposal) -> Iterator[DocumentError]:
    if proposal.maintainer:
        return
    present = [path for path, file in proposal.changed.items() if file.mode is not None]
    if len(present) > MAX_FILES:
        yield DocumentError(
            proposal.root, "", f"{len(present)} data files change; at most {MAX_FILES} at once, so split the change"
        )
    total = 0
    for path in present:
        try:
            total += (proposal.root / path).lstat().st_size
        except OSError:
            continue
    if total > MAX_BYTES:
        yield DocumentError(
            proposal.root, "", f"{total:,} bytes of data change; at most {MAX_BYTES:,} at once, so split the change"
        )


def _file_problems(proposal: _Proposal, path: str) -> Iterator[DocumentError]:
    file, place = proposal.changed[path], proposal.root / path
    if file.mode == "100755":
        yield DocumentError(place, "", "is marked as executable, which no data file is; run `chmod 644` on it")
    if file.mode == "160000":
        yield DocumentError(place, "", "is a submodule; data are ordinary files")
    parts = path.split("/")
    if parts[0] == "entries":
        yield from _entry(proposal, path)
    elif len(parts) == 3 and path.endswith(".json"):
        yield from _record(proposal, path)
    elif len(parts) == 4 and parts[2] == HISTORY:
        yield from _history(proposal, path)


def _entry(proposal: _Proposal, path: str) -> Iterator[DocumentError]:
    """Anyone may add a method and mend words; identity and removal are a maintainer's."""
    file, place = proposal.changed[path], proposal.root / path
    if proposal.maintainer:
        return
    if file.old_object is None:
        yield from _new_entry(place)
        return
    if file.mode is None:
        yield DocumentError(place, "", "was removed; a method stays listed, and only a maintainer's change renames one")
        return
    old, new = proposal.old_documents.get(path), _now(place)
    if old is None or new is None:
        return
    if old.get("baseline") != new.get("baseline"):
        yield DocumentError(
            place,
            "baseline",
            f"{_word(new.get('baseline'))} was {_word(old.get('baseline'))}, which "
            "decides who ranks; only a maintainer changes it",
        )
    gone = [alias for alias in old.get("aliases", []) if alias not in new.get("aliases", [])]
    if gone:
        yield DocumentError(
            place, "aliases", f"lacks {gone[0]!r}, under which people find the method; keep it, or ask a maintainer"
        )
    yield from _kept_changes(place, old, new, (ChangeKind.CORRECTED,))


def _new_entry(place: Path) -> Iterator[DocumentError]:
    """What the entry of a new method may say of itself."""
    new = _now(place)
    if new is None:
        return
    if new.get("baseline") is True:
        yield DocumentError(
            place,
            "baseline",
            "true is for the naive criteria, which do not rank and which a maintainer adds; set it to false",
        )
    if _changes(new):
        yield DocumentError(
            place, "changes", "belongs to an entry that was published before; a new one has none, so remove it"
        )


def _record(proposal: _Proposal, path: str) -> Iterator[DocumentError]:
    file, place = proposal.changed[path], proposal.root / path
    if file.mode is None:
        if not proposal.maintainer:
            yield DocumentError(
                place, "", "was removed; results stay readable, so ask a maintainer to retract it, with a reason"
            )
        return
    new = _now(place)
    if new is None:
        return
    old = proposal.old_documents.get(path)
    if old is None:
        yield from _new_record(proposal, place, new)
        return
    if _version(new) > _version(old):
        yield from _superseding(proposal, path, old, new)
    else:
        yield from _edited(proposal, place, old, new)


def _new_record(proposal: _Proposal, place: Path, new: Mapping[str, Any]) -> Iterator[DocumentError]:
    """What the first record of a model may say of itself."""
    if proposal.maintainer:
        return
    yield from _unverified(place, new)
    if new.get("protocol") == Protocol.SURVEY:
        yield DocumentError(
            place, "protocol", "'piras-2024' is for the survey's figures, which are all here; a new figure is 'custom'"
        )
    for number, change in enumerate(_changes(new)):
        if change.get("kind") != ChangeKind.SUPERSEDES:
            yield DocumentError(
                place, f"changes[{number}]", "belongs to a record that was published before; a new one has none"
            )


def _superseding(
    proposal: _Proposal, path: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[DocumentError]:
    """A new run in the place of an old record, which must be in history/ as it was."""
    place, version = proposal.root / path, _version(old)
    if _version(new) != version + 1:
        yield DocumentError(
            place,
            "changes[0].version",
            f"{_version(new) - 1} is not the version that stands in {proposal.base_name}, {version}; put the record "
            f"and {HISTORY}/ back as they are there, then run `apsite supersede` once",
        )
        return
    folder, _, name = path.rpartition("/")
    kept = f"{folder}/{HISTORY}/{name.removesuffix('.json')}.{version}"
    for suffix in (".json", ".npz"):
        before = proposal.base.get(path.removesuffix(".json") + suffix)
        if before is not None and not _same_bytes(proposal.root / f"{kept}{suffix}", before.object_name):
            yield DocumentError(
                proposal.root / f"{kept}{suffix}",
                "",
                f"must hold what stood at {before.path} in {proposal.base_name}, byte for byte; "
                "`apsite supersede` puts it there",
            )
    if proposal.maintainer:
        return
    yield from _unverified(place, new)
    provenance, before_provenance = new.get("provenance") or {}, old.get("provenance") or {}
    if provenance.get("kind") == ProvenanceKind.PUBLISHED:
        yield DocumentError(place, "provenance.kind", "'published' cannot supersede a record; a new run is 'submitted'")
    source = before_provenance.get("source")
    if before_provenance.get("kind") != ProvenanceKind.PUBLISHED and provenance.get("source") != source:
        yield DocumentError(
            place,
            "provenance.source",
            f"{provenance.get('source')!r} is not {source!r}, whose run this would replace; they or a maintainer "
            "replace it, and a doubt about it is a dispute",
        )


def _edited(
    proposal: _Proposal, place: Path, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[DocumentError]:
    """The same version with other words."""
    differing = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    if proposal.maintainer:
        measured = [name for name in differing if name in MEASURED]
        added = _changes(new)[len(_changes(old)) :]
        if measured and not any(change.get("kind") == ChangeKind.CORRECTED for change in added):
            yield DocumentError(
                place, measured[0], "differs, but changes does not say why; add a change of kind 'corrected', or "
                "supersede the record with a new run",
            )  # fmt: skip
        return
    for name in differing:
        if name not in EDITABLE:
            yield DocumentError(
                place,
                name,
                f"differs from {proposal.base_name}; a published record stays as it is. `apsite supersede` puts a new "
                "run in its place, a doubt is a dispute, and anything else is a maintainer's change",
            )
    if "checkpoint" in differing:
        before, after = old.get("checkpoint") or {}, new.get("checkpoint") or {}
        for name in dict.fromkeys([*before, *after]):
            if before.get(name) == after.get(name):
                continue
            if name != "url":
                yield DocumentError(
                    place, f"checkpoint.{name}", f"differs from {proposal.base_name}; another file needs a new run"
                )
            elif before.get("sha256") is None:
                yield DocumentError(
                    place,
                    "checkpoint.url",
                    "differs, and no SHA-256 says which file is meant; only a maintainer's change moves such a file",
                )
    if "changes" in differing:
        yield from _kept_changes(place, old, new, (ChangeKind.CORRECTED,))


def _history(proposal: _Proposal, path: str) -> Iterator[DocumentError]:
    """Files of history/ are what stood at the record's place, and then never change."""
    file, place = proposal.changed[path], proposal.root / path
    if proposal.maintainer:
        return
    if file.old_object is not None:
        word = "was removed" if file.mode is None else "differs"
        yield DocumentError(place, "", f"{word}; files in {HISTORY}/ never change, so restore it")
        return
    folder, _, rest = path.partition(f"/{HISTORY}/")
    stem, _, suffix = rest.rpartition(".")
    current = f"{folder}/{stem.rpartition('.')[0]}.{suffix}"
    before = proposal.base.get(current)
    if before is None:
        yield DocumentError(
            place, "", f"was never published: {proposal.base_name} has no {current}; {HISTORY}/ holds what stood there"
        )
    elif current.endswith(".json") and current not in proposal.changed:
        yield DocumentError(place, "", f"is history, but {current} has not been replaced; remove it")
    elif not _same_bytes(place, before.object_name):
        yield DocumentError(
            place,
            "",
            f"must hold what stood at {current} in {proposal.base_name}, byte for byte; "
            "`apsite supersede` puts it there",
        )


def _unverified(place: Path, new: Mapping[str, Any]) -> Iterator[DocumentError]:
    provenance = new.get("provenance")
    if isinstance(provenance, dict) and provenance.get("kind") == ProvenanceKind.VERIFIED:
        yield DocumentError(
            place,
            "provenance.kind",
            "'verified' is a maintainer's word; a new run is 'submitted' until they ran it",
        )
    if "verification" in new:
        yield DocumentError(place, "verification", "is a maintainer's; remove it, they run `apsite verify`")


def _kept_changes(
    place: Path, old: Mapping[str, Any], new: Mapping[str, Any], allowed: tuple[ChangeKind, ...]
) -> Iterator[DocumentError]:
    """The list may only grow, and by these kinds."""
    before, after = _changes(old), _changes(new)
    if after[: len(before)] != before:
        yield DocumentError(place, "changes", "does not begin with what stood there; only add to the end of it")
        return
    for number, change in enumerate(after[len(before) :], len(before)):
        if change.get("kind") not in allowed:
            words = ", ".join(f"{kind.value!r}" for kind in allowed)
            yield DocumentError(
                place,
                f"changes[{number}].kind",
                f"{change.get('kind')!r} is a maintainer's; {words} is allowed. Open an issue to dispute or retract",
            )


def _now(place: Path) -> dict[str, Any] | None:
    """The document on disk, or ``None`` where it is broken, which other rules report."""
    try:
        return read_json(place)
    except DocumentError:
        return None


def _changes(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    changes = document.get("changes")
    return [change for change in changes if isinstance(change, dict)] if isinstance(changes, list) else []


def _version(document: Mapping[str, Any]) -> int:
    first = next(iter(_changes(document)), {})
    replaced = first.get("version")
    return replaced + 1 if isinstance(replaced, int) else 1


def _same_bytes(place: Path, object_name: str) -> bool:
    """Whether a file has the content that git knows by this name."""
    try:
        if place.is_symlink():
            return False
        content = place.read_bytes()
    except OSError:
        return False
    algorithm = hashlib.sha1 if len(object_name) == 40 else hashlib.sha256
    return algorithm(b"blob %d\0" % len(content) + content).hexdigest() == object_name


def _word(value: object) -> str:
    return {True: "true", False: "false"}.get(value, repr(value)) if isinstance(value, bool) else repr(value)
