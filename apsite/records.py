"""Evaluation records: one JSON file per evaluated model, as typed data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from apsite.changes import Change, change_problems, changes_from_json, changes_to_json, open_dispute, retraction
from apsite.errors import DocumentError
from apsite.json_files import read_json, write_json
from apsite.keys import ModelKey
from apsite.schema import schema_problems
from apsite.vocabulary import (
    Architecture,
    Attack,
    ChangeKind,
    Dataset,
    Granularity,
    Protocol,
    ProvenanceKind,
    Structure,
    epsilon_value,
)

Scalar = str | int | float | bool | None
_Word = TypeVar("_Word", bound=StrEnum)

SEARCH_BATCH = "search_batch"
"""Setting that says which samples the HO-FMN search took; records without it have one fixed batch."""

ROTATING = "rotating"
"""Value of that setting in the survey's way: a new batch in each trial, HO-FMN counted over the other samples."""


HISTORY = "history"
"""Folder, below that of a method, of records that a newer one has replaced."""


@dataclass(frozen=True)
class Sparsity:
    """Declared and measured fraction of pruned parameters; `measured` is ``None`` where nobody measured it."""

    declared: float
    measured: float | None


@dataclass(frozen=True)
class ThreatModel:
    """What the adversary may do: `norm` is ``linf``, `epsilon` the exact text; ``None`` where the source is silent."""

    norm: str | None
    epsilon: str | None


@dataclass(frozen=True)
class AttackCount:
    """What one attack of AutoAttack did: samples attacked, broken (re-verified), and robust after it."""

    attacked: int
    broken: int
    robust_after: int


@dataclass(frozen=True)
class AutoAttackResult:
    """Robust accuracy under AutoAttack standard, and counts per attack in the order in which they ran."""

    robust_accuracy: float
    per_attack: Mapping[Attack, AttackCount] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchResult:
    """The hyperparameter search of HO-FMN.

    Attributes:
        trials: Configurations tried.
        samples: Correctly classified samples in each trial.
        steps: FMN steps in each trial.
        best_median: Median distance of the best trial, not-found counted as the worst possible norm.
        at_bound: Hyperparameters whose best value lies at a bound of the search space.
    """

    trials: int
    samples: int
    steps: int
    best_median: float
    at_bound: tuple[str, ...]


@dataclass(frozen=True)
class HofmnResult:
    """Robust accuracy at the benchmark budget under HO-FMN, and how it was obtained.

    Attributes:
        robust_accuracy: Fraction of samples whose distance exceeds epsilon.
        parameters: Best configuration of the search.
        median_distance: Over correctly classified samples; ``None`` if at least half were never broken.
        not_found: Samples attacked and never broken.
        search: The search; ``None`` for published figures.
        steps: FMN steps of the final attack; ``None`` for published figures.
    """

    robust_accuracy: float
    parameters: Mapping[str, float] = field(default_factory=dict)
    median_distance: float | None = None
    not_found: int | None = None
    search: SearchResult | None = None
    steps: int | None = None


@dataclass(frozen=True)
class JointResult:
    """Samples robust under AutoAttack whose distance also exceeds epsilon, and those that only one attack broke."""

    robust_accuracy: float
    broken_only_by_autoattack: int | None = None
    broken_only_by_hofmn: int | None = None


@dataclass(frozen=True)
class Results:
    """All figures of a record: fractions in [0, 1] of `n_samples`; ``None`` where the source gives none."""

    n_samples: int | None
    clean_accuracy: float | None
    autoattack: AutoAttackResult | None
    hofmn: HofmnResult | None
    joint: JointResult | None


@dataclass(frozen=True)
class EvaluationWarning:
    """What a reader should know before trusting the figures: a fixed `code` and a sentence."""

    code: str
    message: str


@dataclass(frozen=True)
class Checkpoint:
    """The evaluated file; attributes are ``None`` where a source does not give them."""

    url: str | None
    sha256: str | None
    size: int | None = None
    layout: str | None = None
    format: str | None = None
    unsafe_load: bool | None = None


@dataclass(frozen=True)
class LayerAudit:
    """Zeros of one convolution or linear layer; filter and channel counts are ``None`` for records without them."""

    name: str
    weights: int
    zero_weights: int
    filters: int | None = None
    zero_filters: int | None = None
    channels: int | None = None
    zero_channels: int | None = None


@dataclass(frozen=True)
class CheckpointAudit:
    """What was measured on the loaded network.

    Attributes:
        parameters: All parameters.
        nonzero_parameters: Those that are not zero.
        weights: Weights of convolutions and linear layers.
        zero_weights: Those of them that are exactly zero.
        macs: Multiply-accumulates for one image, dense.
        effective_macs: The same without multiplications by zero weights.
        zero_filters: Convolution filters with no weight left.
        filters: Convolution filters.
        layers: The same counts per layer.
        zero_channels: Convolution input channels with no weight left.
        channels: Convolution input channels.
        sparsity_basis: Share that matches the declared sparsity: ``weights``, ``filters`` or ``channels``.
    """

    parameters: int
    nonzero_parameters: int
    weights: int
    zero_weights: int
    macs: int
    effective_macs: int
    zero_filters: int
    filters: int
    layers: tuple[LayerAudit, ...]
    zero_channels: int | None = None
    channels: int | None = None
    sparsity_basis: str | None = None


