"""Checkpoints that are not what they say: one clear error each, and little memory; or the right tensors."""

from __future__ import annotations

import json
import resource
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from apsite.errors import CheckpointError
from apsite.evaluation.checkpoints.reading import read_checkpoint
from apsite.evaluation.runs.demonstration import network_path
from tests.cli.conftest import apsite

METHODS = (
    "shape", "numel", "dim", "size", "dtype", "detach", "float", "to", "cpu", "stride", "contiguous", "numpy", "layout",
    "device", "data", "is_sparse", "is_quantized", "untyped_storage", "requires_grad", "__class__",
)  # fmt: skip


def safetensors_file(path: Path, name: str, shape: list[int], size: int) -> Path:
    """A file with one float tensor whose `size` bytes are a hole."""
    header = json.dumps({name: {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(header)) + header)
        stream.truncate(stream.tell() + size)
    return path


def test_attributes_that_shadow_methods_change_nothing(tmp_path: Path) -> None:
    """A parameter keeps its attributes in the file; none of them is used."""
    good = load_file(network_path())
    for name in METHODS:
        parameter = torch.nn.Parameter(good["conv1.weight"].clone())
        parameter.__dict__[name] = 5
        torch.save({**good, "conv1.weight": parameter}, tmp_path / "model.pt")
        tensors = read_checkpoint(tmp_path / "model.pt").state
        assert torch.equal(tensors["conv1.weight"], good["conv1.weight"])
        assert set(tensors) == set(good)


def test_ten_thousand_dimensions_are_refused(tmp_path: Path) -> None:
    path = safetensors_file(tmp_path / "model.safetensors", "a", [1] * 10_000, 4)
    with pytest.raises(CheckpointError, match="a tensor has 10000 dimensions"):
        read_checkpoint(path)


def test_a_hole_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    """What an interrupted download leaves; a small file with a hole is read as it is."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = safetensors_file(tmp_path / "model.safetensors", "a", [3, 2**28], 3 * 2**30)
    with pytest.raises(CheckpointError, match=r"of its 3,221,\d+,\d+ bytes almost none are on the disk"):
        read_checkpoint(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"
    small = safetensors_file(tmp_path / "small.safetensors", "a", [1000, 1000], 4_000_000)
    assert read_checkpoint(small).state["a"].shape == (1000, 1000)


@pytest.mark.parametrize("letter", ["\0", "\x1b[31m", "\r", "\u202e"])
def test_names_in_a_file_do_not_command_the_terminal(tmp_path: Path, letter: str) -> None:
    good = load_file(network_path())
    torch.save({f"{letter}{name}" if name == "conv1.weight" else name: value for name, value in good.items()},
               tmp_path / "model.pt")  # fmt: skip
    shown = apsite("audit", tmp_path / "model.pt", "--arch", "resnet8", code=1).output
    assert letter not in shown
    assert f"{ascii(letter)[1:-1]}conv1.weight" in shown
