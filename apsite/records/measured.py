"""What was measured in published checkpoints: one file for all of them, written by ``apsite audit --published``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from apsite.documents.converter import converter
from apsite.documents.json_files import read_json, write_json
from apsite.documents.schema import schema_problems
from apsite.errors import DocumentError

MEASURED_FILE = "evaluations/published_checkpoints.json"
"""Where the file is, relative to the data folder."""
_VERSION = 1


@dataclass(frozen=True)
class MeasuredCheckpoint:
    """A published checkpoint as it was fetched, measured for the model that its entry declares.

    Attributes:
        url: Its URL, as in the entry.
        model_key: The declared model; ``None`` if the entry gives no key, and only the file itself is described.
        date: Day of the measurement, as year-month-day.
        sha256: Hash of the file, in hexadecimal; ``None`` if it could not be fetched.
        size: Its bytes.
        file_format: How it is written, such as ``safetensors``; empty if it could not be read.
        layout: Registered parameter layout that fits; empty if none does.
        shares: Removed share of the weights, filters, channels and kernels of the dense network, by these names.
        basis: Which of them is nearest to the declared sparsity; empty if nothing was measured.
        problem: Why it could not be fetched, read or measured, or what contradicts the declared model.
    """

    url: str
    model_key: str | None
    date: str
    sha256: str | None = None
    size: int | None = None
    file_format: str = ""
    layout: str = ""
    shares: Mapping[str, float] = field(default_factory=dict)
    basis: str = ""
    problem: str = ""

    @property
    def measured(self) -> float | None:
        """Share that the declared sparsity is compared with; ``None`` if nothing was measured."""
        return self.shares.get(self.basis)


def read_measured(root: Path, problems: list[DocumentError]) -> dict[str, MeasuredCheckpoint]:
    """The measured checkpoints of a data folder by URL; empty without a file. Its problems are appended."""
    path = root / MEASURED_FILE
    if not path.exists():
        return {}
    try:
        document = read_json(path)
    except DocumentError as error:
        problems.append(error)
        return {}
    if found := schema_problems(path, "published", document):
        problems += found
        return {}
    return {one["url"]: converter.structure(one, MeasuredCheckpoint) for one in document["checkpoints"]}


def write_measured(root: Path, measured: Iterable[MeasuredCheckpoint]) -> Path:
    """Write the file of a data folder, sorted by model and URL, and return its path."""
    ordered = sorted(measured, key=lambda one: (one.model_key or "~", one.url))
    path = root / MEASURED_FILE
    write_json(path, {"schema_version": _VERSION, "checkpoints": [converter.unstructure(one) for one in ordered]})
    return path
