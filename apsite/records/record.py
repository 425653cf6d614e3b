"""An evaluation record: everything about the evaluation of one model, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from apsite.documents.changes import Change, open_dispute, retraction
from apsite.keys import ModelKey
from apsite.protocol import Preset, Scalar, SearchBatch
from apsite.records.attack_results import Results
from apsite.records.counts import CheckpointAudit
from apsite.vocabulary import (
    Architecture,
    Attack,
    AttackName,
    ChangeKind,
    Dataset,
    Granularity,
    Protocol,
    ProvenanceKind,
    Structure,
    epsilon_text,
)

HISTORY = "history"
CURVES = "curves"
"""Folder of records that only draw a curve: the survey's distance files, which do not say which samples they cover."""
"""Folder, below that of a method, of records that a newer one has replaced."""


@dataclass(frozen=True)
class Sparsity:
    """Declared and measured fraction of pruned parameters; `measured` is ``None`` if it was not measured."""

    declared: float
    measured: float | None


@dataclass(frozen=True)
class ThreatModel:
    """What the adversary may do: `norm` is ``linf``, `epsilon` the exact text; ``None`` where the source is silent."""

    norm: str | None
    epsilon: str | None


@dataclass(frozen=True)
class EvaluationWarning:
    """What a reader should know before trusting the results: a fixed `code` and a sentence."""

    code: str
    message: str


@dataclass(frozen=True)
class Checkpoint:
    """The evaluated file; attributes are ``None`` where a source does not give them.

    `layout` is the registered one, or the function that built the network as ``file.py:function``, without its folder;
    then `factory_sha256` is the hash of its file.
    """

    url: str | None
    sha256: str | None
    size: int | None = None
    layout: str | None = None
    format: str | None = None
    unsafe_load: bool | None = None
    state: str | None = None
    factory_sha256: str | None = None


@dataclass(frozen=True)
class OwnSetFacts:
    """What a record says of a whole test set that is not registered, as :class:`apsite.vocabulary.Dataset` has it."""

    shape: tuple[int, int, int]
    class_counts: tuple[int, ...]
    sha256: str


@dataclass(frozen=True)
class EvaluatedData:
    """The evaluated samples: which part of the dataset, the hash of images and labels, whether the set is official.

    `whole` describes the set that they are from where it is not registered; ``None`` for registered ones.
    """

    split: str
    sha256: str
    known: bool
    source: str | None = None
    whole: OwnSetFacts | None = None


@dataclass(frozen=True)
class Passes:
    """Passes of one sample: `forward` without gradient, `backward` forward passes with input gradient."""

    forward: int
    backward: int


@dataclass(frozen=True)
class SamplesFile:
    """Per-sample file next to the record; `url` is where it is if a maintainer has moved it out of the repository."""

    file: str
    sha256: str
    url: str | None = None


@dataclass(frozen=True)
class RepeatedAttack:
    """One attack of a verification.

    Attributes:
        attack: The attack.
        claimed: Samples that the record counts as robust under it.
        drawn: Those of them that were attacked again.
        broken: Those drawn that were no longer robust.
        detectable_inflation: Smallest share of the evaluated samples that, claimed as robust without being so, the draw
            would have detected with a probability of 95 %.
    """

    attack: AttackName
    claimed: int
    drawn: int
    broken: int
    detectable_inflation: float


@dataclass(frozen=True)
class Verification:
    """A maintainer's re-run.

    Attributes:
        date: ISO day.
        seed: Drawn at run time: seed of the draw of samples and of the attacks.
        samples: Samples classified again without an attack, which are all of the record.
        clean_differences: Those whose class is right in one run and wrong in the other.
        attacks: What each attack of the record found.
        by: Who ran it.
    """

    date: str
    seed: int
    samples: int
    clean_differences: int
    attacks: tuple[RepeatedAttack, ...]
    by: str | None = None

    @property
    def detectable_inflation(self) -> float:
        """The largest of its attacks."""
        return max((one.detectable_inflation for one in self.attacks), default=1.0)


AUTHORS = "the authors"
"""Source of a run by the authors of the paper, where no name is given."""


@dataclass(frozen=True)
class Provenance:
    """Who vouches for the results; `source` is a citation key or who ran it, `date` is ISO."""

    kind: ProvenanceKind
    source: str
    location: str | None
    date: str


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

    def __post_init__(self) -> None:
        """Let a dataset that is not registered know its images, and count the run's ε as its own."""
        dataset, whole = self.key.dataset, self.data.whole if self.data else None
        if not dataset.registered and whole is not None:
            known = dataset.with_images(whole.shape, whole.class_counts, epsilon_text(self.threat_model.epsilon or ""))
            object.__setattr__(self, "key", replace(self.key, dataset=known))

    def __repr__(self) -> str:
        robust = "not attacked" if self.robust_accuracy is None else f"robust accuracy {self.robust_accuracy:.4f}"
        return f"<EvaluationRecord {self.key}: {self.protocol}, {self.provenance.kind}, {robust}>"

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
    def epsilon(self) -> str:
        """ε of AutoAttack as the one text that it has; the benchmark's where the source does not state it."""
        return epsilon_text(self.threat_model.epsilon or self.dataset.epsilon)

    @property
    def stages(self) -> tuple[Attack, ...]:
        """Attacks of AutoAttack that such a run makes: the first two for ``--protocol screen``, else all."""
        screened = (self.settings or {}).get("preset") == Preset.SCREEN and self.protocol is Protocol.CUSTOM
        return (Preset.SCREEN if screened else Preset.APB_1).stages

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

    @property
    def curve_path(self) -> Path:
        """Where the record of an imported distance file belongs, relative to the folder ``evaluations``."""
        return Path(self.method) / CURVES / f"{self.model_key}.json"


def with_verification(record: EvaluationRecord, verification: Verification) -> EvaluationRecord:
    """The same record, vouched for by a maintainer's re-run."""
    provenance = replace(record.provenance, kind=ProvenanceKind.VERIFIED)
    return replace(record, verification=verification, provenance=provenance)
