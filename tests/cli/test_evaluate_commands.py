"""`apsite eval` and `apsite demo` as a user runs them."""

import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from apsite.cli import cli
from apsite.evaluation.runs.demonstration import network_path

QUICK = [
    "--method", "LAMP_Lee2021Layer", "--dataset", "cifar10", "--arch", "resnet8", "--structure", "unstructured",
    "--sparsity", "0.90", "--data-dir", "embedded", "--protocol", "quick", "--n-examples", "4", "--attacks", "hofmn",
]  # fmt: skip


def invoke(*arguments):
    """Run the command line in this process."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def away(tmp_path, monkeypatch):
    """A working directory with no data folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_eval_prints_a_table_and_where_the_record_is(away):
    """The result goes to stdout with counts and intervals; progress goes to stderr."""
    result = invoke("eval", network_path(), *QUICK)
    assert result.exit_code == 0, result.output
    assert "HO-FMN" in result.stdout
    assert "95 % interval" in result.stdout
    path = "evaluations/LAMP_Lee2021Layer/LAMP_Lee2021Layer_R8_CIFAR10_US_90.json"
    assert f"Record: {path}" in result.stdout
    assert (away / path).exists()
    assert "reduced run" in result.stdout
    assert "initial accuracy" in result.stderr
    assert "initial accuracy" not in result.stdout


def test_eval_shows_the_baselines_of_the_setting(away, repository):
    """Those of the data folder at the same network, structure and sparsity; not in the output for programs."""
    result = invoke("eval", network_path(), *QUICK, "--root", repository)
    assert result.exit_code == 0, result.output
    _, found, table = result.stdout.partition("Baselines at the same setting")
    assert found
    assert "LWM global" in table
    again = invoke("eval", network_path(), *QUICK, "--root", repository, "--overwrite", "--json")
    assert "Baselines at the same setting" not in again.stdout


def test_eval_can_print_the_record_as_json_and_keep_a_log(away):
    """``--json`` gives the record itself, ``--quiet`` no progress, ``--log-file`` keeps the lines."""
    result = invoke("eval", network_path(), *QUICK, "--json", "--quiet", "--log-file", "run.log")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["model_key"] == "LAMP_Lee2021Layer_R8_CIFAR10_US_90"
    assert result.stderr == ""
    assert "initial accuracy" in (away / "run.log").read_text()


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"--sparsity": "0.95"}, 1, "about 0.90"),
        ({"--sparsity": "0.905"}, 1, "whole percentage"),
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
def test_bad_options_end_with_one_clear_line(away, changes, code, message):
    """Each wrong option gives its own message, the right exit code, no traceback and no record."""
    options = dict(zip(QUICK[::2], QUICK[1::2], strict=True)) | changes
    arguments = [part for name, value in options.items() if value is not None for part in (name, value)]
    result = invoke("eval", network_path(), *arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    if code == 1:
        assert [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert not list(away.rglob("*.json"))


def test_a_method_without_entry_is_refused_where_there_are_entries(away, repository):
    """In a data folder the method must have an entry; the message proposes near names."""
    arguments = [part if part != "LAMP_Lee2021Layer" else "LAMP_Lee2021Layr" for part in QUICK]
    result = invoke("eval", network_path(), *arguments, "--root", repository)
    assert result.exit_code == 1
    assert "did you mean LAMP_Lee2021Layer" in result.stderr


def test_an_interrupted_evaluation_exits_with_130_and_resumes(away, monkeypatch):
    """Ctrl-C ends with 130 and says how to resume; the same command then finishes the run."""
    command = [sys.executable, "-m", "apsite", "eval", str(network_path()), *QUICK]
    command[command.index("--attacks") + 1] = "autoattack,hofmn"
    command += ["--seed", "1"]
    # A shell that runs the tests in the background lets them ignore SIGINT, and a child would inherit that.
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, inherited)
    with process:
        for line in process.stderr:
            if line.startswith("APGD-CE"):
                break
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate()
    assert process.returncode == 130, rest
    assert "repeat the command to resume" in rest
    assert not list(away.glob("evaluations/**/*.json"))
    result = invoke("eval", network_path(), *command[5:])
    assert result.exit_code == 0, result.output
    assert "resuming" in result.stderr


@pytest.mark.slow
def test_demo_evaluates_the_embedded_network(away):
    """Without a checkout the demonstration evaluates alone; nothing but the number of images is reduced."""
    result = invoke("demo", "--no-site", "--n-examples", "2", "--output", "out", "--quiet")
    assert result.exit_code == 0, result.output
    record = json.loads(
        (away / "out/evaluations/LAMP_Lee2021Layer/LAMP_Lee2021Layer_R8_CIFAR10_US_90.json").read_text()
    )
    assert record["settings"]["search_trials"] == 32
    assert record["settings"]["attacks"] == "autoattack,hofmn"
    assert record["protocol"] == "custom"


def test_demo_needs_data_for_the_site(away):
    """The message says where to run it, or how to do without the site."""
    result = invoke("demo")
    assert result.exit_code == 1
    assert "--no-site" in result.stderr
