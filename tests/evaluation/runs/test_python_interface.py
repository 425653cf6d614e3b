"""`apsite.evaluate`, `apsite.evaluate_samples` and `apsite.audit`: the powers of the command line, for programs."""

from __future__ import annotations

import dataclasses
import hashlib
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import apsite
from apsite.errors import CheckpointError, DatasetError, EvaluationError, NetworkError
from apsite.evaluation.checkpoints.loading import in_memory
from apsite.evaluation.runs.demonstration import network_path
from apsite.progress import Reporter
from apsite.protocol import Preset, Settings
from apsite.records import read_record
from apsite.samples import read_samples
from apsite.validation import samples_problems
from apsite.vocabulary import Granularity, Protocol
from tests.evaluation_fixtures import Listening

TINY = Settings.of(Preset.QUICK, n_examples=4, trials=2, search_steps=3, attack_steps=5, attacks=("hofmn",))
MODEL = {
    "method": "LAMP_Lee2021Layer", "dataset": "cifar10", "architecture": "resnet8", "structure": "unstructured",
    "sparsity": 0.9, "data_dir": "embedded", "settings": TINY,
}  # fmt: skip


@pytest.fixture
def away(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_in_memory_gives_the_record_of_its_checkpoint_and_writes_nothing(away, demo_network):
    from_memory = apsite.evaluate_samples(demo_network, **MODEL)
    from_file = apsite.evaluate_samples(network_path(), **MODEL)
    assert from_memory.record.results == from_file.record.results
    assert np.array_equal(from_memory.samples.distance, from_file.samples.distance)
    assert from_memory.samples.index.shape == (4,)
    assert len(from_memory.trials) == 2
    assert from_memory.path is None
    assert from_memory.record.samples is None
    assert from_memory.record.checkpoint.layout == from_memory.record.checkpoint.format == "in memory"
    assert from_memory.record.granularity is Granularity.WEIGHT
    assert from_memory.record.protocol is Protocol.CUSTOM
    assert list(away.iterdir()) == []


def test_the_hash_of_a_network_is_that_of_its_safetensors_file(tmp_path, demo_network):
    """So that a record made in memory can be checked against the file that is published later."""
    model = in_memory(demo_network)
    path = tmp_path / "saved.safetensors"
    save_file(demo_network.state_dict(), path)
    assert model.file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.file.size == path.stat().st_size
    with torch.no_grad():
        demo_network.linear.bias[0] += 1e-3
    assert in_memory(demo_network).file.sha256 != model.file.sha256


def test_the_network_of_the_caller_stays_as_it_is(away, demo_network):
    demo_network.train()
    for parameter in demo_network.parameters():
        parameter.requires_grad_(True)
    before = {name: value.clone() for name, value in demo_network.state_dict().items()}
    apsite.evaluate(demo_network, **MODEL)
    assert demo_network.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in demo_network.parameters())
    assert all(torch.equal(before[name], value) for name, value in demo_network.state_dict().items())


def test_a_record_can_be_written_and_is_valid(away, demo_network):
    evaluation = apsite.evaluate_samples(demo_network, **MODEL, output="out", source="Jane Doe", notes=["In memory."])
    assert evaluation.path is not None
    record = read_record(evaluation.path)
    assert record == evaluation.record
    assert record.provenance.source == "Jane Doe"
    assert "In memory." in record.notes
    assert samples_problems(evaluation.path, record)[0] == []
    assert np.array_equal(read_samples(evaluation.path.with_suffix(".npz")).distance, evaluation.samples.distance)
    with pytest.raises(EvaluationError, match="exists already"):
        apsite.evaluate(demo_network, **MODEL, output="out")
    assert apsite.evaluate(demo_network, **MODEL, output="out", overwrite=True).results == record.results


def test_an_interrupted_call_goes_on_where_run_dir_says(away, demo_network):
    class Interrupting(Reporter):
        def start(self, phase, total):
            if phase == "HO-FMN attack":
                raise KeyboardInterrupt

    listening = Listening()
    with pytest.raises(KeyboardInterrupt):
        apsite.evaluate(demo_network, **MODEL, run_dir="runs", reporter=Interrupting())
    resumed = apsite.evaluate(demo_network, **MODEL, run_dir="runs", reporter=listening)
    assert any(line.startswith("resuming: 4 units") for line in listening.lines)
    assert resumed.results == apsite.evaluate(demo_network, **MODEL).results


