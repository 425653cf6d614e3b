"""Evaluations: resumed ones equal uninterrupted ones, batches do not matter to HO-FMN, nothing is counted twice."""

import contextlib
import dataclasses

import numpy as np
import pytest
import torch

from apsite.errors import ApsiteError, EvaluationError, NetworkError
from apsite.evaluation.attacks.autoattack import is_adversarial
from apsite.evaluation.attacks.fast import engine
from apsite.evaluation.attacks.fmn import FmnParameters
from apsite.evaluation.runs import worker
from apsite.evaluation.runs.run_state import RunState
from apsite.evaluation.runs.runner import run
from apsite.evaluation.runs.worker import LANES
from apsite.progress import Reporter
from apsite.protocol import FAB_SAVED_STEPS, FIXED_CONFIGURATION, Precision, Settings
from apsite.records import Float32Check, WholeSet
from apsite.results import results_of
from apsite.samples import samples_bytes
from apsite.vocabulary import Attack, Dataset, Protocol
from tests.evaluation_fixtures import Listening, TinyNetwork

CPU = torch.device("cpu")
SHORT = Settings(
    trials=3, search_samples=8, search_steps=5, attack_steps=10, batch_size=6, n_examples=12, epsilon="1/255"
)


@pytest.fixture(scope="module")
def tiny():
    return TinyNetwork()


@pytest.fixture(scope="module")
def tiny_images(tiny, images):
    """Embedded images with the classes that the tiny network gives them, but for every sixth."""
    labels = tiny(torch.from_numpy(images.images).float() / 255).argmax(1).numpy()
    labels[::6] = (labels[::6] + 1) % 10
    return dataclasses.replace(images, labels=labels)


def evaluate(network, images, settings, folder):
    with RunState(folder, {"settings": dataclasses.asdict(settings)}) as state:
        return run(network, images.first(settings.n_examples), settings, state, CPU, Reporter())


class InterruptedState(RunState):
    """State that raises an interruption when unit number `after` would be stored."""

    after = 0

    def put(self, unit, **arrays):
        if len(self) >= self.after:
            raise KeyboardInterrupt
        super().put(unit, **arrays)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, tiny, tiny_images):
    return evaluate(tiny, tiny_images, SHORT, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    "units", [pytest.param(units, marks=() if units in (3, 9) else pytest.mark.slow) for units in range(1, 11)]
)
def test_a_resumed_evaluation_equals_an_uninterrupted_one(tiny, tiny_images, tmp_path, uninterrupted, units):
    state = InterruptedState(tmp_path, {"settings": dataclasses.asdict(SHORT)})
    state.after = units
    with pytest.raises(KeyboardInterrupt), state:
        run(tiny, tiny_images.first(12), SHORT, state, CPU, Reporter())
    resumed = evaluate(tiny, tiny_images, SHORT, tmp_path)
    assert samples_bytes(resumed.samples) == samples_bytes(uninterrupted.samples)
    assert resumed.trials == uninterrupted.trials
    assert resumed.passes == uninterrupted.passes
    assert resumed.dropped_rows == uninterrupted.dropped_rows


def test_verdicts_of_the_fast_engine_do_not_depend_on_the_batch_size(tiny, tiny_images, tmp_path):
    """With draws of their own, samples have the same verdicts in batches of 5 and 16, close to the reference."""
    settings = dataclasses.replace(SHORT, attacks=("autoattack",), engine="fast", n_examples=8, batch_size=8)
    found = [evaluate(tiny, tiny_images, dataclasses.replace(settings, batch_size=size), tmp_path) for size in (5, 16)]
    assert samples_bytes(found[0].samples) == samples_bytes(found[1].samples)
    assert found[0].dropped_rows == found[1].dropped_rows > 0
    reference = evaluate(tiny, tiny_images, dataclasses.replace(settings, engine="reference"), tmp_path)
    assert abs(int(found[0].samples.aa_robust.sum()) - int(reference.samples.aa_robust.sum())) <= 1


