"""`apsite eval --manifest` as a user runs it."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from apsite.evaluation.runs.demonstration import network_path
from apsite.protocol import Settings

MODEL = """
[[model]]
checkpoint = "{checkpoint}"
method = "LAMP_Lee2021Layer"
dataset = "cifar10"
arch = "resnet8"
structure = "unstructured"
sparsity = {sparsity}
"""
SHORT = ("--data-dir", "embedded", "--protocol", "quick", "--n-examples", "4", "--attacks", "hofmn")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Small tensors gain nothing from threads."""
    torch.set_num_threads(1)


@pytest.fixture
def away(tmp_path, monkeypatch):
    """A working directory with a manifest of one good and one wrong model; every evaluation is a short one."""
    monkeypatch.chdir(tmp_path)
    original = Settings.of

    def short(preset, **changes):
        return dataclasses.replace(original(preset, **changes), trials=2, search_steps=3, attack_steps=5)

    monkeypatch.setattr(Settings, "of", short)
    good = MODEL.format(checkpoint=network_path(), sparsity=0.9)
    (tmp_path / "good.toml").write_text(good)
    (tmp_path / "models.toml").write_text(MODEL.format(checkpoint=network_path(), sparsity=0.95) + good)
    return tmp_path


def test_a_sweep_ends_with_a_table_and_says_what_failed(run, away):
    first = run("eval", "--manifest", "models.toml", *SHORT, code=1)
    assert "2 models: 1 done, 0 skipped, 1 failed" in first.stdout
    assert "LAMP_Lee2021Layer_R8_CIFAR10_US_95: failed: declared sparsity is 95.00%" in first.stdout
    assert "model 2 of 2: LAMP_Lee2021Layer_R8_CIFAR10_US_90" in first.stderr
    assert (away / "evaluations/LAMP_Lee2021Layer/LAMP_Lee2021Layer_R8_CIFAR10_US_90.json").exists()
    second = run("eval", "--manifest", "good.toml", *SHORT, "--quiet")
    assert "0 done, 1 skipped, 0 failed" in second.stdout
    assert second.stderr == ""
    third = run("eval", "--manifest", "good.toml", *SHORT, "--json", "--quiet", "--seed", "1", code=1)
    (outcome,) = json.loads(third.stdout)
    assert outcome["status"] == "failed"
    assert outcome["record"] is None
    assert "seed 0 instead of 1" in outcome["reason"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "give a CHECKPOINT, or a list of models with --manifest"),
        (("model.pt",), 2, "Missing option '--method'"),
        (("model.pt", "--manifest", "good.toml"), 2, "CHECKPOINT cannot be given with --manifest"),
        (("--manifest", "good.toml", "--method", "x", "--checkpoint-url", "y"), 2, "--method, --checkpoint-url cannot"),
        (("--manifest", "good.toml", "--as", "vgg16"), 2, "--as cannot be given with --manifest"),
        (("--manifest", "absent.toml"), 1, "absent.toml: cannot be read"),
    ],
)
def test_wrong_usage_says_what_is_right(run, away, arguments, code, message):
    assert message in run("eval", *arguments, code=code).stderr
    assert not (away / "evaluations").exists()
