"""How commands end: 0 good, 1 mendable, 2 usage, 130 interrupted; a bug keeps its traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click
import pytest

from apsite import validation
from apsite.cli import cli
from apsite.errors import ApsiteError, CheckpointError, DatasetError, DocumentError, EvaluationError, NetworkError
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
