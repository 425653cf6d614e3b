"""Checkpoint files as people save them: each is read with exactly its zeros, or answered with one line."""

from __future__ import annotations

import warnings

import pytest
import torch

from apsite.errors import ApsiteError
from apsite.evaluation.checkpoints.report import audit
from tests.corpus.checkpoints import FACTORIES, FILES, FITTED, OBJECTS, TOTAL


def check(path, expected, *, architecture="resnet8", state=None):
    """Audit a file at the declared sparsity of 90 %; `expected` zero weights, or what the only refusal says."""
    try:
        report = audit(path, architecture=architecture, structure="unstructured", sparsity=0.9, state=state)
    except ApsiteError as error:
        refusals, counts = (str(error),), None
    else:
        refusals, counts = report.refusals, report.counts
    if isinstance(expected, str):
        (refusal,) = refusals
        assert expected in refusal
        assert "\n" not in refusal
        assert len(refusal) < 1000
    else:
        assert refusals == ()
        assert (counts.zero_weights, counts.weights) == (expected, TOTAL)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", OBJECTS)
def test_each_saved_object_is_read_or_answered(tmp_path, name):
    make, expected, *state = OBJECTS[name]
    torch.save(make(), tmp_path / "a.pt")
    check(tmp_path / "a.pt", expected, state=state[0] if state else None)


@pytest.mark.parametrize("name", FILES)
def test_each_kind_of_file_is_read_or_answered(tmp_path, name):
    write, expected = FILES[name]
    path = tmp_path / "my model (final) ü #1.pth.tar"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated
        write(path)
    check(path, expected)


@pytest.mark.parametrize("name", FITTED)
def test_each_file_fits_the_network_of_a_factory_or_is_answered(tmp_path, name):
    factory, make, expected = FITTED[name]
    (tmp_path / "networks.py").write_text(FACTORIES, encoding="utf-8")
    torch.save(make(), tmp_path / "a.pt")
    check(tmp_path / "a.pt", expected, architecture=f"{tmp_path / 'networks.py'}:{factory}")
