"""Records as JSON documents, and as files in the place where they belong."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from apsite.documents.changes import changes_from_json, changes_to_json
from apsite.documents.json_files import read_json, write_json
from apsite.keys import ModelKey
from apsite.records.parts import (
    AttackCount,
    AutoAttackResult,
    Checkpoint,
    CheckpointAudit,
    EvaluatedData,
    EvaluationWarning,
    HofmnResult,
    JointResult,
    LayerAudit,
    Passes,
    Provenance,
    Results,
    SamplesFile,
    SearchResult,
    Sparsity,
    ThreatModel,
    Verification,
)
from apsite.records.record import EvaluationRecord
from apsite.records.rules import record_problems
from apsite.vocabulary import Attack, Granularity, Protocol, ProvenanceKind

_Word = TypeVar("_Word", bound=StrEnum)


def read_record(path: Path) -> EvaluationRecord:
    """Record of a file.

    Raises:
        DocumentError: The first problem of the file, if it has any.
    """
    document = read_json(path)
    for problem in record_problems(path, document):
        raise problem
    return record_from_json(document)


def write_record(folder: Path, record: EvaluationRecord) -> Path:
    """Write a record where it belongs below `folder` (usually ``evaluations``), atomically, and return its path."""
    path = folder / record.path
    write_json(path, record_to_json(record))
    return path


def record_to_json(record: EvaluationRecord) -> dict[str, Any]:
    """Document of a record, ready for :func:`apsite.documents.json_files.write_json`."""
    results = record.results
    document: dict[str, Any] = {
        "schema_version": 1,
        "model_key": record.model_key,
        "method": record.method,
        "protocol": record.protocol.value,
        "dataset": record.dataset.value,
        "architecture": record.architecture.value,
        "structure": record.structure.value if record.structure else None,
        "granularity": record.granularity.value if record.granularity else None,
        "sparsity": asdict(record.sparsity),
        "threat_model": asdict(record.threat_model),
        "results": {
            "n_samples": results.n_samples,
            "clean_accuracy": results.clean_accuracy,
            "autoattack": None
            if results.autoattack is None
            else {
                "robust_accuracy": results.autoattack.robust_accuracy,
                "per_attack": {attack.value: asdict(count) for attack, count in results.autoattack.per_attack.items()},
            },
            "hofmn": None if results.hofmn is None else _hofmn_to_json(results.hofmn),
            "joint": None if results.joint is None else _given(asdict(results.joint)),
        },
        "warnings": [asdict(warning) for warning in record.warnings],
        "notes": list(record.notes) or None,
        "checkpoint": {
            "url": record.checkpoint.url,
            "sha256": record.checkpoint.sha256,
            **_given({name: getattr(record.checkpoint, name) for name in ("size", "layout", "format", "unsafe_load")}),
        },
        "audit": None if record.audit is None else _audit_to_json(record.audit),
        "settings": None if record.settings is None else dict(record.settings),
        "data": None if record.data is None else _given(asdict(record.data)),
        "passes": None if record.passes is None else {phase: asdict(count) for phase, count in record.passes.items()},
        "seconds": None if record.seconds is None else dict(record.seconds),
        "samples": None if record.samples is None else asdict(record.samples),
        "environment": dict(record.environment),
        "verification": None if record.verification is None else _given(asdict(record.verification)),
        "provenance": {**asdict(record.provenance), "kind": record.provenance.kind.value},
        "changes": changes_to_json(record.changes) or None,
    }
    optional = ("notes", "audit", "settings", "data", "passes", "seconds", "samples", "verification", "changes")
    return {name: value for name, value in document.items() if name not in optional or value is not None}


def record_from_json(document: dict[str, Any]) -> EvaluationRecord:
    """Record of a document that has passed :func:`record_problems`."""
    results, audit, passes = document["results"], document.get("audit"), document.get("passes")
    return EvaluationRecord(
        key=ModelKey.parse(document["model_key"]),
        protocol=Protocol(document["protocol"]),
        granularity=_word(Granularity, document["granularity"]),
        sparsity=Sparsity(**document["sparsity"]),
        threat_model=ThreatModel(**document["threat_model"]),
        results=Results(
            n_samples=results["n_samples"],
            clean_accuracy=results["clean_accuracy"],
            autoattack=_autoattack(results["autoattack"]),
            hofmn=_hofmn(results["hofmn"]),
            joint=JointResult(**results["joint"]) if results["joint"] else None,
        ),
        checkpoint=Checkpoint(**document["checkpoint"]),
        provenance=Provenance(
            **{**document["provenance"], "kind": ProvenanceKind(document["provenance"]["kind"])},
        ),
        warnings=tuple(EvaluationWarning(**item) for item in document["warnings"]),
        environment=document["environment"],
        notes=tuple(document.get("notes", ())),
        audit=CheckpointAudit(**{**audit, "layers": tuple(LayerAudit(**item) for item in audit["layers"])})
        if audit
        else None,
        settings=document.get("settings"),
        data=EvaluatedData(**document["data"]) if "data" in document else None,
        passes=None if passes is None else {phase: Passes(**count) for phase, count in passes.items()},
        seconds=document.get("seconds"),
        samples=SamplesFile(**document["samples"]) if "samples" in document else None,
        verification=Verification(**document["verification"]) if "verification" in document else None,
        changes=changes_from_json(document),
    )


def _given(document: dict[str, Any]) -> dict[str, Any]:
    """Only what is known: optional fields that are ``None`` are left out."""
    return {name: value for name, value in document.items() if value is not None}


def _hofmn_to_json(result: HofmnResult) -> dict[str, Any]:
    document = _given(asdict(result))
    document["parameters"] = dict(result.parameters)
    if result.search is not None:
        document["search"]["at_bound"] = list(result.search.at_bound)
        document["median_distance"] = result.median_distance
    return document


def _audit_to_json(audit: CheckpointAudit) -> dict[str, Any]:
    document = _given(asdict(audit))
    document["layers"] = [_given(asdict(layer)) for layer in audit.layers]
    return document


def _autoattack(document: dict[str, Any] | None) -> AutoAttackResult | None:
    if document is None:
        return None
    counts = {Attack(name): AttackCount(**count) for name, count in document["per_attack"].items()}
    return AutoAttackResult(document["robust_accuracy"], counts)


def _hofmn(document: dict[str, Any] | None) -> HofmnResult | None:
    if document is None:
        return None
    search = document.get("search")
    found = SearchResult(**{**search, "at_bound": tuple(search["at_bound"])}) if search else None
    return HofmnResult(**{**document, "search": found})


def _word(kind: type[_Word], value: str | None) -> _Word | None:
    return None if value is None else kind(value)
