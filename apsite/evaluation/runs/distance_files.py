"""The survey's distance files: pickles of lists of torch scalars, read without executing anything from them.

What these files do not say is stated in the record: which test samples they are about, and whether a distance of 0
means that the sample was wrong with no attack or that the attack failed (the survey's code wrote 0 for both).
"""

from __future__ import annotations

import hashlib
import io
import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apsite.documents.unpickling import Object, PickleError, StoredTensor
from apsite.errors import EvaluationError
from apsite.evaluation.checkpoints.torch_files import TorchFile, read_plain
from apsite.evaluation.runs.evaluate import check_target, write_run
from apsite.keys import ModelKey
from apsite.records import CURVES, Checkpoint, EvaluationRecord, EvaluationWarning, Provenance, Sparsity, ThreatModel
from apsite.results import results_of
from apsite.samples import UNKNOWN_LABEL, SampleResults
from apsite.vocabulary import Protocol, ProvenanceKind, epsilon_value

MAX_BYTES = 100_000_000
"""No file may be larger; 10,000 scalars take 3 MB."""

SOURCE = "Piras2024Adversarial"
_DATE = "2024-09-02"


@dataclass(frozen=True)
class DistanceFile:
    """Hash of a distance file and its l-inf distances in input units; 0 = wrong with no attack, or never broken."""

    distances: NDArray[np.float32]
    sha256: str


def read_distances(path: Path) -> DistanceFile:
    """Distances of a file; nothing in it is executed.

    Raises:
        EvaluationError: If the file cannot be read, asks for anything but scalars, or holds something else than
            distances.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise EvaluationError(f"{path}: has {path.stat().st_size:,} bytes; at most {MAX_BYTES:,} are read")
        content = path.read_bytes()
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        file = read_plain(io.BytesIO(content))
        stored = file.content
        values = [_number(file, one) for one in stored] if isinstance(stored, list | tuple) else stored
    except PickleError as error:
        raise EvaluationError(f"{path}: is not a readable pickle ({error})") from None
    return DistanceFile(_distances(path, values), hashlib.sha256(content).hexdigest())


def import_distances(
    path: Path, key: ModelKey, output: Path, *, overwrite: bool = False, origin: str | None = None
) -> Path:
    """Write the record of a distance file, and its per-sample file next to it; returns where the record is.

    It is in the folder ``curves`` of its method, since it replaces no record of the model. `origin` says where the file
    comes from.

    Raises:
        EvaluationError: As :func:`read_distances`, or if the record cannot be written.
    """
    check_target(output / key.method / CURVES / f"{key}.json", overwrite=overwrite)
    record, samples = record_of(read_distances(path), key, origin)
    return write_run(output, record, samples, record.curve_path)[1]


def record_of(file: DistanceFile, key: ModelKey, origin: str | None = None) -> tuple[EvaluationRecord, SampleResults]:
    """Record and per-sample results of a distance file.

    The record never ranks and states no clean accuracy. Its robust accuracy counts every distance of 0 as broken, as
    the survey did; a warning gives the range that is possible. The samples have no index into the test set, which
    their labels of -1 say, see :attr:`apsite.samples.SampleResults.indexed`.

    Raises:
        EvaluationError: If the file has more distances than the test set has samples.
    """
    distances, n = file.distances, len(file.distances)
    if n > key.dataset.test_samples:
        raise EvaluationError(
            f"the file holds {n} distances; the test set of {key.dataset.label} has {key.dataset.test_samples} images"
        )
    samples = SampleResults(
        index=np.arange(n, dtype=np.int32), label=np.full(n, UNKNOWN_LABEL, np.int16), clean_correct=distances > 0,
        distance=distances,
    )  # fmt: skip
    results = results_of(samples, epsilon_value(key.dataset.epsilon))
    robust = results.hofmn_robust_accuracy or 0.0
    zeros = int((distances == 0).sum())
    found = {
        "unknown-samples": f"The source does not say which {n} test samples these are; they cannot be paired with "
        "other records."
    }
    if zeros:
        found["ambiguous-zeros"] = (
            f"{zeros} of {n} distances are 0. The source writes 0 for samples that are wrong with no attack and for "
            "samples that the attack failed to break, so the robust accuracy is between "
            f"{robust:.2%} (stated) and {robust + zeros / n:.2%}, and the clean accuracy is unknown."
        )
    record = EvaluationRecord(
        key=key, protocol=Protocol.CUSTOM, granularity=None, sparsity=Sparsity(key.sparsity, None),
        threat_model=ThreatModel("linf", key.dataset.epsilon), results=results, checkpoint=Checkpoint(None, None),
        provenance=Provenance(ProvenanceKind.PUBLISHED, SOURCE, "HO-FMN distance file", _DATE),
        warnings=tuple(itertools.starmap(EvaluationWarning, found.items())), environment={},
        notes=(f"Imported from {origin or 'a distance file'}, with the SHA-256 {file.sha256}.",),
    )  # fmt: skip
    return record, samples


def _number(file: TorchFile, value: object) -> object:
    """The number in a tensor of one floating-point element; anything else as it is."""
    if isinstance(value, StoredTensor) and value.shape in ((), (1,)):
        tensor = file.tensor(value)
        return tensor.item() if tensor.is_floating_point() else value
    return value


def _description(value: object) -> str:
    if isinstance(value, StoredTensor):
        return f"a tensor of shape {value.shape} in a {value.storage.kind}"
    return f"a {value.kind if isinstance(value, Object) else type(value).__name__}"


def _distances(path: Path, value: object) -> NDArray[np.float32]:
    """Distances from what was unpickled, or an error that says what is there instead."""
    if not isinstance(value, list | tuple) or not value:
        raise EvaluationError(f"{path}: holds a {type(value).__name__}; give a list of at least one distance")
    for position, one in enumerate(value):
        if not isinstance(one, float | int) or isinstance(one, bool):
            raise EvaluationError(
                f"{path}: element {position} is {_description(one)}; each must be one distance, a floating-point scalar"
            )
        if not (math.isfinite(one) and 0 <= one <= 1):
            raise EvaluationError(
                f"{path}: element {position} is {one}; l-inf distances of images in [0, 1] are from 0 to 1"
            )
    return np.array(value, np.float32)
