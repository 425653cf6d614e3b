"""How much too high the robustness curve of HO-FMN is: AutoAttack on the images that it counts as robust, at several ε.

An image that HO-FMN breaks within ε is broken there in truth, so AutoAttack attacks only the others, from the smallest
ε to the largest; what it breaks at one ε stays broken at larger ones. What HO-FMN found, and AutoAttack at the ε of the
record, is taken from the record's per-sample file; what AutoAttack left robust there is not attacked at smaller ε.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from apsite.evaluation.runs.worker import Call, LabelledImages, Work, Worker
from apsite.protocol import CURVE_GAP_SIZES, Settings
from apsite.vocabulary import Attack
from benchmarks.attacks import Case, short_attacks


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


def curve_rows(case: Case, found: Mapping[str, NDArray]) -> Iterator[Gap]:
    """One row for each ε; `found` has the images of the case as the per-sample file of an evaluation names them."""
    robust_then, broken = found["aa_robust"], np.zeros(len(case.labels), np.bool_)
    for size in CURVE_GAP_SIZES:
        robust = found["clean_correct"] & (found["distance"] > np.float32(size / 255))
        if size / 255 == case.epsilon:
            broken |= robust & ~robust_then
        else:
            _attack(case, size / 255, robust & ~robust_then if size / 255 < case.epsilon else robust, broken)
        count, wrong = len(case.labels), int((robust & broken).sum())
        yield Gap(case.name, size, {"images": count, "hofmn": int(robust.sum()), "broken": wrong, "gap": wrong / count})


def _attack(case: Case, epsilon: float, robust: NDArray[np.bool_], broken: NDArray[np.bool_]) -> None:
    """Set in `broken` what AutoAttack breaks of the robust images that are not broken yet."""
    device = torch.device("cpu")
    worker = Worker(case.network, case.images[:8], Settings().on(device.type), epsilon, device)
    for attack in Attack:
        left = np.flatnonzero(robust & ~broken)
        if len(left):
            with short_attacks(case.budget):
                samples = LabelledImages(case.images[left], case.labels[left], left)
                broken[left] = worker.run(Call(Work.ATTACK, samples, attack)).values
