"""Evaluation records: one JSON file per evaluated model, as typed data.

A record is made of ``parts``; ``record`` holds it and what follows from it, ``rules`` say what can be wrong with its
document, and ``documents`` read and write it.
"""

from __future__ import annotations

from apsite.protocol import Scalar
from apsite.records.documents import read_record, record_from_json, record_to_json, write_record
from apsite.records.parts import (
    AttackCount,
    AttackResult,
    Checkpoint,
    CheckpointAudit,
    EvaluatedData,
    EvaluationWarning,
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
from apsite.records.record import HISTORY, EvaluationRecord, with_verification
from apsite.records.rules import record_problems

__all__ = [
    "HISTORY",
    "AttackCount",
    "AttackResult",
    "Checkpoint",
    "CheckpointAudit",
    "EvaluatedData",
    "EvaluationRecord",
    "EvaluationWarning",
    "JointResult",
    "LayerAudit",
    "Passes",
    "Provenance",
    "Results",
    "SamplesFile",
    "Scalar",
    "SearchResult",
    "Sparsity",
    "ThreatModel",
    "Verification",
    "read_record",
    "record_from_json",
    "record_problems",
    "record_to_json",
    "with_verification",
    "write_record",
]
