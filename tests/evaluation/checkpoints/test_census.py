"""The network is proven: every weight is counted, and the family is that of the census."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from apsite.errors import CheckpointError, NetworkError
from apsite.evaluation.checkpoints.audit import (
    audit_network,
    check_census,
    check_sparsity,
    check_weights,
    unused_weights,
)
from apsite.evaluation.checkpoints.loading import load_network
from apsite.evaluation.checkpoints.networks import censuses
from apsite.evaluation.checkpoints.networks.registry import layouts, layouts_of
from apsite.evaluation.checkpoints.networks.resnet import ResNet, ResNetLayout
from apsite.evaluation.checkpoints.report import audit
from apsite.evaluation.runs.python_interface import evaluate_samples
from apsite.protocol import Settings
from apsite.records import LayerAudit, census, read_record
from apsite.results import zero_shares
from apsite.validation.plausibility import plausibility_problems
from apsite.vocabulary import Architecture, Dataset, Structure

IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
QUICK = Settings(n_examples=2, trials=2, search_steps=2, attack_steps=2, attacks=("hofmn",))


def built(layout: ResNetLayout) -> ResNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ResNet(layout, 10).eval()


R8 = layouts()["resnet8"].network
assert isinstance(R8, ResNetLayout)
HALF_R8 = replace(R8, widths=(16, 32, 80))
HALF_R18 = ResNetLayout(widths=(32, 64, 128, 256))


def test_the_file_of_censuses_is_that_of_the_registered_layouts() -> None:
    """Otherwise write it again: ``python -m apsite.evaluation.checkpoints.networks.censuses``."""
    assert Path(census.__file__).with_name(census.FILE).read_text(encoding="utf-8") == censuses.text()


def test_parameters_of_a_layout_are_those_of_its_networks() -> None:
    """Counted on networks with weights; those of masks and scores are multiplied in first."""
    for name, dataset in (("preactresnet18", Dataset.CIFAR100), ("resnet8", Dataset.SVHN)):
        counted = audit_network(layouts()[name].build(dataset).eval(), IMAGES[:1])
        family = census.censuses(layouts()[name].architecture, dataset)
        known = next(one for one in family if name in one.layouts)
        assert (known.layouts[name].parameters[dataset.classes], known.macs) == (counted.parameters, counted.macs)


@pytest.mark.parametrize(
    ("architecture", "dataset", "weights"),
    [
        # Parameters less biases and batch norms, as the papers' networks have them.
        (Architecture.RESNET18, Dataset.CIFAR10, 11_164_352),
        (Architecture.RESNET18, Dataset.SVHN, 11_164_352),
        (Architecture.VGG16, Dataset.CIFAR10, 15_302_848),
        (Architecture.RESNET50, Dataset.IMAGENET, 25_502_912),
        (Architecture.RESNET18, Dataset.CIFAR100, 11_164_352 + 90 * 512),
        (Architecture.WRN_28_10, Dataset.CIFAR10, 36_461_232),
    ],
)
def test_a_family_has_the_weights_of_its_paper(architecture, dataset, weights) -> None:
    assert census.censuses(architecture, dataset)[0].count("weights") == weights
    assert census.censuses(Architecture.WRN_28_10, Dataset.IMAGENET) == ()


class Own(nn.Module):
    """A weight of a layer of its own class, as an own convolution or an embedding has it."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels, self.scale = nn.Parameter(torch.ones(5, 3, 3, 3)), nn.Parameter(torch.ones(1, 5, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.kernels) * self.scale


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(32, 2, batch_first=True), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.mean(1)
        return self.head(self.attention(tokens, tokens, tokens)[0].mean(1))


def pruned(module: nn.Module) -> nn.Module:
    prune.l1_unstructured(module, "weight", amount=0.25)
    return module


class Half(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight * (torch.arange(weight.numel()).view_as(weight) % 2)


def parametrised(module: nn.Module) -> nn.Module:
    parametrize.register_parametrization(module, "weight", Half())
    return module


def hooked(module: nn.Module) -> nn.Module:
    with pytest.warns(FutureWarning, match="deprecated"):
        return torch.nn.utils.weight_norm(module)


def zeroed(module: nn.Module, name: str) -> nn.Module:
    """The module with the first filter of a tensor zero, of either sign."""
    with torch.no_grad():
        module.get_parameter(name)[0] = -0.0
    return module


@pytest.mark.parametrize(
    ("module", "zeros", "weights"),
    [
        (zeroed(Own(), "kernels"), 27, 135),
        (zeroed(Attention(), "attention.in_proj_weight"), 32, 3 * 32 * 32 + 32 * 32 + 160),
        (zeroed(nn.ConvTranspose2d(3, 5, 3), "weight"), 45, 135),
        (zeroed(nn.Conv2d(3, 6, 3, groups=3), "weight"), 9, 54),
        (pruned(nn.Conv2d(3, 4, 3)), 27, 108),
        (parametrised(nn.Conv2d(3, 4, 3)), 54, 108),
        (zeroed(parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), "parametrizations.weight.original0"), 27, 108),
        (zeroed(hooked(nn.Conv2d(3, 4, 3)), "weight_g"), 27, 108),
    ],
)  # fmt: skip
def test_zeros_of_every_kind_of_layer_are_counted(module: nn.Module, zeros: int, weights: int) -> None:
    """Own classes, attention, transposed and grouped convolutions, and weights that torch computes from others."""
    counts = audit_network(module.eval(), IMAGES[:1])
    assert (counts.zero_weights, counts.weights) == (zeros, weights)


