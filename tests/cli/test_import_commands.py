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
    old = MODEL.replace(METHOD, "Tiny_Doe2024Old")
    output = tiny_data / "evaluations"
    result = run("import-distances", file, "--model-key", old, "--output", output, "--root", tiny_data)
    path = output / METHOD / f"{MODEL}.json"
    assert result.stdout == f"Record: {path}\n"
    assert json.loads(path.read_text())["protocol"] == "custom"
    run("validate", "--root", tiny_data)
    run("show", "Tiny", "--root", tiny_data)


def test_mistakes_end_with_one_line(run, tiny_data, file, tmp_path):
    wrong = run("import-distances", file, "--model-key", "HARP", "--output", tmp_path, code=1)
    assert wrong.stderr.count("\n") == 1
    assert "is not of the form" in wrong.stderr
    unknown = MODEL.replace(METHOD, "Tine_Doe2024Small")
    assert "did you mean" in run("import-distances", file, "--model-key", unknown, "--root", tiny_data, code=1).stderr
    missing = run(
        "import-distances", tmp_path / "absent", "--model-key", MODEL, "--root", tiny_data, "--output", tmp_path, code=1
    )
    assert "cannot be read" in missing.stderr
    run("import-distances", file, code=2)
