"""`apsite eval`, `apsite demo` and `apsite runs` as a user runs them."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from filelock import FileLock

from apsite.evaluation.runs.demonstration import network_path
from apsite.evaluation.runs.run_state import RunState

QUICK = [
    "--method", "LAMP_Lee2021Layer", "--dataset", "cifar10", "--arch", "resnet8", "--structure", "unstructured",
    "--sparsity", "0.90", "--data-dir", "embedded", "--protocol", "quick", "--n-examples", "4", "--attacks", "hofmn",
]  # fmt: skip


@pytest.fixture
def away(tmp_path, monkeypatch):
    """A working directory with no data folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_eval_prints_a_table_and_where_the_record_is(run, away):
    result = run("eval", network_path(), *QUICK)
    assert "HO-FMN" in result.stdout
    assert "95 % interval" in result.stdout
    path = "evaluations/LAMP_Lee2021Layer/LAMP_Lee2021Layer_R8_CIFAR10_US_90.json"
    assert f"Record: {path}" in result.stdout
    assert (away / path).exists()
    assert "reduced run" in result.stdout
    assert "initial accuracy" in result.stderr
    assert "initial accuracy" not in result.stdout


def test_eval_shows_the_baselines_of_the_setting(run, away, repository):
    result = run("eval", network_path(), *QUICK, "--root", repository)
    _, found, table = result.stdout.partition("Baselines at the same setting")
    assert found
    assert "LWM global" in table
    again = run("eval", network_path(), *QUICK, "--root", repository, "--overwrite", "--json")
    assert "Baselines at the same setting" not in again.stdout


def test_eval_can_print_the_record_as_json_and_keep_a_log(run, away):
    result = run("eval", network_path(), *QUICK, "--json", "--quiet", "--log-file", "run.log")
    record = json.loads(result.stdout)
    assert record["model_key"] == "LAMP_Lee2021Layer_R8_CIFAR10_US_90"
    assert result.stderr == ""
    assert "initial accuracy" in (away / "run.log").read_text()


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"--sparsity": "0.95"}, 1, "about 0.90"),
        ({"--sparsity": "0.90001"}, 2, "at most two decimals, such as 0.90, 0.995 or 0.9375"),
        ({"--epsilon": "0.03"}, 1, "not '0.03'; write '8/255' if that is meant, or exactly '3/100'"),
        ({"--epsilon": "8"}, 1, "epsilon must be a fraction such as '8/255', not '8'"),
        ({"--epsilon": "300/255"}, 1, "epsilon must be in (0, 1]"),
        ({"--arch": "alexnet"}, 1, "is not one of resnet18"),
        ({"--arch": "nowhere.py:make"}, 2, "--as"),
        ({"--method": "../x"}, 1, "method key"),
        ({"--data-dir": "nowhere"}, 1, "has no CIFAR-10 test set"),
        ({"--device": "cuda:99"}, 1, "no such CUDA device"),
        ({"--device": "potato"}, 1, "is not a device"),
        ({"--attacks": "pgd"}, 1, "choose from autoattack, hofmn"),
        ({"--structure": None}, 2, "both --structure and --sparsity"),
        ({"--n-examples": "0"}, 2, "n-examples"),
        ({"--dataset": "mnist"}, 2, "mnist"),
        ({"--seed": str(2**31)}, 2, "0<=x<=2147483647"),
    ],
)
def test_bad_options_end_with_one_clear_line(run, away, changes, code, message):
    options = dict(zip(QUICK[::2], QUICK[1::2], strict=True)) | changes
    arguments = [part for name, value in options.items() if value is not None for part in (name, value)]
    result = run("eval", network_path(), *arguments, code=code)
    assert message in result.stderr
    assert "Traceback" not in result.output
    if code == 1:
        assert [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert not list(away.rglob("*.json"))


def test_a_method_without_entry_is_refused_where_there_are_entries(run, away, repository):
    arguments = [part if part != "LAMP_Lee2021Layer" else "LAMP_Lee2021Layr" for part in QUICK]
    result = run("eval", network_path(), *arguments, "--root", repository, code=1)
    assert "did you mean LAMP_Lee2021Layer" in result.stderr


def test_an_interrupted_evaluation_exits_with_130_and_resumes(away, monkeypatch):
    """Interrupted once more, as the rest takes long; `test_kill_and_resume` waits for a record."""
    command = [sys.executable, "-m", "apsite", "eval", str(network_path()), *QUICK]
    command[command.index("--attacks") + 1] = "autoattack,hofmn"
    command += ["--seed", "1"]
    # A shell that runs the tests in the background lets them ignore SIGINT, and a child would inherit that.
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    for sign in (" APGD-CE", "resuming"):
        inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        signal.signal(signal.SIGINT, inherited)
        with process:
            assert any(sign in line for line in process.stderr)
            process.send_signal(signal.SIGINT)
            _, rest = process.communicate()
        assert process.returncode == 130, rest
        assert "repeat the command to resume" in rest
        assert not list(away.glob("evaluations/**/*.json"))


@pytest.mark.slow
def test_demo_evaluates_the_embedded_network(run, away):
    run("demo", "--no-site", "--n-examples", "2", "--output", "out", "--quiet")
    record = json.loads(
        (away / "out/evaluations/LAMP_Lee2021Layer/LAMP_Lee2021Layer_R8_CIFAR10_US_90.json").read_text()
    )
    assert record["settings"]["search_trials"] == 32
    assert record["settings"]["attacks"] == "autoattack,hofmn"
    assert record["protocol"] == "custom"


def test_demo_needs_data_for_the_site(run, away):
    assert "--no-site" in run("demo", code=1).stderr


def test_unfinished_runs_are_listed_and_abandoned_ones_removed(run, tmp_path):
    """By the time of the last work; never one that a process works on. A finished run leaves nothing to list."""
    folder, month = tmp_path / "runs", 30 * 86_400
    for name, age in (("new", 0), ("old", month), ("used", month)):
        with RunState(folder, {"run": name}, about=f"{name}: model.pt") as state:
            state.put("clean", values=np.zeros(3))
        for path in state.path.iterdir():
            os.utime(path, (path.stat().st_mtime - age,) * 2)
    with RunState(folder, {"run": "finished"}) as state:
        state.clear()
    used = FileLock(folder / f"{RunState(folder, {'run': 'used'}).path.name}.lock")
    with used:
        table = run("runs", "--run-dir", folder).stdout
        assert "3 unfinished runs" in table
        listed = json.loads(run("runs", "--run-dir", folder, "--json").stdout)
        assert listed[0]["about"] == "new: model.pt"
        assert {one["about"]: one["running"] for one in listed} == {
            "new: model.pt": False, "old: model.pt": False, "used: model.pt": True
        }  # fmt: skip
        assert all(one["units"] == 1 and one["size"] > 100 for one in listed)
        (removed,) = json.loads(run("runs", "--run-dir", folder, "--clean", "--json").stdout)
        assert removed["about"] == "old: model.pt"
        assert "no abandoned run" in run("runs", "--run-dir", folder, "--clean").stdout
    assert "2 unfinished runs" in run("runs", "--run-dir", folder, "--clean", "--older-than", "0").stdout
    assert "no unfinished run" in run("runs", "--run-dir", folder).stdout
    assert "no unfinished run" in run("runs", "--run-dir", tmp_path / "absent").stdout
