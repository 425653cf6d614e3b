"""An evaluation that is killed at any moment and started again gives the record of an uninterrupted one."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from apsite.evaluation.runs.demonstration import network_path

RECORD = "evaluations/LAMP_Lee2021Layer/LAMP_Lee2021Layer_R8_CIFAR10_US_90.json"
COMMAND = [
    sys.executable, "-m", "apsite", "eval", str(network_path()), "--method", "LAMP_Lee2021Layer", "--dataset",
    "cifar10", "--arch", "resnet8", "--structure", "unstructured", "--sparsity", "0.90", "--data-dir", "embedded",
    "--protocol", "quick", "--n-examples", "8", "--batch-size", "4", "--quiet",
]  # fmt: skip
EASY = ("--epsilon", "16/255", "--n-examples", "4", "--batch-size", "2")
"""Options of a shorter run, in which APGD-CE leaves little to the slower attacks."""
UNITS = 12
"""Units of work that this run is made of, the choice of a memory format among them."""

UNSCIENTIFIC = ("seconds", "environment", "provenance")


def scientific(folder):
    """The record without what may differ between two runs: wall time, environment, date."""
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return {name: value for name, value in record.items() if name not in UNSCIENTIFIC}


def start(folder, *options):
    """Start the evaluation in a folder of its own."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*COMMAND, *options]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finished_units(folder):
    """How much of a running evaluation is done: its units, and one more once the record is there."""
    return len(list((folder / ".apsite").rglob("*.npz"))) + (folder / RECORD).exists()


def kill_and_resume(folder, units, *options, delay=0.0):
    """Kill the evaluation `delay` seconds after it has finished `units`, start it again, and give its record.

    Also says whether it was killed; it may have ended before.
    """
    process = start(folder, *options)
    while process.poll() is None and finished_units(folder) < units:
        time.sleep(0.02)
    time.sleep(delay)
    process.kill()
    _, said = process.communicate()
    killed = process.returncode == -signal.SIGKILL
    if killed:
        again = start(folder, *options)
        _, said = again.communicate()
        assert again.returncode == 0, said
    return scientific(folder), killed


def uninterrupted(folder, *options):
    """The record of a run in one go."""
    process = start(folder, *options)
    _, said = process.communicate()
    assert process.returncode == 0, said
    return scientific(folder)


def test_a_killed_run_is_resumed_to_the_same_record(tmp_path):
    record, killed = kill_and_resume(tmp_path / "run", 3, *EASY)
    assert killed
    assert record == uninterrupted(tmp_path / "whole", *EASY)


@pytest.mark.slow
def test_thirty_kills_at_random_moments(tmp_path):
    whole = uninterrupted(tmp_path / "whole")
    moments = random.Random(0)
    killed = 0
    for number in range(30):
        units, delay = moments.randrange(UNITS), moments.uniform(0, 1)
        record, was_killed = kill_and_resume(tmp_path / str(number), units, delay=delay)
        assert record == whole, number
        killed += was_killed
    assert killed >= 25
