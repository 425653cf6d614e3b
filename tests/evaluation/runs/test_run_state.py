"""State of a run: kept whole or not at all, for one process at a time."""

import subprocess
import sys

import numpy as np
import pytest

from apsite.errors import EvaluationError
from apsite.evaluation.runs.run_state import RunState


def test_a_finished_unit_is_found_again_by_the_same_identity_only(tmp_path):
    with RunState(tmp_path, {"seed": 0}) as state:
        state.put("clean", correct=np.array([True, False]))
    with RunState(tmp_path, {"seed": 0}) as state:
        assert state.get("clean")["correct"].tolist() == [True, False]
        assert state.get("apgd-ce-00000") is None
        assert len(state) == 1
    with RunState(tmp_path, {"seed": 1}) as other:
        assert len(other) == 0


def test_fresh_forgets_and_clear_removes(tmp_path):
    with RunState(tmp_path, {}) as state:
        state.put("clean", correct=np.array([True]))
    with RunState(tmp_path, {}, fresh=True) as state:
        assert len(state) == 0
        state.clear()
    assert not state.path.exists()


def test_a_damaged_unit_is_done_again(tmp_path):
    with RunState(tmp_path, {}) as state:
        state.put("clean", correct=np.array([True]))
        path = state.path / "clean.npz"
        path.write_bytes(path.read_bytes()[:20])
        assert state.get("clean") is None
        assert not path.exists()


def test_a_second_process_on_the_same_run_is_refused(tmp_path):
    program = (
        "import sys; from pathlib import Path; from apsite.evaluation.runs.run_state import RunState\n"
        "with RunState(Path(sys.argv[1]), {}): print('entered', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"entered\n"
        with (
            pytest.raises(EvaluationError, match="another process is already running this evaluation"),
            RunState(tmp_path, {}),
        ):
            pass
        other.stdin.close()
    with RunState(tmp_path, {}) as state:
        assert len(state) == 0


def test_an_unwritable_folder_is_an_error_that_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="choose a folder with --run-dir"), RunState(tmp_path / "file", {}):
        pass
