"""The evaluator on an accelerator: on the pretended one, which refuses what mixes its tensors with those of the CPU."""

import dataclasses

import numpy as np
import pytest
import torch

from apsite import evaluate
from apsite.evaluation.attacks.autoattack import ReferenceEngine, is_adversarial
from apsite.evaluation.attacks.execution import CountedNetwork, as_inputs
from apsite.evaluation.attacks.fast import apgd, fab, square
from apsite.evaluation.attacks.fmn import FmnParameters
from apsite.evaluation.runs import evaluate as evaluate_module
from apsite.evaluation.runs.run_state import RunState
from apsite.evaluation.runs.runner import run
from apsite.evaluation.runs.worker import Call, LabelledImages, Work, Worker
from apsite.protocol import Settings
from apsite.samples import samples_bytes
from apsite.vocabulary import Attack
from tests.evaluation_fixtures import Listening
from tests.pretended_device import NAME, MixedDevicesError, little_memory, watched

CPU, THERE = torch.device("cpu"), torch.device(NAME)
SHORT = Settings(
    trials=11, search_samples=4, search_steps=3, attack_steps=5, batch_size=9, n_examples=8, epsilon="1/255"
)


class Pruned(torch.nn.Sequential):
    """A few random convolutions, one with two filters of zeros whose channels are constant."""

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(
            torch.nn.Conv2d(3, 8, 3, 4, 1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Conv2d(8, 16, 3, 2, 1),
            torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(256, 10),
        )  # fmt: skip
        with torch.no_grad():
            self[0].weight[:2] = 0
            self[1].bias[0] = 0.3
        self.eval().requires_grad_(False)


@pytest.fixture(scope="module", autouse=True)
def few_steps():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apgd, "STEPS", 6)
        patch.setattr(fab, "STEPS", 4)
        patch.setattr(square, "QUERIES", 20)
        yield


@pytest.fixture(scope="module")
def some(images):
    """Eight embedded images with the classes that the network gives them, but for the first."""
    few = images.first(SHORT.n_examples)
    labels = Pruned()(as_inputs(few.images, CPU)).argmax(1).numpy()
    labels[0] = (labels[0] + 1) % 10
    return dataclasses.replace(few, labels=labels)


class Interrupted(RunState):
    """State that ends the run when the seventh unit would be stored."""

    def put(self, unit, **arrays):
        if len(self) == 6:
            raise KeyboardInterrupt
        super().put(unit, **arrays)


def evaluated(images, folder, device=THERE, settings=SHORT, reporter=None, state=RunState):
    with state(folder, {}) as kept:
        return run(Pruned().to(device), images, settings, kept, device, reporter or Listening())


@pytest.fixture(scope="module")
def whole(some, tmp_path_factory):
    return evaluated(some, tmp_path_factory.mktemp("whole"))


def test_what_mixes_devices_is_refused():
    there = torch.ones(3).to(THERE)
    assert there.device.type == NAME
    here, mixtures = torch.ones(3), {
        "sum": lambda: there + here, "cat": lambda: torch.cat([there, here]),
        "where": lambda: torch.where(there > 0, there, here), "linear": lambda: torch.nn.functional.linear(here, there),
    }  # fmt: skip
    for mix in mixtures.values():
        with pytest.raises(MixedDevicesError):
            mix()
    with pytest.raises(RuntimeError):
        there.numpy()
    assert (there * torch.tensor(2.0) + 1).tolist() == [3, 3, 3]
    with watched() as log:
        assert there[torch.tensor([1])].item() == 1
    assert log.waits == ["aten.index.Tensor", "aten._local_scalar_dense.default"]


def test_an_evaluation_has_the_results_of_the_cpu(some, whole, tmp_path):
    """Clean accuracy, the four attacks, search and HO-FMN, on a network without the channels that pruning emptied."""
    here = evaluated(some, tmp_path, CPU)
    assert whole.simplified.removed_channels == here.simplified.removed_channels == 2
    for name in ("clean_correct", "aa_robust", "tuning"):
        assert np.array_equal(getattr(whole.samples, name), getattr(here.samples, name)), name
    assert 0 < whole.samples.aa_robust.sum() < whole.samples.clean_correct.sum() == 7
    assert np.allclose(whole.samples.distance, here.samples.distance, rtol=0.01)
    assert len(whole.trials) == 11


