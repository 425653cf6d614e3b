"""Rules for a proposed change of the data: two folders compared, the data before and after.

A pull request with data touches ``entries/`` and ``evaluations/`` only. It may add methods and results, edit the words
of an entry, and replace a run by a new one; the old one then stays in ``history/`` byte for byte. Everything else -
marking as verified, retracting, disputing, removing, changing what others published - is up to a maintainer.
Whether the change is a maintainer's is an argument here; nothing in the change can say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsite.documents.json_files import read_json
from apsite.errors import DocumentError
from apsite.records import CURVES, HISTORY
from apsite.records.measured import MEASURED_FILE
from apsite.records.versions import upgraded
from apsite.validation.plausibility import Found
from apsite.validation.revisions import (
    DATA_FOLDERS,
    HEAD,
    ChangedFile,
    changed_files,
    data_folder,
    merge_base,
    resolve_commit,
)
from apsite.vocabulary import ChangeKind, Protocol, ProvenanceKind

MAX_FILES = 400
MAX_BYTES = 50_000_000

EDITABLE = ("notes", "granularity", "changes", "checkpoint")
"""Fields of a record that a contributor may edit with no new run, each within the limits checked here."""
MEASURED = (
    "results", "sparsity", "threat_model", "protocol", "settings", "data", "passes", "seconds", "samples", "audit",
    "environment", "warnings",
)  # fmt: skip
"""Fields that come from a run or a source, and change with one only."""

_MEMBERS = 50  # of changes, the longest list that rules here compare
_Document = Mapping[str, Any]


def proposal_problems(
    root: Path, revision: str, *, maintainer: bool, proposal: str | None = None, data: Path | None = None
) -> list[DocumentError]:
    """Problems of the change from the common ancestor with `revision` to the files on disk, or to a proposal.

    `proposal` is the revision that holds the change, with its data unpacked at `data`; ``None`` for the files on disk.

    Raises:
        ApsiteError: If `root` is in no repository, or the revision is unknown or shares no history.
    """
    commit = merge_base(root, revision, proposal or HEAD)
    prefix, every = changed_files(root, commit, proposal and resolve_commit(root, proposal))
    files, others = _split(every, prefix)
    if not files:
        return []
    problems = []
    if not maintainer:
        outside = "is outside entries/ and evaluations/; put it into a separate pull request without data"
        top = root.resolve().parents[prefix.count("/") - 1] if prefix else root
        problems = [DocumentError(top / path, "", outside) for path in others]
    with data_folder(commit, root) as base:
        return [*problems, *_Proposal(base, data or root, files, revision, maintainer).problems()]


def _split(changed: Iterable[ChangedFile], prefix: str) -> tuple[dict[str, ChangedFile], list[str]]:
    """Changed data files by path below `prefix`, and the paths of all other changed files."""
    files, others = {}, []
    for file in changed:
        inside = file.path.removeprefix(prefix)
        if file.path.startswith(prefix) and inside.split("/")[0] in DATA_FOLDERS:
            files[inside] = file
        elif file.tracked:  # an untracked file next to the data is not part of the proposal
            others.append(file.path)
    return files, others


@dataclass(frozen=True)
class _Proposal:
    """A change of data, as two folders and the list of files that differ."""

    base: Path  # the data before the change
    root: Path  # the data after it
    files: Mapping[str, ChangedFile]  # what differs, by path relative to `root`
    base_name: str  # how messages name the state before the change, such as main
    maintainer: bool  # whether a maintainer vouches for the change

    def problems(self) -> Iterator[DocumentError]:
        if not self.maintainer:
            yield from (DocumentError(self.root, "", problem) for problem in self._size())
        for path, changed in self.files.items():
            yield from (DocumentError(self.root / path, *problem) for problem in self._file(path, changed))

    def _size(self) -> Iterator[str]:
        present = [self.root / path for path, file in self.files.items() if file.mode is not None]
        if len(present) > MAX_FILES:
            yield f"{len(present)} data files change; at most {MAX_FILES} at once, so split the change"
        total = sum(path.lstat().st_size for path in present if path.is_symlink() or path.exists())
        if total > MAX_BYTES:
            yield f"{total:,} bytes of data change; at most {MAX_BYTES:,} at once, so split the change"

    def _file(self, path: str, changed: ChangedFile) -> Found:
        if changed.mode == "100755":
            yield "", "is marked as executable, but data files are not; run `chmod 644` on it"
        if changed.mode == "160000":
            yield "", "is a submodule; data files are ordinary files"
        parts = path.split("/")
        if parts[0] == "entries":
            if not self.maintainer:
                yield from _entry(changed, _document(self.base / path), _document(self.root / path))
        elif len(parts) == 3 and path.endswith(".json"):
            yield from self._record(changed, _document(self.base / path), _document(self.root / path))
        elif path == MEASURED_FILE or (len(parts) == 4 and parts[2] == CURVES):
            if not self.maintainer:
                yield "", "comes from a maintainer, who fetches what others have published; leave it as it is"
        elif len(parts) == 4 and parts[2] == HISTORY:
            yield from self._history(path, changed)

    def _record(self, changed: ChangedFile, old: _Document | None, new: _Document | None) -> Found:
        """Anyone may add a record, edit its text and replace their own run; only maintainers may do the rest."""
        if changed.mode is None:
            if not self.maintainer:
                yield "", "was removed; results stay readable, so ask a maintainer to retract it, with a reason"
        elif new is None:
            return
        elif old is None:
            yield from () if self.maintainer else _new_record(new)
        elif _version(new) > _version(old):
            yield from self._superseding(old, new)
        else:
            yield from _corrected(old, new) if self.maintainer else self._edited(old, new)

    def _superseding(self, old: _Document, new: _Document) -> Found:
        """A new run in place of an old record; that the old one is kept is checked by :meth:`_history`."""
        version = _version(old)
        if _version(new) != version + 1:
            wrong = f"{_version(new) - 1} is not the version in {self.base_name}, {version}"
            redo = f"restore the record and {HISTORY}/ from there, then run `apsite supersede` once"
            yield "changes[0].version", f"{wrong}; {redo}"
        elif not self.maintainer:
            yield from replacement_problems(old, new)

    def _edited(self, old: _Document, new: _Document) -> Found:
        """A contributor's edit of the same version."""
        differing = _differing(upgraded(old), upgraded(new))
        instead = (
            "Use `apsite supersede` for a new run, open a dispute if you doubt a result, and ask a maintainer for "
            "anything else"
        )
        for name in differing:
            if name not in EDITABLE:
                yield name, f"differs from {self.base_name}; published results are fixed. {instead}"
        if "checkpoint" in differing:
            before = _object(old, "checkpoint")
            for name in _differing(before, _object(new, "checkpoint")):
                if name != "url":
                    yield f"checkpoint.{name}", f"differs from {self.base_name}; another file needs a new run"
                elif before.get("sha256") is None:
                    wrong = "differs, and no SHA-256 identifies the file; only a maintainer may move such a file"
                    yield "checkpoint.url", wrong
        if "changes" in differing:
            yield from _kept_changes(old, new)

    def _history(self, path: str, changed: ChangedFile) -> Found:
        """Files of history/ hold what was published at the record's place, and then never change."""
        folder, _, rest = path.partition(f"/{HISTORY}/")
        stem, _, suffix = rest.rpartition(".")
        current = f"{folder}/{stem.rpartition('.')[0]}.{suffix}"
        before = self.base / current
        if changed.new and before.is_file() and (current in self.files or not current.endswith(".json")):
            if not _same_bytes(self.root / path, before):
                wrong = f"must equal {current} in {self.base_name}, byte for byte"
                yield "", f"{wrong}; `apsite supersede` puts it there"
        elif self.maintainer:
            return
        elif not changed.new:
            word = "was removed" if changed.mode is None else "differs"
            yield "", f"{word}; files in {HISTORY}/ never change, so restore it"
        elif not before.is_file():
            yield "", f"was never published: {self.base_name} has no {current}, and {HISTORY}/ holds its older versions"
        else:
            yield "", f"is history, but {current} has not been replaced; remove it"


