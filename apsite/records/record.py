"""An evaluation record: everything about the evaluation of one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from apsite.documents.changes import Change, open_dispute, retraction
from apsite.keys import ModelKey
from apsite.protocol import Scalar, SearchBatch
from apsite.records.parts import (
    Checkpoint,
    CheckpointAudit,
    EvaluatedData,
    EvaluationWarning,
    Passes,
    Provenance,
    Results,
    SamplesFile,
    Sparsity,
    ThreatModel,
    Verification,
)
from apsite.vocabulary import Architecture, ChangeKind, Dataset, Granularity, Protocol, ProvenanceKind, Structure

HISTORY = "history"
"""Folder, below that of a method, of records that a newer one has replaced."""


@dataclass(frozen=True)
class EvaluationRecord:
    """Everything about the evaluation of one model. Fields that a published result does not have are ``None``."""

    key: ModelKey
    protocol: Protocol
    granularity: Granularity | None
    sparsity: Sparsity
    threat_model: ThreatModel
    results: Results
    checkpoint: Checkpoint
    provenance: Provenance
    warnings: tuple[EvaluationWarning, ...]
    environment: Mapping[str, Scalar]
    notes: tuple[str, ...] = ()
    audit: CheckpointAudit | None = None
    settings: Mapping[str, Scalar] | None = None
    data: EvaluatedData | None = None
    passes: Mapping[str, Passes] | None = None
    seconds: Mapping[str, float] | None = None
    samples: SamplesFile | None = None
    verification: Verification | None = None
    changes: tuple[Change, ...] = ()

    @property
    def model_key(self) -> str:
        """The model key as text."""
        return str(self.key)

    @property
    def method(self) -> str:
        """Key of the method."""
        return self.key.method

    @property
    def dataset(self) -> Dataset:
        """Dataset of the evaluation."""
        return self.key.dataset

    @property
    def architecture(self) -> Architecture:
        """Network."""
        return self.key.architecture

    @property
    def structure(self) -> Structure | None:
        """What pruning removed; ``None`` for a dense network."""
        return self.key.structure

    @property
    def leaves_out_tuning(self) -> bool:
        """Whether HO-FMN and joint results count only samples that the search did not take (``--protocol paper``)."""
        rotating = (self.settings or {}).get("search_batch") == SearchBatch.ROTATING
        return rotating and self.protocol is Protocol.CUSTOM

    @property
    def hofmn_samples(self) -> int | None:
        """Samples behind the HO-FMN and joint results; ``None`` where the source does not state it."""
        search = self.results.search
        if self.results.n_samples is None or search is None or not self.leaves_out_tuning:
            return self.results.n_samples
        return self.results.n_samples - search.trials * search.samples

    @property
    def robust_accuracy(self) -> float | None:
        """Robust accuracy by which models are ranked: AutoAttack's; ``None`` where it was not run."""
        return self.results.aa_robust_accuracy

    @property
    def version(self) -> int:
        """1 for the first record of a model, one more for each record that replaced another."""
        return next((change.version + 1 for change in self.changes if change.version is not None), 1)

    @property
    def supersedes(self) -> Change | None:
        """Why and when this record replaced an older version; ``None`` for the first of a model."""
        return next((change for change in self.changes if change.kind is ChangeKind.SUPERSEDES), None)

    @property
    def retracted(self) -> Change | None:
        """Why and when its results were withdrawn; such a record never ranks."""
        return retraction(self.changes)

    @property
    def disputed(self) -> Change | None:
        """The dispute about it that is still open; such a record keeps its rank and is marked."""
        return open_dispute(self.changes)

    @property
    def path(self) -> Path:
        """Where the current record of the model belongs, relative to the folder ``evaluations``."""
        return Path(self.method) / f"{self.model_key}.json"

    @property
    def history_path(self) -> Path:
        """Where the record belongs once another has replaced it, relative to the folder ``evaluations``."""
        return Path(self.method) / HISTORY / f"{self.model_key}.{self.version}.json"


def with_verification(record: EvaluationRecord, verification: Verification) -> EvaluationRecord:
    """The same record, vouched for by a maintainer's re-run."""
    provenance = replace(record.provenance, kind=ProvenanceKind.VERIFIED)
    return replace(record, verification=verification, provenance=provenance)
