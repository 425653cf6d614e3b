"""A corpus of bad checkpoint files, none of which may execute, fill the memory, or go unexplained."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import random
import tarfile
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from apsite.errors import CheckpointError
from apsite.evaluation.checkpoints.reading import MAX_BYTES, read_checkpoint
from tests.checkpoint_files import STATE, saved


class Hostile:
    """An object whose pickle creates a file when it is loaded."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self):
        return exec, (f"open({str(self.sentinel)!r}, 'w').close()",)


def bytes_of(content, *, legacy=False):
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


ZIP, LEGACY = bytes_of(STATE), bytes_of(STATE, legacy=True)

# --- files that would execute code ------------------------------------------------------------------------------------


def tar_archive(path, bad):
    """The format of torch before 0.2: pickles inside a tar archive."""
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = pickle.dumps(bad, protocol=2)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def pickle_named_safetensors(path, bad):
    path.with_suffix(".safetensors").write_bytes(pickle.dumps({"x": bad}))
    path.symlink_to(path.with_suffix(".safetensors"))


def layout_of_a_script(path, bad):
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/model.py"):
            archive.writestr(f"a/{name}", pickle.dumps(bad, protocol=2))


def dict_that_overrides_its_methods(path, bad):
    state = OrderedDict(STATE)
    state.values = bad
    saved({"state_dict": state}, path)


HOSTILE = {  # how each is written, and the message where no weights are beside the code
    "zip": (lambda path, bad: saved({"state_dict": {**STATE, "x": bad}}, path), None),
    "legacy": (lambda path, bad: saved({"state_dict": STATE, "x": bad}, path, legacy=True), None),
    "namespace": (lambda path, bad: saved({"net": STATE, "args": argparse.Namespace(callback=bad)}, path), None),
    "dict that overrides its methods": (dict_that_overrides_its_methods, None),
    "after the magic number": (
        lambda path, bad: path.write_bytes(LEGACY[: LEGACY.index(b".") + 1] + pickle.dumps(bad, protocol=2)),
        "truncated or damaged",
    ),
    "pickle": (
        lambda path, bad: path.write_bytes(pickle.dumps({"state_dict": {}, "x": bad}, protocol=2)),
        "holds no state dict",
    ),
    "text pickle": (
        lambda path, bad: path.write_bytes(pickle.dumps(bad, protocol=0)),
        "not a checkpoint (it starts with",
    ),
    "tar archive": (tar_archive, "a tar archive, which is not read"),
    "pickle named safetensors": (pickle_named_safetensors, "holds no state dict"),
    "layout of a script": (layout_of_a_script, "holds no state dict"),
}


@pytest.mark.parametrize(("write", "message"), HOSTILE.values(), ids=HOSTILE)
def test_no_file_executes_code(tmp_path, write, message):
    """The file that its code would create is not there; weights beside it are read, and nothing else is a network."""
    sentinel, path = tmp_path / "executed", tmp_path / "checkpoint.pth.tar"
    write(path, Hostile(sentinel))
    if message is None:
        assert torch.equal(read_checkpoint(path).state["conv.weight"], STATE["conv.weight"])
        assert not sentinel.exists()
        return
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert not sentinel.exists()
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_hostile_object_does_execute_when_it_is_unpickled(tmp_path):
    """Otherwise the test above would prove nothing."""
    sentinel = tmp_path / "executed"
    pickle.loads(pickle.dumps(Hostile(sentinel)))
    assert sentinel.exists()


# --- files that are broken, something else, or small and would take much memory or time -------------------------------


def symlink_loop(path):
    other = path.with_name("other")
    other.symlink_to(path)
    path.symlink_to(other)


def huge(path):
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)


def truncated_safetensors(path):
    save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:-8])


def other_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("models/resnet18.pt", b"x")


