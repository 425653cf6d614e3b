"""AutoAttack and HO-FMN, ours against `pyautoattack` and a plain FMN loop, on the same network and images."""

from __future__ import annotations

import contextlib
import copy
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from apsite.evaluation.attacks.autoattack import is_adversarial
from apsite.evaluation.attacks.execution import as_inputs
from apsite.evaluation.attacks.fast import apgd, fab, square
from apsite.evaluation.attacks.fast.engine import FastEngine
from apsite.evaluation.attacks.fmn import FmnParameters
from apsite.evaluation.attacks.memory_formats import FormatChoice, MemoryFormat
from apsite.evaluation.attacks.simplification import simplified
from apsite.evaluation.runs.worker import Call, LabelledImages, Work, Worker
from apsite.protocol import Precision, Settings
from apsite.vocabulary import Attack
from benchmarks.apart import apart, timed
from benchmarks.plain_fmn import plain_fmn
from benchmarks.timing import Row, in_turn

EPSILON = 8 / 255
GENTLE = FmnParameters(learning_rate=8 / 255, momentum=0.5, weight_decay=0.01, dampening=0.1)


@dataclass(frozen=True)
class Case:
    """A network and images.

    Attributes:
        name: How rows call it.
        network: As a user has it: in evaluation mode, parameters not frozen.
        images: 0..255, shape ``(n, 3, height, width)``.
        labels: Shape ``(n,)``.
        epsilon: Perturbation size; a tiny one keeps every sample of an untrained network robust.
        budget: Steps and queries of the attacks; ``None`` for the standard ones.
        precision: Arithmetic in which our AutoAttack searches.
    """

    name: str
    network: nn.Module
    images: np.ndarray
    labels: np.ndarray
    epsilon: float = EPSILON
    budget: tuple[int, int, int] | None = None
    precision: Precision = Precision.FLOAT32


@contextlib.contextmanager
def short_attacks(budget: tuple[int, int, int] | None) -> Iterator[None]:
    """Let our attacks make fewer steps (APGD, FAB) and queries (Square), for networks that would take hours."""
    before = apgd.STEPS, fab.STEPS, square.QUERIES
    if budget:
        apgd.STEPS, fab.STEPS, square.QUERIES = budget
    try:
        yield
    finally:
        apgd.STEPS, fab.STEPS, square.QUERIES = before


def official(network: nn.Module, epsilon: float, device: torch.device, budget: tuple[int, int, int] | None) -> Any:
    """`pyautoattack` as its users run it."""
    from pyautoattack.autoattack import AutoAttack

    logging.getLogger("auto-attack").setLevel(logging.ERROR)
    suite: Any = AutoAttack(network, norm="Linf", eps=epsilon, seed=0, version="standard", device=device)
    if budget:
        suite.apgd.n_iter = suite.apgd_targeted.n_iter = budget[0]
        suite.fab.n_iter, suite.square.n_queries = budget[1], budget[2]
    return suite


def official_stage(suite: Any, attack: Attack, x: Tensor, y: Tensor) -> Tensor:
    """Perturbed images of one stage of the official code."""
    match attack:
        case Attack.APGD_CE:
            suite.apgd.loss, suite.apgd.seed = "ce", 0
            return suite.apgd.perturb(x, y)
        case Attack.APGD_T:
            suite.apgd_targeted.seed = 0
            return suite.apgd_targeted.perturb(x, y)
        case Attack.FAB_T:
            suite.fab.targeted, suite.fab.n_restarts, suite.fab.seed = True, 1, 0
            return suite.fab.perturb(x, y)
        case Attack.SQUARE:
            suite.square.seed = 0
            return suite.square.perturb(x, y)


def correct_part(case: Case, device: torch.device) -> LabelledImages:
    """Samples that the network classifies correctly."""
    x = torch.from_numpy(case.images).to(device).float() / 255
    with torch.no_grad():
        right = torch.cat([case.network(part).argmax(1) for part in x.split(64)]).cpu().numpy() == case.labels
    chosen = np.flatnonzero(right)
    return LabelledImages(case.images[chosen], case.labels[chosen], chosen)


class _Ours:
    """Our attacks on one network, on the CPU."""

    def __init__(self, case: Case) -> None:
        self.case = case
        settings, network = Settings(precision=case.precision).on("cpu"), copy.deepcopy(case.network)
        self.worker = Worker(network, case.images[:8], settings, case.epsilon, torch.device("cpu"))
        self.exact = FastEngine(self.worker.network, case.epsilon, 0, settings.rows, exact=True)
        self.passes = {attack: [0, 0] for attack in Attack}

    def left(self, attack: Attack, samples: LabelledImages, left: np.ndarray) -> np.ndarray:
        """Which samples are left after an attack."""
        some = LabelledImages(samples.images[left], samples.labels[left], samples.index[left])
        if not len(some):
            return left
        with short_attacks(self.case.budget):
            found = self.worker.run(Call(Work.ATTACK, some, attack))
        self.passes[attack][0] += found.passes.forward
        self.passes[attack][1] += found.passes.backward
        return _without(left, found.values)

    def left_in_exact_mode(self, attack: Attack, samples: LabelledImages, left: np.ndarray) -> np.ndarray:
        """Which samples are left after an attack with the draws and the order of the official code."""
        if not left.any():
            return left
        x, y = _tensors(samples, left)
        perturbed = self.exact.perturb(attack, x, y, samples.index[left].tolist())
        return _without(left, is_adversarial(self.worker.network, x, perturbed, y, self.case.epsilon).numpy())


