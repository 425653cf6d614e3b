"""Simplified networks: the same logits from fewer channels, for every layout and for every way to empty a channel."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from apsite.evaluation.attacks.execution import as_inputs, logits_of
from apsite.evaluation.attacks.simplification import TOLERANCE, simplified
from apsite.evaluation.checkpoints.loading import load_network
from apsite.evaluation.checkpoints.networks.layers import multiply_out
from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.evaluation.checkpoints.networks.resnet import ResNetLayout
from apsite.evaluation.checkpoints.networks.vgg import VGGLayout
from apsite.vocabulary import Dataset

CPU = torch.device("cpu")


def emptied(network, share, seed=0):
    """`network` with lively batch norms, and a share of the filters of every convolution but the last set to zero."""
    generator = torch.Generator().manual_seed(seed)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean.normal_(generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                if module.affine:
                    module.weight.uniform_(0.5, 1.5, generator=generator)
                    module.bias.normal_(generator=generator)
        for module in convolutions[:-1]:
            module.weight[torch.rand(module.out_channels, generator=generator) < share] = 0
            if module.bias is not None:
                module.bias.normal_(generator=generator)
    return network.eval().requires_grad_(False)


def difference(network, other, images):
    """Largest difference of the logits, relative to the largest logit or 1."""
    with torch.no_grad():
        expected = network(images)
        return float((other(images) - expected).abs().max()) / max(1.0, float(expected.abs().max()))


WIDER = {"wrn_28_10", "wrn_34_10"}
"""The same as another one with more channels or blocks."""


@pytest.mark.parametrize("name", [name for name in layouts() if name not in WIDER])
def test_every_layout_loses_its_emptied_channels_and_keeps_its_logits(name):
    """Convolutions in groups and attention keep theirs."""
    layout = layouts()[name]
    network = layout.build(layout.datasets[0])
    multiply_out(network)
    emptied(network, 0.5)
    generator = torch.Generator().manual_seed(1)
    size = min(layout.datasets[0].shape[1], 64)  # smaller ImageNet images than usual keep the test short
    example, images = torch.rand(2, 3, 3, size, size, generator=generator)
    found = simplified(network, example)
    if isinstance(layout.network, ResNetLayout | VGGLayout):
        assert found.removed_channels > 0.2 * found.channels  # sums keep what one of their operands needs
    else:
        assert found.removed_channels == 0
    assert difference(network, found.network, images) <= TOLERANCE
    kept = simplified(network, example, remove_channels=False)
    assert kept.removed_channels == 0
    assert difference(network, kept.network, images) <= TOLERANCE


@pytest.mark.parametrize("share", [0.0, 0.75, 0.9, 0.99])
def test_gradients_stay_equal_too(share):
    network = emptied(layouts()["resnet8"].build(Dataset.CIFAR10), share)
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    found = simplified(network, images)
    gradients = []
    for one in (network, found.network):
        x = images.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(one(x)[:, 0].sum(), x)
        gradients.append(gradient)
    assert torch.allclose(*gradients, atol=1e-5 * float(gradients[0].abs().max()) + 1e-12)


class Emptied(nn.Module):
    """Two convolutions with a shortcut around the second, and two heads that are added.

    Two filters of the first convolution, one of the second, and the rows 3 and 5 of the first head are empty.
    """

    def __init__(self, forward):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm1, self.norm2, self.drop, self.same = nn.BatchNorm2d(8), nn.BatchNorm2d(8), nn.Dropout(), nn.Identity()
        self.last, self.other, self.large = nn.Linear(8, 10), nn.Linear(8, 10), nn.Linear(8 * 16, 10)
        self.scale, self._forward = nn.Parameter(torch.ones(1)), forward
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-0.5, 0.5, generator=generator)
            for layer, rows in ((self.conv1, [0, 4]), (self.conv2, [1]), (self.last, [3, 5]), (self.large, [3])):
                layer.weight[rows] = 0
        self.eval().requires_grad_(False)

    def features(self, x):
        return functional.relu(self.norm1(self.conv1(x)))

    def forward(self, x):
        return self._forward(self, x)


def mean(x):
    return x.mean((2, 3))


BEHIND = {
    "flatten": (lambda n, x: n.last(mean(n.features(x))).flatten(1), 2),
    "flattened_twice": (lambda n, x: n.last(mean(n.features(x)).flatten(1)).flatten(1), 2),
    "view": (lambda n, x: n.large(functional.max_pool2d(n.features(x), 2).view(x.size(0), -1)), 2),
    "view_by_width": (lambda n, x: n.large(functional.max_pool2d(n.features(x), 2).view(-1, 128)), 2),
    "reshape": (lambda n, x: n.large(functional.avg_pool2d(n.features(x), 2).reshape(x.shape[0], -1)).contiguous(), 2),
    "squeeze": (lambda n, x: n.last(functional.adaptive_avg_pool2d(n.features(x), 1).squeeze()), 2),
    "pool_of_the_image_size": (lambda n, x: n.last(functional.avg_pool2d(h := n.features(x), h.size(3)).flatten(1)), 2),
    "dropout": (lambda n, x: n.drop(n.last(mean(n.drop(n.features(x))))), 2),
    "dropout_function": (lambda n, x: functional.dropout(n.last(mean(n.features(x))), 0.5, n.training), 2),
    "identity": (lambda n, x: n.same(n.last(n.same(mean(n.features(x))))), 2),
    "temperature": (lambda n, x: n.last(mean(n.features(x) * 2)) / 3, 2),
    "adaptive_max_pool": (lambda n, x: n.last(functional.adaptive_max_pool2d(n.features(x), 1).flatten(1)), 2),
    "leaky_relu": (lambda n, x: n.last(mean(functional.leaky_relu(n.norm1(n.conv1(x)), 0.1))), 2),
    "residual": (lambda n, x: n.last(mean((h := n.features(x)) + n.norm2(n.conv2(h)))), 2),
    "residual_behind_dropout": (lambda n, x: n.last(mean((h := n.features(x)) + n.drop(n.norm2(n.conv2(h))))), 2),
    "residual_method": (lambda n, x: n.last(mean((h := n.features(x)).add(n.norm2(n.conv2(h))))), 2),
    "sum_of_logits": (lambda n, x: n.last(h := mean(n.features(x))).flatten(1) + n.drop(n.other(h)), 2),
    "scaled_logits": (lambda n, x: n.last(mean(n.features(x))) * n.scale, 2),
}  # fmt: skip
"""Networks with shape-only operations between layers, sums and the end, and how many channels must go."""


def gradients_of(networks, images):
    """Gradients of a weighted sum of the logits of each network."""
    weights, found = torch.linspace(-1, 1, 10), []
    for network in networks:
        x = images.clone().requires_grad_(True)
        found += torch.autograd.grad((network(x) * weights).sum(), x)
    return found


@pytest.mark.parametrize("name", BEHIND)
def test_shape_only_operations_do_not_hide_empty_channels(name):
    """Neither in front of the next layer, nor of a sum, nor of the logits, some of which are constant."""
    forward, removed = BEHIND[name]
    network, images = Emptied(forward), torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    found = simplified(network, images)
    assert (found.removed_channels, found.unremoved_channels, found.as_it_is) == (removed, 0, "")
    assert torch.allclose(found.network(images), network(images), atol=1e-5)
    assert torch.allclose(*gradients_of((network, found.network), images), atol=1e-5)


def test_a_branch_that_is_empty_as_a_whole_is_removed_as_a_whole():
    """Its constants, other at the border than inside, are added to the sum."""
    network, images = Emptied(BEHIND["residual"][0]), torch.rand(4, 3, 8, 8)
    with torch.no_grad():
        network.conv2.weight[:] = 0
    found = simplified(network, images)
    assert (found.removed_channels, found.channels) == (10, 26)
    assert difference(network, found.network, images) <= TOLERANCE
    assert torch.allclose(*gradients_of((network, found.network), images), atol=1e-5)


def test_a_sum_none_of_whose_operands_has_all_channels_gets_them():
    def forward(network, x):
        h = functional.max_pool2d(network.features(x), 2)
        return network.last(mean(h + functional.avg_pool2d(functional.relu(network.conv2(network.features(x))), 2)))

    network, images = Emptied(forward), torch.rand(4, 3, 8, 8)
    with torch.no_grad():
        network.conv2.weight[2] = 0
    found = simplified(network, images)
    assert found.removed_channels > 0
    assert difference(network, found.network, images) <= TOLERANCE
    assert torch.allclose(*gradients_of((network, found.network), images), atol=1e-5)


def multiply_accumulates(network, images):
    """Multiply-accumulates of one image in all convolutions and linear layers."""
    counted = []

    def count(module, inputs, output):
        counted.append(module.weight[0].numel() * output[0].numel())

    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    network(images)
    for hook in hooks:
        hook.remove()
    return sum(counted)


def test_the_committed_baseline_with_empty_logits_loses_most_of_its_channels(repository, images):
    """One percent of its weights is left: more than 400 of 778 channels, and two thirds of the computations, go."""
    path = repository / "baselines" / "resnet8" / "LWM_Han2015Learning_R8_CIFAR10_US_99.safetensors"
    network = load_network(path, architecture="resnet8")
    x = as_inputs(images.images[:8], CPU)
    found = simplified(network, x)
    assert found.removed_channels >= 400
    assert found.channels == 778
    assert (found.unremoved_channels, found.why_unremoved) == (0, "")
    assert multiply_accumulates(network, x) / multiply_accumulates(found.network, x) > 3.2
    assert difference(network, found.network, x) <= TOLERANCE


def test_channels_that_stay_are_counted_with_the_reason():
    """An unknown operation, the settings, or a network that cannot be traced."""
    images = torch.rand(2, 3, 8, 8)
    unknown = simplified(Emptied(lambda n, x: n.last(mean(n.features(x).roll(1, 1)))), images)
    assert (unknown.removed_channels, unknown.unremoved_channels) == (0, 2)
    assert unknown.why_unremoved == "NetworkError: operation roll: its effect on channels is not known"
    kept = simplified(Emptied(BEHIND["flatten"][0]), images, remove_channels=False)
    assert (kept.unremoved_channels, kept.why_unremoved) == (2, "the settings keep all channels")
    untraced = simplified(Emptied(lambda n, x: n.last(mean(n.features(x)) * len(x))), images)
    assert (untraced.unremoved_channels, untraced.why_unremoved) == (5, untraced.as_it_is)
    assert untraced.as_scalars()["unremoved_channels"] == 5
    assert untraced.remarks == [f"5 channels could be removed and are not: {untraced.as_it_is}"]


class Padded(nn.Sequential):
    """A constant channel that the next convolution sees with a border of zeros."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, 1, 1),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 16 * 16, 10),
        )  # fmt: skip


