"""Reading checkpoints: what is accepted, and a corpus of bad files none of which may execute or go unexplained."""

from __future__ import annotations

import argparse
import datetime
import functools
import hashlib
import io
import os
import pickle
import random
import tarfile
import warnings
import zipfile
from collections import Counter, OrderedDict, defaultdict
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from apsite.errors import CheckpointError
from apsite.evaluation.checkpoints.reading import MAX_BYTES, read_checkpoint
from apsite.evaluation.checkpoints.state_dicts import CONTAINERS

STATE = {"conv.weight": torch.linspace(-1, 1, 108).view(4, 3, 3, 3), "bn.num_batches_tracked": torch.tensor(7)}


class Hostile:
    """An object whose pickle creates a file when it is loaded."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self):
        return exec, (f"open({str(self.sentinel)!r}, 'w').close()",)


def saved(content, path, *, legacy=False):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def bytes_of(content, *, legacy=False):
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def same_as_state(checkpoint):
    assert set(checkpoint.state) == set(STATE)
    assert all(torch.equal(checkpoint.state[name], value) for name, value in STATE.items())


# --- what is accepted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.pth.tar", "a.t7", "a.tar", "a.ckpt", "a"])
@pytest.mark.parametrize("legacy", [False, True])
def test_the_format_is_told_by_the_bytes_and_not_by_the_name(tmp_path, name, legacy):
    """Training scripts call the same format .pt, .pth.tar or .t7."""
    checkpoint = read_checkpoint(saved(STATE, tmp_path / name, legacy=legacy))
    same_as_state(checkpoint)
    assert checkpoint.format == ("torch legacy" if legacy else "torch zip")


def test_safetensors_are_read_under_any_name(tmp_path):
    """They hold no container and cannot hold code."""
    for name in ("a.safetensors", "a.bin"):
        save_file(STATE, tmp_path / name)
        checkpoint = read_checkpoint(tmp_path / name)
        same_as_state(checkpoint)
        assert (checkpoint.format, checkpoint.container) == ("safetensors", "bare")


def test_the_hash_and_size_are_those_of_the_whole_file(tmp_path):
    """They identify the checkpoint in a record."""
    path = saved({"state_dict": STATE, "epoch": 3}, tmp_path / "a.pt")
    checkpoint = read_checkpoint(path)
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (checkpoint.path, checkpoint.size) == (path, path.stat().st_size)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("legacy", [False, True])
def test_the_state_dict_is_found_in_each_known_container(tmp_path, container, legacy):
    """Optimiser, history and single tensors beside it are not weights."""
    content = {container: STATE, "optimizer": {"state": {0: torch.ones(2)}}, "best": torch.tensor(0.5), "epoch": 9}
    checkpoint = read_checkpoint(saved(content, tmp_path / "a.pt", legacy=legacy))
    same_as_state(checkpoint)
    assert checkpoint.container == container


def test_containers_may_be_nested(tmp_path):
    """Some scripts save a container inside another."""
    checkpoint = read_checkpoint(saved({"model": {"state_dict": STATE}}, tmp_path / "a.pt"))
    same_as_state(checkpoint)
    assert checkpoint.container == "model.state_dict"


@pytest.mark.parametrize("legacy", [False, True])
def test_harmless_objects_beside_the_weights_are_never_made(tmp_path, legacy):
    """MAD stores its options as an argparse namespace; others store numpy numbers and paths."""
    extras = {
        "args": argparse.Namespace(depth=18, path=PurePosixPath("x"), nested=argparse.Namespace(lr=0.1)),
        "acc": np.float64(81.5),
        "history": np.arange(4),
        "correct": np.bool_(True),
        "count": np.int64(3),
        "options": OrderedDict(a=1),
    }
    same_as_state(read_checkpoint(saved({"net": STATE, **extras}, tmp_path / "a.t7", legacy=legacy)))


def test_tensors_come_as_plain_contiguous_float32_on_the_cpu(tmp_path):
    """Parameters lose their gradient, views their strides, half precision is widened and said to be."""
    state = {
        "a": nn.Parameter(torch.rand(3, 2)),
        "view": torch.arange(6.0).view(2, 3).T,
        "half": torch.tensor([0.5, 2.0], dtype=torch.float16),
        "brain": torch.tensor([0.25], dtype=torch.bfloat16),
        "double": torch.tensor([1 / 3], dtype=torch.float64),
        "layer.weight_mask": torch.tensor([True, False]),
        "bn.num_batches_tracked": torch.tensor(3, dtype=torch.int32),
    }
    checkpoint = read_checkpoint(saved(state, tmp_path / "a.pt"))
    for name, value in checkpoint.state.items():
        assert type(value) is torch.Tensor
        assert value.dtype is (torch.int64 if name.endswith("tracked") else torch.float32)
        assert value.is_contiguous()
        assert not value.requires_grad
    assert torch.equal(checkpoint.state["view"], state["view"])
    assert checkpoint.state["half"].tolist() == [0.5, 2.0]
    assert checkpoint.state["layer.weight_mask"].tolist() == [1.0, 0.0]
    assert "1 tensor converted from float16." in checkpoint.notes
    assert len(checkpoint.notes) == 5


def test_the_state_cannot_be_changed(tmp_path):
    """What was read is what is recorded."""
    checkpoint = read_checkpoint(saved(STATE, tmp_path / "a.pt"))
    with pytest.raises(TypeError):
        checkpoint.state["conv.weight"] = torch.zeros(1)


class Pruned(nn.Module):
    """A network class of somebody's training script, which does not exist where its file is read."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.block = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        self.register_buffer("seen", torch.ones(2), persistent=False)