@dataclass(frozen=True)
class EvaluatedData:
    """The evaluated samples: which part of the dataset, the hash of images and labels, whether the set is official."""

    split: str
    sha256: str
    known: bool
    source: str | None = None


@dataclass(frozen=True)
class Passes:
    """Passes of one sample: `forward` without gradient, `backward` forward passes with input gradient."""

    forward: int
    backward: int


@dataclass(frozen=True)
class SamplesFile:
    """Per-sample file that stands beside the record."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Verification:
    """A maintainer's re-run: ISO date, samples, and the share of them with the same verdict."""

    date: str
    samples: int
    agreement: float
    by: str | None = None


@dataclass(frozen=True)
class Provenance:
    """Who vouches for the figures; `source` is a citation key or who ran it, `date` is ISO."""

    kind: ProvenanceKind
    source: str
    location: str | None
    date: str


@dataclass(frozen=True)
class EvaluationRecord:
    """Everything about the evaluation of one model. Fields that a published figure does not have are ``None``."""

    key: ModelKey
    protocol: Protocol
    granularity: Granularity | None
    sparsity: Sparsity
    threat_model: ThreatModel
    results: Results
    checkpoint: Checkpoint
    provenance: Provenance
    warnings: tuple[EvaluationWarning, ...] = ()
    environment: Mapping[str, Scalar] = field(default_factory=dict)
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
        """Whether HO-FMN and joint figures count only samples that the search did not take (``--protocol paper``)."""
        rotating = self.settings is not None and self.settings.get(SEARCH_BATCH) == ROTATING
        return rotating and self.protocol is Protocol.CUSTOM

    @property
    def hofmn_samples(self) -> int | None:
        """Samples behind the HO-FMN and joint figures; ``None`` where the source does not state it."""
        search = self.results.hofmn.search if self.results.hofmn else None
        if self.results.n_samples is None or search is None or not self.leaves_out_tuning:
            return self.results.n_samples
        return self.results.n_samples - search.trials * search.samples

    @property
    def robust_accuracy(self) -> float | None:
        """Robust accuracy by which models are ranked: AutoAttack's; ``None`` where it was not run."""
        return self.results.autoattack.robust_accuracy if self.results.autoattack else None

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
        """Why and when its figures were withdrawn; such a record never ranks."""
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


def record_problems(path: Path, document: dict[str, Any]) -> list[DocumentError]:
    """Everything wrong with a record taken alone: schema, budget, changes, path and words against the model key."""
    problems = schema_problems(path, "record", document)
    problems += _epsilon_problems(path, document)
    problems += change_problems(path, document)
    text = document.get("model_key")
    if not isinstance(text, str):
        return problems
    replaced = path.parent.name == HISTORY
    stem, version = path.stem.rpartition(".")[::2] if replaced else (path.stem, "")
    if stem != text:
        problems.append(
            DocumentError(path, "model_key", f"{text!r} does not match the file name {path.name!r}; rename one")
        )
    if replaced and version != str(_version(document)):
        problems.append(
            DocumentError(
                path,
                "changes",
                f"make this version {_version(document)} of the record, not {version!r} as the file name says; "
                "files in history/ keep the content that they had",
            )
        )
    folder = path.parent.parent if replaced else path.parent
    if folder.name != document.get("method"):
        problems.append(
            DocumentError(path, "method", f"{document.get('method')!r} does not match the folder {folder.name!r}")
        )
    try:
        key = ModelKey.parse(text)
    except ValueError as error:
        problems.append(DocumentError(path, "model_key", str(error)))
        return problems
    expected: dict[str, object] = {
        "method": key.method,
        "dataset": key.dataset.value,
        "architecture": key.architecture.value,
        "structure": key.structure.value if key.structure else None,
    }
    for name, value in expected.items():
        if document.get(name) != value:
            problems.append(
                DocumentError(path, name, f"{document.get(name)!r} contradicts the model key, which says {value!r}")
            )
    sparsity = document.get("sparsity")
    declared = sparsity.get("declared") if isinstance(sparsity, dict) else None
    if isinstance(declared, int | float) and abs(declared - key.sparsity) > 1e-9:
        problems.append(
            DocumentError(path, "sparsity.declared", f"{declared} contradicts the model key, which says {key.sparsity}")
        )
    return problems


def _version(document: dict[str, Any]) -> int:
    """Version of a record that need not have passed its schema."""
    changes = document.get("changes")
    first = changes[0] if isinstance(changes, list) and changes else None
    replaced = first.get("version") if isinstance(first, dict) else None
    return replaced + 1 if isinstance(replaced, int) else 1


def _epsilon_problems(path: Path, document: dict[str, Any]) -> list[DocumentError]:
    """A budget that has the form of a fraction and yet is none in (0, 1]."""
    threat_model = document.get("threat_model")
    epsilon = threat_model.get("epsilon") if isinstance(threat_model, dict) else None
    if not isinstance(epsilon, str) or "/" not in epsilon:
        return []
    try:
        epsilon_value(epsilon)
    except ValueError as error:
        return [DocumentError(path, "threat_model.epsilon", str(error))]
    return []


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
    """Document of a record, ready for :func:`apsite.json_files.write_json`."""
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


def with_verification(record: EvaluationRecord, verification: Verification) -> EvaluationRecord:
    """The same record, vouched for by a maintainer's re-run."""
    provenance = replace(record.provenance, kind=ProvenanceKind.VERIFIED)
    return replace(record, verification=verification, provenance=provenance)


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
