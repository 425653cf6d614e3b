"""How much too high the robustness curve of HO-FMN is: AutoAttack on the images that it counts as robust, at several ε.

An image that HO-FMN breaks within ε is broken there in truth, so AutoAttack attacks only the others, from the smallest
ε to the largest; what it breaks at one ε stays broken at larger ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from apsite.evaluation.attacks.fmn import FmnParameters
from apsite.evaluation.attacks.search import best_of, run_search
from apsite.evaluation.runs.search_parts import search_batches
from apsite.evaluation.runs.worker import Call, LabelledImages, Work, Worker
from apsite.protocol import FIXED_CONFIGURATION, Settings
from apsite.vocabulary import Attack
from benchmarks.attacks import Case, correct_part, short_attacks

SIZES = (2, 4, 6, 8, 12, 16)
"""Perturbation sizes in 255ths."""


@dataclass(frozen=True)
class Gap:
    """Images that HO-FMN counts as robust at one ε, and those of them that AutoAttack breaks."""

    network: str
    size: int
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        """A result of the same name replaces an older one."""
        return f"{self.network}: curve at {self.size}/255"

    def __str__(self) -> str:
        return f"{self.name}: {self.facts}"

    def as_json(self) -> dict[str, Any]:
        """The row as the results file holds it."""
        return {"kind": "curve", "network": self.network, "size": self.size, "facts": self.facts}


def curve_rows(case: Case, settings: Settings | None = None) -> Iterator[Gap]:
    """One row for each ε, on all images of the case; the `settings` are those of ``apb-1``."""
    device = torch.device("cpu")
    settings = (settings or Settings()).on(device.type)
    samples, count = correct_part(case, device), len(case.labels)
    distance = _distances(case, samples, settings, device)
    broken = np.zeros(len(samples), np.bool_)
    for size in SIZES:
        epsilon = size / 255
        robust = distance > np.float32(epsilon)
        worker = Worker(case.network, case.images[:8], settings, epsilon, device)
        for attack in Attack:
            survivors = np.flatnonzero(robust & ~broken)
            if len(survivors):
                with short_attacks(case.budget):
                    broken[survivors] = worker.run(Call(Work.ATTACK, _at(samples, survivors), attack)).values
        found, wrong = int(robust.sum()), int((robust & broken).sum())
        facts = {"images": count, "hofmn": found, "broken": wrong, "gap": wrong / count}
        yield Gap(case.name, size, facts)


def _distances(case: Case, samples: LabelledImages, settings: Settings, device: torch.device) -> NDArray[np.float32]:
    """Distances of HO-FMN, as a run finds them."""
    worker = Worker(case.network, case.images[:8], settings, case.epsilon, device)
    _, batch = search_batches(np.ones(len(samples), np.bool_), settings)
    searched = _at(samples, batch(0))

    def objectives(first: int, together: Sequence[FmnParameters]) -> list[float]:
        call = Call(Work.SEARCH, searched, trials=tuple(together), steps=settings.search_steps)
        return [float(np.median(values)) for values in worker.run(call).values]

    best = best_of(run_search(objectives, settings.trials, settings.seed)).parameters
    trials = best, FmnParameters(**FIXED_CONFIGURATION)
    call = Call(Work.DISTANCES, samples, trials=trials, steps=settings.attack_steps)
    return worker.run(call).values.astype(np.float32).min(axis=1)


def _at(samples: LabelledImages, chosen: NDArray[np.int64]) -> LabelledImages:
    """Some of the samples."""
    return replace(
        samples, images=samples.images[chosen], labels=samples.labels[chosen], index=samples.index[chosen]
    )  # fmt: skip
