"""Taxonomy entries: one JSON file per method, as typed data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apsite.documents.changes import Change, change_problems
from apsite.documents.converter import converter
from apsite.documents.json_files import read_json
from apsite.documents.schema import schema_problems
from apsite.errors import DocumentError
from apsite.vocabulary import (
    Architecture,
    Compression,
    Criterion,
    Dataset,
    Granularity,
    Locality,
    Objective,
    Schedule,
    Stage,
    Structure,
)

STEPS = ("pretraining", "finetuning", "pruning", "training")
"""Training steps that a pipeline can have."""


@dataclass(frozen=True)
class Paper:
    """Publication of a method. `url` is ``None`` where it is unknown."""

    title: str
    authors: tuple[str, ...]
    venue: str
    year: int
    url: str | None
    bibtex: str


@dataclass(frozen=True)
class Step:
    """One training step of a pipeline.

    Attributes:
        name: One of :data:`STEPS`.
        objectives: Its objectives; ``None`` if the paper does not specify them, empty if there is no such step.
    """

    name: str
    objectives: tuple[Objective, ...] | None


@dataclass(frozen=True)
class Pipeline:
    """When a method prunes, and with which objectives. `schedule` is ``None`` where it is not specified."""

    stage: Stage
    steps: tuple[Step, ...]
    schedule: tuple[Schedule, ...] | None


@dataclass(frozen=True)
class Specifics:
    """How a method prunes. All but `structure` are ``None`` where they are not specified."""

    structure: tuple[Structure, ...]
    granularity: tuple[Granularity, ...] | None
    locality: tuple[Locality, ...] | None
    criterion: Criterion | None


@dataclass(frozen=True)
class OriginalAudit:
    """How the original paper evaluated robustness (survey, Table 2); ``None`` means not specified."""

    autoattack: bool | None
    pgd: bool | None
    others: tuple[str, ...]
    robustness_curve: bool | None
    pgd_over_10_iterations: bool | None


@dataclass(frozen=True)
class ReportedResult:
    """A robust accuracy that the original paper reports, or that others measured on a model of its authors.

    Attributes:
        structure: What pruning removed; ``None`` where that is not specified.
        sparsity: A fraction; ``None`` where it is not specified.
        attack: Behind the number, in words.
        robust_accuracy: A fraction, like `clean_accuracy`.
        by: Who measured it; ``None`` for the authors of the method.
        source: Where the number was read; ``None`` for the tables of the survey.
    """

    dataset: Dataset
    architecture: Architecture
    structure: Structure | None
    sparsity: float | None
    attack: str
    robust_accuracy: float
    clean_accuracy: float | None = None
    by: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class PublishedCheckpoint:
    """A checkpoint to download. `sha256` is ``None`` until it is first pinned.

    `model_key` is ``None`` for a file that no key names; its `notes` say which model it is.
    """

    model_key: str | None
    url: str
    sha256: str | None
    file_format: str | None = None
    notes: str | None = None


@dataclass(frozen=True)
class Entry:
    """Taxonomy entry of one method.

    Attributes:
        key: Method key, also the name of the file.
        name: Name for tables.
        aliases: Other keys of the same method.
        baseline: Whether it is a simple criterion for comparison, not counted in the taxonomy.
        paper: Publication.
        code_url: Public implementation, or ``None``.
        pipeline: When it prunes.
        specifics: How it prunes.
        audit: How its paper evaluated it, or ``None``.
        reported: Results that its paper reports.
        notes: Remarks for readers.
        in_survey: Whether the survey's Table 1 has it.
        auxiliary_loss: Loss that is added to the objectives, or ``None``.
        host_methods: Names of the methods that it extends.
        source_data: Data of pretraining or pruning that are not those of the task, or ``None``.
        other_compression: What compresses the network beside pruning.
        checkpoints: Published checkpoints.
        sources: Where each field was read, by its name; that of an object is for all of its fields.
        changes: What happened to the entry since it was first published, oldest first.
    """

    key: str
    name: str
    aliases: tuple[str, ...]
    baseline: bool
    paper: Paper
    code_url: str | None
    pipeline: Pipeline
    specifics: Specifics
    audit: OriginalAudit | None
    reported: tuple[ReportedResult, ...]
    notes: tuple[str, ...]
    in_survey: bool = False
    auxiliary_loss: str | None = None
    host_methods: tuple[str, ...] = ()
    source_data: str | None = None
    other_compression: tuple[Compression, ...] = ()
    checkpoints: tuple[PublishedCheckpoint, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """What the method is called, by the place in the entry: key, name and aliases."""
        aliases = {f"aliases[{number}]": alias for number, alias in enumerate(self.aliases)}
        return {"key": self.key, "name": self.name, **aliases}


def entry_problems(path: Path, document: dict[str, Any]) -> list[DocumentError]:
    """Problems of a single entry: schema, order of its changes, and file name against key."""
    problems, key = schema_problems(path, "entry", document) or change_problems(path, document), document.get("key")
    if isinstance(key, str) and path.stem != key:
        wrong = f"{key!r} does not match the file name; rename one to match the other"
        problems.append(DocumentError(path, "key", wrong))
    return problems


def read_entry(path: Path) -> Entry:
    """Entry of a file.

    Raises:
        DocumentError: The first problem of the file, if it has any.
    """
    document = read_json(path)
    for problem in entry_problems(path, document):
        raise problem
    return entry_from_json(document)


def entry_from_json(document: dict[str, Any]) -> Entry:
    """Entry of a document that has passed :func:`entry_problems`."""
    return converter.structure({**document, "code_url": (document["code"] or {}).get("url")}, Entry)


def _pipeline(document: dict[str, Any], _: type[Pipeline]) -> Pipeline:
    """Steps in the order in which they happen; a document has a field for each that its stage has."""
    steps = [{"name": name, "objectives": document[name]} for name in STEPS if name in document]
    schedule = None if document.get("schedule") is None else tuple(map(Schedule, document["schedule"]))
    return Pipeline(Stage(document["stage"]), converter.structure(steps, tuple[Step, ...]), schedule)


converter.register_structure_hook(Pipeline, _pipeline)