class Decoy(nn.Module):
    """A dense network with large layers of zeros that do nothing, one never called and one multiplied by zero."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.never, self.nothing = built(R8), nn.Linear(1000, 4000), nn.Linear(10, 10, bias=False)
        nn.init.zeros_(self.never.weight)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.body(x)
        return logits + 0 * self.nothing(logits)


def test_layers_that_no_output_depends_on_are_not_counted() -> None:
    counts, warnings = check_weights(Decoy().eval(), IMAGES, own_code=True)
    assert [warning.code for warning in warnings] == ["unused-weights"]
    assert "never, nothing" in warnings[0].message
    assert (counts.weights, counts.zero_weights) == (411_040, 0)
    assert check_census(counts, Architecture.RESNET8, Dataset.CIFAR10).layouts.keys() == {"resnet8"}


def test_layers_that_were_pruned_away_stay_counted() -> None:
    """A whole branch of zeros has no gradient, and is a part of the network all the same."""
    network = built(R8)
    with torch.no_grad():
        for convolution in (network.layer3[0].conv1, network.layer3[0].conv2):
            convolution.weight.zero_()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert unused_weights(network, IMAGES) == []
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_tiny_weights_count_and_are_warned_of() -> None:
    """Weight decay or averaging leaves 1e-12 where a zero was meant."""
    network = built(R8)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.view(-1)[::2] *= 1e-12
    counts, warnings = check_weights(network, IMAGES, own_code=False)
    assert counts.zero_weights == 0
    assert [warning.code for warning in warnings] == ["tiny-weights"]
    assert "205,520 of 411,040 weights" in warnings[0].message


def test_single_zeros_never_make_a_network_structured() -> None:
    """Of 90 % single zeros no unit is removed; of whole kernels the share of kernels counts."""
    network = built(R8)
    with torch.no_grad():
        for number, parameter in enumerate(one for one in network.parameters() if one.dim() > 1):
            parameter[torch.rand(parameter.shape, generator=torch.Generator().manual_seed(number)) < 0.5] = 0
    counts = audit_network(network, IMAGES[:1])
    with pytest.raises(
        CheckpointError, match=r"declared sparsity is 50.00% but 0.18% of the weights, 0.00% of the filters"
    ):
        check_sparsity(counts, Structure.STRUCTURED, 0.5)
    assert check_sparsity(counts, Structure.UNSTRUCTURED, 0.5)[0].basis == "weights"
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 4 and parameter[0, 0].numel() > 1:
                parameter[:, ::2] = 0
                parameter[::2, 1::2] = 0
                parameter[::2, 0] = 1
    shares = zero_shares(audit_network(network, IMAGES[:1]), Structure.STRUCTURED)
    assert shares["kernels"] == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize(
    ("layout", "architecture"), [(HALF_R18, Architecture.RESNET18), (HALF_R8, Architecture.RESNET8)]
)
def test_filters_removed_from_the_network_itself_are_counted(layout: ResNetLayout, architecture: Architecture) -> None:
    """Half of the filters of every layer: half of the filters, three quarters of the weights."""
    counts = audit_network(built(layout), IMAGES[:1])
    dense = check_census(counts, architecture, Dataset.CIFAR10)
    by_filters, warnings = check_sparsity(counts, Structure.STRUCTURED, 0.5, dense)
    assert (by_filters.basis, by_filters.matched, warnings) == ("filters", 0.5, [])
    by_weights, _ = check_sparsity(counts, Structure.STRUCTURED, 0.75, dense)
    assert by_weights.basis == "weights"
    assert by_weights.measured == pytest.approx(0.75, abs=0.002)


def test_a_physically_pruned_resnet18_is_evaluated_and_its_record_passes_the_gate(tmp_path: Path) -> None:
    evaluation = evaluate_samples(
        built(HALF_R18), method="Half_Doe2026Half", dataset="cifar10", architecture="resnet18", structure="structured",
        sparsity=0.75, data_dir="embedded", settings=QUICK, output=tmp_path,
    )  # fmt: skip
    record = evaluation.record
    assert record.audit is not None
    assert record.audit.sparsity_basis == "weights"
    assert record.sparsity.measured == pytest.approx(0.75, abs=0.002)
    assert record.audit.macs < 200_000_000
    assert census.dense_counts(record) == (11_173_962, 555_422_720)  # before the filters were removed
    assert evaluation.path is not None
    assert plausibility_problems(evaluation.path, read_record(evaluation.path)) == []


def test_a_checkpoint_without_the_removed_filters_needs_no_factory(tmp_path: Path) -> None:
    """Its layers have the names of a registered layout and fewer filters and channels."""
    network = built(HALF_R8)
    torch.save(network.state_dict(), tmp_path / "half.pt")
    report = audit(tmp_path / "half.pt", architecture="resnet8", structure="structured", sparsity=0.5)
    assert (report.layout, report.narrowed, report.refusals) == ("resnet8", True, ())
    assert report.finding is not None
    assert report.finding.basis == "filters"
    loaded = load_network(tmp_path / "half.pt", architecture="resnet8")
    assert torch.equal(loaded(IMAGES), network(IMAGES))
    with pytest.raises(CheckpointError, match=r"declared dense, but 74.8\d% of its weights are removed"):
        evaluate_samples(
            tmp_path / "half.pt", method="Half_Doe2026Half", dataset="cifar10", architecture="resnet8",
            data_dir="embedded", settings=QUICK,
        )  # fmt: skip


@pytest.mark.parametrize("architecture", ["mobilenetv2", "deit-tiny"])
def test_narrower_networks_of_other_kinds_load_or_are_answered(tmp_path: Path, architecture: str) -> None:
    """Depthwise convolutions get as many groups as channels; an attention of another width is no network of ours."""
    dense = layouts_of(Architecture(architecture))[0].build(Dataset.CIFAR10).eval()
    half = {
        name: value[tuple(slice(size if size in (1, 3, 10) else size // 2) for size in value.shape[:2])].clone()
        for name, value in dense.state_dict().items()
    }
    torch.save(half, tmp_path / "half.pt")
    if architecture == "deit-tiny":
        with pytest.raises(CheckpointError, match="does not fit any layout of deit-tiny"):
            load_network(tmp_path / "half.pt", architecture=architecture)
    else:
        assert load_network(tmp_path / "half.pt", architecture=architecture)(IMAGES).shape == (4, 10)


WIDE = ResNetLayout(widths=(32, 64, 128), blocks=(2, 2, 2))
FLAT = nn.Sequential(nn.Flatten(), nn.Linear(3072, 64), nn.ReLU(), nn.Linear(64, 10))


@pytest.mark.parametrize(
    ("network", "family", "found"),
    [
        (FLAT, "ResNet18", r"2 tensors of 197,248 weights, ResNet18 has 21 with 11,164,352"),
        (built(WIDE), "ResNet18", r"16 tensors of .* weights, ResNet18 has 21"),
        (
            built(replace(ResNetLayout(), stem_stride=2)),
            "ResNet18",
            r"conv1 \(64 filters, 3x3 kernel\) is the first that differs",
        ),
        (built(replace(R8, widths=(32, 64, 192))), "ResNet8", r"layer3.0.conv1 \(192 filters"),
    ],
)
def test_another_network_is_refused_before_any_attack(network: nn.Module, family: str, found: str) -> None:
    with pytest.raises(NetworkError, match=f"the network is not a {family}: it has .*{found}.*Declare the network"):
        evaluate_samples(
            network, method="Other_Doe2026Other", dataset="cifar10", architecture=family.lower(), data_dir="embedded",
            settings=QUICK,
        )  # fmt: skip


def test_a_dense_network_of_another_family_is_none_with_filters_removed() -> None:
    """A WRN-28-4 has the layers of a WRN-28-10, each narrower."""
    small = census.censuses(Architecture("wrn-28-4"), Dataset.CIFAR10)[0]
    layers = [
        LayerAudit("a", one.weights, 0, one.filters, 0, one.channels, 0, 0, 0, one.kind, *one[3:])
        for one in small.layers
    ]
    wide = Architecture("wrn-28-10"), Dataset.CIFAR10
    assert census.membership(layers, small.macs, *wide) is None
    assert census.difference(layers, small.macs, *wide) == "it is a WRN-28-4"
    layers[5] = replace(layers[5], filters=layers[5].filters - 1)
    found = census.membership(layers, small.macs - 1, *wide)
    assert found is not None
    assert found.narrowed
