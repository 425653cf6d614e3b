"""Records of older format versions, converted where they are."""

from __future__ import annotations

from pathlib import Path

from apsite.documents.json_files import read_json, write_json
from apsite.errors import ApsiteError
from apsite.records.documents import record_from_json, record_to_json
from apsite.records.record import EvaluationRecord
from apsite.records.rules import record_problems
from apsite.records.versions import VERSION


def outdated(root: Path) -> dict[Path, EvaluationRecord]:
    """Records in a data folder whose files have an older format version, by file. Files in ``history/`` are no part.

    Raises:
        ApsiteError: If `root` has no folder ``evaluations``, or with the first problem of a record that has any.
    """
    if not (root / "evaluations").is_dir():
        raise ApsiteError(f"{root}: has no folder 'evaluations'; name the folder that holds it with --root")
    found = {}
    for path in sorted((root / "evaluations").glob("*/*.json")):
        document = read_json(path)
        for problem in record_problems(path, document):
            raise problem
        if document["schema_version"] != VERSION:
            found[path] = record_from_json(document)
    return found


def migrate(root: Path) -> list[Path]:
    """Convert records of older format versions to the newest and return their files.

    Every record is read before the first is written, and each file is replaced atomically. What was interrupted can be
    run again; what is converted stays as it is.

    Raises:
        ApsiteError: As :func:`outdated`, and if a file cannot be written.
    """
    found = outdated(root)
    for path, record in found.items():
        write_json(path, record_to_json(record))
    return list(found)
