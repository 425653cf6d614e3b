"""N:M patterns of networks built by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from apsite.errors import CheckpointError
from apsite.evaluation.checkpoints.audit import audit_network, check_pattern
from apsite.records.patterns import Pattern, left_dense

TWO_OF_FOUR = Pattern(2, 4)
ALONG_CHANNELS = torch.tensor([1.0, 0, 0, 1, 0, 1, 1, 0])
"""Eight weights that follow 2:4, and nothing sparser."""


def network(middle: nn.Module, out: int = 8) -> nn.Sequential:
    """Two layers that may stay dense, and one between them that may not, all weights one."""
    layers = nn.Sequential(nn.Conv2d(3, 8, 1), middle, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(out, 10))
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.fill_(1)
    return layers.eval()


def measured(built: nn.Sequential, pattern: Pattern = TWO_OF_FOUR):
    """Audit of such a network, which must follow the pattern."""
    audit = audit_network(built, torch.rand(1, 3, 8, 8), pattern=pattern)
    check_pattern(built, audit, pattern)
    return audit


@pytest.mark.parametrize(
    ("layer", "along", "out"),
    [
        (nn.Conv2d(8, 8, 3), (1, 8, 1, 1), 8),
        (nn.Conv2d(8, 4, 1), (1, 8, 1, 1), 4),
        (nn.Conv2d(8, 8, 3, groups=2), None, 8),
        (nn.ConvTranspose2d(8, 4, 3), (8, 1, 1, 1), 4),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 8), nn.Unflatten(1, (8, 1, 1))), (1, 8), 8),
    ],
)
def test_groups_lie_along_the_input_channels(layer, along, out):
    """Each filter and each position of the kernel has its own groups; a group of channels has those of its part."""
    built = network(layer, out)
    weight = next(part for part in layer.modules() if hasattr(part, "weight")).weight
    with torch.no_grad():
        weight.mul_(ALONG_CHANNELS.view(along) if along else ALONG_CHANNELS[:4].view(1, 4, 1, 1))
    audit = measured(built)
    assert audit.layers[1].zero_weights == weight.numel() // 2
    assert [layer.broken_groups for layer in audit.layers] == [None, 0, out * 10 // 4]
    assert [layer.name for layer in left_dense(audit)] == ["0", "4"]
    assert (audit.pattern, audit.pattern_share) == ("2:4", weight.numel() / (24 + weight.numel() + out * 10))


def rows(weight):
    """Half of the rows of each kernel."""
    weight[:, :, :2] = 0


def columns(weight):
    """Half of the columns: two of four neighbours in memory."""
    weight.view(-1, 4)[:, :2] = 0


def filters(weight):
    """Half of the filters, which are neighbours along the output."""
    weight[2:4] = 0


def all_but_one(weight):
    """Two of four input channels, but for one weight."""
    weight[:, [1, 2, 4, 7]] = 0
    weight[3, 7, 1, 2] = 1


@pytest.mark.parametrize(
    ("zero", "place", "share"),
    [
        (filters, "filter 0, kernel position (0, 0), inputs 0 to 3, 0 of 4", "50.00%"),
        (rows, "filter 0, kernel position (2, 0), inputs 0 to 3, 0 of 4", "50.00%"),
        (columns, "filter 0, kernel position (0, 2), inputs 0 to 3, 0 of 4", "50.00%"),
        (all_but_one, "filter 3, kernel position (1, 2), inputs 4 to 7, 1 of 4", "0.78%"),
    ],
)
def test_zeros_along_another_dimension_are_refused(zero, place, share):
    """Each dimension but the input channels has half of its weights zero, in groups of four, so it alone would pass."""
    built = network(nn.Conv2d(8, 4, 4), 4)
    with torch.no_grad():
        zero(built[1].weight)
    with pytest.raises(CheckpointError) as refused:
        measured(built)
    assert f"does not follow 2:4: in 1, {place} weights are zero, not 2 or more; {share} of the" in str(refused.value)


def test_groups_of_a_transposed_convolution_do_not_lie_along_its_output():
    built = network(nn.ConvTranspose2d(8, 4, 3), 4)
    with torch.no_grad():
        built[1].weight.mul_(torch.tensor([1.0, 0, 0, 1]).view(1, 4, 1, 1))
    with pytest.raises(CheckpointError, match=r"in 1, filter 0, kernel position \(0, 0\), inputs 0 to 3, 0 of 4"):
        measured(built)


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [(Pattern(1, 4), [1, 0, 0, 0, 0, 0, 1, 0]), (Pattern(4, 8), [1, 1, 1, 1, 0, 0, 0, 0]), (Pattern(1, 2), [0, 1] * 4)],
)
def test_other_patterns_are_measured_as_well(pattern, kept):
    """4:8 is weaker than 2:4, and every other is 2:4 as well."""
    built = network(nn.Conv2d(8, 8, 3))
    with torch.no_grad():
        built[1].weight.mul_(torch.tensor(kept).view(1, 8, 1, 1))
    assert measured(built, pattern).layers[1].broken_groups == 0
    follows = audit_network(built, torch.rand(1, 3, 8, 8), pattern=TWO_OF_FOUR).layers[1].broken_groups == 0
    assert follows is (pattern != Pattern(4, 8))


@pytest.mark.parametrize("channels", [6, 8])
def test_layers_that_were_not_pruned_are_dense_and_lower_the_share(channels):
    """Input channels that are not divisible by four leave some layers dense; no zero at all leaves any."""
    middle = nn.Sequential(nn.Conv2d(8, channels, 1), nn.Conv2d(channels, 8, 1), nn.Conv2d(8, 8, 1))
    built = network(middle)
    with torch.no_grad():
        middle[0].weight.mul_(ALONG_CHANNELS.view(1, 8, 1, 1))
    audit = measured(built)
    assert [layer.name for layer in left_dense(audit)] == ["0", "1.1", "1.2", "4"]
    assert audit.layers[2].broken_groups == (None if channels == 6 else 16)
    assert audit.pattern_share == 8 * channels / (24 + 16 * channels + 64 + 80)


def test_a_network_without_zeros_follows_no_pattern():
    with pytest.raises(CheckpointError, match="no layer follows 2:4"):
        measured(network(nn.Conv2d(8, 8, 3)))


@pytest.mark.parametrize("text", ["2", "4:2", "4:4", "0:4", "2:4:8", "two:four", "2:100", "\uff12:4", ""])
def test_what_is_no_pattern_is_refused(text):
    with pytest.raises(ValueError, match="is not N:M"):
        Pattern.parse(text)
