"""How much too high the robustness curve of HO-FMN is: AutoAttack on the images that it counts as robust, at several ε.

An image that HO-FMN breaks within ε is broken there in truth, so AutoAttack attacks only the others, from the smallest
ε to the largest; what it breaks at one ε stays broken at larger ones. What HO-FMN and AutoAttack at the ε of the record
found is taken from the record's per-sample file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from apsite.evaluation.runs.worker import Call, LabelledImages, Work, Worker
from apsite.evaluation.testsets.datasets import ImageSet
from apsite.protocol import CURVE_GAP_SIZES, Settings
from apsite.vocabulary import Attack
from benchmarks.attacks import EPSILON, short_attacks


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


def curve_rows(
    name: str, network: nn.Module, images: ImageSet, found: Path, budget: tuple[int, int, int] | None = None
) -> Iterator[Gap]:
    """One row for each ε, on those `images` that the evaluation at 8/255 with the per-sample file `found` had.

    The `budget` of the attacks is that of a :class:`Case`.
    """
    with np.load(found) as archive:
        index, correct, distance, robust_then = (
            archive[name] for name in ("index", "clean_correct", "distance", "aa_robust")
        )
    images = images.take(np.flatnonzero(np.isin(images.index, index)))
    there = np.isin(index, images.index)
    correct, distance, robust_then = correct[there], distance[there], robust_then[there]
    broken = np.zeros(len(images), np.bool_)
    for size in CURVE_GAP_SIZES:
        robust = correct & (distance > np.float32(size / 255))
        if size / 255 == EPSILON:
            broken |= robust & ~robust_then
        else:
            with short_attacks(budget):
                _attack(network, size / 255, images, robust, broken)
        wrong = int((robust & broken).sum())
        facts = {"images": len(images), "hofmn": int(robust.sum()), "broken": wrong, "gap": wrong / len(images)}
        yield Gap(name, size, facts)


def _attack(
    network: nn.Module, epsilon: float, images: ImageSet, robust: NDArray[np.bool_], broken: NDArray[np.bool_]
) -> None:
    """Set in `broken` what AutoAttack breaks of the robust images that are not broken yet."""
    device, pixels = torch.device("cpu"), np.asarray(images.images[:])
    worker = Worker(network, pixels[:8], Settings().on(device.type), epsilon, device)
    for attack in Attack:
        left = np.flatnonzero(robust & ~broken)
        if len(left):
            samples = LabelledImages(pixels[left], images.labels[left], images.index[left].astype(np.int64))
            broken[left] = worker.run(Call(Work.ATTACK, samples, attack)).values
