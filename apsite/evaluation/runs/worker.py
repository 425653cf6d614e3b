"""What one device does in an evaluation: attacks on given images, with no files and no state.

A worker may run in this process or in another one on another machine; what it returns depends on the images and the
settings only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from importlib import import_module
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from apsite.errors import EvaluationError
from apsite.evaluation.attacks.autoattack import Engine, ReferenceEngine, is_adversarial
from apsite.evaluation.attacks.execution import CountedNetwork, FilledUp, PassListener, as_inputs
from apsite.evaluation.attacks.fast.engine import FastEngine
from apsite.evaluation.attacks.fast.noise import SampleNoise
from apsite.evaluation.attacks.fmn import FmnParameters, distances, fmn_attack, worst_norms
from apsite.evaluation.attacks.fused import fused
from apsite.evaluation.attacks.heap import keep_freed_memory
from apsite.evaluation.attacks.lanes import ROWS_ON_CPU, Lanes, batch_slices, lane_count
from apsite.evaluation.attacks.memory_formats import MemoryFormat, format_choice
from apsite.evaluation.attacks.precision import InBfloat16
from apsite.evaluation.attacks.simplification import simplified
from apsite.protocol import EngineName, Precision, Settings
from apsite.records import Passes
from apsite.vocabulary import Attack, AttackName

LANES = 16
"""HO-FMN fills every batch up to a multiple of this."""


class Work(StrEnum):
    """Kinds of work."""

    ATTACK = "attack"
    """Which samples one attack of AutoAttack breaks: bool, shape ``(n,)``."""
    DISTANCES = "distances"
    """Confirmed HO-FMN distances with each configuration: float32, in input units, shape ``(n, configurations)``."""
    OTHER = "other"
    """Those of an attack with its own module, shape ``(n,)``; infinite where its image is not adversarial at ε."""
    SEARCH = "search"
    """Unconfirmed HO-FMN distances of several trials, the worst norm where nothing was found: shape ``(trials, n)``."""


def attack_module(attack: AttackName) -> Any:
    """Module of an attack other than AutoAttack and HO-FMN: ``apsite.evaluation.attacks.<name>``.

    It has ``perturb(network, images, labels, epsilon, noise, index)``, which returns perturbed images, unconfirmed, and
    ``PASSES``, how many passes one sample takes. A minimum-norm attack is given the largest possible ε, 1.
    """
    return import_module(f"apsite.evaluation.attacks.{attack.value}")


@dataclass(frozen=True)
class LabelledImages:
    """Samples to attack: images of shape ``(n, 3, height, width)``, true classes and positions in the test set."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, chosen: slice) -> LabelledImages:
        """Some of the samples."""
        return LabelledImages(self.images[chosen], self.labels[chosen], self.index[chosen])


@dataclass(frozen=True)
class Call:
    """One piece of work on correctly classified samples.

    The attack is one of AutoAttack, another with its own module, or FMN with `steps` steps for each trial. With a
    `check_seed`, an attack of AutoAttack searches in float32 with this seed, whatever the settings say.
    """

    work: Work
    samples: LabelledImages
    attack: Attack | None = None
    other: AttackName | None = None
    trials: tuple[FmnParameters, ...] = ()
    steps: int = 0
    check_seed: int | None = None


@dataclass(frozen=True)
class Result:
    """What a piece of work gave: values as :class:`Work` says, passes, wall time of the worker, dropped rows of FAB."""

    values: NDArray[np.generic]
    passes: Passes
    seconds: float
    dropped_rows: int = 0


