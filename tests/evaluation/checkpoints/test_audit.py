"""Audit: counts against hand-made networks, sparsity rules, behaviour checks."""

import pytest
import torch
from torch import nn

from apsite.errors import CheckpointError
from apsite.evaluation.checkpoints.audit import audit_network, check_sparsity
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


@pytest.mark.parametrize(("declared", "zeros", "warned"), [
    (0.9375, 937, False),  # of 1,000 weights
    (0.9375, 940, True),
    (0.9375, 930, None),
    (0.995, 995, False),
    (0.995, 993, True),
    (0.995, 990, None),  # twice the weights that the declared sparsity leaves
    (0.99, 980, True),
])  # fmt: skip
def test_a_sparsity_with_decimals_is_held_to_them(declared, zeros, warned):
    """Whole percent: 0.5 and 2 points; with decimals 0.1 and 0.5 points, and never half of what should remain."""
    network = nn.Linear(100, 10, bias=False)
    with torch.no_grad():
        network.weight.fill_(1.0).view(-1)[:zeros] = 0.0
    audit = audit_network(network, torch.rand(1, 100))
    if warned is None:
        with pytest.raises(CheckpointError, match=f"about {zeros / 1000:.4f}"):
            check_sparsity(audit, Structure.UNSTRUCTURED, declared)
    else:
        finding, warnings = check_sparsity(audit, Structure.UNSTRUCTURED, declared)
        assert finding.measured == pytest.approx(zeros / 1000)
        assert bool(warnings) is warned


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
