"""Evaluation records: one JSON file per evaluated model, as typed data.

``record`` and ``attack_results`` hold it and what follows from it, ``rules`` say what can be wrong with its document,
and ``documents`` read, write and convert it.
"""

from __future__ import annotations

from apsite.protocol import Scalar
from apsite.records.attack_results import (
    AttackCount,
    AttackResult,
    FixedConfiguration,
    Float32Check,
    JointResult,
    Results,
    SearchResult,
    WholeSet,
)
from apsite.records.counts import CheckpointAudit, LayerAudit
from apsite.records.documents import read_record, record_from_json, record_to_json, write_record
from apsite.records.record import (
    AUTHORS,
    CURVES,
    HISTORY,
    Checkpoint,
    EvaluatedData,
    EvaluationRecord,
    EvaluationWarning,
    OwnSetFacts,
    Passes,
    Provenance,
    RepeatedAttack,
    SamplesFile,
    Sparsity,
    ThreatModel,
    Verification,
    with_verification,
)
from apsite.records.rules import record_problems

__all__ = [
    "AUTHORS", "CURVES", "HISTORY", "AttackCount", "AttackResult", "Checkpoint", "CheckpointAudit", "EvaluatedData",
    "EvaluationRecord", "EvaluationWarning", "FixedConfiguration", "Float32Check", "JointResult", "LayerAudit",
    "OwnSetFacts", "Passes", "Provenance", "RepeatedAttack", "Results", "SamplesFile", "Scalar", "SearchResult",
    "Sparsity", "ThreatModel", "Verification", "WholeSet", "read_record", "record_from_json", "record_problems",
    "record_to_json", "with_verification", "write_record",
]  # fmt: skip
