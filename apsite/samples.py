"""Per-sample results: the ``.npz`` next to a record, from which its results can be recomputed."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsite.documents.array_files import UNREADABLE, arrays_of
from apsite.documents.json_files import IS_A_LINK, atomic_file
from apsite.errors import DocumentError
from apsite.metrics import robust_flags
from apsite.vocabulary import Attack, AttackName

MAX_FILE_BYTES = 10_000_000
MAX_ARRAY_BYTES = 20_000_000
MAX_ARRAYS = 32
UNKNOWN_LABEL = -1
"""Label of every sample of a file that does not say which samples of the test set they are."""
_FLAGS = {f"robust_after_{attack.value.replace('-', '_')}": attack for attack in Attack}
"""Arrays that say what each attack of AutoAttack left robust."""
_DTYPES = {
    "index": np.dtype(np.int32),
    "label": np.dtype(np.int16),
    "clean_correct": np.dtype(np.bool_),
    **{attack.array: np.dtype(np.float32 if attack.minimum_norm else np.bool_) for attack in AttackName},
    **dict.fromkeys(("tuning", *_FLAGS), np.dtype(np.bool_)),
}
_OWN = ("index", "label", "clean_correct", "aa_robust", "distance", "tuning")
"""Arrays that are fields of :class:`SampleResults`."""


@dataclass(frozen=True)
class SampleResults:
    """Results of every evaluated sample; arrays of the same length, one element per sample.

    Attributes:
        index: Position in the official order of the test set, int32, ascending; see :attr:`indexed`.
        label: True class, int16; -1 for all samples where it is unknown which samples they are.
        clean_correct: Whether it is classified correctly with no attack.
        aa_robust: Whether it is correct and no attack of AutoAttack broke it; ``None`` if AutoAttack did not run.
        distance: Minimum-norm distance in input units, float32; 0 = wrong with no attack, ``inf`` = attacked and never
            broken; ``None`` if HO-FMN did not run.
        tuning: Whether the HO-FMN search used it; ``None`` if HO-FMN did not run.
        robust_after: Whether it was still robust after each attack of AutoAttack.
        others: Arrays of further attacks, as :meth:`of` gives them.
    """

    index: NDArray[np.int32]
    label: NDArray[np.int16]
    clean_correct: NDArray[np.bool_]
    aa_robust: NDArray[np.bool_] | None = None
    distance: NDArray[np.float32] | None = None
    tuning: NDArray[np.bool_] | None = None
    robust_after: Mapping[Attack, NDArray[np.bool_]] = field(default_factory=dict)
    others: Mapping[AttackName, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def indexed(self) -> bool:
        """Whether `index` points into the test set.

        Imported distance files do not say which samples they are about. Their labels are -1, `index` only counts
        positions in the file, and `clean_correct` only says that the distance is not 0: such samples can be counted,
        but not paired with those of other records.
        """
        return bool((self.label >= 0).all())

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> SampleResults:
        """The samples at positions, or with a flag, `chosen`."""
        return replace(
            self,
            **{name: getattr(self, name)[chosen] for name in _OWN if getattr(self, name) is not None},
            robust_after={attack: flags[chosen] for attack, flags in self.robust_after.items()},
            others={attack: array[chosen] for attack, array in self.others.items()},
        )

    def without_tuning(self) -> SampleResults:
        """The samples that the HO-FMN search did not use."""
        return self if self.tuning is None else self.take(~self.tuning)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays by their names in the file."""
        named = {name: getattr(self, name) for name in _OWN} | {one.array: array for one, array in self.others.items()}
        named |= {name: self.robust_after[attack] for name, attack in _FLAGS.items() if attack in self.robust_after}
        return {name: array.astype(_DTYPES[name], copy=False) for name, array in named.items() if array is not None}

    def of(self, attack: AttackName) -> NDArray[Any] | None:
        """Array of an attack: whether each sample is robust or, of a minimum-norm attack, its distance."""
        own = {AttackName.AUTOATTACK: self.aa_robust, AttackName.HOFMN: self.distance}
        return own[attack] if attack in own else self.others.get(attack)

    def robust(self, attack: AttackName, epsilon: float | None) -> NDArray[np.bool_] | None:
        """Whether each sample is robust under an attack; ``None`` where that is unknown, as without ε for distances."""
        array = self.of(attack)
        if array is None or not attack.minimum_norm:
            return array
        return None if epsilon is None or not len(self) else robust_flags(array, epsilon)


