"""Records as JSON documents, and as files in the place where they belong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apsite.documents.converter import converter
from apsite.documents.json_files import read_json, write_json
from apsite.documents.schema import load_schema
from apsite.errors import ApsiteError
from apsite.keys import ModelKey
from apsite.records.record import EvaluationRecord
from apsite.records.rules import record_problems
from apsite.records.versions import VERSION, upgraded

converter.register_structure_hook(ModelKey, lambda text, _: ModelKey.parse(text))
converter.register_unstructure_hook(ModelKey, str)


def read_record(path: Path) -> EvaluationRecord:
    """Record of a file, of any version of the format.

    Raises:
        DocumentError: The first problem of the file, if it has any.
    """
    return record_from_json(_checked(path))


def _checked(path: Path) -> dict[str, Any]:
    document = read_json(path)
    for problem in record_problems(path, document):
        raise problem
    return document


def write_record(folder: Path, record: EvaluationRecord, place: Path | None = None) -> Path:
    """Write a record where it belongs below `folder` (usually ``evaluations``), atomically, and return its path.

    `place` is that place, if it is not the current record of its model.
    """
    path = folder / (place or record.path)
    write_json(path, record_to_json(record))
    return path


def record_to_json(record: EvaluationRecord) -> dict[str, Any]:
    """Document of a record, ready for :func:`apsite.documents.json_files.write_json`."""
    fields = converter.unstructure(record) | {
        "schema_version": VERSION,
        "model_key": record.model_key,
        "method": record.method,
        "dataset": record.dataset.value,
        "architecture": record.architecture.value,
        "structure": record.structure.value if record.structure else None,
    }
    return {name: fields[name] for name in load_schema("record")["properties"] if name in fields}


def record_from_json(document: dict[str, Any]) -> EvaluationRecord:
    """Record of a document that has passed :func:`record_problems`."""
    return converter.structure(upgraded(document) | {"key": document["model_key"]}, EvaluationRecord)


def outdated(root: Path) -> dict[Path, EvaluationRecord]:
    """Records in a data folder whose files have an older format version, by file. Files in ``history/`` are no part.

    Raises:
        ApsiteError: If `root` has no folder ``evaluations``, or with the first problem of a record that has any.
    """
    if not (root / "evaluations").is_dir():
        raise ApsiteError(f"{root}: has no folder 'evaluations'; name the folder that holds it with --root")
    documents = {path: _checked(path) for path in sorted((root / "evaluations").glob("*/*.json"))}
    old = {path: document for path, document in documents.items() if document["schema_version"] != VERSION}
    return {path: record_from_json(document) for path, document in old.items()}


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