def left_by_official(case: Case, attack: Attack, samples: LabelledImages, left: np.ndarray) -> np.ndarray:
    """Which samples are left after the official attack, its images checked again like ours."""
    if not left.any():
        return left
    network, (x, y) = copy.deepcopy(case.network).requires_grad_(True), _tensors(samples, left)
    perturbed = official_stage(official(network, case.epsilon, x.device, case.budget), attack, x, y).detach()
    return _without(left, is_adversarial(network, x, perturbed, y, case.epsilon).numpy())


def _tensors(samples: LabelledImages, left: np.ndarray) -> tuple[Tensor, Tensor]:
    """Images and labels of the samples that are left."""
    return torch.from_numpy(samples.images[left]).float() / 255, torch.from_numpy(samples.labels[left])


def _without(left: np.ndarray, found: np.ndarray) -> np.ndarray:
    """`left` without those that were found."""
    after = left.copy()
    after[left] = ~found.astype(bool)
    return after


def autoattack_rows(case: Case, groups: int, *, parity: bool) -> list[Row]:
    """One row for all four attacks and one for each: CPU seconds on `groups` parts of the images in turn, one thread.

    Args:
        case: Network and images.
        groups: Repetitions; each has its own part of the correctly classified images.
        parity: Whether to run ours a second time with the reference's draws and compare flags after every stage.
    """
    samples, contest = correct_part(case, torch.device("cpu")), _Ours(case)
    times: dict[Attack, tuple[list[float], list[float]]] = {attack: ([], []) for attack in Attack}
    robust, equal_after = [0, 0], dict[str, bool]()
    size = -(-len(samples) // groups)
    with apart() as elsewhere:
        for group, start in enumerate(range(0, len(samples), size)):
            part = samples.part(slice(start, start + size))
            left = [np.ones(len(part), bool), np.ones(len(part), bool)]
            exact = left[0]
            for attack in Attack:
                for side in (0, 1) if group % 2 == 0 else (1, 0):
                    left[side], seconds = (
                        timed(contest.left, attack, part, left[0]) if side == 0
                        else elsewhere(left_by_official, case, attack, part, left[1])
                    )  # fmt: skip
                    times[attack][side].append(seconds)
                if parity:
                    exact = contest.left_in_exact_mode(attack, part, exact)
                    same = bool(np.array_equal(exact, left[1]))
                    equal_after[attack.value] = equal_after.get(attack.value, True) and same
            robust = [count + int(flags.sum()) for count, flags in zip(robust, left, strict=True)]
    found = contest.worker.simplified
    facts: dict[str, Any] = {
        "correct": len(samples), "robust_ours": robust[0], "robust_theirs": robust[1],
        "removed_channels": found.removed_channels, "channels": found.channels,
    }  # fmt: skip
    if parity:
        facts["flags_equal_in_exact_mode"] = equal_after
    repetitions = range(len(times[Attack.APGD_CE][0]))
    whole = [[sum(times[attack][side][group] for attack in Attack) for group in repetitions] for side in (0, 1)]
    rows = [Row("autoattack", case.name, "AutoAttack", *whole, "pyautoattack", facts)]
    for attack in Attack:
        forward, backward = contest.passes[attack]
        own = {"forward_passes": forward, "gradient_passes": backward}
        rows.append(Row("autoattack", case.name, attack.label, *times[attack], "pyautoattack", own))
    return rows


def hofmn_row(case: Case, steps: int, repetitions: int) -> Row:
    """The final attack of HO-FMN on all images, correctly classified or not: CPU seconds, one thread."""
    device = torch.device("cpu")
    worker = Worker(copy.deepcopy(case.network), case.images[:8], Settings().on("cpu"), EPSILON, device)

    def ours() -> np.ndarray:
        samples = correct_part(case, device)  # finding out who is worth an attack belongs to the work
        reached = np.zeros(len(case.labels), np.float32)
        reached[samples.index] = worker.run(Call(Work.DISTANCES, samples, trials=(GENTLE,), steps=steps)).values[:, 0]
        return reached

    times: tuple[list[float], list[float]] = ([], [])
    reached = [np.empty(0), np.empty(0)]
    with apart() as elsewhere:
        for repetition in range(repetitions + 1):
            for side in (0, 1) if repetition % 2 == 0 else (1, 0):
                reached[side], seconds = timed(ours) if side == 0 else elsewhere(plain_distances, case, steps)
                if repetition:  # the first time is not like the others
                    times[side].append(seconds)
    found = reached[0] > 0
    facts = {
        "images": len(case.labels), "steps": steps,
        "median_ours": float(np.median(reached[0][found])), "median_theirs": float(np.median(reached[1][found])),
    }  # fmt: skip
    return Row("hofmn", case.name, "HO-FMN attack", *times, "plain FMN loop", facts)


def plain_distances(case: Case, steps: int) -> np.ndarray:
    """Distances that the plain FMN loop reaches, 128 images at a time."""
    network = copy.deepcopy(case.network).requires_grad_(True)
    x, y = torch.from_numpy(case.images).float() / 255, torch.from_numpy(case.labels)
    parts = zip(x.split(128), y.split(128), strict=True)
    return torch.cat([plain_fmn(network, a, b, GENTLE, steps) for a, b in parts]).numpy()


def efficiency_row(case: Case, device: torch.device, attack: Attack) -> Row:
    """Bare passes of the same number against an attack: their ratio is the pass efficiency (at most about 1)."""
    from apsite.evaluation.attacks.lanes import ROWS_ON_CPU, Lanes, lane_count

    settings = Settings().on(device.type)
    worker = Worker(copy.deepcopy(case.network).to(device), case.images[:8], settings, case.epsilon, device)
    samples = correct_part(case, device)
    lanes, rows = lane_count(device), ROWS_ON_CPU if device.type == "cpu" else settings.rows
    each = 9 if attack in (Attack.APGD_T, Attack.FAB_T) else 1
    result: dict[str, Any] = {}

    def whole() -> None:
        with short_attacks(case.budget):
            result["passes"] = worker.run(Call(Work.ATTACK, samples, attack)).passes

    def bare() -> None:
        size = min(rows, max(1, -(-len(samples) * each // lanes)))
        x = torch.rand(size, *case.images.shape[1:], device=device)

        def forward(count: int) -> None:
            with torch.inference_mode():
                for _ in range(count):
                    worker.surrogate(x)

        def gradient(count: int) -> None:
            for _ in range(count):
                point = x.clone().requires_grad_(True)
                torch.autograd.grad(worker.surrogate(point).sum(), point)

        with Lanes(lanes) as pool:
            for kind, count in ((forward, result["passes"].forward), (gradient, result["passes"].backward)):
                share = max(1, round(count / size / lanes)) if count else 0
                pool.run([lambda kind=kind, share=share: kind(share)] * lanes)
        if device.type == "cuda":
            torch.cuda.synchronize()

    whole()
    ours, theirs = in_turn(whole, bare, 3, time.process_time if device.type == "cpu" else time.perf_counter)
    facts = {"forward_passes": result["passes"].forward, "gradient_passes": result["passes"].backward}
    return Row("efficiency", case.name, attack.label, ours, theirs, "bare passes of the same number", facts)


def passes_rows(case: Case, repetitions: int = 9) -> Iterator[Row]:
    """Forward and gradient passes on one CPU thread: the evaluated network against the one that attacks run on.

    The network with its batch norms folded is timed in turn with them, in the usual order in memory.
    """
    x = as_inputs(case.images, torch.device("cpu"))
    settings = Settings().on("cpu")
    evaluated = copy.deepcopy(case.network).requires_grad_(False)
    worker = Worker(copy.deepcopy(evaluated), case.images[:8], settings, case.epsilon, torch.device("cpu"))
    contiguous = FormatChoice(MemoryFormat.CONTIGUOUS)
    folded = simplified(copy.deepcopy(evaluated), x[:8], remove_channels=False, choice=contiguous)
    networks = {"evaluated": evaluated, "folded": folded.network, "attacked": worker.surrogate}

    def forward(network: nn.Module) -> None:
        with torch.no_grad():
            network(x)

    def gradient(network: nn.Module) -> None:
        point = x.clone().requires_grad_(True)
        torch.autograd.grad(network(point).sum(), point)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for kind in (forward, gradient):
        times: dict[str, list[float]] = {name: [] for name in networks}
        for repetition in range(repetitions + 1):
            for name, network in networks.items():
                started = time.process_time()
                kind(network)
                if repetition:  # the first time is not like the others
                    times[name].append(time.process_time() - started)
        facts: dict[str, Any] = {f"{name}_ms": round(1000 * float(np.median(each)), 1) for name, each in times.items()}
        facts |= {"memory_format": str(worker.simplified.memory_format), "trial": worker.simplified.timed}
        yield Row("passes", case.name, kind.__name__, times["attacked"], times["evaluated"], "evaluated network", facts)
    torch.set_num_threads(threads)
