"""How commands end: 0 good, 1 mendable, 2 usage, 130 interrupted; a bug keeps its traceback."""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click
import pytest

from apsite import validation
from apsite.catalogue import load_catalogue
from apsite.cli import cli
from apsite.errors import ApsiteError, CheckpointError, DatasetError, DocumentError, EvaluationError, NetworkError
from apsite.evaluation.runs.demonstration import network_path
from apsite.export import to_json_rows
from tests.cli.conftest import Run

MENDABLE = (ApsiteError, CheckpointError, DatasetError, NetworkError, EvaluationError)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Function that makes ``apsite validate`` fail with an error."""

    def arrange(error: BaseException) -> None:
        def fail(*_: object, **__: object) -> NoReturn:
            raise error

        monkeypatch.setattr(validation, "validate", fail)

    return arrange


@pytest.mark.parametrize("error", MENDABLE)
def test_a_mendable_problem_is_one_line_and_exit_1(run, failing, error: type[ApsiteError]) -> None:
    failing(error("mend it"))
    result = run("validate", code=1)
    assert (result.stdout, result.stderr) == ("", "Error: mend it\n")


def test_a_problem_of_a_document_says_file_and_place(run: Run, failing: Callable[[BaseException], None]) -> None:
    failing(DocumentError(Path("entries/x.json"), "paper.url", "is wrong"))
    assert run("validate", code=1).stderr == "Error: entries/x.json: paper.url: is wrong\n"
    failing(DocumentError(Path("entries/x.json"), "", "is missing"))
    assert run("validate", code=1).stderr == "Error: entries/x.json: is missing\n"


def test_a_real_interrupt_exits_with_130() -> None:
    code = (
        "import os, signal\n"
        "from apsite import validation\n"
        "from apsite.cli import main\n"
        "validation.validate = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; sys.argv = ['apsite', 'validate']\n"
        "main()\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr.strip()) == (130, "", "Interrupted.")


def test_wrong_usage_shows_the_usage_and_no_command_the_help(run: Run) -> None:
    assert run("validate", "--wrong", code=2).stderr.startswith("Usage: apsite validate [OPTIONS]")
    assert "See results:" in run(code=2).output


@pytest.mark.parametrize("error", [ValueError("a bug"), RuntimeError("a bug"), OSError(5, "a bug")])
def test_a_bug_keeps_its_traceback(run: Run, failing: Callable[[BaseException], None], error: Exception) -> None:
    failing(error)
    with pytest.raises(type(error), match="a bug"):
        run("validate")


def test_a_reader_that_goes_away_causes_no_traceback(repository: Path) -> None:
    """``apsite export | head -1``: the pipe is closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-m", "apsite", "export", "--root", str(repository)],
        stdout=writing,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN),
        check=False,
    )
    os.close(writing)
    assert result.stderr == b""


def test_a_command_can_be_called_from_a_program() -> None:
    with pytest.raises(ApsiteError, match="has no folder 'entries'"):
        cli(["validate", "--root", "/nonexistent"], standalone_mode=False)
    with pytest.raises(click.UsageError):
        cli(["validate", "--wrong"], standalone_mode=False)


@pytest.fixture(scope="module")
def one_method(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data folder with HARP alone, which is read quickly."""
    root = tmp_path_factory.mktemp("one")
    (root / "entries").mkdir()
    shutil.copy(repository / "entries/HARP_Zhao2023Holistic.json", root / "entries")
    shutil.copytree(repository / "evaluations/HARP_Zhao2023Holistic", root / "evaluations/HARP_Zhao2023Holistic")
    return root


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "utf-16"])
@pytest.mark.parametrize(
    "command", [["show"], ["show", "HARP"], ["export", "--format", "json"], ["submit-check", "HARP_Zhao2023Holistic"]]
)
def test_output_in_another_encoding_has_no_traceback(one_method: Path, command: list[str], encoding: str) -> None:
    """Characters that it lacks are replaced or escaped; JSON stays the same document."""
    done = subprocess.run(
        [sys.executable, "-m", "apsite", *command, "--root", str(one_method)], capture_output=True, check=False,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    used = "utf-8" if encoding == "ascii" and command[0] not in ("show", "export") else encoding  # as click has it
    text = done.stdout.decode(used)
    if command[0] == "export":
        assert json.loads(text) == json.loads(to_json_rows(load_catalogue(one_method)))
    else:
        assert "HARP" in text


@pytest.mark.parametrize("command", [["show"], ["export"], ["export", "--format", "json"], ["validate"], ["--help"]])
def test_a_full_disk_behind_the_output_is_one_line(repository: Path, command: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "apsite", *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            cwd=repository,
        )  # fmt: skip
    wrong = "Error: the output: cannot be written: No space left on device; free some space and try again\n"
    assert (done.returncode, done.stderr) == (1, wrong)


PRUNE = "prune dense.safetensors --arch resnet8 --criterion lwm --locality global --sparsity 0.9 -o out/x.safetensors"
EVAL = (
    f"eval {network_path()} --method LAMP_Lee2021Layer --dataset cifar10 --arch resnet8 --structure unstructured "
    "--sparsity 0.90 --data-dir embedded --n-examples 2 --protocol quick --attacks hofmn --output out --run-dir runs"
)


@pytest.mark.parametrize(
    ("command", "limit", "place"),
    [
        ("export -o out/x.csv", 1_000, "out/x.csv"),
        ("snapshot --output out/x.zip", 10_000, "out/x.zip"),
        (PRUNE, 10_000, "out/x.safetensors"),
        ("build --output out", 20_000, "the output"),
        (EVAL, 100, "runs/"),
        (EVAL, 2_500, "out/LAMP_Lee2021Layer"),
    ],
)
def test_a_full_disk_is_one_line_and_loses_nothing(
    repository: Path, tmp_path: Path, command: str, limit: int, place: str
) -> None:
    """Old files stay, nothing half-written is left, and the same command works once there is space."""
    for name in ("entries", "evaluations"):
        (tmp_path / name).symlink_to(repository / name)
    (tmp_path / "dense.safetensors").symlink_to(
        repository / "baselines/resnet8/LWM_Han2015Learning_R8_CIFAR10_dense.safetensors"
    )

    def run(size: int) -> subprocess.CompletedProcess[str]:
        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        return subprocess.run(
            [sys.executable, "-m", "apsite", *shlex.split(command)], capture_output=True, text=True, check=False,
            cwd=tmp_path, preexec_fn=limited, env=os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    full = run(limit)
    assert full.returncode == 1
    *_, line = full.stderr.splitlines()
    assert line.startswith(f"Error: {place}")
    assert ": cannot be written: File too large" in line or "cannot keep the state" in line
    assert "Traceback" not in full.stderr
    if command.startswith("build"):  # starts again from nothing, and takes long
        return
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    if place == "runs/":  # nothing is kept from which a run could go on
        assert not [path for path in (tmp_path / "runs").rglob("*/*") if path.is_file()]
        return
    again = run(resource.RLIM_INFINITY)
    assert again.returncode == 0, again.stderr
    assert ("resuming: " in again.stderr) == (place == "out/LAMP_Lee2021Layer")


def test_a_pipe_behind_a_link_is_an_output(repository: Path) -> None:
    command = [sys.executable, "-m", "apsite", "export", "--root", str(repository)]
    to_pipe, plain = (
        subprocess.run([*command, *more], capture_output=True, text=True, check=True)
        for more in (["-o", "/dev/stdout"], [])
    )
    assert to_pipe.stdout == plain.stdout
    assert to_pipe.stderr == "Written: /dev/stdout\n"
