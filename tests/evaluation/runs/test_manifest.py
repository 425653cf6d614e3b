"""Lists of models: what a manifest may say, and how a sweep goes on after a failure."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import pytest

from apsite.documents.json_files import write_json
from apsite.errors import EvaluationError
from apsite.evaluation.runs.demonstration import network_path
from apsite.evaluation.runs.evaluate import run_request
from apsite.evaluation.runs.manifest import NAMES, OptionsError, Status, read_manifest, request_of, run_manifest
from apsite.progress import Reporter
from apsite.protocol import Preset, Settings
from apsite.records import record_to_json, write_record
from apsite.vocabulary import Architecture, Granularity, ProvenanceKind, Structure

DEFAULTS = """
[defaults]
method = "LAMP_Lee2021Layer"
dataset = "cifar10"
arch = "resnet8"
structure = "unstructured"
sparsity = 0.90
data_dir = "embedded"
"""
TINY = {"trials": 2, "search_steps": 3, "attack_steps": 5, "n_examples": 4, "attacks": ("hofmn",)}


@pytest.fixture
def manifest(tmp_path):
    """Function that writes a manifest and gives its path."""

    def write(text):
        path = tmp_path / "sweep" / "models.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_manifest_has_the_names_of_the_options(manifest):
    path = manifest(
        DEFAULTS
        + """
output = "../records"
[[model]]
checkpoint = "a.pt"
checkpoint_url = "https://example.org/a.pt"
[[model]]
checkpoint = "/elsewhere/b.pt"
arch = "nets/mine.py:make"
as = "vgg16"
structure = "structured"
sparsity = 0.50
granularity = "filter"
layout = "x"
protocol = "quick"
n_examples = 8
batch_size = 3
seed = 5
attacks = "autoattack, hofmn"
engine = "reference"
precision = "float32"
remove_channels = false
fab_drop_rows = false
workers = "ray:2"
device = "cpu"
run_dir = "runs"
resume = false
overwrite = true
state = "ema"
data_dir = "data"
"""
    )
    first, second = read_manifest(path)
    assert first.checkpoint == path.parent / "a.pt"
    assert first.output == path.parent / "../records"
    assert first.data_dir == "embedded"
    assert first.url == "https://example.org/a.pt"
    assert first.settings == Settings(sample="first")  # of the embedded images
    assert first.granularity is None
    assert second.checkpoint == Path("/elsewhere/b.pt")
    assert second.factory == f"{path.parent}/nets/mine.py:make"
    assert (second.key.architecture, second.key.structure) == (Architecture.VGG16, Structure.STRUCTURED)
    assert second.settings == Settings.of(
        Preset.QUICK, n_examples=8, batch_size=3, seed=5, engine="reference", remove_channels=False, fab_drop_rows=False
    )
    assert (first.workers, second.workers) == ("local", "ray:2")
    assert (second.layout, second.granularity, second.device) == ("x", Granularity.FILTER, "cpu")
    assert (second.fresh, second.overwrite, second.state) == (True, True, "ema")
    assert second.data_dir == str(path.parent / "data")
    assert second.run_dir == path.parent / "runs"


def test_options_of_the_command_line_hold_for_all(manifest):
    """Whatever the file says; their paths are relative to the working directory."""
    path = manifest(DEFAULTS + 'protocol = "paper"\n[[model]]\ncheckpoint = "a.pt"\nseed = 3\n')
    (request,) = read_manifest(path, {"seed": 7, "output": "out", "protocol": "quick"})
    assert request.settings == Settings.of(Preset.QUICK, seed=7, sample="first")
    assert request.output == Path("out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no model; add a table [[model]] for each"),
        ("model = 3", "lists no model"),
        ("[model]", "lists no model"),
        ("x = [", "is not TOML"),
        ("defaults = 1\n[[model]]", "defaults must be a table"),
        ("extra = 1" + DEFAULTS + '[[model]]\ncheckpoint = "a"', "'extra' is not known at the top"),
        (DEFAULTS + "[[model]]", "model 1: checkpoint is missing"),
        ('[[model]]\ncheckpoint = "a"', "model 1: method is missing"),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\nsparsty = 0.9', f"sparsty is not an option; known are {NAMES[0]}"),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\nbatch-size = 1', "batch-size is not an option; write batch_size"),
        (DEFAULTS + "colour = 1\n[[model]]", "defaults.colour is not an option"),
        (DEFAULTS + "[[model]]\ncheckpoint = 5", "checkpoint must be a text, not 5"),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\ndataset = "mnist"', "dataset 'mnist' is not one of cifar10, svhn"),
        (
            DEFAULTS + '[[model]]\ncheckpoint = "a"\nprotocol = "apb"',
            "protocol 'apb' is not one of apb-1, paper, quick",
        ),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\nengine = "x"', "engine 'x' is not one of fast"),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\nsparsity = "90"', "sparsity must be a fraction such as 0.90"),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\nsparsity = 90', "sparsity must be a fraction such as 0.90"),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\nsparsity = 0.90001', "at most two decimals"),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\nseed = -1', "seed must be a whole number from 0 on"),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\nn_examples = true', "n_examples must be a whole number from 1 on"),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\noverwrite = "yes"', "overwrite must be true or false"),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\narch = "alexnet"', "is not one of resnet18"),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\narch = "a.py:b"', "say with --as which network"),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\nas = "vgg16"', "--as is for a factory"),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\nsparsity = 0', "both --structure and --sparsity"),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\nattacks = "pgd"', "choose from autoattack, hofmn"),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\nmethod = "../x"', "method key"),
        (DEFAULTS + '[[model]]\ncheckpoint = "a"\n[[model]]\ncheckpoint = "b"', "model 2: is LAMP.* as model 1 is"),
    ],
)
def test_each_mistake_is_named_with_its_place(manifest, text, message):
    path = manifest(text)
    with pytest.raises(EvaluationError, match=message.replace("[", r"\[") if "*" not in message else message) as error:
        read_manifest(path)
    assert str(path) in str(error.value)


def test_all_mistakes_are_reported_together(manifest):
    path = manifest(DEFAULTS + '[[model]]\ncheckpoint = 1\n[[model]]\ncheckpoint = "a"\nseed = "x"\n')
    with pytest.raises(EvaluationError) as error:
        read_manifest(path)
    assert [line.split(": ")[1] for line in str(error.value).splitlines()] == ["model 1", "model 2"]


def test_a_missing_or_binary_manifest_is_an_error(tmp_path):
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_manifest(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(EvaluationError, match="not UTF-8"):
        read_manifest(tmp_path / "binary.toml")


def test_contradicting_options_are_an_error_of_their_own():
    """So that the command line can call them a wrong usage."""
    with pytest.raises(OptionsError):
        request_of({"checkpoint": "a", "method": "LAMP_Lee2021Layer", "dataset": "cifar10", "arch": "a.py:b"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"granularity": "filter"}, "granularity 'filter' is not what LAMP_Lee2021Layer_R18_CIFAR10_US_90 prunes; "
         "allowed: weight"),
        ({"granularity": "weight", "structure": "structured"}, "allowed: filter, channel, kernel, neuron, "),
        ({"checkpoint_url": "http://example.org/a.pt"}, "is not an allowed URL: https URL"),
        ({"checkpoint_url": "https://example.org/a b"}, "is not an allowed URL"),
        ({"checkpoint_url": "https://example.org/" + "a" * 500}, "is not an allowed URL"),
    ],
)  # fmt: skip
def test_what_the_gate_would_refuse_later_is_refused_before_the_run(options, message):
    """An evaluation takes hours; its record must not be refused for what was known before."""
    given = {"checkpoint": "a", "method": "LAMP_Lee2021Layer", "dataset": "cifar10", "arch": "resnet18",
             "structure": "unstructured", "sparsity": 0.9}  # fmt: skip
    assert request_of({**given, "checkpoint_url": "hf://jane/tiny/a.pt", "granularity": "weight"}).url
    with pytest.raises(EvaluationError, match=re.escape(message)):
        request_of({**given, **options})


def tiny(requests):
    return [dataclasses.replace(one, settings=dataclasses.replace(one.settings, **TINY)) for one in requests]


def outcomes_of(requests, evaluate=run_request):
    return list(run_manifest(requests, Reporter(), evaluate))


@pytest.fixture
def sweep(tmp_path, manifest):
    """Three requests: a good one, one with a wrong sparsity, and a missing file."""
    path = manifest(
        DEFAULTS
        + f"""output = "out"
