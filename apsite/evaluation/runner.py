"""One evaluation: clean accuracy, AutoAttack, HO-FMN, on one network and one set of images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from apsite.errors import EvaluationError, NetworkError
from apsite.evaluation.autoattack import Engine, ReferenceEngine, broken
from apsite.evaluation.datasets import ImageSet
from apsite.evaluation.execution import CountedNetwork, as_inputs, folded, predict
from apsite.evaluation.fast.engine import FastEngine
from apsite.evaluation.fmn import FmnParameters, distances, fmn_attack, worst_norms
from apsite.evaluation.progress import Reporter
from apsite.evaluation.run_state import RunState
from apsite.evaluation.search import Trial, best_of, run_search
from apsite.evaluation.settings import Settings
from apsite.records import Passes
from apsite.samples import Samples
from apsite.vocabulary import Attack

Arrays = dict[str, NDArray[np.generic]]

LANES = 16
"""HO-FMN fills every batch up to a multiple of this."""

WORST = 1.0
"""Median distance of a trial that had no correctly classified sample: the largest that images in [0, 1] allow."""


@dataclass(frozen=True)
class Outcome:
    """Everything an evaluation found.

    Attributes:
        samples: Verdict of every sample.
        trials: Trials of the HO-FMN search; empty if HO-FMN did not run.
        passes: Passes through the network, by phase.
        seconds: Wall time, by phase; of resumed phases that of all parts.
    """

    samples: Samples
    trials: tuple[Trial, ...]
    passes: dict[str, Passes]
    seconds: dict[str, float]


def run(
    network: nn.Module,
    images: ImageSet,
    settings: Settings,
    state: RunState,
    device: torch.device,
    reporter: Reporter,
    parameters: FmnParameters | None = None,
) -> Outcome:
    """Evaluate a network; resumes from what `state` holds.

    Args:
        network: Network on `device`; is put in evaluation mode, its parameters are frozen.
        images: Samples to evaluate.
        settings: How.
        state: Entered run state.
        device: Where to compute.
        reporter: Receives the progress.
        parameters: Configuration of HO-FMN; ``None`` to search for it.

    Raises:
        EvaluationError: If there are no more samples than the search leaves out, or the device fails; the units that
            are finished by then stay in `state`.
        NetworkError: If the network returns something that is not finite.
    """
    if settings.left_out >= len(images) and "hofmn" in settings.attacks:
        raise EvaluationError(
            f"--protocol {settings.preset.value}: the search takes the first {settings.left_out} samples, which the "
            f"figures of HO-FMN leave out, and there are only {len(images)}; evaluate more or choose another protocol"
        )
    try:
        return _Run(network, images, settings, state, device, reporter).outcome(parameters)
    except torch.OutOfMemoryError:
        raise EvaluationError(
            f"{device} has too little memory even for one sample; free it or use another --device; "
            "the finished work is kept, the same command goes on from there"
        ) from None
    except torch.AcceleratorError as error:
        raise EvaluationError(
            f"{device} failed ({str(error).splitlines()[0]}); the finished work is kept, "
            "the same command goes on from there once the device works again"
        ) from error


class _Run:
    """The phases of one evaluation, which share their inputs."""

    def __init__(
        self,
        network: nn.Module,
        images: ImageSet,
        settings: Settings,
        state: RunState,
        device: torch.device,
        reporter: Reporter,
    ) -> None:
        self.network = CountedNetwork(network)
        self.images, self.settings, self.state = images, settings, state
        self.device, self.reporter = device, reporter
        self.epsilon = settings.epsilon_value(images.dataset)
        self.passes: dict[str, Passes] = {}
        self.seconds: dict[str, float] = {}

    def outcome(self, parameters: FmnParameters | None) -> Outcome:
        """All phases in order; the search is left out where `parameters` are given."""
        clean = self.clean()
        robust_after: dict[Attack, NDArray[np.bool_]] = {}
        distance: NDArray[np.float32] | None = None
        tuning: NDArray[np.bool_] | None = None
        trials: tuple[Trial, ...] = ()
        if "autoattack" in self.settings.attacks:
            robust_after = self.autoattack(clean)
        if "hofmn" in self.settings.attacks:
            if parameters is None:
                tuning, trials = self.search(clean)
                parameters = best_of(trials).parameters if trials else None
            distance = self.minimum_norm(clean, parameters)
        samples = Samples(
            index=self.images.index,
            label=self.images.labels.astype(np.int16),
            clean_correct=clean,
            aa_robust=robust_after[Attack.SQUARE] if robust_after else None,
            distance=distance,
            tuning=tuning,
            robust_after=robust_after,
        )
        return Outcome(samples, trials, self.passes, self.seconds)

    def clean(self) -> NDArray[np.bool_]:
        """Which samples are classified correctly with no attack."""
        self.reporter.start("clean accuracy", len(self.images))

        def work() -> Arrays:
            logits, predicted = predict(self.network, self.images.images, self.device, self.settings.batch_size)
            if not torch.isfinite(logits).all():
                raise NetworkError("the network returns NaN or infinite logits; the checkpoint may hold broken weights")
            return {"correct": predicted == self.images.labels}

        correct = self.unit("clean", "clean", work)["correct"].astype(np.bool_)
        share = f"{correct.mean():.2%}"
        self.reporter.finish(f"{share} of {len(correct)} correct")
        self.reporter.say(f"initial accuracy: {share}")
        return correct

    def autoattack(self, clean: NDArray[np.bool_]) -> dict[Attack, NDArray[np.bool_]]:
        """Which samples are still robust after each attack; each attacks what the ones before left."""
        engine = self.engine()
        robust, after = clean.copy(), {}
        started = time.monotonic()
        for attack in Attack:
            survivors = np.flatnonzero(robust)
            self.reporter.start(attack.label, len(survivors))
            for number, (done, chosen) in enumerate(self.batches(survivors)):
                note = f"{int(robust.sum())} robust"
                engine.searched.listener = self.follow(done, len(chosen), engine.cost[attack], note)

                def work(attack: Attack = attack, chosen: NDArray[np.int64] = chosen) -> Arrays:
                    return {"broken": self.in_memory(lambda part: self.attack(engine, attack, part), chosen)}

                own = () if engine.searched is self.network else (engine.searched,)
                unit = self.unit(f"{attack.value}-{number:05d}", attack.value, work, *own)
                robust[chosen[unit["broken"].astype(np.bool_)]] = False
                self.reporter.advance(done + len(chosen), f"{int(robust.sum())} robust")
            engine.searched.listener = None
            after[attack] = robust.copy()
            self.reporter.finish(f"{robust.mean():.2%} robust, {len(survivors) - int(robust.sum())} broken")
            elapsed = time.monotonic() - started
            self.reporter.say(
                f"robust accuracy after {attack.label.upper()}: {robust.mean():.2%} (total time {elapsed:.1f} s)"
            )
        self.reporter.say(f"robust accuracy: {robust.mean():.2%}")
        return after

    def engine(self) -> Engine:
        """The implementation of AutoAttack that the settings name."""
        if self.settings.engine == "reference":
            return ReferenceEngine(self.network, self.epsilon, self.settings.seed, self.device)
        example = as_inputs(self.images.images[:8], self.device)
        return FastEngine(self.network, self.epsilon, self.settings.seed, self.settings.batch_size, example)

    def attack(self, engine: Engine, attack: Attack, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the samples `chosen` an attack breaks, re-verified."""
        x, y = self.tensors(chosen)
        perturbed = engine.perturb(attack, x, y, [int(self.images.index[position]) for position in chosen])
        return np.asarray(broken(self.network, x, perturbed, y, self.epsilon).cpu().numpy(), dtype=np.bool_)

    def search(self, clean: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], tuple[Trial, ...]]:
        """Samples that the HO-FMN search takes, and its trials."""
        tuning, batch = self.search_batches(clean)
        first = np.flatnonzero(tuning & clean)[:8]
        if not len(first):
            if clean.any():
                raise EvaluationError(
                    f"none of the first {self.settings.left_out} samples is classified correctly, so there is nothing "
                    "to search on; choose --protocol apb-1"
                )
            return np.zeros_like(tuning), ()
        searched = CountedNetwork(folded(self.network.network, self.tensors(first)[0]))
        count, steps = self.settings.trials, self.settings.search_steps
        self.reporter.start("HO-FMN search", count)
        best = np.inf

        def objective(number: int, parameters: FmnParameters) -> float:
            nonlocal best
            chosen = batch(number)
            if not len(chosen):
                return WORST
            x, y = self.tensors(chosen)
            progress = _within(self.reporter, number, (steps + 1) * len(chosen), lambda: _grey(best))
            searched.listener = progress
            parts = [
                torch.minimum(distances(a, *_fmn(searched, a, b, parameters, steps)), worst_norms(a))
                for a, b in zip(*_parts(self.settings.batch_size, x, y), strict=True)
            ]
            median = float(torch.cat(parts).double().quantile(0.5))
            best = min(best, median)
            return median

        def stored(number: int) -> Trial | None:
            unit = self.state.get(f"search-{number:05d}")
            if unit is None:
                return None
            self.account("hofmn-search", unit)
            return Trial(FmnParameters(*map(float, unit["parameters"])), float(unit["objective"]))

        clock = time.monotonic()

        def store(number: int, trial: Trial) -> None:
            nonlocal clock
            passes = searched.take_passes()
            values = list(trial.parameters.as_dict().values())
            arrays = {"parameters": np.array(values), "objective": np.array(trial.objective)}
            arrays |= _accounts(passes, time.monotonic() - clock)
            self.state.put(f"search-{number:05d}", **arrays)
            self.account("hofmn-search", arrays)
            clock = time.monotonic()

        trials = run_search(objective, count, self.settings.seed, stored=stored, store=store)
        winner = best_of(trials)
        self.reporter.finish(f"best median {_grey(winner.objective)}, step {winner.parameters.learning_rate:.4f}")
        return tuning, tuple(trials)

    def search_batches(self, clean: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Callable[[int], NDArray[np.int64]]]:
        """Samples that the search takes, and the correctly classified ones of them that each trial attacks.

        A fixed batch is drawn by the seed from the correctly classified samples; rotating ones follow each other from
        the start of the set, as the survey has it.
        """
        tuning, size = np.zeros(len(clean), np.bool_), self.settings.search_samples
        if self.settings.left_out:
            tuning[: self.settings.left_out] = True
            return tuning, lambda number: number * size + np.flatnonzero(clean[number * size : (number + 1) * size])
        order = np.random.default_rng(self.settings.seed).permutation(np.flatnonzero(clean))
        fixed = np.sort(order[:size])
        tuning[fixed] = True
        return tuning, lambda number: fixed

    def minimum_norm(self, clean: NDArray[np.bool_], parameters: FmnParameters | None) -> NDArray[np.float32]:
        """Distance of every sample: 0 for clean errors, ``inf`` where the attack found nothing."""
        distance = np.zeros(len(clean), np.float32)
        correct = np.flatnonzero(clean)
        self.reporter.start("HO-FMN attack", len(correct))
        if parameters is not None and len(correct):
            steps = self.settings.attack_steps
            x, _ = self.tensors(correct[:8])
            searched = CountedNetwork(folded(self.network.network, x))
            for number, (done, chosen) in enumerate(self.batches(correct)):
                searched.listener = _within(self.reporter, done, steps + 1, lambda: "")

                def work(chosen: NDArray[np.int64] = chosen) -> Arrays:
                    return {
                        "distance": self.in_memory(lambda part: self.closest(searched, part, parameters, steps), chosen)
                    }

                unit = self.unit(f"hofmn-{number:05d}", "hofmn", work, searched)
                distance[chosen] = unit["distance"].astype(np.float32)
        robust = float((distance > np.float32(self.epsilon)).mean())
        self.reporter.finish(f"{robust:.2%} robust at {self.settings.epsilon_text(self.images.dataset)}")
        return distance

    def closest(
        self, searched: nn.Module, chosen: NDArray[np.int64], parameters: FmnParameters, steps: int
    ) -> NDArray[np.float32]:
        """Distances of the samples `chosen`; each adversarial image is re-verified on the evaluated network."""
        x, y = self.tensors(chosen)
        adversarial, found = _fmn(searched, x, y, parameters, steps)
        part = max(1, len(x) // 2)
        verified = [
            broken(self.network, a, b, c, 1.0) for a, b, c in zip(*_parts(part, x, adversarial, y), strict=True)
        ]
        result = distances(x, adversarial, found & torch.cat(verified))
        return np.asarray(result.cpu().numpy(), dtype=np.float32)

    def unit(
        self, name: str, phase: str, work: Callable[[], Arrays], *networks: CountedNetwork
    ) -> dict[str, NDArray[np.generic]]:
        """Result of one unit of work, from the state or freshly computed and stored."""
        stored = self.state.get(name)
        if stored is None:
            started = time.monotonic()
            arrays = work()
            counts = [network.take_passes() for network in (self.network, *networks)]
            total = Passes(sum(count.forward for count in counts), sum(count.backward for count in counts))
            stored = {**arrays, **_accounts(total, time.monotonic() - started)}
            self.state.put(name, **stored)
        self.account(phase, stored)
        return stored

    def account(self, phase: str, unit: dict[str, NDArray[np.generic]]) -> None:
        """Add the passes and seconds of a unit to its phase."""
        before = self.passes.get(phase, Passes(0, 0))
        forward, backward = (int(value) for value in unit["passes"])
        self.passes[phase] = Passes(before.forward + forward, before.backward + backward)
        self.seconds[phase] = round(self.seconds.get(phase, 0.0) + float(unit["seconds"]), 3)

    def batches(self, chosen: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Parts of `chosen` of the batch size, each with the number of samples before it."""
        for start in range(0, len(chosen), self.settings.batch_size):
            yield start, chosen[start : start + self.settings.batch_size]

    def tensors(self, chosen: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and labels of the samples `chosen` on the device."""
        labels = torch.from_numpy(self.images.labels[chosen]).to(self.device)
        return as_inputs(self.images.images[chosen], self.device), labels

    def follow(self, done: int, count: int, cost: int, note: str) -> Callable[[int], None]:
        """Listener that lets the progress of one batch show while it runs, from the passes it makes."""
        return _within(self.reporter, done, cost, lambda: note, count)

    def in_memory(
        self, work: Callable[[NDArray[np.int64]], NDArray[np.generic]], chosen: NDArray[np.int64]
    ) -> NDArray[np.generic]:
        """Result of `work` for `chosen`, in halves where the device has too little memory for the whole."""
        try:
            return work(chosen)
        except torch.OutOfMemoryError:
            if len(chosen) == 1:
                raise
        torch.cuda.empty_cache()
        half = len(chosen) // 2
        self.reporter.say(f"out of memory with {len(chosen)} samples; going on with {half} at a time")
        return np.concatenate([self.in_memory(work, chosen[:half]), self.in_memory(work, chosen[half:])])


def _fmn(
    network: nn.Module, x: torch.Tensor, y: torch.Tensor, parameters: FmnParameters, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """FMN on a batch filled up to whole lanes, so that distances do not depend on how samples are batched.

    Kernels for small or odd batches round differently, and the sign of a gradient turns rounding into another path.
    """
    missing = -len(x) % LANES
    if missing:
        x, y = (torch.cat([values, values[-1:].expand(missing, *values.shape[1:])]) for values in (x, y))
    adversarial, found = fmn_attack(network, x, y, parameters, steps)
    kept = len(x) - missing
    return adversarial[:kept], found[:kept]


def _parts(size: int, *tensors: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
    """Each tensor in parts of at most `size` samples."""
    return [torch.split(tensor, size) for tensor in tensors]


def _within(
    reporter: Reporter, done: float, cost: int, note: Callable[[], str], limit: float = np.inf
) -> Callable[[int], None]:
    """Listener that turns passes into progress beyond `done`; `cost` passes are one unit of it."""
    seen = 0

    def listen(passes: int) -> None:
        nonlocal seen
        seen += passes
        reporter.advance(done + min(seen / cost, limit), note())

    return listen


def _accounts(passes: Passes, seconds: float) -> Arrays:
    return {"passes": np.array([passes.forward, passes.backward]), "seconds": np.array(seconds)}


def _grey(distance: float) -> str:
    """Distance in grey levels of 255, for messages."""
    return f"{distance * 255:.2f}/255"
