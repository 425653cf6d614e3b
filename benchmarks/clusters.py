"""Ray workers: two against one."""

from __future__ import annotations

import numpy as np
import torch

from apsite.evaluation.runs.ray_pool import RayPool, import_ray, start_cluster
from apsite.evaluation.runs.worker import Call, LabelledImages, Work
from apsite.protocol import Settings
from apsite.vocabulary import Attack
from benchmarks.attacks import EPSILON, GENTLE, Case, correct_part
from benchmarks.timing import Row, in_turn


def two_workers_row(case: Case) -> Row:
    """APGD and HO-FMN in parts of 16 samples, by one worker and by two; starting them is not counted."""
    samples = correct_part(case, torch.device("cpu"))
    parts = [samples.part(slice(start, start + 16)) for start in range(0, len(samples) - 15, 16)]
    calls = [call for part in parts for call in _calls(part)]
    found: dict[int, list[np.ndarray]] = {}

    def by(workers: RayPool) -> None:
        results = dict(workers.results(calls, lambda passes: None, lambda line: None))
        found[workers.count] = [results[number].values for number in range(len(calls))]

    inputs = (case.network, case.images[:8], Settings().on("cpu"), EPSILON, "cpu")
    start_cluster(num_cpus=3)
    with RayPool(*inputs, count=1) as one, RayPool(*inputs, count=2) as two:
        by(one), by(two)  # both have computed once
        ours, theirs = in_turn(lambda: by(two), lambda: by(one), 3)
    import_ray().shutdown()
    same = all(np.array_equal(a, b) for a, b in zip(found[1], found[2], strict=True))
    return Row("workers", case.name, "two Ray workers", ours, theirs, "one Ray worker", {"results_equal": same})


def _calls(part: LabelledImages) -> list[Call]:
    return [Call(Work.ATTACK, part, Attack.APGD_CE), Call(Work.DISTANCES, part, trials=(GENTLE,), steps=40)]