def replacement_problems(old: _Document, new: _Document) -> Found:
    """Why only a maintainer may put one record in the place of another, whatever they hold."""
    (kind, source), (old_kind, old_source) = _provenance(new), _provenance(old)
    yield from _unverified(new)
    if kind == ProvenanceKind.PUBLISHED:
        yield "provenance.kind", "'published' cannot supersede a record; a new run is 'submitted'"
    if old_kind != ProvenanceKind.PUBLISHED and source != old_source:
        wrong = f"{source!r} is not {old_source!r}, whose run this would replace"
        who = "only they or a maintainer may replace it. If you doubt the result, open a dispute"
        yield "provenance.source", f"{wrong}; {who}"
    if any("by" in change for change in _changes(new)):
        yield "changes[0].by", "names a maintainer's decision, which only a pull request of theirs can bring; remove it"


def _entry(changed: ChangedFile, old: _Document | None, new: _Document | None) -> Found:
    """Anyone may add a method and edit its text; only maintainers may change its identity or remove it."""
    if changed.mode is None:
        yield "", "was removed; a method stays listed, and only a maintainer may rename one"
    elif new is not None and changed.new:
        if new.get("baseline") is True:
            yield "baseline", "true is for baselines, which do not rank; a maintainer adds them, so set it to false"
        if new.get("in_survey") is True:
            yield "in_survey", "true is for the methods of the survey, which are all here; set it to false"
        if _changes(new):
            yield "changes", "belongs to an entry that was published before; a new one has none, so remove it"
    elif old is not None and new is not None:
        was, now = (_word(document.get("baseline")) for document in (old, new))
        if was != now:
            yield "baseline", f"{now} was {was}, which decides who ranks; only a maintainer may change it"
        if bool(old.get("in_survey")) != bool(new.get("in_survey")):
            yield "in_survey", "was changed, but the survey's methods stay what they are; restore it"
        gone = [alias for alias in _list(old, "aliases") if alias not in _list(new, "aliases")]
        if gone:
            yield "aliases", f"lacks {gone[0]!r}, under which people find the method; keep it"
        yield from _kept_changes(old, new)


