"""The survey's distance files: what is read, what is refused without being executed, and what the record says."""

from __future__ import annotations

import codecs
import dataclasses
import io
import os
import pickle

import numpy as np
import pytest
import torch

from apsite.comparable import rankable
from apsite.errors import EvaluationError
from apsite.evaluation.runs.distance_files import DistanceFile, import_distances, read_distances, record_of
from apsite.keys import ModelKey
from apsite.records import read_record
from apsite.samples import read_samples
from apsite.validation import plausibility_problems, samples_problems, validate
from apsite.vocabulary import Protocol, ProvenanceKind
from tests.builders import METHOD, entry_document, write_data

KEY = ModelKey.parse(f"{METHOD}_R18_CIFAR10_US_90")
VALUES = [0.0, 0.0, 0.25, 0.015625, 0.03125, 0.0625, 0.5, 0.125]


@pytest.fixture
def pickled(tmp_path):
    """Function that pickles a value, or takes bytes, and gives the path of the file."""

    def write(value, protocol=pickle.DEFAULT_PROTOCOL):
        path = tmp_path / "distances.pickle"
        path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
        return path

    return write


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_lists_of_torch_scalars_are_read(pickled, protocol):
    """As the survey's code pickled them, in every protocol that may have been used."""
    path = pickled([torch.tensor(value) for value in VALUES], protocol)
    assert read_distances(path).distances.tolist() == VALUES
    assert read_distances(path).distances.dtype == np.float32


@pytest.mark.parametrize(
    "value",
    [
        list(torch.tensor(VALUES)),  # scalars cut from one tensor
        [torch.tensor([value]) for value in VALUES],
        [torch.tensor(value, dtype=torch.float64) for value in VALUES],
        [torch.tensor(value, dtype=torch.float16) for value in VALUES],
        [torch.tensor(value, requires_grad=True) for value in VALUES],
        tuple(VALUES),
    ],
)
def test_variants_are_read(pickled, value):
    """Shared memory, one-element tensors, other precisions, and plain numbers."""
    assert read_distances(pickled(value)).distances.tolist() == VALUES


def test_scalars_of_a_gpu_are_read(pickled):
    """The name of a device in the file does not need the device."""
    nested = torch.tensor(0.25)._typed_storage().__reduce__()[1][0]
    moved = nested.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    assert len(moved) == len(nested) + 3
    scalar = Calls(torch._utils._rebuild_tensor_v2, Calls(torch.storage._load_from_bytes, moved), 0, (), (), False, {})
    assert read_distances(pickled([scalar])).distances.tolist() == [0.25]


class Calls:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def hostile_contents(sentinel):
    """Pickles that would write `sentinel` if they were executed, by the ways that are known."""
    write = Calls(os.system, f"touch {sentinel}")
    legacy = io.BytesIO()
    torch.save(write, legacy, _use_new_zipfile_serialization=False)
    modern = io.BytesIO()
    torch.save([write], modern)
    tensor = torch.tensor(0.5)
    return {
        "call": [write],
        "eval": [Calls(eval, f"open({str(sentinel)!r}, 'w')")],
        "among scalars": [tensor, write],
        "nested legacy file": [Calls(torch.storage._load_from_bytes, legacy.getvalue())],
        "nested zip file": [Calls(torch.storage._load_from_bytes, modern.getvalue())],
        "torch.load": [Calls(torch.load, str(sentinel))],
        "getattr": [Calls(getattr, "text", "upper")],
        "dotted name": b"\x80\x04\x8c\x0ccollections\x8c\x1bOrderedDict.__init__.__self__\x93.",
        "other codec": [Calls(codecs.encode, "00", "hex")],
        "old opcode": f"(S'touch {sentinel}'\nios\nsystem\n.".encode(),
        "persistent": b"\x80\x02U\x01aQ.",
        "extension": b"\x80\x02\x82\x01.",
        "changed rebuilder": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}U\x08__call__K\x01sb.",
    }


@pytest.mark.parametrize("how", sorted(hostile_contents("x")))
def test_nothing_else_runs(pickled, tmp_path, how):
    sentinel = tmp_path / "sentinel"
    path = pickled(hostile_contents(sentinel)[how])
    with pytest.raises(EvaluationError, match=str(path)) as error:
        read_distances(path)
    assert not sentinel.exists()
    if how in ("call", "among scalars"):
        assert "is a posix.system; each must be one distance" in str(error.value)


