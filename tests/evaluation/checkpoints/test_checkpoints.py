"""Reading checkpoints: what is accepted, whatever lies beside the weights."""

from __future__ import annotations

import argparse
import datetime
import functools
import hashlib
import pickle
import random
import warnings
from collections import Counter, OrderedDict, defaultdict
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from apsite.errors import CheckpointError
from apsite.evaluation.checkpoints.reading import read_checkpoint
from apsite.evaluation.checkpoints.state_dicts import CONTAINERS
from tests.checkpoint_files import STATE, saved


def same_as_state(checkpoint):
    assert set(checkpoint.state) == set(STATE)
    assert all(torch.equal(checkpoint.state[name], value) for name, value in STATE.items())


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
    path = saved({"state_dict": STATE, "epoch": 3}, tmp_path / "a.pt")
    checkpoint = read_checkpoint(path)
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (checkpoint.path, checkpoint.size) == (path, path.stat().st_size)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("legacy", [False, True])
def test_the_state_dict_is_found_in_each_known_container(tmp_path, container, legacy):
    content = {container: STATE, "optimizer": {"state": {0: torch.ones(2)}}, "best": torch.tensor(0.5), "epoch": 9}
    checkpoint = read_checkpoint(saved(content, tmp_path / "a.pt", legacy=legacy))
    same_as_state(checkpoint)
    assert checkpoint.container == container


def test_tensors_come_as_plain_contiguous_float32_on_the_cpu(tmp_path):
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
    # MAD stores its options as an argparse namespace.
    "args": argparse.Namespace(depth=18, path=PurePosixPath("x"), nested=argparse.Namespace(lr=0.1)),
    "acc": np.float64(81.5),
    "history": np.arange(4),
    "correct": np.bool_(True),
    "count": np.int64(3),
    "options": OrderedDict(a=1),
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
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(7200, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network), tmp_path / "a.pt")
    state = read_checkpoint(tmp_path / "a.pt").state
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("form", ["coo", "csr", "negative zero", "subclass", "attribute", "view"])
def test_unusual_tensors_keep_their_numbers(tmp_path, form):
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
        ({"model": {"state_dict": STATE}}, "model.state_dict"),
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
