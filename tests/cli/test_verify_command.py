"""`apsite verify` as a maintainer runs it."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch

from apsite.evaluation.runs.demonstration import network_path, request
from apsite.evaluation.runs.evaluate import run_request
from apsite.protocol import Preset, Settings
from tests.repositories import commit, git, repository_with

SHORT = Settings.of(Preset.QUICK, n_examples=6, trials=2, search_steps=3, attack_steps=5, attacks=("hofmn",))
OPTIONS = ("--checkpoint", network_path(), "--data-dir", "embedded", "--quiet")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Small tensors gain nothing from threads."""
    torch.set_num_threads(1)


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Record of a short evaluation."""
    monkeypatch.chdir(tmp_path)
    return run_request(dataclasses.replace(request(tmp_path, 6), settings=SHORT)).path


def test_a_verified_record_is_written_on_request_only(run, record):
    before = record.read_bytes()
    dry = run("verify", record, *OPTIONS)
    assert record.read_bytes() == before
    assert "Clean accuracy: 6 samples again, 0 with another result." in dry.stdout
    assert "The results are verified: an inflation of 16.67 points would have been detected" in " ".join(
        dry.stdout.split()
    )
    assert "Verified:" not in dry.stdout
    result = run("verify", record, *OPTIONS, "--write", "--by", "Jane Doe", "--json")
    assert result.stderr == ""
    printed, document = json.loads(result.stdout), json.loads(record.read_text())
    assert (printed["verified"], printed["objections"]) == (True, [])
    assert document["provenance"]["kind"] == "verified"
    assert document["verification"] == {name: printed[name] for name in document["verification"]}
    assert (document["verification"]["by"], document["verification"]["samples"]) == ("Jane Doe", 6)


def test_too_few_samples_verify_nothing(run, record):
    """They would not even detect that every third result is false."""
    before = record.read_bytes()
    claimed = json.loads(run("verify", record, *OPTIONS, "--json").stdout)["attacks"][0]["claimed"]
    assert claimed > 1
    result = run("verify", record, *OPTIONS, "--samples", "1", "--write", code=1)
    assert "detect no inflation below" in " ".join(result.stdout.split())
    assert f"draw at least {claimed}" in " ".join(result.stdout.split())
    assert record.read_bytes() == before


def test_an_objection_exits_with_1_and_writes_nothing(run, record):
    document = json.loads(record.read_text())
    audit = document["audit"]  # one more zero than there is, everywhere where zeros are counted
    for counts in (audit, audit["layers"][1]):
        counts["zero_weights"] += 1
    audit["nonzero_parameters"] -= 1
    document["sparsity"]["measured"] = stated = audit["zero_weights"] / audit["weights"]
    record.write_text(json.dumps(document))
    result = run("verify", record, *OPTIONS, "--write", code=1)
    assert f"sparsity.measured: {stated} is not what the checkpoint has" in " ".join(result.stdout.split())
    assert "NOT VERIFIED" in result.stdout
    assert json.loads(record.read_text()) == document


def test_a_proposal_is_verified_without_a_checkout(run, record, tmp_path, monkeypatch):
    """The record is read from the revision and nothing is written, also where the files are elsewhere by now."""
    clone = repository_with(tmp_path / "clone")
    git(clone, "switch", "--quiet", "--create", "proposal")
    shutil.copytree(record.parents[1], clone / "evaluations", dirs_exist_ok=True)
    commit(clone)
    git(clone, "switch", "--quiet", "main")
    monkeypatch.chdir(tmp_path)
    name = f"evaluations/{record.parent.name}/{record.name}"
    result = run("verify", name, *OPTIONS, "--root", clone, "--proposal", "proposal")
    assert "The results are verified" in result.stdout
    assert not (clone / name).exists()
    refused = run("verify", name, *OPTIONS, "--root", clone, "--proposal", "proposal", "--write", code=2)
    assert "a record of a proposal cannot be marked" in refused.stderr


def test_wrong_usage_is_named(run, record):
    run("verify", record, code=2)
    assert "give a factory only" in run("verify", record, *OPTIONS, "--arch", "resnet8", code=2).stderr
    assert "cannot be read" in run("verify", record.with_name("absent.json"), *OPTIONS, code=1).stderr
