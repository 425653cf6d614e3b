"""The survey's distance files: pickles of lists of torch scalars, read without executing anything from them.

A pickle is a program, and what it may call decides what it can do. Here it may call four things: a rebuilder of
scalars that gives plain numbers, a reader of storages that goes through ``torch.load(weights_only=True)``, an encoder
that only makes bytes, each in the place of the function that the file names, and ``OrderedDict``, which every pickled
tensor asks for. Before that its instructions are scanned, so that a small file cannot ask for much memory.

What these files do not say is stated in the record: which test samples they are about, and whether a distance of 0
means that the sample was wrong with no attack or that the attack failed (the survey's code wrote 0 for both).
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import pickletools
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from apsite.errors import EvaluationError
from apsite.evaluation.runs.evaluate import check_target
from apsite.keys import ModelKey
from apsite.metrics import median_distance, robust_flags
from apsite.records import (
    Checkpoint,
    EvaluationRecord,
    EvaluationWarning,
    HofmnResult,
    Provenance,
    Results,
    SamplesFile,
    Sparsity,
    ThreatModel,
    write_record,
)
from apsite.samples import UNKNOWN_LABEL, Samples, write_samples
from apsite.vocabulary import Protocol, ProvenanceKind, epsilon_value

MAX_BYTES = 100_000_000
"""No file may be larger; 10,000 scalars take 3 MB."""

MAX_STORAGE_BYTES = 1_000_000
"""No tensor of a file may be cut from more than this."""

SOURCE = "Piras2024Adversarial"
_DATE = "2024-09-02"


@dataclass(frozen=True)
class DistanceFile:
    """Content of a distance file.

    Attributes:
        distances: l-inf distances in input units, shape ``(n,)``, float32; 0 = wrong with no attack, or never broken.
        sha256: Hash of the file.
    """

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
        _scan(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch deprecates the storages that these files are made of
            value = _ScalarUnpickler(io.BytesIO(content)).load()
    except _RefusedError as error:
        raise EvaluationError(f"{path}: {error}; it was not loaded") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise EvaluationError(f"{path}: is not a readable pickle ({type(error).__name__}: {error})") from None
    return DistanceFile(_distances(path, value), hashlib.sha256(content).hexdigest())


def import_distances(path: Path, key: ModelKey, output: Path, *, overwrite: bool = False) -> Path:
    """Write the record of a distance file, and its per-sample file beside it.

    Args:
        path: The distance file.
        key: The model that it is about.
        output: Folder of records.
        overwrite: Replace an existing record.

    Returns:
        Where the record was written.

    Raises:
        EvaluationError: As :func:`read_distances`, or if the record cannot be written.
    """
    check_target(output / key.method / f"{key}.json", overwrite=overwrite)
    record, samples = record_of(read_distances(path), key)
    samples_path = output / record.path.with_suffix(".npz")
    digest = write_samples(samples_path, samples)
    record = EvaluationRecord(**{**vars(record), "samples": SamplesFile(samples_path.name, digest)})
    return write_record(output, record)


def record_of(file: DistanceFile, key: ModelKey) -> tuple[EvaluationRecord, Samples]:
    """Record and verdicts of a distance file.

    The record never ranks and states no clean accuracy. Its robust accuracy counts every distance of 0 as broken, as
    the survey did; a warning gives the range that is possible. The samples have no index into the test set, which
    their labels of -1 say, see :attr:`apsite.samples.Samples.indexed`.

    Raises:
        EvaluationError: If there are more distances than test samples.
    """
    distances, n = file.distances, len(file.distances)
    if n > key.dataset.test_samples:
        raise EvaluationError(
            f"the file holds {n} distances; the test set of {key.dataset.label} has {key.dataset.test_samples} images"
        )
    robust = int(robust_flags(distances, epsilon_value(key.dataset.epsilon)).sum())
    zeros = int((distances == 0).sum())
    found = [
        EvaluationWarning(
            "unknown-samples",
            f"The source does not say which {n} test samples these are; they cannot be paired with other records.",
        )
    ]
    if zeros:
        found.append(
            EvaluationWarning(
                "ambiguous-zeros",
                f"{zeros} of {n} distances are 0. The source writes 0 for samples that are wrong with no attack and "
                "for samples that the attack failed to break, so the robust accuracy is between "
                f"{robust / n:.2%} (stated) and {(robust + zeros) / n:.2%}, and the clean accuracy is unknown.",
            )
        )
    record = EvaluationRecord(
        key=key,
        protocol=Protocol.CUSTOM,
        granularity=None,
        sparsity=Sparsity(key.sparsity, None),
        threat_model=ThreatModel("linf", key.dataset.epsilon),
        results=Results(n, None, None, HofmnResult(robust / n, median_distance=median_distance(distances)), None),
        checkpoint=Checkpoint(None, None),
        provenance=Provenance(ProvenanceKind.PUBLISHED, SOURCE, "HO-FMN distance file", _DATE),
        warnings=tuple(found),
        notes=(f"Imported from a distance file with the SHA-256 {file.sha256}.",),
    )
    samples = Samples(
        index=np.arange(n, dtype=np.int32),
        label=np.full(n, UNKNOWN_LABEL, np.int16),
        clean_correct=distances > 0,
        distance=distances,
    )
    return record, samples


class _RefusedError(Exception):
    """The file asks for something that a list of scalars does not need."""


class _Scalar:
    """In the place of ``torch._utils._rebuild_tensor_v2``: one number of a storage. Has no attributes to change."""

    __slots__ = ()

    def __call__(self, storage: object, offset: object, size: object, *rest: object) -> float:
        if not isinstance(storage, _Numbers) or not isinstance(offset, int) or isinstance(offset, bool):
            raise _RefusedError("holds a tensor of an unknown form")
        if size not in ((), (1,)):
            raise _RefusedError(f"holds a tensor of shape {size}; a list of scalars is needed")
        if not 0 <= offset < len(storage):
            raise _RefusedError("holds a tensor beyond its own memory")
        return float(storage[offset])


class _Numbers(tuple[float, ...]):
    """Numbers of a storage."""

    __slots__ = ()


class _Storage:
    """In the place of ``torch.storage._load_from_bytes``, which would execute what the bytes say."""

    __slots__ = ()

    def __call__(self, content: object) -> _Numbers:
        if not isinstance(content, bytes) or len(content) > MAX_STORAGE_BYTES:
            raise _RefusedError(f"holds a tensor of more than {MAX_STORAGE_BYTES:,} bytes")
        try:
            storage = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # damaged or hostile: torch names what it refused
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise _RefusedError(f"holds a tensor that torch does not load as plain data ({lines[0]})") from None
        if not isinstance(storage, torch.TypedStorage) or storage.dtype not in _DTYPES:
            raise _RefusedError("holds something else than floating-point scalars")
        return _Numbers(float(storage[position]) for position in range(len(storage)))


class _Bytes:
    """In the place of ``_codecs.encode``, by which old protocols write bytes."""

    __slots__ = ()

    def __call__(self, text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise _RefusedError("encodes something else than bytes")
        return text.encode("latin1")


_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_ADMITTED: dict[tuple[str, str], Callable[..., object]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _Scalar(),
    ("torch.storage", "_load_from_bytes"): _Storage(),
    ("_codecs", "encode"): _Bytes(),
    ("collections", "OrderedDict"): OrderedDict,
}


class _ScalarUnpickler(pickle.Unpickler):
    """Unpickler that knows three names, and imports none."""

    def find_class(self, module: str, name: str) -> Any:
        admitted = _ADMITTED.get((module, name))
        if admitted is None:
            raise _RefusedError(f"asks for {module}.{name}, which a list of scalars has no use for")
        return admitted

    def persistent_load(self, identity: object) -> NoReturn:
        raise _RefusedError("refers to objects outside the file")


def _scan(content: bytes) -> None:
    """Refuse a pickle whose memory numbers run far ahead of its instructions."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(argument, int) and argument > count:
            raise _RefusedError("asks for more memory than its instructions need")


def _distances(path: Path, value: object) -> NDArray[np.float32]:
    """Distances from what was unpickled, or an error that says what is there instead."""
    if not isinstance(value, list | tuple) or not value:
        raise EvaluationError(
            f"{path}: holds a {type(value).__name__}; a list of distances is needed, with one or more"
        )
    for position, one in enumerate(value):
        if not isinstance(one, float | int) or isinstance(one, bool):
            raise EvaluationError(
                f"{path}: element {position} is a {type(one).__name__}; each must be one distance, a scalar"
            )
        if not (math.isfinite(one) and 0 <= one <= 1):
            raise EvaluationError(
                f"{path}: element {position} is {one}; l-inf distances of images in [0, 1] are from 0 to 1"
            )
    return np.array(value, np.float32)
