"""Which samples the search of HO-FMN takes, and what its trials reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from apsite.evaluation.runs.worker import Result
from apsite.protocol import Settings
from apsite.records import Passes

WORST = 1.0
"""Median distance of a trial that had no correctly classified sample: the largest that images in [0, 1] allow."""


def search_batches(
    clean: NDArray[np.bool_], settings: Settings
) -> tuple[NDArray[np.bool_], Callable[[int], NDArray[np.int64]]]:
    """Samples that the search takes, and the correctly classified ones of them that each trial attacks.

    A fixed batch is drawn by the seed from the correctly classified samples; rotating ones follow each other from the
    start of the set, as the survey has it.
    """
    tuning, size = np.zeros(len(clean), np.bool_), settings.search_samples
    if settings.left_out:
        tuning[: settings.left_out] = True
        return tuning, lambda number: number * size + np.flatnonzero(clean[number * size : (number + 1) * size])
    order = np.random.default_rng(settings.seed).permutation(np.flatnonzero(clean))
    fixed = np.sort(order[:size])
    tuning[fixed] = True
    return tuning, lambda number: fixed


def median_of(parts: Sequence[NDArray[np.generic]]) -> float:
    """Median distance of the samples of one trial; the worst one if it had none."""
    reached = torch.from_numpy(np.concatenate([*parts, np.zeros(0, np.float32)])).double()
    return float(reached.quantile(0.5)) if len(reached) else WORST


def share_of(result: Result, values: NDArray[np.generic], trials: int) -> Result:
    """Part of one trial in work that was done for several, which all took the same passes."""
    passes = Passes(result.passes.forward // trials, result.passes.backward // trials)
    return Result(values, passes, result.seconds / trials)