def samples_bytes(samples: SampleResults) -> bytes:
    """Content of the file: the same bytes for the same arrays, so that its hash identifies the results."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **samples.arrays())
    return buffer.getvalue()


def write_samples(path: Path, samples: SampleResults) -> str:
    """Write the file atomically and return its SHA-256."""
    content = samples_bytes(samples)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


FETCHED = Path(".apsite") / "samples"
"""Folder of fetched per-sample files, below that of the data; git ignores it."""


def samples_path(record: Path, sha256: str, url: str | None) -> Path:
    """The per-sample file of a record: beside it, or, where it was moved to a `url`, where it is once it is fetched.

    >>> samples_path(Path("evaluations/M/K.json"), "ab12", None).as_posix()
    'evaluations/M/K.npz'
    >>> samples_path(Path("evaluations/M/K.json"), "ab12", "https://example.org/ab12.npz").as_posix()
    '.apsite/samples/ab12.npz'
    """
    beside = record.with_suffix(".npz")
    if url is None or beside.exists():
        return beside
    root = next((folder.parent for folder in record.parents if folder.name == "evaluations"), record.parent)
    return root / FETCHED / f"{sha256}.npz"


def read_samples(path: Path) -> SampleResults:
    """Per-sample results of an untrusted file. Nothing is unpickled, and sizes are checked before unpacking.

    Raises:
        DocumentError: If the file is missing, a link, too large, not an ``.npz`` of the documented arrays, or if the
            arrays contradict each other.
    """
    return read_samples_and_hash(path)[0]


def read_samples_and_hash(path: Path) -> tuple[SampleResults, str]:
    """The same, and the SHA-256 of the content that was read."""
    if path.is_symlink():
        raise DocumentError(path, "", IS_A_LINK)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DocumentError(path, "", f"is over {MAX_FILE_BYTES:,} bytes")
        content = path.read_bytes()
        arrays = arrays_of(content, most=MAX_ARRAYS, most_bytes=MAX_ARRAY_BYTES)
    except FileNotFoundError:
        how = "`apsite samples fetch` fetches it"
        if FETCHED.name != path.parent.name:
            how = "add the file that `apsite eval` wrote next to the record"
        raise DocumentError(path, "", f"is missing; {how}") from None
    except UNREADABLE as error:
        raise DocumentError(path, "", f"is not a readable .npz file ({error}); write it with `apsite eval`") from None
    for name in ("index", "label", "clean_correct"):
        if name not in arrays:
            raise DocumentError(path, name, "is missing from the file")
    n = arrays["index"].size
    for name, array in arrays.items():
        expected = _DTYPES.get(name)
        if expected is None:
            raise DocumentError(path, name, f"is not a known array; known are {', '.join(_DTYPES)}")
        if array.dtype != expected or array.shape != (n,):
            found = f"is {array.dtype} of shape {array.shape}"
            raise DocumentError(path, name, f"{found}; {expected} of shape ({n},) is required")
    samples = SampleResults(
        **{name: array for name, array in arrays.items() if name in _OWN},
        others={attack: arrays[attack.array] for attack in AttackName if attack.array in arrays.keys() - set(_OWN)},
        robust_after={_FLAGS[name]: array for name, array in arrays.items() if name in _FLAGS},
    )
    for name, problem in _contradictions(samples):
        raise DocumentError(path, name, problem)
    return samples, hashlib.sha256(content).hexdigest()


def _contradictions(samples: SampleResults) -> Iterator[tuple[str, str]]:
    """Arrays that cannot be true together, as pairs of name and problem."""
    if len(samples) == 0:
        yield "index", "holds no sample"
    elif samples.index[0] < 0 or (samples.index[1:] <= samples.index[:-1]).any():
        yield "index", "must be ascending with no duplicate, from 0 on"
    if not samples.indexed and (samples.label != UNKNOWN_LABEL).any():
        yield "label", f"must be 0 or more, or {UNKNOWN_LABEL} for all samples"
    for attack in AttackName:
        array, name = samples.of(attack), attack.array
        if array is None:
            continue
        if not attack.minimum_norm:
            if (array & ~samples.clean_correct).any():
                yield name, "marks samples as robust that are misclassified without an attack"
        elif np.isnan(array).any() or (array < 0).any():
            yield name, "holds a negative or NaN value"
        elif (array[np.isfinite(array)] > 1).any():
            yield name, "holds a distance above 1, the largest that two images can have"
        elif ((array == 0) != ~samples.clean_correct).any():
            yield name, "must be 0 exactly where clean_correct is false"
    before = samples.clean_correct
    for stage in filter(samples.robust_after.__contains__, Attack):
        if (samples.robust_after[stage] & ~before).any():
            yield f"robust_after_{stage.value}", "marks samples as robust that were already broken"
        before = samples.robust_after[stage]
    if samples.robust_after and (samples.aa_robust is None or (before != samples.aa_robust).any()):
        yield "aa_robust", "does not equal the flags after the last attack"