def test_distances_do_not_depend_on_the_batch_size(demo_network, images, tmp_path):
    """HO-FMN draws nothing at random per batch: the same distances for batches of 5, 16 and 64."""
    settings = dataclasses.replace(SHORT, attacks=("hofmn",), n_examples=40)
    found = [
        evaluate(demo_network, images, dataclasses.replace(settings, batch_size=size), tmp_path).samples.distance
        for size in (5, 16, 64)
    ]
    assert np.isfinite(found[0]).all()
    for other in found[1:]:
        assert np.array_equal(found[0], other)


def test_each_sample_has_the_smaller_distance_of_two_configurations(tiny, tiny_images, tmp_path):
    """The final attack equals the sample-wise minimum of two runs with one configuration each."""
    both = dataclasses.replace(SHORT, attacks=("hofmn",), n_examples=48)
    one = dataclasses.replace(both, fixed_configuration=False)

    def outcome(settings, parameters=None):
        folder = tmp_path / f"{settings.fixed_configuration}-{parameters}"
        with RunState(folder, {}) as state:
            return run(tiny, tiny_images.first(48), settings, state, CPU, Reporter(), parameters)

    found, searched = outcome(both), outcome(one)
    fixed = outcome(one, FmnParameters(**FIXED_CONFIGURATION)).samples.distance
    assert (searched.closer, found.trials) == (0, searched.trials)
    assert np.array_equal(found.samples.distance, np.minimum(searched.samples.distance, fixed))
    assert 0 < found.closer == int((fixed < searched.samples.distance).sum()) < 48


def test_clean_accuracy_is_measured_on_the_whole_set(tiny, tiny_images, tmp_path):
    """A run on some images says how many of all are right, and attacks only its own."""
    settings = dataclasses.replace(SHORT, attacks=("hofmn",), n_examples=5)
    few = tiny_images.take(np.array([3, 6, 40, 60, 61]))  # every sixth label is wrong
    with RunState(tmp_path, {}) as state:
        found = [run(tiny, few, settings, state, CPU, Reporter(), whole=tiny_images) for _ in range(2)]
    for outcome in found:  # the second is resumed
        assert outcome.whole_set == WholeSet(256, (256 - 43) / 256)
        assert outcome.samples.clean_correct.tolist() == [True, False, True, False, True]
        assert outcome.passes["clean"].forward == 256
        assert outcome.passes["hofmn"].backward == 2 * LANES * settings.attack_steps


