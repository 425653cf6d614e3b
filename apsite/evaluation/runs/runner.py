"""One evaluation: clean accuracy, AutoAttack, HO-FMN, on one network and one set of images."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from apsite.errors import EvaluationError, NetworkError
from apsite.evaluation.attacks.execution import device_errors, predict
from apsite.evaluation.attacks.fmn import FmnParameters
from apsite.evaluation.attacks.memory_formats import MemoryFormat
from apsite.evaluation.attacks.precision import arithmetic
from apsite.evaluation.attacks.search import Trial, best_of, run_search
from apsite.evaluation.attacks.simplification import Simplified
from apsite.evaluation.runs.planning import final_cost, most_passes, plan_of
from apsite.evaluation.runs.run_state import RunState
from apsite.evaluation.runs.search_parts import median_of, search_batches, share_of
from apsite.evaluation.runs.worker import (
    LANES,
    Call,
    LabelledImages,
    LocalPool,
    Pool,
    Result,
    Work,
    Worker,
    attack_module,
    shares,
)
from apsite.evaluation.testsets.datasets import ImageSet
from apsite.progress import Reporter, listener
from apsite.protocol import (
    APB_1_ATTACKS,
    CHECKED_SURVIVORS,
    CHECKING,
    FIXED_CONFIGURATION,
    FLOAT32_CHECK,
    EngineName,
    Precision,
    Settings,
    confirms,
)
from apsite.records import Float32Check, Passes, WholeSet
from apsite.samples import SampleResults
from apsite.vocabulary import Attack, AttackName

Arrays = dict[str, NDArray[np.generic]]
CallOf = Callable[[LabelledImages], Call]
"""Makes the piece of work of some samples."""

_FORMAT = "memory-format"
"""Name of the chosen memory format in the state of a run."""
_BEFORE_ATTACKS = 2
"""Units in the state of a run that has not begun to attack: the memory format and clean accuracy."""


@dataclass(frozen=True)
class Outcome:
    """Everything an evaluation found.

    Attributes:
        samples: Results of every sample.
        trials: Trials of the HO-FMN search; empty if HO-FMN did not run.
        passes: Passes through the network, by phase.
        seconds: Time of work by phase, of all workers together; of resumed phases that of all parts.
        simplified: The network that the attacks ran on.
        dropped_rows: Pairs of sample and target that FAB gave up early.
        whole_set: Clean accuracy on the whole set, if it was measured.
        closer: Samples to which the fixed configuration of HO-FMN came closer than the best one of the search.
        float32_check: The check of AutoAttack's search, if that was in lower precision.
    """

    samples: SampleResults
    trials: tuple[Trial, ...]
    passes: dict[str, Passes]
    seconds: dict[str, float]
    simplified: Simplified
    dropped_rows: int = 0
    float32_check: Float32Check | None = None
    closer: int = 0
    whole_set: WholeSet | None = None


def run(
    network: nn.Module, images: ImageSet, settings: Settings, state: RunState, device: torch.device, reporter: Reporter,
    parameters: FmnParameters | None = None, workers: Callable[[Worker], Pool] | None = None,
    only: Mapping[AttackName, NDArray[np.bool_]] | None = None, whole: ImageSet | None = None,
) -> Outcome:  # fmt: skip
    """Evaluate a network; resumes from what `state` holds.

    The network is on `device`; it is put in evaluation mode, its parameters are frozen. `parameters` is the
    configuration of HO-FMN, or ``None`` to search for it. `workers` makes the pool that attacks, in the memory format
    of a given worker; for ``None`` this process attacks, on `device`. `only` has a flag for each sample that an attack
    is to attack, all by default; the others count as not robust. Clean accuracy is measured on `whole`, to which all
    `images` belong, where it is given.

    Raises:
        EvaluationError: If there are no more samples than the search leaves out, or the device fails; the units that
            are finished by then stay in `state`.
        NetworkError: If the network returns something that is not finite.
    """
    if settings.left_out >= len(images) and AttackName.HOFMN in settings.attacks:
        raise EvaluationError(
            f"--protocol {settings.preset.value}: the search takes the first {settings.left_out} samples, which the "
            f"results of HO-FMN leave out, and there are only {len(images)}; evaluate more or choose another protocol"
        )
    with device_errors(device), arithmetic(Precision.FLOAT32):
        settings = settings.on(device.type)
        epsilon = settings.epsilon_value(images.dataset)
        kept = state.get(_FORMAT)
        memory_format = None if kept is None else MemoryFormat(str(kept["value"]))
        worker = Worker(network, np.asarray(images.images[:8]), settings, epsilon, device, memory_format)
        if worker.simplified.memory_format is not None:
            state.put(_FORMAT, value=np.array(worker.simplified.memory_format.value))
        for remark in worker.simplified.remarks:
            reporter.say(remark)
        pool = (workers or LocalPool)(worker)
        return _Run(images, settings, state, reporter, worker, pool, whole or images).outcome(parameters, only)


@dataclass
class _Run:
    """The phases of one evaluation, which share their inputs."""

    images: ImageSet
    settings: Settings
    state: RunState
    reporter: Reporter
    worker: Worker
    workers: Pool
    whole: ImageSet
    passes: dict[str, Passes] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    dropped_rows: int = 0
    closer: int = 0
    whole_set: WholeSet | None = None
    ahead: dict[str, float] = field(default_factory=dict)  # passes that each phase takes at most, in order

    def outcome(self, parameters: FmnParameters | None, only: Mapping[AttackName, NDArray[np.bool_]] | None) -> Outcome:
        """All phases in order; the search is left out where `parameters` are given."""
        clean, attacks = self.clean(), self.settings.attacks
        chosen = {attack: clean if only is None else clean & only[attack] for attack in attacks}
        self.expect({attack: int(taken.sum()) for attack, taken in chosen.items()}, search=parameters is None)
        robust_after, check = dict[Attack, NDArray[np.bool_]](), None
        if AttackName.AUTOATTACK in attacks:
            robust_after = self.autoattack(chosen[AttackName.AUTOATTACK])
            if self.settings.precision is not Precision.FLOAT32 and only is None:
                check = self.float32_check(robust_after[self.stages[-1]])
        distance, tuning = None, None
        trials: tuple[Trial, ...] = ()
        if AttackName.HOFMN in attacks:
            if parameters is None:
                tuning, trials = self.search(clean)
                parameters = best_of(trials).parameters if trials else None
            distance = self.minimum_norm(chosen[AttackName.HOFMN], parameters)
        others = {attack: self.other(attack, chosen[attack]) for attack in attacks if attack not in APB_1_ATTACKS}
        samples = SampleResults(
            index=self.images.index, label=self.images.labels.astype(np.int16), clean_correct=clean,
            aa_robust=robust_after[self.stages[-1]] if robust_after else None, distance=distance, tuning=tuning,
            robust_after=robust_after, others=others,
        )  # fmt: skip
        return Outcome(
            samples, trials, self.passes, self.seconds, self.worker.simplified, self.dropped_rows, check, self.closer,
            self.whole_set,
        )  # fmt: skip

    def expect(self, samples: Mapping[AttackName, int], *, search: bool) -> None:
        """Passes that the attacks on so many samples take at most, and how long; said if somebody listens."""
        self.ahead = most_passes(self.settings, self.worker.engine.cost, samples, search=search)
        if self.reporter.shows and len(self.state) <= _BEFORE_ATTACKS:
            correct, total = max(samples.values()), len(self.images)
            self.reporter.say(plan_of(self.worker, total, correct, self.ahead, self.workers.count).sentence)

    def plan(self, phase: str, cost: int, before: int) -> None:
        """Report what follows a phase whose unit of work is `cost` passes, and how many units are done already."""
        phases = list(self.ahead)
        self.reporter.plan(sum(self.ahead[name] for name in phases[phases.index(phase) + 1 :]) / cost, before)

    def clean(self) -> NDArray[np.bool_]:
        """Which samples are classified correctly without an attack; all of the whole set are classified."""
        self.reporter.start("clean accuracy", len(self.whole))
        stored = self.state.get("clean")
        if stored is None:
            started = time.monotonic()
            network = self.worker.network
            logits, predicted = predict(network, self.whole.images, self.worker.device, self.settings.rows)
            if not torch.isfinite(logits).all():
                raise NetworkError("the network returns NaN or infinite logits; the checkpoint may hold broken weights")
            result = Result(predicted == self.whole.labels, network.take_passes(), time.monotonic() - started)
            stored = self.keep("clean", result)
        self.account("clean", stored)
        correct = stored["values"].astype(np.bool_)
        share = f"{correct.mean():.2%}"
        self.reporter.finish(f"{share} of {len(correct)} correct")
        self.reporter.say(f"initial accuracy: {share}")
        if self.whole is self.images:
            return correct
        self.whole_set = WholeSet(len(correct), int(correct.sum()) / len(correct))
        return correct[np.isin(self.whole.index, self.images.index)]

    def autoattack(self, clean: NDArray[np.bool_]) -> dict[Attack, NDArray[np.bool_]]:
        """Which samples are still robust after each attack; each attacks what the previous ones left."""
        robust, after = clean.copy(), {}
        started = time.monotonic()
        for attack in self.stages:
            survivors = np.flatnonzero(robust)
            self.ahead |= {stage.value: self.worker.engine.cost[stage] * len(survivors) for stage in self.stages}
            self.reporter.start(attack.label, len(survivors))

            def finished(chosen: NDArray[np.int64], broken: NDArray[np.generic]) -> str:
                robust[chosen[broken.astype(np.bool_)]] = False
                return f"{int(robust.sum())} robust"

            cost = self.worker.engine.cost[attack]
            self.over_samples(attack.value, survivors, cost, partial(Call, Work.ATTACK, attack=attack), finished)
            after[attack] = robust.copy()
            self.reporter.finish(f"{robust.mean():.2%} robust, {len(survivors) - int(robust.sum())} broken")
            elapsed, name = time.monotonic() - started, attack.label.upper()
            self.reporter.say(f"robust accuracy after {name}: {robust.mean():.2%} (total time {elapsed:.1f} s)")
        self.reporter.say(f"robust accuracy: {robust.mean():.2%}")
        return after

    @property
    def stages(self) -> tuple[Attack, ...]:
        """Attacks of AutoAttack that run."""
        return self.settings.preset.stages

    @property
    def check_cost(self) -> int:
        """Passes of one sample that survives the check in float32."""
        return sum(self.worker.engine.cost[attack] for attack in CHECKING)

    def float32_check(self, robust: NDArray[np.bool_]) -> Float32Check:
        """Attack survivors of a search in lower precision again, in float32 and with another seed."""
        seed = self.settings.check_seed
        drawn = np.sort(np.random.default_rng(seed).permutation(np.flatnonzero(robust))[:CHECKED_SURVIVORS])
        left = np.zeros_like(robust)
        left[drawn] = True
        self.reporter.start("check in float32", len(drawn))
        for attack in CHECKING:

            def finished(chosen: NDArray[np.int64], broken: NDArray[np.generic]) -> str:
                left[chosen[broken.astype(np.bool_)]] = False
                return f"{len(drawn) - int(left.sum())} broken"

            call = partial(Call, Work.ATTACK, attack=attack, check_seed=seed)
            unit = f"{FLOAT32_CHECK}-{attack.value}"
            self.over_samples(FLOAT32_CHECK, np.flatnonzero(left), self.check_cost, call, finished, unit=unit)
        check = Float32Check(seed, len(drawn), len(drawn) - int(left.sum()))
        allowed = "confirms the search" if confirms(check.samples, check.broken) else "too many: the run cannot rank"
        self.reporter.finish(f"{check.broken} of {check.samples} survivors broken; {allowed}")
        return check

    def search(self, clean: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], tuple[Trial, ...]]:
        """Samples that the HO-FMN search takes, and its trials."""
        tuning, batch = search_batches(clean, self.settings)
        if not (tuning & clean).any():
            if clean.any():
                raise EvaluationError(
                    f"none of the first {self.settings.left_out} samples is classified correctly, so there is nothing "
                    "to search on; choose --protocol apb-1"
                )
            return np.zeros_like(tuning), ()
        count, steps = self.settings.trials, self.settings.search_steps
        self.reporter.start("HO-FMN search", count)
        self.plan("hofmn-search", (steps + 1) * self.settings.search_samples, len(self.state.names("search-")))
        best, parts_of = np.inf, dict[FmnParameters, list[Result]]()

        def objectives(first: int, together: Sequence[FmnParameters]) -> list[float]:
            nonlocal best
            calls = self.search_calls(together, [batch(first + number) for number in range(len(together))], steps)
            rows = max(1, sum(len(call.samples) * len(call.trials) for call in calls))
            cost = (steps + 1) * rows / len(together)
            progress = listener(self.reporter, first, cost, lambda: _grey(best), len(together))
            results = sorted(self.workers.results(calls, progress, self.reporter.say), key=lambda pair: pair[0])
            parts_of.clear()
            for number, result in results:
                trials = calls[number].trials
                for parameters, values in zip(trials, result.values, strict=True):
                    parts_of.setdefault(parameters, []).append(share_of(result, values, len(trials)))
            medians = [median_of([part.values for part in parts_of.get(one, ())]) for one in together]
            best = min(best, *medians)
            return medians

        def stored(number: int) -> Trial | None:
            if (unit := self.state.get(f"search-{number:05d}")) is None:
                return None
            self.account("hofmn-search", unit)
            return Trial(FmnParameters(*map(float, unit["parameters"])), float(unit["values"]))

        def store(first: int, trials: Sequence[Trial]) -> None:
            for number, trial in enumerate(trials):
                parts = parts_of.get(trial.parameters, ())
                passes = Passes(sum(one.passes.forward for one in parts), sum(one.passes.backward for one in parts))
                work = Result(np.array(trial.objective), passes, sum(one.seconds for one in parts))
                parameters = np.array(list(trial.parameters.as_dict().values()))
                self.account("hofmn-search", self.keep(f"search-{first + number:05d}", work, parameters=parameters))

        trials = run_search(objectives, count, self.settings.seed, stored=stored, store=store)
        winner = best_of(trials)
        self.reporter.finish(f"best median {_grey(winner.objective)}, step {winner.parameters.learning_rate:.4f}")
        return tuning, tuple(trials)

    def search_calls(
        self, together: Sequence[FmnParameters], batches: Sequence[NDArray[np.int64]], steps: int
    ) -> list[Call]:
        """Work of some trials: all together where they take the same samples, shared among the workers."""
        same = all(np.array_equal(batch, batches[0]) for batch in batches)
        apart = [((one,), batch) for one, batch in zip(together, batches, strict=True)]
        groups = [(tuple(together), batches[0])] if same else apart
        calls = []
        for trials, batch in groups:
            size = LANES * max(1, -(-len(batch) // (LANES * self.workers.count)))
            parts = [batch[start : start + size] for start in range(0, len(batch), size)]
            calls += [Call(Work.SEARCH, self.chosen(part), trials=trials, steps=steps) for part in parts]
        return calls

    def minimum_norm(self, clean: NDArray[np.bool_], parameters: FmnParameters | None) -> NDArray[np.float32]:
        """Distances of HO-FMN, see :meth:`distances`; no `parameters` if no sample is correct."""
        fixed = [FmnParameters(**FIXED_CONFIGURATION)] if self.settings.fixed_configuration else []
        trials = () if parameters is None else (parameters, *fixed)
        call = partial(Call, Work.DISTANCES, trials=trials, steps=self.settings.attack_steps)
        return self.distances(
            "HO-FMN attack", "hofmn", clean, final_cost(self.settings), call, minimum_norm=True, grain=LANES
        )

    def other(self, attack: AttackName, clean: NDArray[np.bool_]) -> NDArray[np.generic]:
        """Array of an attack with its own module, see :meth:`apsite.samples.SampleResults.of`."""
        passes, call = attack_module(attack).PASSES, partial(Call, Work.OTHER, other=attack)
        distance = self.distances(attack.label, attack.value, clean, passes, call, minimum_norm=attack.minimum_norm)
        return distance if attack.minimum_norm else np.isinf(distance)

    def distances(
        self, label: str, phase: str, clean: NDArray[np.bool_], cost: int, call: CallOf, *,
        minimum_norm: bool, grain: int = 4,
    ) -> NDArray[np.float32]:  # fmt: skip
        """Distance of every sample, the smallest of all configurations.

        It is 0 for clean errors, and ``inf`` where the attack found nothing.
        """
        distance, correct = np.zeros(len(clean), np.float32), np.flatnonzero(clean)
        self.reporter.start(label, len(correct))

        def finished(chosen: NDArray[np.int64], reached: NDArray[np.generic]) -> str:
            if reached.ndim == 2:
                self.closer += int((reached.argmin(axis=1) > 0).sum())
                reached = reached.min(axis=1)
            distance[chosen] = reached
            return ""

        self.over_samples(phase, correct, cost, call, finished, grain=grain)
        robust = distance > np.float32(self.worker.epsilon) if minimum_norm else np.isinf(distance)
        self.reporter.finish(f"{robust.mean():.2%} robust at {self.settings.epsilon_text(self.images.dataset)}")
        return distance

    def over_samples(
        self, phase: str, samples: NDArray[np.int64], cost: int, call: CallOf,
        finished: Callable[[NDArray[np.int64], NDArray[np.generic]], str], *, grain: int = 4, unit: str | None = None,
    ) -> None:  # fmt: skip
        """Have work done for each sample, but for those that are done already.

        Passes and time belong to `phase`, after which units in the state are named if they have no `unit` name of their
        own. `cost` is that of one sample, in passes, for progress. `finished` receives the positions and values of
        finished samples and says what is known so far. `grain` is the smallest part that is worth a worker.
        """
        done, note, unit = np.zeros(len(self.images), np.bool_), "", unit or phase
        for name in self.state.names(f"{unit}-"):
            if (kept := self.state.get(name)) is not None:
                done[kept["chosen"]] = True
                note = finished(kept["chosen"], kept["values"])
                self.account(phase, kept)
        parts = self.parts(samples, done, grain)
        left = sum(map(len, parts))
        ready = len(samples) - left
        self.plan(phase, cost, ready)
        progress = listener(self.reporter, ready, cost, lambda: note, left)
        calls = [call(self.chosen(part)) for part in parts]
        for number, result in self.workers.results(calls, progress, self.reporter.say):
            self.account(phase, self.keep(f"{unit}-{parts[number][0]:06d}", result, chosen=parts[number]))
            note = finished(parts[number], result.values)
            ready += len(parts[number])
            self.reporter.advance(ready, note)

    def parts(self, samples: NDArray[np.int64], done: NDArray[np.bool_], grain: int) -> list[NDArray[np.int64]]:
        """Samples that are still to be done, in the parts in which they are done and kept.

        The reference engine seeds every batch, so its partition must not depend on what is done already.
        """
        rows = self.settings.rows
        if self.settings.engine is EngineName.REFERENCE:
            parts = [samples[start : start + rows] for start in range(0, len(samples), rows)]
            return [part for part in parts if not done[part].all()]
        left = samples[~done[samples]]
        return [left[part] for part in shares(len(left), rows, grain, self.workers.count)]

    def chosen(self, positions: NDArray[np.int64]) -> LabelledImages:
        """The samples at some positions."""
        images = self.images
        index = images.index[positions].astype(np.int64)
        return LabelledImages(np.asarray(images.images[positions]), images.labels[positions], index)

    def keep(self, unit: str, result: Result, **arrays: NDArray[np.generic]) -> Arrays:
        """Store a finished unit of work."""
        stored: Arrays = {
            "values": result.values, "passes": np.array([result.passes.forward, result.passes.backward]),
            "seconds": np.array(result.seconds), "dropped_rows": np.array(result.dropped_rows), **arrays,
        }  # fmt: skip
        self.state.put(unit, **stored)
        return stored

    def account(self, phase: str, unit: Arrays) -> None:
        """Add the passes and seconds of a unit to its phase, and count the rows that it dropped."""
        before = self.passes.get(phase, Passes(0, 0))
        forward, backward = map(int, unit["passes"])
        self.passes[phase] = Passes(before.forward + forward, before.backward + backward)
        self.seconds[phase] = round(self.seconds.get(phase, 0.0) + float(unit["seconds"]), 3)
        self.dropped_rows += int(unit["dropped_rows"])


def _grey(distance: float) -> str:
    """Distance in grey levels of 255, for messages; nothing while none is known."""
    return f"{distance * 255:.2f}/255" if np.isfinite(distance) else ""