class Worker:
    """Attacks on one device.

    Args:
        network: The evaluated network, on `device`; is put in evaluation mode, its parameters are frozen.
        example: A few images, to check the faster network on, uint8.
        settings: How to attack; the batch size must be set.
        epsilon: Perturbation size in input units.
        memory_format: That of the other workers of the run, or of its earlier part; ``None`` to choose it.

    Attributes:
        network: The evaluated network, which decides every result.
        example: Some images, uint8.
        simplified: The equivalent network that attacks run on.
        listener: Called with the number of passes whenever some have been made.
        say: Called with a line for the log.
    """

    def __init__(
        self, network: nn.Module, example: NDArray[np.uint8], settings: Settings, epsilon: float, device: torch.device,
        memory_format: MemoryFormat | None = None,
    ) -> None:  # fmt: skip
        if device.type == "cpu":
            keep_freed_memory()
        self.settings, self.epsilon, self.device = settings, epsilon, device
        self.network, self.example = CountedNetwork(network), example
        choice = format_choice(device, settings.precision, min(settings.rows, ROWS_ON_CPU), memory_format)
        inputs = as_inputs(example, device)
        self.simplified = simplified(network, inputs, remove_channels=settings.remove_channels, choice=choice)
        fast = self.simplified.network
        self.surrogate = self._counted(fused(fast, inputs) if device.type == "cpu" else fast)
        self.listener: PassListener | None = None
        self.say: Callable[[str], None] = lambda message: None
        self._rows = settings.rows

    def _counted(self, network: nn.Module) -> CountedNetwork:
        return CountedNetwork(FilledUp(network) if self.device.type == "cpu" else network)

    @cached_property
    def engine(self) -> Engine:
        """The implementation of AutoAttack that the settings name."""
        settings = self.settings
        if settings.engine is EngineName.REFERENCE:
            return ReferenceEngine(self.network, self.epsilon, settings.seed, self.device)
        surrogate = self.surrogate
        if settings.precision is Precision.BF16:
            surrogate = self._counted(InBfloat16(self.simplified.network))
        return self._fast(settings.seed, surrogate, settings.precision)

    def _fast(self, seed: int, surrogate: CountedNetwork, precision: Precision) -> FastEngine:
        return FastEngine(
            self.network, self.epsilon, seed, self._rows, surrogate=surrogate, precision=precision,
            lanes=lane_count(self.device), drop_rows=self.settings.fab_drop_rows,
        )  # fmt: skip

    def run(self, call: Call) -> Result:
        """Do one piece of work.

        Raises:
            torch.OutOfMemoryError: If the device has too little memory even for one sample.
        """
        networks = {self.network, self.surrogate} | ({self.engine.surrogate} if call.attack else set())
        for network in networks:
            network.take_passes()
            network.listener = self.listener
        started = time.monotonic()
        values = self._in_memory(call)
        counts = [network.take_passes() for network in networks]
        passes = Passes(sum(count.forward for count in counts), sum(count.backward for count in counts))
        dropped = self.engine.dropped_rows if call.attack else 0
        return Result(values, passes, time.monotonic() - started, dropped)

    def _in_memory(self, call: Call) -> NDArray[np.generic]:
        """Result, with fewer rows at a time, from now on, where the device has too little memory."""
        work = {
            Work.ATTACK: self._attack, Work.DISTANCES: self._distances,
            Work.OTHER: self._other, Work.SEARCH: self._search,
        }[call.work]  # fmt: skip
        while True:
            try:
                return work(call)
            except torch.OutOfMemoryError:
                if call.attack and self.settings.engine is EngineName.REFERENCE:
                    raise EvaluationError(
                        f"{self.device} has too little memory for {self.settings.rows} samples at a time, and --engine "
                        "reference seeds each batch, so they cannot be divided; choose a smaller --batch-size"
                    ) from None
                if self._rows == 1:
                    raise
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self._rows = max(1, self._rows // 2)
            if isinstance(self.engine, FastEngine):
                self.engine.rows = self._rows
            self.say(f"out of memory; continuing with {self._rows} rows at a time")

    def _tensors(self, samples: LabelledImages) -> tuple[Tensor, Tensor]:
        return as_inputs(samples.images, self.device), torch.from_numpy(samples.labels).to(self.device)

    def _attack(self, call: Call) -> NDArray[np.generic]:
        assert call.attack is not None
        x, y = self._tensors(call.samples)
        engine, seed = self.engine, call.check_seed
        if seed is not None:
            engine = self._fast(seed, self.surrogate, Precision.FLOAT32)
        perturbed = engine.perturb(call.attack, x, y, call.samples.index.tolist())
        return np.asarray(self._adversarial(x, perturbed, y, self.epsilon).cpu().numpy(), dtype=np.bool_)

    def _distances(self, call: Call) -> NDArray[np.generic]:
        x, y = self._tensors(call.samples)
        return np.stack([self._confirmed(x, y, parameters, call.steps) for parameters in call.trials], axis=1)

    def _confirmed(self, x: Tensor, y: Tensor, parameters: FmnParameters, steps: int) -> NDArray[np.float32]:
        adversarial, found = self._fmn(self.surrogate, x, y, [parameters] * len(x), steps)
        verified = found & self._adversarial(x, adversarial, y, 1.0)
        again = (found & ~verified).nonzero().squeeze(1)
        if len(again):  # what the simplified network alone takes for adversarial is searched on the evaluated one
            a, b = x[again], y[again]
            adversarial[again], found[again] = self._fmn(self.network, a, b, [parameters] * len(a), steps)
            verified[again] = found[again] & self._adversarial(a, adversarial[again], b, 1.0)
        return np.asarray(distances(x, adversarial, verified).cpu().numpy(), dtype=np.float32)

    def _other(self, call: Call) -> NDArray[np.generic]:
        assert call.other is not None
        x, y = self._tensors(call.samples)
        limit = 1.0 if call.other.minimum_norm else self.epsilon
        parts = (torch.split(values, self._rows) for values in (x, y, torch.from_numpy(call.samples.index)))
        noise, module = SampleNoise(self.settings.seed), attack_module(call.other)
        perturbed = torch.cat(
            [module.perturb(self.surrogate, a, b, limit, noise, c.tolist()) for a, b, c in zip(*parts, strict=True)]
        )
        found = self._adversarial(x, perturbed, y, limit)
        return np.asarray(distances(x, perturbed, found).cpu().numpy(), dtype=np.float32)

    def _adversarial(self, x: Tensor, perturbed: Tensor, y: Tensor, epsilon: float) -> Tensor:
        """Which perturbed images are true adversarial examples, shape ``(n,)``; the evaluated network decides."""
        clean, attacked, classes = (torch.split(values, self._rows) for values in (x, perturbed, y))
        parts = zip(clean, attacked, classes, strict=True)
        return torch.cat([is_adversarial(self.network, a, b, c, epsilon) for a, b, c in parts])

    def _search(self, call: Call) -> NDArray[np.generic]:
        x, y = (_filled(values, LANES) for values in self._tensors(call.samples))  # each trial takes the same passes
        rows, trials = len(x), len(call.trials)
        x, y = (values.repeat(trials, *[1] * (values.dim() - 1)) for values in (x, y))
        parameters = [trial for trial in call.trials for _ in range(rows)]
        adversarial, found = self._fmn(self.surrogate, x, y, parameters, call.steps)
        reached = torch.minimum(distances(x, adversarial, found), worst_norms(x))
        return np.asarray(reached.view(trials, rows)[:, : len(call.samples)].cpu().numpy(), dtype=np.float32)

    def _fmn(
        self, network: CountedNetwork, x: Tensor, y: Tensor, parameters: Sequence[FmnParameters], steps: int
    ) -> tuple[Tensor, Tensor]:
        """FMN in batches filled up to multiples of :data:`LANES`, so that distances do not depend on the batches.

        Kernels for small or odd batches round differently, and the sign of a gradient turns rounding into another path.
        """
        adversarial, found = x.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
        rows, count, gradients = self._rows, lane_count(self.device), Precision.FLOAT32
        if self.device.type == "cpu":
            rows = min(rows, ROWS_ON_CPU)
        elif self.settings.precision is Precision.TF32:
            gradients = Precision.TF32
        parts = batch_slices(-(-len(x) // LANES), LANES, rows, count)

        def attack(part: slice) -> None:
            chosen = slice(part.start * LANES, min(part.stop * LANES, len(x)))
            kept = chosen.stop - chosen.start
            a, b = (_filled(values[chosen], LANES) for values in (x, y))
            own = [*parameters[chosen], *[parameters[-1]] * (len(a) - kept)]
            reached, success = fmn_attack(network, a, b, own, steps, gradients=gradients)
            adversarial[chosen], found[chosen] = reached[:kept], success[:kept]

        with Lanes(count, network.stop) as lanes:
            lanes.run([lambda part=part: attack(part) for part in parts])  # type: ignore[misc]
        return adversarial, found


class Pool(Protocol):
    """Does pieces of work, here or elsewhere, in any order, `count` of them at the same time."""

    count: int

    def results(
        self, calls: Sequence[Call], progress: Callable[[int], None], say: Callable[[str], None]
    ) -> Iterator[tuple[int, Result]]:
        """Number and result of every piece, as they finish.

        `progress` is called with the number of passes whenever some have been made, `say` with lines for the log.
        """


@dataclass
class LocalPool:
    """One worker in this process, which does the pieces one after the other."""

    worker: Worker
    count: int = 1

    def results(
        self, calls: Sequence[Call], progress: Callable[[int], None], say: Callable[[str], None]
    ) -> Iterator[tuple[int, Result]]:
        """See :class:`Pool`."""
        self.worker.listener, self.worker.say = progress, say
        for number, call in enumerate(calls):
            yield number, self.worker.run(call)
        self.worker.listener = None


def _filled(values: Tensor, multiple: int) -> Tensor:
    """`values` with its last row repeated until the number of rows is a multiple."""
    missing = -len(values) % multiple
    return torch.cat([values, values[-1:].expand(missing, *values.shape[1:])]) if missing else values


PARTS = 8
"""Parts for each worker, where there are several."""


def shares(count: int, rows: int, grain: int, workers: int) -> list[slice]:
    """`count` samples in the parts that workers take one after the other, each at most `rows`, the larger ones first.

    One worker takes as many samples as it can. Several take about :data:`PARTS` each, multiples of `grain` but for the
    last one: so few that each fills a GPU, so many that a worker of a tenth of the speed holds the others up little.

    >>> [part.stop - part.start for part in shares(100, 64, 4, workers=1)]
    [64, 36]
    >>> [part.stop - part.start for part in shares(70, 64, 4, workers=2)]
    [8, 8, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 2]
    """
    if workers == 1:
        return [slice(start, min(start + rows, count)) for start in range(0, count, rows)]
    grains = -(-count // grain)
    number = min(grains, max(PARTS * workers, -(-grains // max(1, rows // grain))))
    size, larger = divmod(grains, max(1, number))
    ends = [min(count, grain * (part * size + min(part, larger))) for part in range(number + 1)]
    return [slice(*pair) for pair in pairwise(ends)]
