"""Audit: counts against hand-made networks, sparsity rules, behaviour checks."""

import pytest
import torch
from torch import nn

from apsite.errors import CheckpointError, NetworkError
from apsite.evaluation.checkpoints.audit import audit_network, check_behaviour, check_sparsity, dead_gradients
from apsite.vocabulary import Structure


def small_network() -> nn.Sequential:
    """Two convolutions of 4 and 6 filters and a linear layer, on 8 x 8 images."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.Flatten(),
        nn.Linear(96, 10),
    ).eval()


def test_counts_of_a_hand_made_network():
    network = small_network()
    with torch.no_grad():
        network[0].weight[1] = 0
        network[2].weight[:, 1] = 0
    audit = audit_network(network, torch.rand(1, 3, 8, 8))
    assert audit.weights == 4 * 27 + 6 * 36 + 960
    assert audit.zero_weights == 27 + 6 * 9
    assert (audit.filters, audit.zero_filters) == (10, 1)
    assert (audit.channels, audit.zero_channels) == (7, 1)
    assert audit.macs == 108 * 64 + 216 * 16 + 960
    assert audit.effective_macs == (108 - 27) * 64 + (216 - 54) * 16 + 960
    assert audit.parameters == audit.weights + 4 + 6 + 10
    assert [layer.zero_weights for layer in audit.layers] == [27, 54, 0]


def zeroed(share: float) -> nn.Sequential:
    network = small_network()
    with torch.no_grad():
        for module in network:
            if hasattr(module, "weight"):
                flat = module.weight.view(-1)
                flat[: round(len(flat) * share)] = 0
    return network


@pytest.mark.parametrize(("actual", "warned"), [(0.9, False), (0.904, False), (0.91, True)])
def test_a_small_difference_of_sparsity_is_warned_about(actual, warned):
    """Up to half a point passes, up to two points with a warning."""
    audit = audit_network(zeroed(actual), torch.rand(1, 3, 8, 8))
    finding, warnings = check_sparsity(audit, Structure.UNSTRUCTURED, 0.9)
    assert finding.basis == "weights"
    assert [warning.code for warning in warnings] == (["sparsity-differs"] if warned else [])


def test_a_wrong_sparsity_is_refused_with_the_measured_one():
    audit = audit_network(zeroed(0.5), torch.rand(1, 3, 8, 8))
    with pytest.raises(
        CheckpointError, match=r"declared sparsity is 90\.00% but 50\.\d\d% of the weights are removed.*about 0\.50"
    ):
        check_sparsity(audit, Structure.UNSTRUCTURED, 0.9)


def test_removed_filters_may_match_a_structured_sparsity():
    """Half of the filters removed matches 0.50 by filters even where the share of zero weights differs."""
    network = small_network()
    with torch.no_grad():
        network[0].weight[:2] = 0
        network[2].weight[:3] = 0
    audit = audit_network(network, torch.rand(1, 3, 8, 8))
    finding, warnings = check_sparsity(audit, Structure.STRUCTURED, 0.5)
    assert (finding.basis, finding.matched) == ("filters", 0.5)
    assert finding.measured < 0.2
    assert warnings == []


def test_a_dense_network_has_no_declared_sparsity():
    finding, warnings = check_sparsity(audit_network(small_network(), torch.rand(1, 3, 8, 8)), None, 0.0)
    assert finding.measured == 0
    assert warnings == []


class Behaviour(nn.Module):
    def __init__(self, habit):
        super().__init__()
        self.linear, self.habit = nn.Linear(12, 10), habit

    def forward(self, x):
        logits = self.linear(x.flatten(1))
        return {
            "none": logits,
            "softmax": logits.softmax(1),
            "random": logits + torch.rand_like(logits),
            "dead": logits.detach() + 0 * x.sum(),
            "nan": logits * float("nan"),
            "shape": logits[:, :5],
        }[self.habit]


@pytest.mark.parametrize(
    ("habit", "codes"),
    [("none", []), ("softmax", ["softmax-output"]), ("random", ["non-deterministic"]), ("dead", ["dead-gradients"])],
)
def test_bad_habits_are_named(habit, codes):
    x = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    found = check_behaviour(Behaviour(habit).eval(), x, torch.arange(4), 10)
    assert [warning.code for warning in found] == codes


@pytest.mark.parametrize(("habit", "message"), [("nan", "NaN or infinite logits"), ("shape", r"\(4, 5\).*\(4, 10\)")])
def test_networks_that_cannot_be_evaluated_are_refused(habit, message):
    with pytest.raises(NetworkError, match=message):
        check_behaviour(Behaviour(habit).eval(), torch.rand(4, 3, 2, 2), torch.arange(4), 10)


def test_training_mode_is_refused():
    """Batch statistics would change while attacking."""
    with pytest.raises(NetworkError, match=r"call \.eval\(\)"):
        check_behaviour(Behaviour("none").train(), torch.rand(4, 3, 2, 2), torch.arange(4), 10)


def test_share_of_dead_gradients():
    """A network that saturates for half of the images has dead gradients for that half."""

    class Half(nn.Module):
        def forward(self, x):
            alive = (x.flatten(1)[:, :1] > 0.5).float()
            return torch.cat([x.flatten(1)[:, :3] * alive, torch.zeros(len(x), 7)], dim=1)

    x = torch.full((4, 3, 2, 2), 0.1)
    x[:2] = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.55
    assert dead_gradients(Half(), x, torch.zeros(4, dtype=torch.int64)) == 0.5
