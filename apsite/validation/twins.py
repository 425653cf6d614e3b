"""Runs of different checkpoints that are one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apsite.errors import DocumentError
from apsite.records import EvaluationRecord
from apsite.results import numbers
from apsite.samples import SampleResults
from apsite.vocabulary import ProvenanceKind

_KEPT = 256
"""Distances of a run that are compared: those with the smallest hashes, so of equal ones the same."""
_FEWEST = 16
"""Compared distances that two runs must share to be called one."""
_SHARE = 0.1
"""The same as a share of the compared ones; two networks share less than 0.01 by chance."""
_NUMBERS = 64
"""Samples from which on two runs of different networks do not agree in every number, medians to the last bit."""

Fingerprint = NDArray[np.uint32]
Run = tuple[Path, EvaluationRecord, Fingerprint]


def fingerprint(samples: SampleResults) -> Fingerprint:
    """Hashes of some distances of a run, ascending: few, so that those of thousands of runs fit into memory."""
    distance = samples.distance
    if distance is None:
        return np.zeros(0, np.uint32)
    found = np.unique(distance[(distance > 0) & np.isfinite(distance)].astype(np.float32)).view(np.uint32)
    return np.sort(found * np.uint32(2_654_435_761))[:_KEPT].copy()


def twin_problems(runs: Sequence[Run]) -> Iterator[DocumentError]:
    """Runs of different models that share their distances, in any order of the samples, or all of their numbers.

    Distances are float32 numbers from an optimisation, so those of two networks differ even where the networks are
    alike. Whoever evaluates the same network under another name, or edits a few results of somebody's run, shares them.
    """
    own = [run for run in runs if run[1].provenance.kind is not ProvenanceKind.PUBLISHED]
    for one, other, shared in _sharing([run[2] for run in own]):
        (path, record, prints), earlier = own[other], own[one][1]
        if record.model_key != earlier.model_key and record.dataset == earlier.dataset:
            of = f"{shared} of {len(prints)} distances that were compared"
            wrong = f"{of} are also those of {earlier.model_key}; two networks do not give the same run"
            yield DocumentError(path.with_suffix(".npz"), "distance", wrong)
    seen: dict[object, str] = {}
    for path, record, _ in own:
        results = record.results
        if (results.n_samples or 0) < _NUMBERS or results.hofmn is None or results.hofmn.median_distance is None:
            continue
        first = seen.setdefault((record.dataset, *numbers(results).items()), record.model_key)
        if first != record.model_key:
            yield DocumentError(path, "results", f"are those of {first} in every number; evaluate this model itself")


def _sharing(found: Sequence[Fingerprint]) -> Iterator[tuple[int, int, int]]:
    """Pairs of positions whose fingerprints share values, and how many they share."""
    owner = np.repeat(np.arange(len(found)), [len(values) for values in found])
    values = np.concatenate([*found, np.zeros(0, np.uint32)])
    order = np.lexsort((owner, values))
    values, owner = values[order], owner[order]
    shared: Counter[tuple[int, int]] = Counter()
    for lag in range(1, 4):  # of many copies, each is next to another
        same = values[lag:] == values[:-lag]
        codes, counts = np.unique(owner[:-lag][same] * len(found) + owner[lag:][same], return_counts=True)
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            shared[divmod(code, len(found))] += count
    for (one, other), count in sorted(shared.items()):
        if count >= max(_FEWEST, _SHARE * min(len(found[one]), len(found[other]))):
            yield one, other, count