class Meter:
    """What training scripts keep running averages in."""

    def __init__(self):
        self.average = 1.0


class NamedState(OrderedDict):
    """A state dict of a class of its own."""


BESIDE = {
    "date": datetime.date(2023, 5, 1),
    "defaultdict": defaultdict(list, {"losses": [0.1]}),
    "meter": Meter(),
    "counter": Counter("ab"),
    "partial": functools.partial(nn.BatchNorm2d, eps=1e-3),
    "loss": nn.CrossEntropyLoss(),
    "dtype": [torch.float32, torch.device("cuda:0"), torch.Size([1]), torch.get_rng_state(), random.getstate()],
    "arrays": [np.zeros(3, np.uint8), np.random.RandomState(0).get_state(), np.array([{"a": 1}], dtype=object)],
    "version": torch.__version__,
    "set": {1, 2, frozenset({3})},
    "complex": 1j,
    "slice": slice(1, 2),
}


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("legacy", [False, True])
def test_whatever_lies_beside_the_weights_is_left_aside(tmp_path, beside, legacy):
    """An honest author saves what the training script had at hand."""
    content = {"state_dict": STATE, beside: BESIDE[beside]}
    same_as_state(read_checkpoint(saved(content, tmp_path / "a.pt", legacy=legacy)))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_of_pickle_is_read(tmp_path, protocol):
    """Of `torch.save`, and of `pickle.dump` with tensors or arrays."""
    path = tmp_path / "a.pt"
    torch.save({"net": STATE}, path, pickle_protocol=protocol)
    same_as_state(read_checkpoint(path))
    path.write_bytes(pickle.dumps({"net": STATE}, protocol=protocol))
    same_as_state(read_checkpoint(path))
    arrays = {name: np.asfortranarray(value) if value.ndim else value.numpy() for name, value in STATE.items()}
    path.write_bytes(pickle.dumps({"net": arrays}, protocol=protocol))
    checkpoint = read_checkpoint(path)
    same_as_state(checkpoint)
    assert checkpoint.format == "pickle"


def test_arrays_of_numpy_are_read(tmp_path):
    """Under any name, since the format is told by the bytes."""
    np.savez(tmp_path / "a.npz", **{name: value.numpy() for name, value in STATE.items()})
    same_as_state(read_checkpoint(tmp_path / "a.npz"))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("container", [None, "model"])
