"""What lower precision changes, sample by sample: TF32 emulated on a CPU, bfloat16, and another seed for comparison."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from apsite.evaluation.attacks import fmn
from apsite.evaluation.attacks.autoattack import is_adversarial
from apsite.evaluation.attacks.execution import CountedNetwork, FilledUp
from apsite.evaluation.attacks.fast import engine
from apsite.evaluation.attacks.fmn import distances, fmn_attack
from apsite.evaluation.attacks.precision import InBfloat16
from apsite.evaluation.attacks.simplification import simplified
from apsite.evaluation.runs.worker import LabelledImages
from apsite.protocol import Precision
from apsite.vocabulary import Attack
from benchmarks.attacks import EPSILON, GENTLE, Case, correct_part, short_attacks

PRODUCTS = frozenset({"aten::convolution", "aten::convolution_backward", "aten::addmm", "aten::mm", "aten::bmm"})
STEPS = 200


class EmulatedTf32(TorchDispatchMode):
    """Mode in which factors of convolutions and matrix products have 10 bits of mantissa, as tensor cores round them.

    Products are summed in float32, as there.
    """

    def __torch_dispatch__(self, operator: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        """Run one operation, on rounded factors if it is a product."""
        if operator._schema.name in PRODUCTS:
            arguments = [rounded(one) if isinstance(one, Tensor) and one.dim() > 1 else one for one in arguments]
        return operator(*arguments, **(options or {}))


def rounded(values: Tensor) -> Tensor:
    """The nearest float32 numbers with 10 bits of mantissa, ties away from zero.

    >>> rounded(torch.tensor([1 + 2**-10, 1 + 2**-11, 1 + 2**-12])).tolist()
    [1.0009765625, 1.0009765625, 1.0]
    """
    if values.dtype is not torch.float32:
        return values
    bits = values.contiguous().view(torch.int32)
    return ((bits + (1 << 12)) & ~((1 << 13) - 1)).view(torch.float32)


@contextlib.contextmanager
def emulated(precision: Precision) -> Iterator[None]:
    """Takes the place of :func:`apsite.evaluation.attacks.precision.arithmetic` on a CPU."""
    with EmulatedTf32() if precision is Precision.TF32 else contextlib.nullcontext():
        yield


@dataclass(frozen=True)
class Search:
    """One way to search for adversarial examples."""

    name: str
    precision: Precision
    seed: int


SEARCHES = (
    Search("float32", Precision.FLOAT32, 0),
    Search("float32, another seed", Precision.FLOAT32, 1),
    Search("TF32", Precision.TF32, 0),
    Search("bfloat16", Precision.BF16, 0),
)


@dataclass(frozen=True)
class Evidence:
    """Samples that a search left robust, compared with those of the first search, for one network."""

    network: str
    search: str
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        """A result of the same name replaces an older one."""
        return f"{self.network}: {self.search} search"

    def __str__(self) -> str:
        return f"{self.name}: {self.facts}"

    def as_json(self) -> dict[str, Any]:
        """The row as the results file holds it."""
        return {"kind": "precision", "network": self.network, "search": self.search, "facts": self.facts}


def precision_rows(cases: list[Case], kept: Path) -> Iterator[Evidence]:
    """AutoAttack and HO-FMN in each precision; finished parts in the folder `kept` are not repeated."""
    before = engine.arithmetic, fmn.arithmetic
    engine.arithmetic = fmn.arithmetic = emulated
    try:
        for case in cases:
            first: dict[str, np.ndarray] = {}
            for search in SEARCHES:
                found = _searched(case, search, kept)
                first = first or found
                yield Evidence(case.name, search.name, _facts(found, first))
    finally:
        engine.arithmetic, fmn.arithmetic = before


def recorded_row(case: Case, found: Mapping[str, np.ndarray], kept: Path) -> Evidence:
    """AutoAttack in bfloat16 against that of an evaluation in float32, whose per-sample file is `found`."""
    correct = found["clean_correct"]
    first = {attack.value: found[f"robust_after_{attack.value.replace('-', '_')}"][correct] for attack in Attack}
    ours = _attacked(case, SEARCHES[-1], kept)
    return Evidence(case.name, "bfloat16, compared with the committed record in float32", _flag_facts(ours, first))


def _flag_facts(found: Mapping[str, np.ndarray], first: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """How many samples each attack left, and how many results differ from those of the first search."""
    stages = [attack.value for attack in Attack]
    mine, other = found[stages[-1]], first[stages[-1]]
    return {
        "correct": len(mine),
        "robust_after": {stage: int(found[stage].sum()) for stage in stages},
        "only_here": int((mine & ~other).sum()),
        "only_float32": int((~mine & other).sum()),
    }


def _facts(found: dict[str, np.ndarray], first: dict[str, np.ndarray]) -> dict[str, Any]:
    """The same of AutoAttack, and how distances differ from those of the first search."""
    median = [float(np.median(one["distances"])) for one in (found, first)]
    return {
        **_flag_facts(found, first),
        "unconfirmed": int(found["unconfirmed"]),
        "robust_changed": int(((found["distances"] > EPSILON) != (first["distances"] > EPSILON)).sum()),
        "median_difference": abs(median[0] - median[1]) / median[1],
    }


def _attacked(case: Case, search: Search, kept: Path) -> dict[str, np.ndarray]:
    """Flags after each attack of the samples that are correct without one."""
    samples, x, y, quick = _prepared(case)
    network = CountedNetwork(case.network)
    surrogate = CountedNetwork(FilledUp(InBfloat16(quick) if search.precision is Precision.BF16 else quick))
    attacks = engine.FastEngine(
        network, EPSILON, search.seed, 128, surrogate=surrogate, precision=search.precision, lanes=1
    )  # fmt: skip
    left, found = np.ones(len(samples), bool), {}
    for attack in Attack:
        path = kept / f"{case.name}-{search.name}-{attack.value}.npy"
        if path.exists():
            left = np.load(path)
        else:
            some = np.flatnonzero(left)
            for part in np.array_split(some, max(1, -(-len(some) // 64))):
                with short_attacks(case.budget):
                    perturbed = attacks.perturb(attack, x[part], y[part], samples.index[part].tolist())
                left[part] = ~is_adversarial(network, x[part], perturbed, y[part], EPSILON).numpy()
            np.save(path, left)
        found[attack.value] = left.copy()
    return found


def _searched(case: Case, search: Search, kept: Path) -> dict[str, np.ndarray]:
    """Flags after each attack, and distances of FMN, of the samples that are correct without an attack."""
    found = _attacked(case, search, kept)
    path = kept / f"{case.name}-{search.name}-fmn.npz"
    if not path.exists():
        _, x, y, quick = _prepared(case)
        network, reached, unconfirmed = CountedNetwork(case.network), [], 0
        gradients = Precision.FLOAT32 if search.precision is Precision.BF16 else search.precision
        for a, b in zip(x.split(64), y.split(64), strict=True):
            adversarial, success = fmn_attack(
                CountedNetwork(quick), a, b, [GENTLE] * len(a), STEPS, gradients=gradients
            )
            confirmed = success & is_adversarial(network, a, adversarial, b, 1.0)
            unconfirmed += int((success & ~confirmed).sum())
            reached.append(distances(a, adversarial, confirmed).numpy())
        np.savez(path, distances=np.concatenate(reached), unconfirmed=unconfirmed)
    with np.load(path) as arrays:
        return {**found, **arrays}


def _prepared(case: Case) -> tuple[LabelledImages, Tensor, Tensor, nn.Module]:
    """Samples that are correct without an attack, also as tensors, and the simplified network."""
    samples = correct_part(case, torch.device("cpu"))
    x = torch.from_numpy(samples.images).float() / 255
    return samples, x, torch.from_numpy(samples.labels), simplified(case.network, x[:8]).network
