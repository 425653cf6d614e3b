"""`apsite import-distances` as a user runs it."""

from __future__ import annotations

import json
import pickle

import pytest
import torch

from tests.builders import METHOD

MODEL = f"{METHOD}_R18_SVHN_US_90"


@pytest.fixture
def file(tmp_path):
    """A distance file of three samples."""
    path = tmp_path / "distances.pickle"
    path.write_bytes(pickle.dumps([torch.tensor(value) for value in (0.0, 0.25, 0.01)]))
    return path


def test_a_distance_file_becomes_a_valid_record(run, tiny_data, file):
    """The record is where its key says; the data folder stays valid; an alias is resolved."""
    old = MODEL.replace(METHOD, "Tiny_Doe2024Old")
    output = tiny_data / "evaluations"
    result = run("import-distances", file, "--model-key", old, "--output", output, "--root", tiny_data)
    assert result.exit_code == 0, result.output
    path = output / METHOD / f"{MODEL}.json"
    assert result.stdout == f"Record: {path}\n"
    assert json.loads(path.read_text())["protocol"] == "custom"
    assert run("validate", "--root", tiny_data).exit_code == 0
    assert run("show", "Tiny", "--root", tiny_data).exit_code == 0


def test_mistakes_end_with_one_line(run, tiny_data, file, tmp_path):
    """A wrong key, an unknown method, a missing file."""
    wrong = run("import-distances", file, "--model-key", "HARP", "--output", tmp_path)
    assert (wrong.exit_code, wrong.stderr.count("\n")) == (1, 1)
    assert "is not of the form" in wrong.stderr
    unknown = MODEL.replace(METHOD, "Tine_Doe2024Small")
    result = run("import-distances", file, "--model-key", unknown, "--root", tiny_data)
    assert "did you mean" in result.stderr
    missing = run(
        "import-distances", tmp_path / "absent", "--model-key", MODEL, "--root", tiny_data, "--output", tmp_path
    )
    assert missing.exit_code == 1
    assert "cannot be read" in missing.stderr
    assert run("import-distances", file).exit_code == 2
