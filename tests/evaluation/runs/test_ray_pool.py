"""Workers in processes of their own: the results of one process, whoever is lost on the way."""

import contextlib
import dataclasses
import importlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from apsite.errors import EvaluationError, NetworkError
from apsite.evaluation.runs import ray_pool
from apsite.evaluation.runs.demonstration import network_path
from apsite.evaluation.runs.ray_pool import RayPool, import_ray, parse_workers, start_cluster
from apsite.evaluation.runs.run_state import RunState
from apsite.evaluation.runs.runner import run
from apsite.evaluation.runs.worker import Call, LabelledImages, Work, Worker
from apsite.progress import Reporter
from apsite.protocol import Settings
from apsite.samples import samples_bytes
from apsite.vocabulary import Attack
from tests.pretended_device import NAME, OnDevice

ray = import_ray()

# Ray opens sockets and files of its own, which the interpreter reports when it ends.
pytestmark = pytest.mark.filterwarnings("ignore")
DEMO = [
    *("--method", "LAMP_Lee2021Layer", "--dataset", "cifar10", "--arch", "resnet8", "--structure", "unstructured"),
    *("--sparsity", "0.9", "--data-dir", "embedded", "--protocol", "quick", "--n-examples", "4", "--device", "cpu"),
]
CPU = torch.device("cpu")
SETTINGS = Settings(
    trials=3, search_samples=8, search_steps=5, attack_steps=10, batch_size=64, n_examples=24, epsilon="1/255"
)


