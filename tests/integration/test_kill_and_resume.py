"""An evaluation that is killed at any moment and started again gives the record of an uninterrupted one."""

import json
import os
import random
import subprocess
import sys
import time

import pytest

from apsite.evaluation.demonstration import network_path

RECORD = "evaluations/LAMP_Lee2021Layer/LAMP_Lee2021Layer_R8_CIFAR10_US_90.json"
COMMAND = [
    sys.executable, "-m", "apsite", "eval", str(network_path()), "--method", "LAMP_Lee2021Layer", "--dataset",
    "cifar10", "--arch", "resnet8", "--structure", "unstructured", "--sparsity", "0.90", "--data-dir", "embedded",
    "--protocol", "quick", "--n-examples", "8", "--batch-size", "4", "--quiet",
]  # fmt: skip
UNSCIENTIFIC = ("seconds", "environment", "provenance")


def scientific(folder):
    """The record without what may differ between two runs: wall time, environment, date."""
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return {name: value for name, value in record.items() if name not in UNSCIENTIFIC}


def start(folder):
    """Start the evaluation in a folder of its own."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(COMMAND, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def kill_and_resume(folder, moment):
    """Kill the evaluation after `moment` seconds, start it again, and give its record; says whether it was killed."""
    process = start(folder)
    try:
        process.communicate(timeout=moment)
        killed = False
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        killed = True
        assert not (folder / RECORD).exists()
        again = start(folder)
        _, said = again.communicate(timeout=300)
        assert again.returncode == 0, said
    return scientific(folder), killed


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The record of a run in one go, and how long it took."""
    folder = tmp_path_factory.mktemp("whole")
    started = time.monotonic()
    process = start(folder)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return scientific(folder), time.monotonic() - started


def test_a_killed_run_is_resumed_to_the_same_record(uninterrupted, tmp_path):
    """Killed in the middle, once."""
    expected, duration = uninterrupted
    record, killed = kill_and_resume(tmp_path / "run", duration * 0.6)
    assert killed
    assert record == expected


@pytest.mark.slow
def test_thirty_kills_at_random_moments(uninterrupted, tmp_path):
    """Thirty runs, each killed at a moment of its own and resumed: thirty equal records."""
    expected, duration = uninterrupted
    moments = random.Random(0)
    killed = 0
    for number in range(30):
        record, was_killed = kill_and_resume(tmp_path / str(number), moments.uniform(0.15, 0.95) * duration)
        assert record == expected, number
        killed += was_killed
    assert killed >= 25