def test_counts_add_up(uninterrupted):
    samples = uninterrupted.samples
    results = results_of(samples, SHORT.epsilon_value(Dataset.CIFAR10))
    counts = results.stages
    assert list(counts) == list(Attack)
    expected = int(samples.clean_correct.sum())
    for count in counts.values():
        assert count.attacked == expected
        expected -= count.broken
        assert count.robust_after == expected
    assert results.joint.robust_accuracy <= min(results.autoattack.robust_accuracy, results.hofmn.robust_accuracy)
    assert uninterrupted.passes["clean"].forward == 12
    batches = -(-int(samples.clean_correct.sum()) // SHORT.batch_size)
    assert uninterrupted.passes["hofmn"].backward == 2 * batches * LANES * SHORT.attack_steps
    assert uninterrupted.passes["hofmn-search"].backward == 3 * LANES * SHORT.search_steps
    survivors = counts[Attack.APGD_T].robust_after
    assert uninterrupted.passes["square"].forward >= 5001 * counts[Attack.SQUARE].robust_after
    fab, saved = uninterrupted.passes["fab-t"], FAB_SAVED_STEPS * uninterrupted.dropped_rows
    assert fab.forward + fab.backward >= 900 * counts[Attack.FAB_T].robust_after - saved
    assert 0 < uninterrupted.dropped_rows <= 9 * survivors


def test_a_network_that_knows_nothing_is_evaluated_without_attack(images, tmp_path):
    """If no sample is classified correctly there is nothing to attack, and every robust accuracy is zero."""

    class Wrong(torch.nn.Module):
        def forward(self, x):
            logits = torch.zeros(len(x), 10)
            logits[:, 9] = 1
            return logits + 0 * x.sum()

    chosen = images.take(np.flatnonzero(images.labels != 9)[:5])
    settings = dataclasses.replace(SHORT, n_examples=None)
    with RunState(tmp_path, {}) as state:
        outcome = run(Wrong().eval(), chosen, settings, state, CPU, Reporter())
    results = results_of(outcome.samples, settings.epsilon_value(Dataset.CIFAR10))
    assert results.clean_accuracy == results.autoattack.robust_accuracy == results.hofmn.robust_accuracy == 0
    assert outcome.trials == ()


def test_nan_logits_end_the_evaluation(images, tmp_path):
    """A network that returns NaN is an error, not a misclassification."""

    class Broken(torch.nn.Module):
        def forward(self, x):
            return torch.full((len(x), 10), float("nan"))

    with RunState(tmp_path, {}) as state, pytest.raises(NetworkError, match="NaN or infinite"):
        run(Broken().eval(), images.first(2), SHORT, state, CPU, Reporter())


def test_too_little_memory_halves_the_rows_for_good_and_says_so(demo_network, images, tmp_path, monkeypatch):
    """What does not fit is done with fewer rows at a time, from then on; the distances are the same."""
    original = worker.fmn_attack
    refused = []

    def limited(network, x, *arguments, **options):
        if len(x) > 16:
            refused.append(len(x))
            raise torch.OutOfMemoryError
        return original(network, x, *arguments, **options)

    settings = dataclasses.replace(SHORT, attacks=("hofmn",), search_samples=4, batch_size=128)
    expected = evaluate(demo_network, images, settings, tmp_path / "a").samples.distance
    monkeypatch.setattr(worker, "fmn_attack", limited)
    listening = Listening()
    with RunState(tmp_path / "b", {}) as state:
        outcome = run(demo_network, images.first(12), settings, state, CPU, listening)
    assert np.array_equal(outcome.samples.distance, expected)
    told = [message for message in listening.lines if message.startswith("out of memory")]
    assert told[0] == "out of memory; continuing with 64 rows at a time"
    assert told[-1] == "out of memory; continuing with 16 rows at a time"
    assert len(told) == len(refused) == 3


def test_the_reference_engine_asks_for_a_smaller_batch(tiny, tiny_images, tmp_path, monkeypatch):
    """Its draws belong to the batch, so halves of it would be another run."""

    def refuse(*arguments):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(worker.ReferenceEngine, "perturb", refuse)
    settings = dataclasses.replace(SHORT, attacks=("autoattack",), engine="reference", batch_size=8)
    with RunState(tmp_path, {}) as state, pytest.raises(EvaluationError, match="choose a smaller --batch-size"):
        run(tiny, tiny_images.first(12), settings, state, CPU, Reporter())


def test_a_search_in_tf32_ranks_if_float32_confirms_it(tiny, tiny_images, tmp_path, monkeypatch):
    """Its survivors are attacked again with another seed; where TF32 blinds the gradients, too many of them break."""
    settings = dataclasses.replace(SHORT, attacks=("autoattack",), precision=Precision.TF32, n_examples=8, batch_size=8)
    found = evaluate(tiny, tiny_images, settings, tmp_path / "right")
    robust = int(found.samples.aa_robust.sum())
    assert found.float32_check == Float32Check(seed=1, samples=robust, broken=0)
    assert robust > 0
    assert 1000 * robust <= found.passes["float-check"].backward <= 1100 * robust

    clean, blind = torch.from_numpy(tiny_images.images[:12]).float() / 255, False

    @contextlib.contextmanager
    def arithmetic(precision):
        nonlocal blind
        before, blind = blind, precision is Precision.TF32
        yield
        blind = before

    class Blind(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = TinyNetwork()

        def forward(self, x):
            if x.isfinite().all() and blind:  # for each image the logits of the nearest clean one
                return self.network(clean)[torch.cdist(x.flatten(1), clean.flatten(1)).argmin(1)] + 0 * x.sum()
            return self.network(x)

    monkeypatch.setattr(engine, "arithmetic", arithmetic)
    lost = evaluate(Blind(), tiny_images, settings, tmp_path / "wrong")
    assert lost.float32_check.samples == int(lost.samples.aa_robust.sum()) > robust
    assert lost.float32_check.broken == lost.float32_check.samples - robust
    whole = dataclasses.replace(Settings(), precision=Precision.TF32)
    assert whole.protocol(Dataset.CIFAR10, 10_000, checked=True) is Protocol.APB_1
    assert whole.protocol(Dataset.CIFAR10, 10_000) is Protocol.CUSTOM
    bf16 = dataclasses.replace(whole, precision=Precision.BF16)
    assert bf16.protocol(Dataset.CIFAR10, 10_000, checked=True) is Protocol.CUSTOM


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.TF32])
def test_lower_precision_makes_up_no_success(tiny, tiny_images, tmp_path, precision):
    """Nothing is broken that float32 does not confirm, the run does not rank, and torch's settings are as before."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.deterministic
    confirmed = []

    def listening(network, images, perturbed, labels, epsilon):
        flags = is_adversarial(network, images, perturbed, labels, epsilon)
        assert torch.equal(flags, tiny(perturbed).argmax(1) != labels)
        confirmed.append(int(flags.sum()))
        return flags

    settings = dataclasses.replace(SHORT, attacks=("autoattack",), engine="fast", precision=precision)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "is_adversarial", listening)
        found = evaluate(tiny, tiny_images, settings, tmp_path).samples
    assert int(found.clean_correct.sum() - found.aa_robust.sum()) == sum(confirmed) > 0
    assert settings.protocol(tiny_images.dataset, len(tiny_images)) is Protocol.CUSTOM
    assert before == (
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.deterministic,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("failure", "message"),
    [(torch.OutOfMemoryError, "too little memory even for one sample"), (torch.AcceleratorError, "cpu failed")],
)
def test_a_failing_device_ends_with_a_clear_error_and_keeps_the_state(
    tiny, tiny_images, tmp_path, monkeypatch, failure, message
):
    """A lost device or one without memory is one error line; what was finished is there for the next try."""
    settings = dataclasses.replace(SHORT, attacks=("hofmn",), batch_size=4)
    expected = evaluate(tiny, tiny_images, settings, tmp_path / "whole")
    original, calls = worker.fmn_attack, []

    def failing(network, x, *arguments, **options):
        calls.append(len(x))
        if len(calls) > 4:
            raise failure("CUDA error: device lost")
        return original(network, x, *arguments, **options)

    monkeypatch.setattr(worker, "fmn_attack", failing)
    with pytest.raises(EvaluationError, match=f"{message}.*finished work is kept"):
        evaluate(tiny, tiny_images, settings, tmp_path / "lost")
    monkeypatch.setattr(worker, "fmn_attack", original)
    resumed = evaluate(tiny, tiny_images, settings, tmp_path / "lost")
    assert samples_bytes(resumed.samples) == samples_bytes(expected.samples)


def test_a_full_disk_is_one_error_line(tiny, tiny_images, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(ApsiteError, match="cannot be written: No space left on device"):
        evaluate(tiny, tiny_images, SHORT, tmp_path)
    assert not list(tmp_path.rglob("*.npz"))


def test_the_lines_that_users_of_autoattack_grep_are_said(tiny, tiny_images, tmp_path):
    listening = Listening()
    settings = dataclasses.replace(SHORT, attacks=("autoattack",), n_examples=2)
    with RunState(tmp_path, {}) as state:
        run(tiny, tiny_images.first(2), settings, state, CPU, listening)
    text = "\n".join(listening.lines)
    assert "initial accuracy: " in text
    for attack in Attack:
        assert f"robust accuracy after {attack.label.upper()}: " in text
    assert "\nrobust accuracy: " in text


def test_a_screening_runs_two_attacks_on_every_sample(tiny, tiny_images, tmp_path):
    """It leaves out FAB-T and Square, and its survivors are those of a whole run after APGD-T."""
    settings = dataclasses.replace(SHORT, attacks=("autoattack",))
    whole = evaluate(tiny, tiny_images, settings, tmp_path / "whole")
    screened = evaluate(tiny, tiny_images, dataclasses.replace(settings, preset="screen"), tmp_path / "screened")
    assert list(screened.samples.robust_after) == [Attack.APGD_CE, Attack.APGD_T]
    assert np.array_equal(screened.samples.aa_robust, whole.samples.robust_after[Attack.APGD_T])
    assert not {"fab-t", "square"} & screened.passes.keys()
    assert Settings.of("screen").protocol(Dataset.CIFAR10, 10_000) is Protocol.CUSTOM