def test_an_interrupted_evaluation_is_resumed(some, whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        evaluated(some, tmp_path, state=Interrupted)
    resumed = evaluated(some, tmp_path)
    assert samples_bytes(resumed.samples) == samples_bytes(whole.samples)
    assert resumed.trials == whole.trials


def test_a_device_without_memory_gets_fewer_rows(some, whole, tmp_path):
    """Room for 20 images: the rows are halved until one sample with its nine targets is left, which FAB has twice."""
    settings, listening = dataclasses.replace(SHORT, attacks=("autoattack",), batch_size=63), Listening()
    with little_memory(20 * 3 * 32 * 32):
        found = evaluated(some, tmp_path, settings=settings, reporter=listening)
    assert np.array_equal(found.samples.aa_robust, whole.samples.aa_robust)
    lines = [line for line in listening.lines if line.startswith("out of memory")]
    assert lines == [f"out of memory; continuing with {rows} rows at a time" for rows in (31, 15)]


@pytest.mark.parametrize(
    "call", [{"work": Work.ATTACK, "attack": Attack.APGD_CE},
             {"work": Work.DISTANCES, "trials": (FmnParameters(0.03, 0.5, 0.01, 0.1),), "steps": 5}],
    ids=["attack", "distances"],
)  # fmt: skip
def test_what_is_not_confirmed_is_searched_again(some, call):
    """Successes on another network than the evaluated one, which does not confirm them all."""
    samples = LabelledImages(some.images[1:], some.labels[1:], np.arange(1, len(some)))
    other, found = Pruned(), []
    with torch.no_grad():
        other[-1].weight += 0.02 * torch.randn(10, 256, generator=torch.Generator().manual_seed(1))
    for device in (CPU, THERE):
        worker = Worker(Pruned().to(device), some.images, SHORT, 2 / 255, device)
        worker.surrogate = worker._counted(other.to(device))
        result = worker.run(Call(samples=samples, **call))
        found.append(result.values)
        assert result.passes.backward > len(samples) * 5
    assert np.allclose(*found, rtol=0.01)
    assert np.isfinite(found[0]).any()


@pytest.mark.parametrize("attack", [Attack.APGD_CE, Attack.FAB_T])
def test_the_reference_engine_runs_on_a_device(some, attack):
    flags = []
    for device in (CPU, THERE):
        network = CountedNetwork(Pruned().to(device))
        engine = ReferenceEngine(network, 1 / 255, 0, device)
        engine._suite.apgd.n_iter, engine._suite.fab.n_iter, engine._suite.fab.n_target_classes = 6, 3, 1
        x, y = as_inputs(some.images[1:], device), torch.from_numpy(some.labels[1:]).to(device)
        flags.append(is_adversarial(network, x, engine.perturb(attack, x, y, []), y, 1 / 255).tolist())
    assert flags[0] == flags[1]


def test_a_checkpoint_is_audited_and_evaluated(images, demo_network, monkeypatch):
    """The whole path from a network to a record: weights, family and behaviour are examined on the device."""
    monkeypatch.setattr(evaluate_module, "choose_device", torch.device)
    settings = dataclasses.replace(SHORT, attacks=("hofmn",), n_examples=None, trials=2)
    records = [
        evaluate(
            demo_network, method="LAMP_Lee2021Layer", dataset="cifar10", architecture="resnet8",
            structure="unstructured", sparsity=0.90, images=images.first(4), device=device, settings=settings,
        )
        for device in ("cpu", NAME)
    ]  # fmt: skip
    assert records[0].audit == records[1].audit
    assert records[0].warnings == records[1].warnings
    assert records[0].results.clean_accuracy == records[1].results.clean_accuracy