def test_samples_of_the_callers_choice_are_evaluated(away, demo_network):
    chosen = apsite.load_test_set("cifar10", "embedded").take(np.array([3, 8, 200]))
    samples = apsite.evaluate_samples(demo_network, **MODEL, images=chosen).samples
    assert list(samples.index) == [3, 8, 200]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"sparsity": 0.5}, CheckpointError, r"about 0\.90"),
        ({"sparsity": 0.90001}, ValueError, "at most two decimals"),
        ({"structure": None}, ValueError, "neither structure nor sparsity"),
        ({"sparsity": 90}, ValueError, "sparsity must be a fraction such as 0.90, or 0 for a dense network, not 90"),
        ({"sparsity": "0.9"}, ValueError, "must be a fraction such as 0.90, or 0 for a dense network, not '0.9'"),
        ({"sparsity": float("nan")}, ValueError, "must be a fraction"),
        ({"structure": "rows"}, ValueError, "'rows' is not a valid Structure; choose from unstructured, structured"),
        ({"architecture": "alexnet"}, ValueError, "not a valid Architecture; choose from resnet18, vgg16, resnet50"),
        ({"notes": "Mine."}, EvaluationError, "source must be a text and notes a list of texts, not .*, 'Mine.'"),
        ({"source": None}, EvaluationError, "source must be a text and notes a list of texts, not None"),
        ({"source": ""}, EvaluationError, "source '' has no letter; write a name"),
        ({"run_dir": "a\0b"}, EvaluationError, r"run_dir 'a\\x00b' has a NUL character"),
        ({"method": "../x"}, ValueError, "method key"),
        ({"data_dir": "nowhere"}, DatasetError, "has no CIFAR-10 test set"),
        ({"device": "potato"}, EvaluationError, "is not a device"),
        ({"layout": "resnet8"}, ValueError, "already in memory"),
        ({"dataset": "svhn", "images": apsite.load_test_set("cifar10", "embedded")}, ValueError, "are of cifar10"),
    ],
)
def test_each_mistake_has_its_own_error(away, demo_network, changes, error, message):
    """Mendable problems are errors of apsite, a caller's mistakes are ValueErrors; nothing is written."""
    with pytest.raises(error, match=message):
        apsite.evaluate(demo_network, **{**MODEL, **changes}, output="out")
    assert not list(away.rglob("*.json"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_examples": 0}, "n_examples must be a whole number from 1 on, not 0"),
        ({"trials": 2.5}, "trials must be a whole number from 1 on, not 2.5"),
        ({"epsilon": "0.031"}, "epsilon must be a fraction such as '8/255', not '0.031'"),
        ({"epsilon": 8 / 255}, "epsilon must be a fraction such as '8/255'"),
        ({"attacks": ("pgd",)}, "--attacks pgd: choose from autoattack, hofmn, each once"),
    ],
)
def test_settings_refuse_what_options_refuse(changes, message):
    with pytest.raises(apsite.ApsiteError, match=re.escape(message)):
        apsite.Settings(**changes)


def test_catalogue_and_record_are_short_in_a_console(repository):
    catalogue = apsite.load_catalogue(repository)
    record = catalogue.records["HARP_Zhao2023Holistic_R18_CIFAR10_US_90"]
    assert repr(record) == (
        "<EvaluationRecord HARP_Zhao2023Holistic_R18_CIFAR10_US_90: piras-2024, published, robust accuracy 0.4540>"
    )
    counts = f"{len(catalogue.entries)} entries and {len(catalogue.records)} records"
    assert repr(catalogue) == f"<Catalogue of {counts} in {str(repository)!r}>"


def test_a_network_that_cannot_be_copied_is_refused(away):
    class Stubborn(torch.nn.Module):
        def __deepcopy__(self, memo):
            raise TypeError("no copies")

    with pytest.raises(NetworkError, match=r"no copies.*give a checkpoint instead"):
        apsite.evaluate(Stubborn(), **MODEL)


def test_the_audit_of_a_network_equals_that_of_its_checkpoint(demo_network):
    from_memory = apsite.audit(demo_network, structure="unstructured", sparsity=0.9)
    from_file = apsite.audit(network_path(), architecture="resnet8", structure="unstructured", sparsity=0.9)
    assert from_memory.counts == from_file.counts
    assert from_memory.finding.measured == pytest.approx(0.9, abs=1e-4)
    assert not from_memory.refused
    refused = apsite.audit(demo_network, structure="unstructured", sparsity=0.5)
    assert "about 0.90" in refused.refusals[0]
    assert apsite.audit(demo_network).declared is None
    with pytest.raises(ValueError, match="needs an architecture"):
        apsite.audit(network_path())
    with pytest.raises(ValueError, match="both structure and sparsity"):
        apsite.audit(demo_network, structure="unstructured")


def test_the_public_names_are_lazy_and_complete():
    """Every listed name is there; asking for unknown ones is an error."""
    for name in apsite.__all__:
        assert getattr(apsite, name).__name__
    assert dataclasses.is_dataclass(apsite.Settings)
    assert load_file(network_path())
