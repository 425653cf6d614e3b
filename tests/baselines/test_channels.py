"""Coupled channels: found in every registered network, and never guessed."""

import sys

import pytest
import torch
from torch import nn

from apsite.baselines.channels import channel_groups
from apsite.errors import NetworkError
from apsite.evaluation.checkpoints.networks.layers import Parametrisation
from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.evaluation.checkpoints.networks.resnet import ResNetLayout
from apsite.evaluation.checkpoints.networks.vgg import VGGLayout
from apsite.vocabulary import Dataset

PLAIN = [one for one in layouts().values() if one.parametrisation is Parametrisation.PLAIN]
UNKNOWN = [one for one in PLAIN if not isinstance(one.network, ResNetLayout | VGGLayout)]


@pytest.mark.parametrize("layout", UNKNOWN, ids=lambda one: one.name)
def test_convolutions_in_groups_and_attention_are_not_followed(layout):
    with torch.device("meta"):
        network = layout.build(layout.datasets[0])
    with pytest.raises(NetworkError, match="its effect on channels is not known"):
        channel_groups(network)


@pytest.mark.parametrize("layout", [one for one in PLAIN if one not in UNKNOWN], ids=lambda one: one.name)
def test_every_filter_of_every_layout_is_in_exactly_one_group(layout):
    """All convolutions write one group each, batch norms are of one group each, and the sizes agree."""
    with torch.device("meta"):
        network = layout.build(layout.datasets[0])
    groups = channel_groups(network)
    modules = dict(network.named_modules())
    convolutions = {name for name, module in modules.items() if isinstance(module, nn.Conv2d)}
    written = [name for group in groups for name in group.writers]
    assert sorted(written) == sorted(convolutions)
    normed = [name for group in groups for name in group.norms]
    assert len(normed) == len(set(normed))
    for group in groups:
        assert {modules[name].out_channels for name in group.writers} == {group.size}
        assert all(modules[name].num_features == group.size for name in group.norms)
        assert group.readers, "channels that nothing reads"


def test_the_sums_of_a_resnet_couple_their_filters():
    groups = channel_groups(layouts()["resnet8"].build(Dataset.CIFAR10))
    assert [group.writers for group in groups] == [
        ["conv1", "layer1.0.conv2"],
        ["layer1.0.conv1"],
        ["layer2.0.conv1"],
        ["layer2.0.conv2", "layer2.0.shortcut.0"],
        ["layer3.0.conv1"],
        ["layer3.0.conv2", "layer3.0.shortcut.0"],
    ]
    assert groups[0].readers == ["layer1.0.conv1", "layer2.0.conv1", "layer2.0.shortcut.0"]
    assert groups[-1].readers == ["linear"]


class Odd(nn.Module):
    def __init__(self, operation):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.operation = operation

    def forward(self, x):
        return self.operation(self.conv(x))


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (lambda x: torch.cat([x, x], 1), "its effect on channels is not known"),
        (lambda x: x.mean(1), "its effect on channels is not known"),
        (lambda x: x[:, :2, ::2], "its effect on channels is not known"),
        (lambda x: sys.exit(2), "cannot be traced to find its channels: SystemExit: 2"),
        (lambda x: x if x.sum() > 0 else -x, "cannot be traced"),
    ],
)
def test_what_is_not_understood_is_an_error(operation, reason):
    with pytest.raises(NetworkError, match=reason):
        channel_groups(Odd(operation))


def test_logits_are_never_removed():
    assert channel_groups(Odd(lambda x: x.mean((2, 3)))) == ()
