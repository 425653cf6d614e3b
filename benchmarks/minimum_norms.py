"""How far the distances of HO-FMN lie above the best known ones, beside the FMN of two libraries.

The best known distance of an image is the smallest that any attack here found: HO-FMN with each of its configurations,
FMN with the next best configurations of the search and with five times the steps, FAB-T of `pyautoattack` from the
image and from a random start, and the libraries. Every distance is that of an image which the network misclassifies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from apsite.evaluation.attacks.autoattack import is_adversarial
from apsite.evaluation.attacks.execution import CountedNetwork
from apsite.evaluation.attacks.fmn import FmnParameters, distances, fmn_attack
from apsite.evaluation.attacks.search import best_of, run_search
from apsite.evaluation.runs.worker import LabelledImages
from apsite.protocol import FIXED_CONFIGURATION, TARGETS, Settings
from benchmarks.attacks import Case, correct_part, official

IMAGES = 64
LONG = 5
"""Factor of the steps of the long attacks, which only serve to find the best known distance."""
OTHERS = 4
"""Further configurations of the search, the best ones but the first."""
HOFMN = "HO-FMN"
FIXED = "FMN, the fixed configuration alone"
BEST = "FMN, the best configuration of the search alone"
Distances = NDArray[np.float32]


@dataclass(frozen=True)
class Excess:
    """How far the distances of one attack lie above the best known ones."""

    network: str
    attack: str
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        """A result of the same name replaces an older one."""
        return f"{self.network}: distances of {self.attack}"

    def __str__(self) -> str:
        return f"{self.name}: {self.facts}"

    def as_json(self) -> dict[str, Any]:
        """The row as the results file holds it."""
        return {"kind": "distances", "network": self.network, "attack": self.attack, "facts": self.facts}


def distances_rows(case: Case) -> Iterator[Excess]:
    """One row for each attack whose distances someone would report, on correctly classified images."""
    samples = correct_part(case, torch.device("cpu"))
    samples = samples.part(slice(0, IMAGES))
    found = _found(case, samples)
    reported = {HOFMN: np.minimum(found[BEST], found[FIXED]), **found}
    best = np.min(list(found.values()), axis=0)
    for name in (HOFMN, BEST, FIXED, *(name for name in found if name.startswith("FMN of "))):
        above = excess(reported[name], best)
        facts = {"images": len(samples), "attacks": len(found), **above}
        yield Excess(case.name, name, facts)


def excess(reached: Distances, best: Distances) -> dict[str, float]:
    """Relative excess over the best known distances: median, 90th percentile, and how many lie within 0.1 %.

    >>> excess(np.array([1.0, 1.1], np.float32), np.ones(2, np.float32))["closest"]
    1
    """
    above = reached.astype(np.float64) / best - 1
    median, high = np.quantile(above, [0.5, 0.9])
    return {"median": float(median), "high": float(high), "closest": int((above <= 0.001).sum())}


def _found(case: Case, samples: LabelledImages) -> dict[str, Distances]:
    """Confirmed distances of every attack by name."""
    settings = Settings()
    x, y = torch.from_numpy(samples.images).float() / 255, torch.from_numpy(samples.labels)
    network = CountedNetwork(case.network.requires_grad_(False))

    def confirmed(perturbed: Tensor) -> Distances:
        right = is_adversarial(network, x, perturbed, y, 1.0)
        return distances(x, perturbed, right).numpy()

    def fmn(parameters: FmnParameters, steps: int) -> Distances:
        return confirmed(fmn_attack(network, x, y, [parameters] * len(x), steps)[0])

    trials = run_search(
        lambda first, together: [float(np.median(fmn(one, settings.search_steps))) for one in together],
        settings.trials, settings.seed,
    )  # fmt: skip
    best, fixed, steps = best_of(trials).parameters, FmnParameters(**FIXED_CONFIGURATION), settings.attack_steps
    others = [one.parameters for one in sorted(trials, key=lambda trial: trial.objective)[1 : OTHERS + 1]]
    found = {BEST: fmn(best, steps), FIXED: fmn(fixed, steps)}
    found |= {f"FMN, configuration {number} of the search": fmn(one, steps) for number, one in enumerate(others, 2)}
    found |= {f"{name}, long": fmn(one, LONG * steps) for name, one in ((BEST, best), (FIXED, fixed))}
    fab = official(case.network, case.epsilon, torch.device("cpu"), None).fab
    for name, random in (("FAB-T", False), ("FAB-T, random start", True)):
        torch.manual_seed(settings.seed)
        found[name] = np.min([confirmed(_one_target(fab, x, y, rank, random)) for rank in range(TARGETS)], axis=0)
    return found | {f"FMN of {name}": confirmed(attack(case, x, y, steps)) for name, attack in LIBRARIES.items()}


def _one_target(fab: Any, x: Tensor, y: Tensor, rank: int, random: bool) -> Tensor:
    """Closest images that FAB finds of the class with the `rank`-th largest logit but the first."""
    fab.target_class = rank + 2
    return fab.attack_single_run(x, y, use_rand_start=random, is_targeted=True)


def _adversarial_library(case: Case, x: Tensor, y: Tensor, steps: int) -> Tensor:
    from adv_lib.attacks.fast_minimum_norm import fmn

    return fmn(case.network, x, y, norm=float("inf"), steps=steps)


def _foolbox(case: Case, x: Tensor, y: Tensor, steps: int) -> Tensor:
    import foolbox

    model = foolbox.PyTorchModel(case.network, bounds=(0, 1), device="cpu")
    return foolbox.attacks.LInfFMNAttack(steps=steps).run(model, x, y)


LIBRARIES: Mapping[str, Callable[[Case, Tensor, Tensor, int], Tensor]] = {
    "adversarial-library": _adversarial_library,
    "foolbox": _foolbox,
}
"""FMN of other packages with their defaults and as many steps as HO-FMN's final attack."""
