"""Packed checkpoints: nothing is lost but precision where that is asked for, and hostile files are refused."""

import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from apsite.baselines.criteria.magnitude import lwm_scores
from apsite.baselines.pruning import apply_masks, global_masks, prunable_weights
from apsite.errors import CheckpointError
from apsite.evaluation.checkpoints.loading import load_network
from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.evaluation.checkpoints.packed import read_about, to_half, write_checkpoint
from apsite.evaluation.checkpoints.reading import read_checkpoint
from apsite.vocabulary import Dataset


@pytest.fixture
def pruned():
    torch.manual_seed(0)
    network = layouts()["resnet8"].build(Dataset.CIFAR10)
    apply_masks(network, global_masks(lwm_scores(prunable_weights(network)), 0.99))
    return network.eval()


def test_a_packed_network_is_the_same_network(pruned, tmp_path):
    path, again = tmp_path / "packed.safetensors", tmp_path / "again.safetensors"
    write_checkpoint(path, pruned.state_dict(), packed=True, about={"criterion": "lwm"})
    write_checkpoint(again, pruned.state_dict(), packed=True, about={"criterion": "lwm"})
    assert path.read_bytes() == again.read_bytes()
    assert path.stat().st_size < 100_000
    read = read_checkpoint(path)
    assert read.format == "safetensors, packed"
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    for name, value in pruned.state_dict().items():
        assert torch.equal(read.state[name], value), name
    assert read_about(path) == {"criterion": "lwm"}


def test_half_precision_keeps_every_zero_and_makes_none(pruned, tmp_path):
    """Also of weights that float16 cannot hold; batch norm keeps its precision."""
    weight = dict(pruned.named_parameters())["layer3.0.conv2.weight"]
    with torch.no_grad():
        weight[0, 0, 0] = torch.tensor([1e-12, -1e-9, 0.0])
    path = tmp_path / "half.safetensors"
    write_checkpoint(path, pruned.state_dict(), half=True, packed=True, about={})
    loaded = load_network(path, architecture="resnet8")
    for name, value in pruned.state_dict().items():
        other = loaded.state_dict()[name]
        assert torch.equal(other == 0, value == 0), name
        if value.dim() < 2:
            assert torch.equal(other, value), name
    assert torch.allclose(dict(loaded.named_parameters())["layer3.0.conv2.weight"], weight, rtol=1e-3, atol=1e-7)


@given(st.lists(st.floats(-60_000, 60_000, width=32), min_size=1))
def test_half_precision_is_near_and_never_zero_by_rounding(values):
    """Within half a unit in the last place, and zero only where the value is."""
    value = torch.tensor(values)
    half = to_half(value)
    assert torch.equal(half == 0, value == 0)
    assert bool(((half.float() - value).abs() <= value.abs() * 2**-11 + 2**-24).all())


def test_a_weight_beyond_half_precision_is_an_error():
    with pytest.raises(CheckpointError, match="too large for half precision"):
        to_half(torch.tensor([7e4]))


def test_dense_tensors_are_stored_as_they_are(tmp_path):
    """Bits and values would be larger."""
    state = {"a.weight": torch.ones(8, 8), "b.weight": torch.eye(8)}
    write_checkpoint(tmp_path / "a.safetensors", state, packed=True, about={})
    assert set(load_file(tmp_path / "a.safetensors")) == {
        "a.weight", "b.weight::shape", "b.weight::bits", "b.weight::values",
    }  # fmt: skip


GOOD = {
    "w::shape": torch.tensor([4, 4]),
    "w::bits": torch.tensor([0b10000000, 0b00000001], dtype=torch.uint8),
    "w::values": torch.tensor([1.0, 2.0]),
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"w::shape": None}, "is no part of a packed tensor"),
        ({"w::bits": None}, "a part of the packed tensor w is missing"),
        ({"w::values": torch.tensor([1.0])}, "contradict each other"),
        ({"w::values": torch.tensor([1, 2])}, "contradict each other"),
        ({"w::shape": torch.tensor([4, 40_000_000])}, "contradict each other"),
        ({"w::shape": torch.tensor([-4, -4])}, "contradict each other"),
        ({"w::shape": torch.tensor([2**32, 2**32])}, "contradict each other"),
        ({"w::shape": torch.tensor([4.0, 4.0])}, "contradict each other"),
        ({"w::colour": torch.tensor([4.0, 4.0])}, "is no part of a packed tensor"),
    ],
)
def test_damaged_parts_are_refused(tmp_path, change, reason):
    """Whatever a file claims, nothing larger than its bits allow is made of it."""
    path = tmp_path / "bad.safetensors"
    save_file({name: value for name, value in {**GOOD, **change}.items() if value is not None}, path)
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(path)


def test_the_first_value_is_the_highest_bit(tmp_path):
    path = tmp_path / "good.safetensors"
    save_file(GOOD, path)
    expected = torch.zeros(4, 4)
    expected[0, 0], expected[3, 3] = 1, 2
    assert torch.equal(read_checkpoint(path).state["w"], expected)


def test_files_of_other_programs_say_nothing_about_themselves(tmp_path):
    save_file(GOOD, tmp_path / "good.safetensors")
    assert read_about(tmp_path / "good.safetensors") == {}
    assert read_about(tmp_path / "none.safetensors") == {}