def test_constants_are_felt_up_to_the_border():
    """A zero filter with a shift of 1 adds less to the next layer at the border than inside."""
    torch.manual_seed(0)
    network = Padded().eval().requires_grad_(False)
    network[0].weight[1:3] = 0
    network[1].bias[1] = 1.0
    network[1].bias[2] = -1.0
    images = torch.rand(4, 3, 32, 32)
    found = simplified(network, images[:1])
    assert found.removed_channels == 2
    assert found.folded_norms == 1
    assert difference(network, found.network, images) <= TOLERANCE
    with torch.no_grad():
        network[1].bias[1] = 0.0  # what the constant adds is felt: without it the logits are others
        assert difference(network, found.network, images) > 100 * TOLERANCE


def test_channels_that_nothing_reads_are_removed():
    """Zero weights in the next layer make a channel superfluous, whatever it holds."""
    torch.manual_seed(0)
    network = Padded().eval().requires_grad_(False)
    network[3].weight[:, 0] = 0
    assert simplified(network, torch.rand(1, 3, 32, 32)).removed_channels == 1


def test_the_demonstration_network_is_folded_and_correct(demo_network, images):
    x = as_inputs(images.images[:16], CPU)
    before = {name: value.clone() for name, value in demo_network.state_dict().items()}
    found = simplified(demo_network.requires_grad_(False), x)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in found.network.modules())
    assert found.folded_norms == 9
    assert difference(demo_network, found.network, x) <= TOLERANCE
    assert all(torch.equal(value, before[name]) for name, value in demo_network.state_dict().items())
    assert all(value.is_contiguous() for value in demo_network.state_dict().values())