def test_the_guard_of_that_test_works(pickled, tmp_path):
    """Plain unpickling of the same contents would have written the sentinel."""
    for how in ("call", "eval", "nested legacy file", "old opcode"):
        sentinel = tmp_path / how.replace(" ", "_")
        content = hostile_contents(sentinel)[how]
        try:
            opened = pickle.loads(content if isinstance(content, bytes) else pickle.dumps(content))
            [one.close() for one in opened if hasattr(one, "close")] if isinstance(opened, list) else None
        except Exception:  # what comes after the harm does not matter
            assert sentinel.exists()
        assert sentinel.exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "holds a list; give a list of at least one distance"),
        ({"a": 1}, "holds a dict"),
        ([[torch.tensor(0.1)]], "element 0 is a list; each must be one distance"),
        ([True], "element 0 is a bool"),
        (["0.1"], "element 0 is a str"),
        ([0.1, float("nan")], "element 1 is nan; l-inf distances"),
        ([float("inf")], "element 0 is inf"),
        ([-0.1], "element 0 is -0.1"),
        ([8.0], "are from 0 to 1"),
        ([torch.zeros(3)], r"element 0 is a tensor of shape \(3,\) in a FloatStorage; each must be one distance"),
        ([torch.tensor(1)], "in a LongStorage; each must be one distance, a floating-point scalar"),
        (b"", "is not a readable pickle"),
        (b"<html>", "is not a readable pickle"),
        (pickle.dumps([torch.tensor(0.1)])[:-20], "is not a readable pickle"),
        (b"\x80\x02]r\xff\xff\xff\x7f.", "holds a list; give a list of at least one distance"),
    ],
)
def test_what_is_no_list_of_distances_is_refused(pickled, value, message):
    with pytest.raises(EvaluationError, match=message):
        read_distances(pickled(value))


def test_missing_and_huge_files_are_refused(tmp_path, monkeypatch):
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_distances(tmp_path / "absent.pickle")
    monkeypatch.setattr("apsite.evaluation.runs.distance_files.MAX_BYTES", 3)
    (tmp_path / "huge.pickle").write_bytes(b"1234")
    with pytest.raises(EvaluationError, match="at most 3 are read"):
        read_distances(tmp_path / "huge.pickle")


def test_the_record_states_what_is_not_known(pickled, tmp_path):
    """Zeros count as broken, as in the survey; the range, the missing index and the file's hash are stated."""
    root = write_data(tmp_path / "data", entry_document())
    path = import_distances(pickled([torch.tensor(value) for value in VALUES]), KEY, root / "evaluations")
    record, samples = read_record(path), read_samples(path.with_suffix(".npz"))
    assert record.protocol is Protocol.CUSTOM
    assert record.provenance.kind is ProvenanceKind.PUBLISHED
    assert not rankable(record)
    assert record.results.n_samples == 8
    assert record.results.clean_accuracy is None
    assert record.results.autoattack is None
    assert record.results.hofmn.robust_accuracy == 4 / 8  # 0.03125 is 7.97/255
    assert record.results.hofmn.not_found is None
    messages = {warning.code: warning.message for warning in record.warnings}
    assert "between 50.00% (stated) and 75.00%" in messages["ambiguous-zeros"]
    assert "cannot be paired" in messages["unknown-samples"]
    assert "SHA-256" in record.notes[0]
    assert not samples.indexed
    assert samples.distance.tolist() == VALUES
    report = validate(root)
    assert report.problems == ()
    assert (report.records, report.sample_files) == (1, 1)


def test_no_ambiguity_is_stated_where_there_is_none():
    record, _ = record_of(DistanceFile(np.array([0.1, 0.2], np.float32), "a" * 64), KEY)
    assert [warning.code for warning in record.warnings] == ["unknown-samples"]
    with pytest.raises(EvaluationError, match="holds 10001 distances"):
        record_of(DistanceFile(np.full(10_001, 0.1, np.float32), "a" * 64), KEY)


def test_figures_that_the_file_does_not_give_cannot_be_claimed(pickled, tmp_path):
    """A clean accuracy or a count of failed attacks contradicts the file; an own run must know its samples."""
    path = import_distances(pickled(VALUES), KEY, tmp_path)
    record = read_record(path)
    claims = dataclasses.replace(
        record,
        results=dataclasses.replace(
            record.results, clean_accuracy=0.75, attacks=(dataclasses.replace(record.results.hofmn, not_found=0),)
        ),
    )
    assert {problem.field for problem in samples_problems(path, claims)[0]} == {
        "results.clean_accuracy", "results.attacks[hofmn].not_found",
    }  # fmt: skip
    own = dataclasses.replace(record, provenance=dataclasses.replace(record.provenance, kind=ProvenanceKind.SUBMITTED))
    assert any(problem.field == "label" for problem in samples_problems(path, own)[0])
    assert plausibility_problems(path, record) == []


def test_an_existing_record_stays(pickled, tmp_path):
    import_distances(pickled(VALUES), KEY, tmp_path)
    with pytest.raises(EvaluationError, match="exists already; replace it with --overwrite"):
        import_distances(pickled(VALUES), KEY, tmp_path)
    import_distances(pickled(VALUES[1:]), KEY, tmp_path, overwrite=True)