run_dir = "runs"
[[model]]
checkpoint = "{network_path()}"
sparsity = 0.95
[[model]]
checkpoint = "copy.safetensors"
[[model]]
checkpoint = "absent.pt"
method = "HARP_Zhao2023Holistic"
"""
    )
    shutil.copy(network_path(), path.parent / "copy.safetensors")
    return tiny(read_manifest(path))


def test_a_failure_ends_one_model_only_and_what_is_done_is_skipped(sweep):
    first = outcomes_of(sweep)
    assert [outcome.status for outcome in first] == [Status.FAILED, Status.DONE, Status.FAILED]
    assert "about 0.90" in first[0].reason
    assert "absent.pt" in first[2].reason
    assert first[1].path == sweep[1].target
    called = []

    def evaluate(request, reporter):
        called.append(request)
        return run_request(request, reporter)

    second = outcomes_of(sweep, evaluate)
    assert [outcome.status for outcome in second] == [Status.FAILED, Status.SKIPPED, Status.FAILED]
    assert second[1].record == first[1].record
    assert called == [sweep[0], sweep[2]]
    again = outcomes_of([dataclasses.replace(sweep[1], overwrite=True)])
    assert again[0].status is Status.DONE


def test_another_record_in_the_place_is_a_failure(sweep):
    """A published figure, another checkpoint and other settings are not what was asked for; batch size is free."""
    (done,) = outcomes_of(sweep[1:2])
    longer = dataclasses.replace(sweep[1], settings=dataclasses.replace(sweep[1].settings, attack_steps=6))
    (outcome,) = outcomes_of([longer])
    assert outcome.status is Status.FAILED
    assert "made with other settings: attack_steps 5 instead of 6; replace it with --overwrite" in outcome.reason
    wider = dataclasses.replace(sweep[1], settings=dataclasses.replace(sweep[1].settings, batch_size=2))
    assert outcomes_of([wider])[0].status is Status.SKIPPED
    other = dataclasses.replace(sweep[1], checkpoint=Path(__file__))
    assert "of another checkpoint" in outcomes_of([other])[0].reason
    published = dataclasses.replace(
        done.record,
        provenance=dataclasses.replace(
            done.record.provenance, kind=ProvenanceKind.PUBLISHED, source="Piras2024Adversarial"
        ),
    )
    write_record(sweep[1].output, published)
    assert "a result published by Piras2024Adversarial" in outcomes_of(sweep[1:2])[0].reason
    write_json(done.path, {**record_to_json(done.record), "dataset": "mnist"})
    assert "mnist" in outcomes_of(sweep[1:2])[0].reason


def test_only_mendable_problems_are_survived(sweep):
    def interrupted(request, reporter):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outcomes_of(sweep, interrupted)