class Tiny(torch.nn.Sequential):
    """A few random convolutions, defined where other processes cannot import it from."""

    brings = OnDevice
    """Registers the pretended device in processes that receive the network."""

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(
            torch.nn.Conv2d(3, 8, 3, 4, 1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(512, 10)
        )  # fmt: skip
        self.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def tiny_images(images):
    """Embedded images with the classes that the tiny network gives them, but for every sixth."""
    labels = Tiny()(torch.from_numpy(images.images).float() / 255).argmax(1).numpy()
    labels[::6] = (labels[::6] + 1) % 10
    return dataclasses.replace(images, labels=labels)


@pytest.fixture(scope="module")
def cluster():
    start_cluster(num_cpus=2, num_gpus=2)
    yield
    ray.shutdown()


def evaluate(images, folder, count=0, settings=SETTINGS, device=CPU):
    """By so many workers; with none by this process."""

    def hire(worker):
        return stack.enter_context(hired(images, count, settings, device, worker.simplified.memory_format))

    with RunState(folder, {}) as state, contextlib.ExitStack() as stack:
        workers = hire if count else None
        return run(Tiny().to(device), images.first(24), settings, state, device, Reporter(), workers=workers)


def hired(images, count, settings=SETTINGS, device=CPU, memory_format=None):
    epsilon = settings.epsilon_value(images.dataset)
    return RayPool(Tiny(), images.images[:8], settings, epsilon, device.type, count, memory_format)


def test_two_workers_give_the_results_of_one_process(cluster, tiny_images, tmp_path):
    """The same samples and trials, in the same phases; their passes depend on how samples stand together."""
    alone = evaluate(tiny_images, tmp_path / "alone")
    shared = evaluate(tiny_images, tmp_path / "shared", 2)
    assert samples_bytes(shared.samples) == samples_bytes(alone.samples)
    assert shared.dropped_rows == alone.dropped_rows > 0
    assert shared.trials == alone.trials
    assert shared.passes.keys() == alone.passes.keys()
    assert shared.passes["clean"] == alone.passes["clean"]


def test_two_workers_with_an_accelerator_each_give_the_results_of_one(cluster, tiny_images, tmp_path):
    """On the pretended device: the network and all that is attacked are moved to that of the worker."""
    settings, device = dataclasses.replace(SETTINGS, attacks=("hofmn",)), torch.device(NAME)
    alone = evaluate(tiny_images, tmp_path / "alone", 0, settings, device)
    shared = evaluate(tiny_images, tmp_path / "shared", 2, settings, device)
    assert samples_bytes(shared.samples) == samples_bytes(alone.samples)
    assert shared.trials == alone.trials


def test_a_killed_worker_costs_its_part_only(cluster, tiny_images):
    chosen = np.arange(16)
    samples = LabelledImages(tiny_images.images[chosen], tiny_images.labels[chosen], chosen)
    calls = [Call(Work.ATTACK, samples.part(slice(i, i + 4)), Attack.SQUARE) for i in range(0, 16, 4)]
    expected = [Worker(Tiny(), samples.images[:8], SETTINGS, 1 / 255, CPU).run(call).values for call in calls]
    said, found = [], {}
    with hired(tiny_images, 2) as workers:
        processes = workers.processes()
        for number, result in workers.results(calls, lambda passes: None, said.append):
            if not found:
                os.kill(processes[0], signal.SIGKILL)
            found[number] = result.values
    assert sorted(found) == list(range(4))
    assert all(np.array_equal(found[number], expected[number]) for number in found)
    assert said == ["a worker was lost; its samples are given to another one"]


def test_work_that_kills_every_worker_ends_the_run(cluster, tiny_images):
    """After three workers the run ends with one line instead of going on for ever."""

    class Deadly(Tiny):
        def forward(self, x):
            if len(x) == 5:
                os._exit(1)
            return super().forward(x)

    samples = LabelledImages(tiny_images.images[:5], tiny_images.labels[:5], np.arange(5))
    with (
        RayPool(Deadly(), tiny_images.images[:8], SETTINGS, 1 / 255, "cpu", 1) as workers,
        pytest.raises(EvaluationError, match="3 workers were lost over the same samples; the finished work is kept"),
    ):
        list(workers.results([Call(Work.ATTACK, samples, Attack.SQUARE)], lambda passes: None, lambda line: None))


class Unpacked(Tiny):
    """A network that cannot be unpacked elsewhere, as where this package is not installed."""

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        return importlib.import_module, ("a_module_that_is_not_there",)


def test_workers_that_cannot_start_are_not_taken_for_lost_ones(cluster, tiny_images):
    """The cause is named, and what every machine needs; nothing is tried again."""
    with (
        pytest.raises(EvaluationError, match=r"workers cannot start \(.*a_module_that_is_not_there.*the same apsite"),
        RayPool(Unpacked(), tiny_images.images[:8], SETTINGS, 1 / 255, "cpu", 1) as workers,
    ):
        workers.processes()


@pytest.mark.slow
def test_other_versions_elsewhere_are_an_error(cluster, tiny_images, monkeypatch):
    """Another torch rounds differently; the message says which version is where."""
    monkeypatch.setattr(ray_pool, "versions", lambda: {"apsite": "9.9", "torch": torch.__version__})
    with hired(tiny_images, 1) as workers, pytest.raises(EvaluationError, match=r"has apsite \S+ instead of 9\.9"):
        workers.processes()


def test_errors_of_a_worker_are_those_of_one_process(cluster, tiny_images):
    """A network that gives NaN is one error line, not the traceback of another process."""

    class Broken(Tiny):
        def forward(self, x):
            return super().forward(x) * (float("nan") if len(x) == 5 else 1)

    samples = LabelledImages(tiny_images.images[:5], tiny_images.labels[:5], np.arange(5))
    call = Call(Work.ATTACK, samples, Attack.APGD_CE)
    with (
        RayPool(Broken(), tiny_images.images[:8], SETTINGS, 1 / 255, "cpu", 1) as workers,
        pytest.raises(NetworkError, match="returns NaN or infinite logits"),
    ):
        list(workers.results([call], lambda passes: None, lambda line: None))


def test_a_cluster_that_cannot_start_is_one_error_line(tmp_path):
    """Here its sockets would have too long a name: one line says why and what to do, and nothing is written."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    command = [sys.executable, "-m", "apsite", "eval", str(network_path()), "--workers", "ray", *DEMO]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["TMPDIR"] = str(folder)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert re.match(
        r"Error: --workers ray: no cluster can be reached or started \(.*AF_UNIX.*\); set RAY_ADDRESS to", line
    )
    assert not (tmp_path / "evaluations").exists()


def test_more_workers_than_devices_are_refused(cluster, tiny_images):
    with pytest.raises(EvaluationError, match=r"--workers ray:3: the cluster has 2 CPUs; choose fewer workers"):
        hired(tiny_images, 3).__enter__()


@pytest.mark.parametrize("text", ["", "Ray", "ray:", "ray:0", "ray:-1", "ray:two", "local:2", "ray:2:2"])
def test_words_for_workers_are_checked(text):
    with pytest.raises(EvaluationError, match=r"is not one of 'local', 'ray', 'ray:<number of workers>'"):
        parse_workers(text)


def test_words_for_workers_are_read():
    assert parse_workers("local") == ("local", None)
    assert parse_workers("ray") == ("ray", None)
    assert parse_workers("ray:12") == ("ray", 12)


@pytest.mark.slow
def test_a_cluster_of_ones_own_leaves_nothing_behind(tmp_path, monkeypatch):
    """Started once for whoever is inside, ended with it, its files gone; another one may follow."""
    if ray.is_initialized():
        ray.shutdown()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    before = set(Path("/tmp").glob("apsite-ray-*"))
    with ray_pool.cluster():
        (folder,) = set(Path("/tmp").glob("apsite-ray-*")) - before
        assert any(folder.iterdir())
        with ray_pool.cluster():
            assert ray.is_initialized()
        assert ray.is_initialized()
    assert not ray.is_initialized()
    assert not folder.exists()


@pytest.mark.slow
def test_a_lost_machine_costs_its_part_only(tiny_images):
    """Of two machines one goes; the other one does all that is left, though no device is there for a new worker."""
    from ray.cluster_utils import Cluster

    chosen = np.arange(32)
    samples = LabelledImages(tiny_images.images[chosen], tiny_images.labels[chosen], chosen)
    calls = [Call(Work.ATTACK, samples.part(slice(i, i + 4)), Attack.SQUARE) for i in range(0, 32, 4)]
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    other = machines.add_node(num_cpus=1)
    try:
        ray.init(address=machines.address, log_to_driver=False, logging_level="error")
        found = {}
        with hired(tiny_images, 2) as workers:
            workers.processes()
            for number, result in workers.results(calls, lambda passes: None, lambda line: None):
                if not found:
                    machines.remove_node(other)
                found[number] = result.values
        assert sorted(found) == list(range(8))
    finally:
        ray.shutdown()
        machines.shutdown()
