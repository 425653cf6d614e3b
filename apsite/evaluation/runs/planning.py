"""What an evaluation will take: passes of each phase, and time by two timed passes on the device itself."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from apsite.evaluation.attacks.execution import as_inputs, input_gradient, logits_of
from apsite.evaluation.attacks.fast.engine import FAST_COST
from apsite.evaluation.attacks.lanes import ROWS_ON_CPU, Lanes, lane_count
from apsite.evaluation.attacks.precision import arithmetic
from apsite.evaluation.runs.worker import Worker, attack_module
from apsite.progress import duration
from apsite.protocol import APB_1_ATTACKS, CHECKED_SURVIVORS, CHECKING, FLOAT32_CHECK, Precision, Settings
from apsite.vocabulary import Attack, AttackName

LIKELY = 0.5
"""Share of the correctly classified samples that is taken to stay robust: 52 % is the median of the survey's models."""

BROKEN_EARLY = 0.2
"""Share of an attack's passes that a sample takes if it breaks; most break within the first steps."""

GRADIENTS: Mapping[str, float] = {
    "clean": 0.0, Attack.APGD_CE: 0.98, Attack.APGD_T: 1.0, Attack.FAB_T: 0.6, Attack.SQUARE: 0.0, FLOAT32_CHECK: 1.0,
    "hofmn-search": 0.99, AttackName.HOFMN: 0.99,
}  # fmt: skip
"""Share of the passes of each phase that compute a gradient, as records count them; 1 for an attack not listed."""

_TODAY = 12 * 3600
"""Seconds from now on within which an end needs no day."""
_SHORTEST, _FEWEST, _MOST = 0.1, 3, 20
"""Seconds that timed rounds of passes take together at least, and how many they are at least and at most."""


def most_passes(
    settings: Settings, cost: Mapping[Attack, int], samples: Mapping[AttackName, int], *, search: bool
) -> dict[str, float]:
    """Passes that each phase after clean accuracy takes at most, in their order, if no attack breaks a sample.

    Args:
        settings: How the run attacks.
        cost: Passes of one sample under each attack of AutoAttack.
        samples: Samples that each attack is given.
        search: Whether HO-FMN searches for its configuration.
    """
    phases: dict[str, float] = {}
    trials = settings.trials * (settings.search_steps + 1) * settings.search_samples if search else 0
    for attack, count in samples.items():
        if attack is AttackName.AUTOATTACK:
            phases |= {stage.value: cost[stage] * count for stage in settings.preset.stages}
            if settings.precision is not Precision.FLOAT32:
                each = sum(cost[attack] for attack in CHECKING)
                phases[FLOAT32_CHECK] = each * min(count, CHECKED_SURVIVORS)
        elif attack in APB_1_ATTACKS:
            phases |= {"hofmn-search": trials, "hofmn": final_cost(settings) * count}
        else:
            phases[attack.value] = attack_module(attack).PASSES * count
    return phases


def final_cost(settings: Settings) -> int:
    """Passes of one sample in the final attack of HO-FMN."""
    return (settings.attack_steps + 1) * (2 if settings.fixed_configuration else 1)


@dataclass(frozen=True)
class Speed:
    """Seconds that a device takes for one image: of a forward pass, and of one with the gradient of the image."""

    forward: float
    gradient: float

    def seconds(self, phase: str, passes: float) -> float:
        """Time of the passes of a phase."""
        share = GRADIENTS.get(phase, 1.0)
        return passes * (share * self.gradient + (1 - share) * self.forward)


