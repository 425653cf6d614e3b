"""Fused convolutions give what the single operations give, bit by bit, and overwrite nothing that is read later."""

import copy

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from apsite.evaluation.attacks.execution import input_gradient
from apsite.evaluation.attacks.fused import FusedConvolution, fused
from apsite.evaluation.attacks.simplification import simplified
from benchmarks.cases import demonstration, untrained


class Block(nn.Module):
    """Convolutions around a sum, with what comes after the first, at the sum and at the end."""

    def __init__(self, forward):
        super().__init__()
        self.first, self.second = (nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1))
        self.shortcut, self.grouped = nn.Conv2d(32, 32, 1, bias=False), nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.strided, self.same = nn.Conv2d(32, 32, 3, 2), nn.Conv2d(32, 32, 3, padding="same")
        self.relu, self.identity = nn.ReLU(), nn.Identity()
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x).flatten(1)[:, :10]


def plus(self, value: Tensor, other: Tensor) -> Tensor:
    value += other
    return value


BLOCKS = {
    "nothing behind it": (lambda b, x: b.second(b.first(x)), 2, 0),
    "ReLU as a module": (lambda b, x: b.relu(b.second(b.relu(b.first(x)))), 2, 0),
    "ReLU as a function": (lambda b, x: functional.relu(b.strided(torch.relu(b.first(x)))), 2, 0),
    "groups, no bias": (lambda b, x: b.grouped(b.shortcut(b.first(x))), 3, 0),
    "identity": (lambda b, x: torch.relu(b.second(b.second(y := torch.relu(b.first(x)))) + y), 3, 1),
    "identity first": (lambda b, x: (y := torch.relu(b.first(x))) + b.second(b.second(y)), 3, 1),
    "in place": (lambda b, x: torch.relu(plus(b, b.second(b.second(y := b.first(x))), y)), 3, 1),
    "shortcut": (lambda b, x: torch.relu(b.second(b.second(y := b.first(x))) + b.shortcut(y)), 4, 1),
    "its own input": (lambda b, x: torch.relu(b.second(y := b.first(x)) + y), 2, 0),
    "read again later": (lambda b, x: (b.second(b.second(y := b.first(x))) + y) * y, 3, 0),
    "kept by another name": (lambda b, x: b.identity(y := b.first(x)) * (b.second(b.second(y)) + y), 3, 0),
    "the same result twice": (lambda b, x: (y := b.first(x)) + y, 1, 0),
    "a sum of another shape": (lambda b, x: b.first(x) + b.second(b.first(x)).mean((2, 3), keepdim=True), 3, 0),
    "a number": (lambda b, x: b.first(x) + 1, 1, 0),
    "changes the other": (lambda b, x: plus(b, y := b.identity(b.first(x)), b.second(b.first(x))) * y, 3, 0),
    "padding by name": (lambda b, x: b.same(b.first(x)), 1, 0),
}  # fmt: skip


def layers(network: nn.Module) -> list[FusedConvolution]:
    return [one for one in network.modules() if isinstance(one, FusedConvolution)]


@pytest.mark.parametrize(("forward", "count", "overwriting"), BLOCKS.values(), ids=BLOCKS)
def test_values_and_gradients_are_those_of_the_single_operations(forward, count, overwriting):
    torch.manual_seed(0)
    network = fx.symbolic_trace(Block(forward).eval().requires_grad_(False)).to(memory_format=torch.channels_last)
    x = torch.rand(5, 3, 9, 9)
    fast = fused(network, x)
    assert len(layers(fast)) == count
    assert sum(layer.overwrites for layer in layers(fast)) == overwriting
    for size in (4, 5):
        point = x[:size].clone().requires_grad_(True)
        with torch.no_grad():
            assert torch.equal(fast(point), network(point))
        assert torch.equal(*(input_gradient(one(point).sum(), point) for one in (fast, network)))


@pytest.mark.parametrize("case", [demonstration(8), untrained(0.9, 8)], ids=["ResNet8", "ResNet18 without channels"])
def test_networks_of_the_benchmark_are_fused_whole(case):
    x = torch.from_numpy(case.images).float() / 255
    network = simplified(copy.deepcopy(case.network), x).network
    fast = fused(network, x)
    assert len(layers(fast)) == sum(isinstance(one, nn.Conv2d) for one in network.modules())
    assert not any(node.target in (torch.relu, torch.relu_) for node in fast.graph.nodes)


def test_other_networks_stay_as_they_are():
    """One that is not traced, and one whose logits are not the same the second time."""
    x = torch.rand(4, 3, 9, 9)
    plain = Block(BLOCKS["identity"][0]).eval()
    random = fx.symbolic_trace(Block(lambda b, x: b.first(x) + torch.rand_like(x).sum()))
    assert [fused(one, x) for one in (plain, random)] == [plain, random]
