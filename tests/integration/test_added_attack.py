"""The walk of CONTRIBUTING that adds an attack: a row and a module, in a copy of the package."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

pytest.importorskip("torch", reason="evaluating needs the extra 'eval'")

LAST_ROW = '    HOFMN = "hofmn", "HO-FMN", "distance", True\n'
MODEL = "LAMP_Lee2021Layer_R8_CIFAR10_US_90"


def test_an_attack_is_a_row_and_a_module(repository: Path, tmp_path: Path) -> None:
    text = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (walk,) = re.findall(r"^## Add an attack\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    row, module = (dedent(block) for block in re.findall(r"^ +```python\n(.*?)^ +```", walk, re.MULTILINE | re.DOTALL))
    (command,) = re.findall(r"\$ apsite (eval .*)", walk)
    shutil.copytree(repository / "apsite", tmp_path / "apsite", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(repository / "entries", tmp_path / "entries")
    vocabulary = tmp_path / "apsite/vocabulary.py"
    source = vocabulary.read_text(encoding="utf-8")
    assert LAST_ROW in source
    vocabulary.write_text(source.replace(LAST_ROW, f"{LAST_ROW}    {row}"), encoding="utf-8")
    (tmp_path / "apsite/evaluation/attacks/pgd.py").write_text(module, encoding="utf-8")

    def apsite(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "apsite", *arguments], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    evaluated = apsite(*shlex.split(command))
    assert evaluated.returncode == 0, evaluated.stderr
    assert "PGD" in evaluated.stdout
    path = tmp_path / "evaluations/LAMP_Lee2021Layer" / f"{MODEL}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    (result,) = record["results"]["attacks"]
    with np.load(path.with_suffix(".npz")) as arrays:
        robust, clean = arrays["pgd_robust"], arrays["clean_correct"]
    assert result == {"attack": "pgd", "robust_accuracy": robust.mean()}
    assert record["protocol"] == "custom"
    assert 0 < robust.sum() < clean.sum()
    assert apsite("validate").returncode == 0
    checkpoint = shlex.split(command)[1]
    verified = apsite("verify", str(path), "--checkpoint", checkpoint, "--data-dir", "embedded", "--samples", "8")
    assert verified.returncode == 0, verified.stderr
    assert "PGD" in verified.stdout
    result["robust_accuracy"] += 1 / 16
    path.write_text(json.dumps(record), encoding="utf-8")
    refused = apsite("validate")
    assert refused.returncode == 1
    assert "results.attacks[pgd].robust_accuracy: " in refused.stdout
    assert "contradicts the per-sample file" in refused.stdout
