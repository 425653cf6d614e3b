"""Replace a record by a new run, and record disputes, corrections and retractions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from apsite.catalogue import scan
from apsite.documents.changes import Change
from apsite.documents.converter import converter
from apsite.documents.json_files import atomic_file, read_json, write_json
from apsite.entries import entry_problems
from apsite.errors import ApsiteError, DocumentError
from apsite.records import EvaluationRecord, read_record, record_problems, record_to_json, write_record
from apsite.validation import plausibility_problems, samples_problems
from apsite.validation.plausibility import date_problems
from apsite.validation.proposal import replacement_problems
from apsite.validation.together import combined_problems
from apsite.vocabulary import ChangeKind


def supersede(
    root: Path, new: Path, reason: str, *, url: str | None = None, date: str | None = None, by: str | None = None
) -> Path:
    """Replace the current record and its per-sample file by a new one; the old ones move to ``history/``.

    Args:
        root: Data folder.
        new: The new record, written elsewhere: ``<folder>/<method key>/<model key>.json``. It is kept.
        reason: Why it is better, as a sentence for readers.
        url: Where that was discussed.
        date: ISO day; ``None`` for today.
        by: Maintainer who decides so, where the rules for contributors do not allow it; the record then says it.

    Raises:
        ApsiteError: If there is no record to replace, or `apsite validate` would refuse the new one in its place: it is
            broken, less well founded than the old one, or somebody else's. Nothing is changed then.
    """
    record = read_record(new)
    evaluations = root / "evaluations"
    current = evaluations / record.path
    if not current.is_file():
        raise ApsiteError(f"{current}: does not exist, so nothing is superseded; put the new record there")
    if current.resolve() == new.resolve():
        raise ApsiteError(f"{new}: is the current record; write the new one elsewhere (`apsite eval --output new`)")
    old = read_record(current)
    change = Change(date or _today(), ChangeKind.SUPERSEDES, reason, url, old.version, by)
    record = replace(record, changes=(change,))
    for problem in record_problems(current, record_to_json(record)):
        raise problem
    if replace(record, changes=()) == replace(old, changes=()):
        raise ApsiteError(f"{new}: is already the run at {current}; nothing is superseded")
    for problem in _problems(root, new, old, record):
        raise problem
    samples = new.with_suffix(".npz").read_bytes() if record.samples else None
    kept = evaluations / old.history_path
    for suffix in (".json", ".npz"):
        source, target = current.with_suffix(suffix), kept.with_suffix(suffix)
        if target.exists():
            raise ApsiteError(f"{target}: is already there; history is never overwritten")
        if source.is_file():
            with atomic_file(target) as temporary:
                temporary.write_bytes(source.read_bytes())
    if samples is None:
        written = write_record(evaluations, record)
        current.with_suffix(".npz").unlink(missing_ok=True)
        return written
    with atomic_file(current.with_suffix(".npz")) as temporary:  # takes its place once the record is written
        temporary.write_bytes(samples)
        return write_record(evaluations, record)


def amend(
    root: Path, key: str, kind: ChangeKind, reason: str, *, url: str | None = None, date: str | None = None
) -> Path:
    """Record a correction, a dispute, its settlement or a retraction, and return the path of the file.

    Args:
        root: Data folder.
        key: Method key of an entry, or model key of a current record.
        kind: What happened; not ``supersedes``.
        reason: Why, as a sentence for readers.
        url: Where it was discussed.
        date: ISO day; ``None`` for today.

    Raises:
        ApsiteError: If there is no such file, or the change cannot follow those that it has.
    """
    path, check = root / "entries" / f"{key}.json", entry_problems
    if not path.is_file():
        path, check = root / "evaluations" / "_".join(key.split("_")[:2]) / f"{key}.json", record_problems
    if not path.is_file():
        raise ApsiteError(f"{key!r} is neither the key of an entry nor of a record in {root}; see `apsite show`")
    document = read_json(path)
    for problem in check(path, document):
        raise problem
    change = Change(date or _today(), kind, reason, url)
    document["changes"] = [*document.get("changes", []), converter.unstructure(change)]
    for problem in check(path, document) + date_problems(path, {"date": change.date}):
        raise problem
    write_json(path, document)
    return path


def _problems(root: Path, new: Path, old: EvaluationRecord, record: EvaluationRecord) -> Iterator[DocumentError]:
    """What `apsite validate` would say about a record, read from the file `new`, in the place of an old one."""
    current, key, catalogue = root / "evaluations" / old.path, record.model_key, scan(root)[0]
    if all(change.by is None for change in record.changes):
        documents = record_to_json(old), record_to_json(record)
        yield from (DocumentError(current, *found) for found in replacement_problems(*documents))
    versions = {**catalogue.superseded, key: (*catalogue.superseded.get(key, ()), old)}
    after = replace(catalogue, records={**catalogue.records, key: record}, superseded=versions)
    yield from (problem for problem in combined_problems(after) if problem.path == current)
    yield from samples_problems(new, record)[0]
    yield from plausibility_problems(current, record)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