def zip_bomb(path):
    """A valid archive whose pickle unpacks to a thousand times its size."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(64 * 2**20))
        archive.writestr("a/version", b"3\n")


def quantised_weights(path):
    saved({"conv.weight": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}, path)


def modules_within_each_other(path):
    network = nn.Module()
    network._modules["again"] = network
    saved(network, path)


def modules_that_double(path):
    """Two names for each module lead to the same one: a million million names at the bottom."""
    network = nn.Linear(2, 2)
    for _ in range(40):
        above = nn.Module()
        above._modules.update(a=network, b=network)
        network = above
    saved(network, path)


def one_array_under_many_names(path):
    array = np.zeros((500, 500), np.float32)
    path.write_bytes(pickle.dumps({f"layer{number}.weight": array for number in range(100)}))


def sparse_tensor_of_repeated_entries(path):
    indices, values = torch.zeros(1, 1, dtype=torch.int64).expand(1, 2**30), torch.zeros(1).expand(2**30)
    saved({"fc.weight": torch.sparse_coo_tensor(indices, values, (4,), check_invariants=False)}, path)


FROM_TYPE = b"ctorch._tensor\n_rebuild_from_type_v2\nq\x00"
CALLS_WITHIN_CALLS = b"\x80\x02" + FROM_TYPE + b"h\x00N" * 5000 + b")" + b"\x87" * 5000 + b"R."
# Each of 2,000 pairs is the same list of 2,000 elements.
PAIRS = b"\x80\x02ccollections\nOrderedDict\n](" + b"N" * 2000 + b"eq\x000](" + b"h\x00" * 2000 + b"e\x85R."
# The text of this name would double with every level.
NAME = b"\x80\x04](" + b"NNeq\x00" + b"](h\x00h\x00eq\x00" * 60 + b"h\x00\x93."
PAGE = b"\n<!DOCTYPE html><html><head><title>Quota exceeded</title></head></html>"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 44778113\n".encode()
NAN = torch.tensor([[1.0, float("nan"), 2.0, float("nan")]])
FOUR_TERABYTES = torch.zeros(1).expand(2**20, 2**20)

# How each is written, or its bytes, or what torch saves in it; and what its message says.
BAD = {
    "missing": (lambda path: None, "no such file. Give the path of a checkpoint."),
    "directory": (Path.mkdir, "a directory. Give the path of the checkpoint file inside it."),
    "symlink loop": (symlink_loop, "a symbolic link that leads back to itself. Link to the file."),
    "dangling link": (lambda path: path.symlink_to(path.with_name("nowhere")), "no such file."),
    "named pipe": (os.mkfifo, "not an ordinary file."),
    "empty": (b"", "empty. Copy or download it again."),
    "huge": (huge, "4294967297 bytes, more than the 4294967296 that are read. Save the network alone"),
    "truncated zip": (ZIP[: len(ZIP) // 2], "truncated or damaged"),
    "truncated legacy": (LEGACY[:-100], "truncated or damaged"),
    "truncated safetensors": (truncated_safetensors, "truncated or damaged safetensors"),
    "a few bytes": (LEGACY[:6], "truncated or damaged (6 bytes). Copy or download it again."),
    "page": (PAGE, "an HTML page, probably a message of the download site. Download the file itself"),
    "LFS pointer": (POINTER, "a Git LFS pointer, not the file itself. Run git lfs pull."),
    "compressed": (b"\x1f\x8b\x08\x00" + bytes(40), "compressed. Unpack it and give the file inside."),
    "text": (
        b'{"accuracy": 0.8}',
        "not a checkpoint (it starts with b'{\"accuracy\": 0.8}'). Give a safetensors file or one",
    ),
    "other zip": (
        other_zip,
        "a zip archive that torch.save did not write. If a checkpoint is inside, unpack it first.",
    ),
    "zip bomb": (zip_bomb, "unpack to 67108866, as in a zip bomb; it was not unpacked."),
    "tensor bomb": (
        {"conv.weight": FOUR_TERABYTES},
        "its tensors claim far more bytes than the file holds; they were not unpacked.",
    ),
    "no tensors": (
        {"epoch": 3, "best_acc": 0.8},
        "holds no state dict (found epoch, best_acc). Save {'state_dict': network.state_dict()}",
    ),
    "nothing": ({}, "holds no state dict (found a dict)."),
    "list": ([1, 2, 3], "holds no state dict (found 0, 1, 2)."),
    "numbered keys": ({0: torch.zeros(2), 1: torch.ones(2)}, "holds no state dict (found 0, 1)."),
    "nan": (
        {"state_dict": {"conv.weight": NAN}},
        "2 of the 4 numbers of conv.weight are NaN or infinite. Save the network from before its training",
    ),
    "infinite": (
        lambda path: save_file({"conv.weight": torch.tensor([float("inf"), 0.0])}, path),
        "1 of the 2 numbers of conv.weight are NaN or infinite.",
    ),
    "too large for float32": (
        {"conv.weight": torch.tensor([[1e300]], dtype=torch.float64)},
        "1 of the 1 numbers of conv.weight are NaN or infinite.",
    ),
    "quantised": (quantised_weights, "conv.weight is quantised. Save the network before it is quantised."),
    "without data": ({"conv.weight": torch.empty(3, 3, device="meta")}, "conv.weight is without data."),
    "modules within each other": (modules_within_each_other, "its modules contain each other"),
    "modules that double": (modules_that_double, "its modules contain each other"),
    "calls within calls": (CALLS_WITHIN_CALLS, "maximum recursion depth exceeded"),
    "pairs that are one list": (PAIRS, "truncated or damaged"),
    "a name that is a list": (NAME, "a class has no usable name"),
    "one array, many names": (one_array_under_many_names, "its tensors claim far more bytes than the file holds"),
    "repeated entries": (sparse_tensor_of_repeated_entries, "its tensors claim far more bytes than the file holds"),
    "names that write to the terminal": (
        {"net": STATE, "\x1b[2Jmodel": STATE | {"x": torch.zeros(2, 2)}},
        "'\\x1b[2Jmodel'",
    ),
}


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize(("content", "expected"), BAD.values(), ids=BAD)
def test_each_bad_file_has_its_message(tmp_path, content, expected):
    """One line that starts with the path, says what was found, and what to do; nothing that it describes is built."""
    path = tmp_path / "checkpoint.pt"
    if callable(content):
        content(path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        saved(content, path)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert expected in message
    assert message.endswith(".")
    assert message.isprintable()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path):
    path = saved(STATE, tmp_path / "a.pt")
    path.chmod(0)
    with pytest.raises(CheckpointError, match="cannot be read: Permission denied"):
        read_checkpoint(path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_damaged_bytes_never_raise_anything_else(tmp_path, kind):
    """Any byte may be wrong and any number of them may be missing; a traceback is never the answer."""
    path = tmp_path / "a.pt"
    if kind == "safetensors":
        save_file(STATE, path)
    else:
        saved({"net": STATE, "args": argparse.Namespace(lr=np.float64(0.1))}, path, legacy=kind == "legacy")
    good = path.read_bytes()
    chance = random.Random(0)
    for _ in range(150):
        damaged = bytearray(good[: chance.randrange(1, len(good))] if chance.random() < 0.3 else good)
        for _ in range(chance.choice([1, 4, 16])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        with suppress(CheckpointError):
            read_checkpoint(path)
