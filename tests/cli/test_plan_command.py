"""``apsite eval --plan``, and the plan that every run says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from apsite.evaluation.runs.demonstration import network_path

DECLARED = (
    "--method", "LAMP_Lee2021Layer", "--dataset", "cifar10", "--arch", "resnet8", "--structure", "unstructured",
    "--sparsity", "0.90", "--data-dir", "embedded",
)  # fmt: skip


def test_the_command_says_what_a_run_takes_and_writes_nothing(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("eval", network_path(), *DECLARED, "--n-examples", "64", "--plan", "--quiet").stdout
    assert re.search(r"square *│ *[0-9,]+ │", said)
    assert re.search(r"Plan: .*, until .*, if 50% of the [0-9]+ correctly classified samples stay robust", said)
    found = json.loads(run("eval", network_path(), *DECLARED, "--plan", "--quiet", "--json").stdout)
    assert found["samples"] == 256
    assert 0 < found["seconds"]["square"] < found["seconds_at_most"]["square"]
    assert found["passes"]["square"] == 5001 * found["correct"]
    assert found["speed"]["forward"] > 0
    refused = run("eval", "--manifest", "models.toml", "--plan", code=2)
    assert "--plan is for one CHECKPOINT" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_says_at_its_start_when_it_ends(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    short = ("--protocol", "quick", "--attacks", "hofmn", "--n-examples", "2", "--output", "x", "--root", "x")
    lines = run("eval", network_path(), *DECLARED, *short).stderr.splitlines()
    (plan,) = [number for number, line in enumerate(lines) if "plan: " in line]
    assert any("clean accuracy" in line for line in lines[:plan])
    assert not any("HO-FMN" in line for line in lines[:plan])
