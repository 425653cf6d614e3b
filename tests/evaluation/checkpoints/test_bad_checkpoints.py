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


# --- files that would execute code ------------------------------------------------------------------------------------


def hostile_zip(path, bad):
    saved({"state_dict": {**STATE, "x": bad}}, path)


def hostile_legacy(path, bad):
    saved({"state_dict": STATE, "x": bad}, path, legacy=True)


def hostile_in_namespace(path, bad):
    saved({"net": STATE, "args": argparse.Namespace(callback=bad)}, path)


def hostile_pickle(path, bad):
    path.write_bytes(pickle.dumps({"state_dict": {}, "x": bad}, protocol=2))


def hostile_after_magic(path, bad):
    good = bytes_of(STATE, legacy=True)
    path.write_bytes(good[: good.index(b".") + 1] + pickle.dumps(bad, protocol=2))


def hostile_text_pickle(path, bad):
    path.write_bytes(pickle.dumps(bad, protocol=0))


def hostile_tar(path, bad):
    """The format of torch before 0.2: pickles inside a tar archive."""
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = pickle.dumps(bad, protocol=2)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def hostile_safetensors(path, bad):
    """A pickle behind the name of a format that cannot hold one."""
    path.with_suffix(".safetensors").write_bytes(pickle.dumps({"x": bad}))
    path.symlink_to(path.with_suffix(".safetensors"))


def hostile_script(path, bad):
    """The layout of a TorchScript archive."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/model.py"):
            archive.writestr(f"a/{name}", pickle.dumps(bad, protocol=2))


def hostile_state_method(path, bad):
    """A dict that overrides its own methods."""
    state = OrderedDict(STATE)
    state.values = bad
    saved({"state_dict": state}, path)


HARMLESS = (hostile_zip, hostile_legacy, hostile_in_namespace, hostile_state_method)
HOSTILE = {
    **dict.fromkeys(HARMLESS),
    hostile_after_magic: "truncated or damaged",
    hostile_pickle: "holds no state dict",
    hostile_text_pickle: "not a checkpoint (it starts with",
    hostile_tar: "a tar archive, which is not read",
    hostile_safetensors: "holds no state dict",
    hostile_script: "holds no state dict",
}


@pytest.mark.parametrize("write", HOSTILE, ids=lambda write: write.__name__)
def test_no_file_executes_code(tmp_path, write):
    """The file that its code would create is not there; weights beside it are read, and nothing else is a network."""
    sentinel, path = tmp_path / "executed", tmp_path / "checkpoint.pth.tar"
    write(path, Hostile(sentinel))
    if write in HARMLESS:
        assert torch.equal(read_checkpoint(path).state["conv.weight"], STATE["conv.weight"])
        assert not sentinel.exists()
        return
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert not sentinel.exists()
    assert str(caught.value).startswith(f"{path}: ")
    assert HOSTILE[write] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_hostile_object_does_execute_when_it_is_unpickled(tmp_path):
    """Otherwise the test above would prove nothing."""
    sentinel = tmp_path / "executed"
    pickle.loads(pickle.dumps(Hostile(sentinel)))
    assert sentinel.exists()


# --- files that are broken, or something else -------------------------------------------------------------------------


def missing(path):
    pass


def directory(path):
    path.mkdir()


def symlink_loop(path):
    other = path.with_name("other")
    other.symlink_to(path)
    path.symlink_to(other)


def dangling_link(path):
    path.symlink_to(path.with_name("nowhere"))


def named_pipe(path):
    os.mkfifo(path)


def empty(path):
    path.touch()


def huge(path):
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)


def truncated_zip(path):
    good = bytes_of(STATE)
    path.write_bytes(good[: len(good) // 2])


def truncated_legacy(path):
    good = bytes_of(STATE, legacy=True)
    path.write_bytes(good[:-100])


def truncated_safetensors(path):
    save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:-8])


def truncated_to_a_few_bytes(path):
    path.write_bytes(bytes_of(STATE, legacy=True)[:6])


def html_page(path):
    path.write_text("\n<!DOCTYPE html><html><head><title>Quota exceeded</title></head></html>", encoding="utf-8")


def lfs_pointer(path):
    path.write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 44778113\n", encoding="utf-8"
    )


def compressed(path):
    path.write_bytes(b"\x1f\x8b\x08\x00" + bytes(40))


def text(path):
    path.write_text('{"accuracy": 0.8}', encoding="utf-8")


def other_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("models/resnet18.pt", b"x")


def zip_bomb(path):
    """A valid archive whose pickle unpacks to a thousand times its size."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(64 * 2**20))
        archive.writestr("a/version", b"3\n")


def tensor_bomb(path):
    """One stored number that claims to be a tensor of four terabytes."""
    saved({"conv.weight": torch.zeros(1).expand(2**20, 2**20)}, path)


def no_tensors(path):
    saved({"epoch": 3, "best_acc": 0.8}, path)


def nothing(path):
    saved({}, path)


def a_list(path):
    saved([1, 2, 3], path)


def numbered_keys(path):
    saved({0: torch.zeros(2), 1: torch.ones(2)}, path)


def nan_weights(path):
    saved({"state_dict": {"conv.weight": torch.tensor([[1.0, float("nan"), 2.0, float("nan")]])}}, path)


def infinite_weights(path):
    save_file({"conv.weight": torch.tensor([float("inf"), 0.0])}, path)


def too_large_for_float32(path):
    saved({"conv.weight": torch.tensor([[1e300]], dtype=torch.float64)}, path)