@dataclass(frozen=True)
class Plan:
    """What a run will take.

    Attributes:
        samples: Samples of the run.
        correct: How many of them are classified correctly, measured or estimated.
        passes: Passes of each phase if every correctly classified sample stays robust.
        speed: Of one worker.
        workers: How many share the work.
        memory: Bytes in use on the device of this process during the timed passes; on a CPU those of the process.
    """

    samples: int
    correct: int
    passes: Mapping[str, float]
    speed: Speed
    workers: int
    memory: int

    def at_most(self, phase: str) -> float:
        """Seconds of a phase if every correctly classified sample stays robust."""
        return self.speed.seconds(phase, self.passes[phase]) / self.workers

    def likely(self, phase: str) -> float:
        """Seconds of a phase if :data:`LIKELY` of the samples stay robust, and the others break in the first attack."""
        if phase == Attack.APGD_CE:
            return (LIKELY + (1 - LIKELY) * BROKEN_EARLY) * self.at_most(phase)
        return (LIKELY if phase in tuple(Attack) else 1.0) * self.at_most(phase)

    def total(self, of: Callable[[str], float]) -> float:
        """Seconds of all phases."""
        return sum(map(of, self.passes))

    @property
    def sentence(self) -> str:
        """How long the run takes and when it ends, for the log."""
        likely, most = self.total(self.likely), self.total(self.at_most)
        end = datetime.now().astimezone() + timedelta(seconds=likely)
        when = end.strftime("%H:%M" if likely < _TODAY else "%A %d %B, %H:%M")
        share = f"{LIKELY:.0%} of the {self.correct:,} correctly classified samples"
        return f"plan: {duration(likely)}, until {when}, if {share} stay robust; at most {duration(most)}"


def plan_of(worker: Worker, samples: int, correct: int, passes: Mapping[str, float], workers: int = 1) -> Plan:
    """Plan of a run whose phases take `passes`; takes a fraction of a second, or eight passes.

    On a CPU, the timed passes take all threads, which several workers of this machine would share.
    """
    speed, workers = measured_speed(worker), 1 if worker.device.type == "cpu" else workers
    return Plan(samples, correct, passes, speed, workers, _memory(worker.device))


def measured_speed(worker: Worker) -> Speed:
    """Speed of the attacked network on a worker's device, in the batches and the arithmetic of the attacks.

    Where the device has too little memory, the batches are smaller, as those of the attacks will be.

    Raises:
        torch.OutOfMemoryError: If it has too little even for one image.
    """
    rows = min(worker.settings.rows, ROWS_ON_CPU) if worker.device.type == "cpu" else worker.settings.rows
    while True:
        try:
            return Speed(_timed(worker, rows, _forward), _timed(worker, rows, _gradient))
        except torch.OutOfMemoryError:
            if rows == 1:
                raise
            rows //= 2


def _timed(worker: Worker, rows: int, one_pass: Callable[[nn.Module, Tensor], object]) -> float:
    """Seconds of one image: the median of some rounds, the first of which is left out."""
    network, lanes, rounds = worker.engine.surrogate.network, lane_count(worker.device), list[float]()
    some = as_inputs(worker.example, worker.device)
    x = some.repeat(-(-rows // len(some)), 1, 1, 1)[:rows]
    with Lanes(lanes) as together, arithmetic(worker.settings.precision):
        while len(rounds) <= _FEWEST or (sum(rounds) < _SHORTEST and len(rounds) < _MOST):
            started = time.perf_counter()
            together.run([partial(one_pass, network, x)] * lanes)  # type: ignore[list-item]
            if worker.device.type == "cuda":
                torch.cuda.synchronize(worker.device)
            rounds.append(time.perf_counter() - started)
    return median(rounds[1:]) / (rows * lanes)


def estimated_plan(
    macs: int, operations: float, *, settings: Settings | None = None, samples: int = 10_000, correct: int = 8_000
) -> Plan:
    """Plan of a run that nothing was timed for, from the arithmetic alone.

    A forward pass takes two operations for each multiply-accumulate, and one with the gradient of the images twice as
    many. Real devices reach a part of their peak, so give the part.

    Args:
        macs: Multiply-accumulates of the network for one image.
        operations: Floating-point operations that the device sustains per second.
        settings: How the run attacks; ``None`` for protocol ``apb-1``.
        samples: Images of the test set.
        correct: How many of them are classified correctly.

    >>> from apsite.records.census import layout_macs
    >>> plan = estimated_plan(layout_macs("base_resnet18"), 45e12)
    >>> plan.total(plan.likely) < plan.total(plan.at_most)
    True
    """
    settings, forward = settings or Settings(), 2 * macs / operations
    passes = most_passes(settings, FAST_COST, dict.fromkeys(settings.attacks, correct), search=True)
    return Plan(samples, correct, {"clean": samples, **passes}, Speed(forward, 2 * forward), 1, 0)


def _forward(network: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        logits_of(network, x)


def _gradient(network: nn.Module, x: Tensor) -> None:
    point = x.clone().requires_grad_(True)
    with torch.enable_grad():
        input_gradient(logits_of(network, point).sum(), point)


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