def _new_record(new: _Document) -> Found:
    yield from _unverified(new)
    if new.get("protocol") == Protocol.SURVEY:
        yield "protocol", "'piras-2024' is for the results of the survey, which are all here; use 'custom'"
    for number, change in enumerate(_changes(new)):
        if change.get("kind") != ChangeKind.SUPERSEDES:
            yield f"changes[{number}]", "belongs to a record that was published before; a new one has none"


def _corrected(old: _Document, new: _Document) -> Found:
    """A maintainer's edit of the same version."""
    before, after = ({**upgraded(one), "samples": {**_object(one, "samples"), "url": None}} for one in (old, new))
    measured = [name for name in _differing(before, after) if name in MEASURED]  # where a file is may change
    added = _changes(new)[len(_changes(old)) :]
    if measured and not any(change.get("kind") == ChangeKind.CORRECTED for change in added):
        how = "add a change of kind 'corrected', or supersede the record with a new run"
        yield measured[0], f"differs, but changes does not say why; {how}"


def _unverified(new: _Document) -> Found:
    if _provenance(new)[0] == ProvenanceKind.VERIFIED:
        yield "provenance.kind", "'verified' is set by maintainers; a new run is 'submitted' until they have re-run it"
    if "verification" in new:
        yield "verification", "is written by maintainers, who run `apsite verify`; remove it"
    if "url" in _object(new, "samples"):
        yield "samples.url", "is written by maintainers, who move checked files; leave the file beside the record"


def _kept_changes(old: _Document, new: _Document) -> Found:
    """The list of changes may only grow, and by corrections."""
    before, after = _changes(old), _changes(new)
    if after[: len(before)] != before:
        yield "changes", "does not begin with the published changes; only add to the end of it"
        return
    for number, change in enumerate(after[len(before) :], len(before)):
        if change.get("kind") != ChangeKind.CORRECTED:
            wrong = f"{change.get('kind')!r} is up to a maintainer; 'corrected' is allowed"
            yield f"changes[{number}].kind", f"{wrong}. Open an issue to dispute or retract"


def _document(path: Path) -> _Document | None:
    """The document there, or ``None`` where it is missing or broken, which other rules report."""
    try:
        return read_json(path)
    except DocumentError:
        return None


def _differing(old: _Document, new: _Document) -> list[str]:
    return [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]


def _object(document: _Document, name: str) -> _Document:
    """A member that should be an object; empty where it is something else, which the schema reports."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _list(document: _Document, name: str) -> list[Any]:
    """A member that should be a list: no more of it than a schema allows."""
    value = document.get(name)
    return value[:_MEMBERS] if isinstance(value, list) else []


def _provenance(document: _Document) -> tuple[Any, Any]:
    """Kind and source of a record."""
    provenance = _object(document, "provenance")
    return provenance.get("kind"), provenance.get("source")


def _changes(document: _Document) -> list[dict[str, Any]]:
    return [change for change in _list(document, "changes") if isinstance(change, dict)]


def _version(document: _Document) -> int:
    replaced = next(iter(_changes(document)), {}).get("version")
    return replaced + 1 if isinstance(replaced, int) else 1


def _same_bytes(one: Path, other: Path) -> bool:
    try:
        return not one.is_symlink() and one.read_bytes() == other.read_bytes()
    except OSError:
        return False


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