class Dynamic(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :3] if float(x.sum()) > 0 else x.flatten(1)[:, 3:6]


class Attention(nn.Module):
    """An operation whose channels cannot be followed, after a convolution that can be folded."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 10)

    def forward(self, x):
        out = self.norm(self.conv(x))
        return self.last((out * out.softmax(1)).mean((2, 3)))


def test_a_network_that_cannot_be_traced_is_used_as_it_is():
    """And why is known."""
    network = Dynamic()
    found = simplified(network, torch.ones(1, 3, 4, 4))
    assert found.network is network
    assert (found.folded_norms, found.removed_channels, found.channels) == (0, 0, 0)
    assert found.as_it_is.startswith("TypeError: float() argument must be")


class Residual(nn.Module):
    """A small residual network whose parts are joined in some way; one filter of each convolution is empty."""

    def __init__(self, join):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.norm2, self.last = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Linear(8, 10)
        with torch.no_grad():
            self.conv1.weight[0], self.conv2.weight[1] = 0, 0
        self.join = join

    def stem(self, x):
        return functional.relu(self.norm1(self.conv1(x)))

    def head(self, h):
        return self.last(functional.relu(h).mean((2, 3)))

    def forward(self, x, epoch=0, *more, scale=None, **others):
        out = self.join(self, x)
        return out if scale is None else out * scale


def added(network, x):
    h = network.norm2(network.conv2(stem := network.stem(x)))
    h += stem
    return network.head(h)


def added_to_the_shortcut(network, x):
    h = network.norm1(network.conv1(x))
    h += network.conv2(functional.relu(h))
    return network.head(h)


def pooled(network, x):
    return network.head(functional.avg_pool2d(input=network.stem(x), kernel_size=2))


def by_keywords(network, x):
    return network.last(input=functional.relu(input=network.norm1(input=network.conv1(input=x))).mean(dim=(2, 3)))


def several(network, x):
    h = network.stem(x)
    return network.head(h), h


def viewed(network, x):
    return network.last(functional.max_pool2d(network.stem(x), 8).flatten(2).mean(2).contiguous().view(len(x), -1))


def without_gradient(network, x):
    with torch.no_grad():
        h = network.stem(x)
    return network.head(network.norm2(network.conv2(h)))


@pytest.mark.parametrize(
    ("join", "folded", "removed"),
    [(added, 2, 1), (added_to_the_shortcut, 1, 1), (pooled, 1, 1), (by_keywords, 1, 1), (several, 1, 1),
     (without_gradient, 2, 2), (viewed, 0, 0)],
)  # fmt: skip
def test_unusual_forward_passes_are_simplified_or_used_as_they_are(join, folded, removed, capsys):
    """Unused arguments, in-place sums, keywords and tuples are traced; what is not comes back whole, with a reason."""
    torch.manual_seed(0)
    network = Residual(join).eval().requires_grad_(False)
    images = torch.rand(4, 3, 32, 32)
    found = simplified(network, images)
    assert (found.folded_norms, found.removed_channels) == (folded, removed)
    assert (found.network is network) == (join is viewed) == bool(found.as_it_is)
    with torch.no_grad():
        assert torch.allclose(logits_of(found.network, images), logits_of(network, images), atol=1e-5)
    assert capsys.readouterr().err == ""


def test_channels_last_is_no_condition():
    """Maps that are flattened with .view need the usual order in memory."""
    torch.manual_seed(0)
    flat = nn.Module()
    flat.forward = lambda x: x.view(x.size(0), -1)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), flat, nn.Linear(4 * 36, 10)).eval()
    images = torch.rand(4, 3, 8, 8)
    found = simplified(network, images)
    assert (found.folded_norms, found.as_it_is) == (1, "")
    assert difference(network, found.network, images) <= TOLERANCE


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize(
    "change",
    [
        nn.utils.spectral_norm, nn.utils.weight_norm, nn.utils.parametrizations.weight_norm,
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
        lambda layer: layer.register_forward_hook(lambda module, inputs, output: output * 2),
    ],
)  # fmt: skip
def test_layers_whose_weights_or_outputs_others_compute_are_left_alone(change):
    torch.manual_seed(0)
    network = Residual(added)
    network.conv1.reset_parameters()
    change(network.conv1)
    network.eval().requires_grad_(False)
    images = torch.rand(4, 3, 16, 16)
    found = simplified(network, images)
    assert (found.folded_norms, found.removed_channels, found.as_it_is) == (1, 0, "")
    assert difference(network, found.network, images) <= TOLERANCE


def test_a_network_with_unknown_operations_is_folded_only():
    torch.manual_seed(0)
    network = Attention().eval().requires_grad_(False)
    images = torch.rand(2, 3, 8, 8)
    found = simplified(network, images)
    assert (found.folded_norms, found.removed_channels) == (1, 0)
    assert difference(network, found.network, images) <= TOLERANCE


def test_a_network_whose_parts_depend_on_the_image_size_stays_correct_or_as_it_is():
    """A candidate that does not give the same logits is never used."""

    class Sized(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.Linear(4, 10)

        def forward(self, x):
            return self.last(self.conv(x).mean((2, 3)))

    network = Sized().eval().requires_grad_(False)
    with torch.no_grad():
        network.conv.weight[1] = 0
    images = torch.rand(2, 3, 8, 8)
    found = simplified(network, images)
    assert found.removed_channels == 0
    assert difference(network, found.network, images) <= TOLERANCE