def test_a_whole_pickled_network_gives_its_state_dict(tmp_path, legacy, container):
    """Its class is never imported; buffers that are not stored stay out."""
    network = Pruned()
    path = saved({container: network} if container else network, tmp_path / "a.pt", legacy=legacy)
    checkpoint = read_checkpoint(path)
    wanted = network.state_dict()
    assert set(checkpoint.state) == set(wanted)
    assert all(torch.equal(checkpoint.state[name], value) for name, value in wanted.items())


def test_a_script_gives_its_parameters(tmp_path):
    """Of TorchScript the program is left alone."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(7200, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network), tmp_path / "a.pt")
    state = read_checkpoint(tmp_path / "a.pt").state
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("form", ["coo", "csr", "negative zero", "subclass", "attribute", "view"])
def test_unusual_tensors_keep_their_numbers(tmp_path, form):
    """Sparse ones, subclasses, and ones that carry attributes."""
    weight = torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]])
    stored = {
        "coo": weight.to_sparse,
        "csr": weight.to_sparse_csr,
        "negative zero": lambda: torch.where(weight == 0, -0.0, weight),
        "subclass": lambda: nn.Parameter(weight),
        "attribute": weight.clone,
        "view": lambda: weight.T.contiguous().T,
    }[form]()
    if form == "attribute":
        stored.data_ptr = stored.mask = "shadows a method"
    found = read_checkpoint(saved({"fc.weight": stored, "epoch": 3}, tmp_path / "a.pt"))
    assert found.state["fc.weight"].tolist() == weight.tolist()
    assert found.notes == ("No tensors among the weights, left aside: epoch.",)


HALF = {name: value * 0.5 if value.is_floating_point() else value for name, value in STATE.items()}
SEVERAL = {
    "raw and averaged": ({"state_dict": HALF, "state_dict_ema": STATE}, "state_dict_ema"),
    "best": ({"net": HALF, "best_net": STATE, "optimizer": {"state": {0: {"v": torch.ones(2, 2)}}}}, "best_net"),
    "two usual names": ({"net": HALF, "model": STATE}, "model"),
    "distillation": ({"teacher": HALF, "student": STATE}, "student"),
    "one dict": (
        {
            f"{where}.{name}": value
            for where, half in (("online", HALF), ("ema", STATE))
            for name, value in half.items()
        },
        "ema",
    ),
}


@pytest.mark.parametrize("case", SEVERAL)
def test_of_several_networks_one_is_chosen(tmp_path, case):
    """Averaged weights beside raw ones are never guessed; the option that chooses is in the message."""
    content, keys = SEVERAL[case]
    path = saved(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"holds several state dicts: .* Choose one with --state") as caught:
        read_checkpoint(path)
    assert keys in str(caught.value)
    same_as_state(read_checkpoint(path, state=keys))
    with pytest.raises(CheckpointError, match="no state dict under nothing"):
        read_checkpoint(path, state="nothing")


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        ({"ema": STATE, "epoch": 9}, "ema"),
        ({"checkpoint": {"trainer": {"model": {"state_dict": STATE}}}}, "checkpoint.trainer.model.state_dict"),
        ({"state_dict": STATE, "model": "resnet18", "params": {"lr": 0.1}}, "state_dict"),
        ({"state_dict": STATE, "projector": {"head.weight": torch.ones(2, 2)}}, "state_dict"),
        ([{"params_ema": STATE}, 3], "0.params_ema"),
        (NamedState(STATE), "bare"),
    ],
)
def test_a_single_network_is_found_under_any_key(tmp_path, content, keys):
    """Options and other small tensors beside it are no networks."""
    checkpoint = read_checkpoint(saved(content, tmp_path / "a.pt"))
    same_as_state(checkpoint)
    assert checkpoint.container == keys


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
    """One line that starts with the path, says what was found, and what to do."""
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
    """The system's reason is passed on."""
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