def integer_weights(path):
    saved({"conv.weight": torch.ones(2, 2, dtype=torch.int8)}, path)


def bool_weights(path):
    save_file({"conv.weight": torch.ones(2, 2, dtype=torch.bool)}, path)


def complex_weights(path):
    saved({"conv.weight": torch.ones(2, 2, dtype=torch.complex64)}, path)


def quantised_weights(path):
    buffer = io.BytesIO()
    torch.save({"conv.weight": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}, buffer)
    path.write_bytes(buffer.getvalue())


def weights_without_data(path):
    saved({"conv.weight": torch.empty(3, 3, device="meta")}, path)


BAD = {
    missing: "no such file. Give the path of a checkpoint.",
    directory: "a directory. Give the path of the checkpoint file inside it.",
    symlink_loop: "a symbolic link that leads back to itself. Link to the file.",
    dangling_link: "no such file.",
    named_pipe: "not an ordinary file.",
    empty: "empty. Copy or download it again.",
    huge: "4294967297 bytes, more than the 4294967296 that are read. Save the network alone",
    truncated_zip: "truncated or damaged",
    truncated_legacy: "truncated or damaged",
    truncated_safetensors: "truncated or damaged safetensors",
    truncated_to_a_few_bytes: "truncated or damaged (6 bytes). Copy or download it again.",
    html_page: "an HTML page, probably a message of the download site. Download the file itself",
    lfs_pointer: "a Git LFS pointer, not the file itself. Run git lfs pull.",
    compressed: "compressed. Unpack it and give the file inside.",
    text: "not a checkpoint (it starts with b'{\"accura'). Give a safetensors file or one that torch.save wrote.",
    other_zip: "a zip archive that torch.save did not write. If a checkpoint is inside, unpack it first.",
    zip_bomb: "unpack to 67108866, as in a zip bomb; it was not unpacked.",
    tensor_bomb: "its tensors claim far more bytes than the file holds; they were not unpacked.",
    no_tensors: "holds no state dict (found epoch, best_acc). Save {'state_dict': network.state_dict()}",
    nothing: "holds no state dict (found a dict).",
    a_list: "holds no state dict (found 0, 1, 2).",
    numbered_keys: "holds no state dict (found 0, 1).",
    nan_weights: "2 of the 4 numbers of conv.weight are NaN or infinite. Save the network from before its training",
    infinite_weights: "1 of the 2 numbers of conv.weight are NaN or infinite.",
    too_large_for_float32: "1 of the 1 numbers of conv.weight are NaN or infinite.",
    integer_weights: "conv.weight holds int8 numbers; weights must be float32",
    bool_weights: "conv.weight holds bool numbers; weights must be float32",
    complex_weights: "conv.weight holds complex64 numbers; weights must be float32",
    quantised_weights: "conv.weight is quantised. Save the network before it is quantised.",
    weights_without_data: "conv.weight is without data.",
}


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("write", BAD, ids=lambda write: write.__name__)
def test_each_bad_file_has_its_message(tmp_path, write):
    path = tmp_path / "checkpoint.pt"
    write(path)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert BAD[write] in message
    assert message.endswith(".")
    assert "\n" not in message


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


# --- small files that would take much memory or time ------------------------------------------------------------------

FROM_TYPE = b"ctorch._tensor\n_rebuild_from_type_v2\nq\x00"


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


def calls_within_calls(path):
    path.write_bytes(b"\x80\x02" + FROM_TYPE + b"h\x00N" * 5000 + b")" + b"\x87" * 5000 + b"R.")


def pairs_that_are_one_long_list(path):
    """Each of 2,000 pairs is the same list of 2,000 elements."""
    path.write_bytes(
        b"\x80\x02ccollections\nOrderedDict\n](" + b"N" * 2000 + b"eq\x000](" + b"h\x00" * 2000 + b"e\x85R."
    )


def a_name_that_is_a_list(path):
    """Its text would double with every level."""
    path.write_bytes(b"\x80\x04](" + b"NNeq\x00" + b"](h\x00h\x00eq\x00" * 60 + b"h\x00\x93.")


def one_array_under_many_names(path):
    array = np.zeros((500, 500), np.float32)
    path.write_bytes(pickle.dumps({f"layer{number}.weight": array for number in range(100)}))


def sparse_tensor_of_repeated_entries(path):
    indices, values = torch.zeros(1, 1, dtype=torch.int64).expand(1, 2**30), torch.zeros(1).expand(2**30)
    saved({"fc.weight": torch.sparse_coo_tensor(indices, values, (4,), check_invariants=False)}, path)


def names_that_write_to_the_terminal(path):
    saved({"net": STATE, "\x1b[2Jmodel": STATE | {"x": torch.zeros(2, 2)}}, path)


BOMBS = {
    modules_within_each_other: "its modules contain each other",
    modules_that_double: "its modules contain each other",
    calls_within_calls: "maximum recursion depth exceeded",
    pairs_that_are_one_long_list: "truncated or damaged",
    a_name_that_is_a_list: "a class has no usable name",
    one_array_under_many_names: "its tensors claim far more bytes than the file holds",
    sparse_tensor_of_repeated_entries: "its tensors claim far more bytes than the file holds",
    names_that_write_to_the_terminal: "'\\x1b[2Jmodel'",
}


@pytest.mark.parametrize("write", BOMBS, ids=lambda write: write.__name__)
def test_no_small_file_takes_much_memory_or_time(tmp_path, write):
    path = tmp_path / "checkpoint.pt"
    write(path)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert BOMBS[write] in str(caught.value)
    assert str(caught.value).isprintable()
