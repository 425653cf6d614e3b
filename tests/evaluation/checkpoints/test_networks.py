"""Contract of the layout registry: tensors as the survey's repository has them, and the published forward passes."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from apsite.baselines.pruning import prunable_weights
from apsite.evaluation.checkpoints.audit import audit_network
from apsite.evaluation.checkpoints.loading import Declared, open_network
from apsite.evaluation.checkpoints.networks.layers import (
    NEUTRAL_MASK,
    LayerMaker,
    Normalisation,
    Normalise,
    Parametrisation,
    ScoredConv2d,
    SoftplusConv2d,
    multiply_out,
    top_scores,
)
from apsite.evaluation.checkpoints.networks.registry import layouts, layouts_of, method_layouts, published_method
from apsite.evaluation.checkpoints.networks.resnet import ResNet, ResNetLayout
from apsite.evaluation.checkpoints.reading import read_checkpoint
from apsite.records.census import layout_macs, membership
from apsite.vocabulary import Architecture, Dataset
from tests.fitting import checkpoint_of

REFERENCE = json.loads((Path(__file__).parents[2] / "data" / "layouts.json").read_text(encoding="utf-8"))["layouts"]
OURS = {
    "rst_resnet18", "rst_vgg16", "rst_own_resnet18", "rst_own_vgg16", "resnet50", "resnet50_normalised", "resnet8",
    "preactresnet18", "preactresnet18_no_last_norm", "resnet34", "resnet50_small_images", "wrn_28_4", "wrn_28_10",
    "wrn_34_10", "mobilenetv2", "deit_tiny", "deit_tiny_64", "deit_small", "deit_small_64",
}  # fmt: skip
SPARSITY = 0.9


def reference_tensors(name):
    """Names, shapes and types of a layout's tensors as the fixture spells them, in order."""
    known = REFERENCE[name]
    if "same_tensors_as" in known:
        return reference_tensors(known["same_tensors_as"])
    tensors = []
    for line in known["tensors"]:
        key, shape = line.rstrip("#").split(" ")
        numbers = () if shape == "-" else tuple(int(number) for number in shape.split("x"))
        tensors.append((key, numbers, torch.int64 if line.endswith("#") else torch.float32))
    return tensors


@pytest.fixture(scope="module", params=list(layouts()))
def built(request):
    """A layout and a network of it with non-trivial batch-norm statistics, made once for all tests that use it."""
    layout = layouts()[request.param]
    torch.manual_seed(0)
    network = layout.build(layout.datasets[0], SPARSITY).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
                if module.weight is not None:
                    module.weight.uniform_(0.7, 1.3)
                    module.bias.uniform_(-0.2, 0.2)
            if isinstance(module, nn.LayerNorm):
                module.weight.uniform_(0.7, 1.3)
                module.bias.uniform_(-0.2, 0.2)
            if isinstance(module, SoftplusConv2d):
                module.mask_weight.uniform_(-2, 2)
    return layout, network


def images_for(layout, count=2, seed=1):
    return torch.rand(count, *layout.input_shapes[0], generator=torch.Generator().manual_seed(seed))


def test_the_registry_has_every_layout_of_the_published_checkpoints():
    assert len(REFERENCE) == 16
    assert set(layouts()) == set(REFERENCE) | OURS
    assert all(name == layout.name for name, layout in layouts().items())


@pytest.mark.parametrize("name", REFERENCE)
def test_tensors_are_those_of_the_survey_s_repository(name):
    tensors = [(key, spec.shape, spec.dtype) for key, spec in layouts()[name].tensors().items()]
    assert tensors == reference_tensors(name)


@pytest.mark.parametrize("name", REFERENCE)
def test_sizes_methods_and_constants_are_those_of_the_survey_s_repository(name):
    layout, known = layouts()[name], REFERENCE[name]
    with torch.device("meta"):
        network = layout.build(Dataset.CIFAR10)
    assert layout.architecture == known["architecture"]
    assert list(layout.methods) == known["methods"]
    assert layout.parameter_count() == known["parameters"]
    assert sum(weight.numel() for weight in prunable_weights(network).values()) == known["prunable_weights"]
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == known["convolutions"]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d)]
    assert len(norms) == known["batch_norms"]
    assert {norm.eps for norm in norms} == {1e-5}
    for dataset in (Dataset.CIFAR10, Dataset.SVHN):
        constants = layout.normalisation_of(dataset)
        found = None if constants is None else [list(constants.mean), list(constants.std)]
        assert found == known.get(dataset.value)


def test_the_tensors_of_resnet50_have_their_usual_names():
    tensors = layouts()["resnet50"].tensors()
    assert layouts()["resnet50"].parameter_count() == 25_557_032
    assert len(tensors) == 320
    assert tensors["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert tensors["layer4.2.bn3.running_var"].shape == (2048,)
    assert tensors["fc.weight"].shape == (1000, 2048)


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("preactresnet18", 11.2e6, 0.56e9),
        ("preactresnet18_no_last_norm", 11.2e6, 0.56e9),
        ("resnet34", 21.3e6, 1.16e9),
        ("resnet50_small_images", 23.5e6, 1.30e9),
        ("wrn_28_4", 5.8e6, 0.85e9),
        ("wrn_28_10", 36.5e6, 5.2e9),
        ("wrn_34_10", 46.2e6, 6.7e9),
        ("mobilenetv2", 2.3e6, 0.09e9),
        ("deit_tiny", 5.4e6, 0.36e9),
        ("deit_small", 21.3e6, 1.4e9),
    ],
)
def test_a_network_for_small_images_has_the_published_size(name, parameters, macs):
    assert layouts()[name].parameter_count() == pytest.approx(parameters, rel=0.01)
    assert layout_macs(name) == pytest.approx(macs, rel=0.02)


def test_the_tensors_of_wide_networks_have_the_names_of_hydra_s_code():
    tensors = layouts()["wrn_28_4"].tensors()
    assert list(tensors)[:6] == ["conv1.weight", *(f"block1.layer.0.bn1.{part}" for part in _NORM)]
    assert tensors["block1.layer.0.convShortcut.weight"].shape == (64, 16, 1, 1)
    assert tensors["block3.layer.3.conv2.weight"].shape == (256, 256, 3, 3)
    assert "block1.layer.1.convShortcut.weight" not in tensors
    assert list(tensors)[-7:] == [*(f"bn1.{part}" for part in _NORM), "fc.weight", "fc.bias"]


def test_the_stage_that_hydra_s_wide_networks_never_use_is_left_out():
    """Its checkpoints hold ``sub_block1``, with scores as everywhere."""
    torch.manual_seed(5)
    network = layouts()["wrn_28_4"].build(Dataset.CIFAR10)
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    spare = {name.replace("block1", "sub_block1"): value for name, value in state.items() if ".block1." in name}
    scores = {"module.sub_block1.layer.0.conv1.popup_scores": torch.ones(64, 16, 3, 3)}
    checkpoint = checkpoint_of(state | spare | scores)
    fitted = open_network(checkpoint, Declared(Architecture.WRN_28_4, "HYDRA_Sehwag2020Hydra"))
    assert fitted.layout == "wrn_28_4"
    assert any("sub_block1, on which no output depends, left out" in note for note in fitted.notes)
    assert sum(weight.numel() for weight in fitted.network.parameters()) == layouts()["wrn_28_4"].parameter_count()


@pytest.mark.parametrize("name", ["base_vgg16_bn", "wrn_28_4", "mobilenetv2", "deit_tiny_64"])
def test_a_layout_has_the_classes_and_images_of_the_dataset(name):
    layout = layouts()[name]
    network = layout.build(Dataset.TINY_IMAGENET).eval()
    with torch.no_grad():
        assert network(torch.rand(1, *Dataset.TINY_IMAGENET.shape)).shape == (1, 200)
    state = network.state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == {
        key: spec.shape for key, spec in layout.tensors(Dataset.TINY_IMAGENET).items()
    }
    audit = audit_network(network, torch.zeros(1, *Dataset.TINY_IMAGENET.shape))
    found = membership(audit.layers, audit.macs, layout.architecture, Dataset.TINY_IMAGENET)
    assert found is not None
    assert name in found.census.layouts
    assert not found.narrowed


def test_the_tensors_of_the_demonstration_network_keep_their_names():
    tensors = layouts()["resnet8"].tensors()
    assert list(tensors)[:7] == ["conv1.weight", *(f"bn1.{part}" for part in _NORM), "layer1.0.conv1.weight"]
    assert list(tensors)[-2:] == ["linear.weight", "linear.bias"]
    assert layouts()["resnet8"].parameter_count() == 412_586


_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def test_every_layout_gives_one_finite_logit_a_class(built):
    layout, network = built
    with torch.no_grad():
        logits = network(images_for(layout, 1))
    assert logits.shape == (1, layout.datasets[0].classes)
    assert logits.dtype is torch.float32
    assert bool(torch.isfinite(logits).all())


def test_every_layout_is_deterministic_in_evaluation_mode(built):
    layout, network = built
    before = {name: value.clone() for name, value in network.state_dict().items() if "running" in name}
    x = images_for(layout, 1)
    with torch.no_grad():
        assert torch.equal(network(x), network(x))
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())


def save_zip(state, path):
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}, path)
    return "torch zip", "state_dict"


def save_legacy(state, path):
    content = {"net": state, "acc": 81.2, "args": argparse.Namespace(network="resnet", depth=18)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return "torch legacy", "net"


def save_safetensors(state, path):
    save_file({name: value.clone() for name, value in state.items()}, path)
    return "safetensors", "bare"


def test_every_layout_survives_saving_and_loading_through_each_container(built, tmp_path):
    """The same tensors come back from each, and the network from them has the very same effective weights."""
    layout, network = built
    state = network.state_dict()
    for save in (save_zip, save_legacy, save_safetensors):
        path = tmp_path / "checkpoint.bin"
        expected = save(state, path)
        checkpoint = read_checkpoint(path)
        path.unlink()
        assert (checkpoint.format, checkpoint.container) == expected
        read = {name.removeprefix("module."): value for name, value in checkpoint.state.items()}
        assert read.keys() == state.keys()
        assert all(torch.equal(read[name], value) for name, value in state.items())
    method = layout.methods[0] if layout.methods else None
    # RobustBird's networks have the tensors of a PreActResNet18, and normalise images.
    name = layout.name if layout.named_only or layout.name == "preactresnet18" else None
    fitted = open_network(
        checkpoint, Declared(layout.architecture, method, layout.datasets[0], sparsity=SPARSITY, layout=name)
    )
    assert fitted.layout == layout.name
    assert not fitted.network.training
    assert all(parameter.requires_grad for parameter in fitted.network.parameters())
    effective = {
        f"{key}.weight": getattr(module, "effective_weight", lambda module=module: module.weight)()
        for key, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    loaded = prunable_weights(fitted.network)
    assert [name for name in loaded if name != "pos_embed"] == list(effective)
    assert all(torch.equal(loaded[key], value) for key, value in effective.items())
    statistics = {key: value for key, value in fitted.network.state_dict().items() if "running" in key}
    assert all(torch.equal(value, state[key]) for key, value in statistics.items())


def test_logits_after_loading_equal_those_before(tmp_path):
    """Checked once with masks: what is multiplied out acts as it did before."""
    layout = layouts()["mad_resnet18"]
    torch.manual_seed(2)
    network = layout.build(Dataset.CIFAR10).eval()
    path = tmp_path / "mad.t7"
    save_legacy(network.state_dict(), path)
    fitted = open_network(read_checkpoint(path), Declared(Architecture.RESNET18, "MAD_Lee2022Masking"))
    x = images_for(layout)
    with torch.no_grad():
        assert torch.equal(fitted.network(x), network(x))


def test_a_forward_pass_is_the_published_one(built):
    """An independent forward pass, from the state dict and the published description alone, gives the same logits."""
    layout, network = built
    state = {name.removeprefix(layout.prefix): value for name, value in network.state_dict().items()}
    x = images_for(layout, 1)
    reference = {
        Architecture.VGG16: reference_vgg, Architecture.RESNET50: reference_resnet50,
        Architecture.WRN_28_4: reference_wide, Architecture.WRN_28_10: reference_wide,
        Architecture.WRN_34_10: reference_wide, Architecture.MOBILENETV2: reference_mobilenet,
        Architecture.DEIT_TINY: reference_vit, Architecture.DEIT_SMALL: reference_vit,
    }  # fmt: skip
    with torch.no_grad():
        expected = reference.get(layout.architecture, reference_resnet)(layout.name, state, x)
        assert torch.allclose(network(x), expected, atol=1e-4, rtol=1e-4)


BIRD = ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616])
MAD = ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010])
RST = ([0.491, 0.482, 0.447], [0.247, 0.243, 0.262])
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CONSTANTS = {"resnet50_normalised": IMAGENET, "robustbird": BIRD, "flyingbird": BIRD, "mad": MAD, "rst_own": RST}


def normalised(name, x):
    for start, (mean, std) in CONSTANTS.items():
        if name.startswith(start):
            return torch.stack([(x[:, channel] - mean[channel]) / std[channel] for channel in range(3)], 1)
    return x


def acting(state, layer, kind="weight"):
    """The weight or bias that acts: times log(1 + exp(mask)), or where its score is among the highest tenth."""
    value = state[f"{layer}.{kind}"]
    if f"{layer}.mask_{kind}" in state:
        return value * torch.log1p(torch.exp(state[f"{layer}.mask_{kind}"]))
    if f"{layer}.scores" in state:
        scores = state[f"{layer}.scores"].abs().flatten()
        keep = scores.numel() - int(SPARSITY * scores.numel() + 1e-6)
        return value * (scores >= torch.topk(scores, keep).values[-1]).view_as(value)
    return value


def conv(state, layer, x, stride=1):
    weight = acting(state, layer)
    return functional.conv2d(x, weight, state.get(f"{layer}.bias"), stride, weight.shape[-1] // 2)


def norm(state, layer, x):
    shape = (1, -1) + (1,) * (x.dim() - 2)
    centred = (x - state[f"{layer}.running_mean"].view(shape)) / (
        state[f"{layer}.running_var"].view(shape) + 1e-5
    ).sqrt()
    if f"{layer}.weight" not in state:
        return centred
    return centred * state[f"{layer}.weight"].view(shape) + state[f"{layer}.bias"].view(shape)


def linear(state, layer, x):
    return x @ acting(state, layer).flatten(1).T + (acting(state, layer, "bias") if f"{layer}.bias" in state else 0)


def reference_resnet(name, state, x):
    """CIFAR ResNet: stem, stages of basic blocks, average pooling, one last layer."""
    before = name.startswith(("robustbird", "flyingbird", "preactresnet18"))
    out = conv(state, "conv1", normalised(name, x), 2 if name == "resnet8" else 1)
    if not before:
        out = functional.relu(norm(state, "bn1", out))
    for stage in range(1, 5):
        for number in range(6):
            block = f"layer{stage}.{number}"
            if f"{block}.conv1.weight" not in state:
                continue
            stride = 2 if stage > 1 and number == 0 else 1
            if before:
                activated = functional.relu(norm(state, f"{block}.bn1", out))
                inner = functional.relu(norm(state, f"{block}.bn2", conv(state, f"{block}.conv1", activated, stride)))
                changes = f"{block}.shortcut.0.weight" in state
                out = conv(state, f"{block}.shortcut.0", activated, stride) if changes else out
                out = conv(state, f"{block}.conv2", inner) + out
            else:
                inner = functional.relu(norm(state, f"{block}.bn1", conv(state, f"{block}.conv1", out, stride)))
                if f"{block}.shortcut.0.weight" in state:
                    out = norm(state, f"{block}.shortcut.1", conv(state, f"{block}.shortcut.0", out, stride))
                out = functional.relu(norm(state, f"{block}.bn2", conv(state, f"{block}.conv2", inner)) + out)
    if before and name != "preactresnet18_no_last_norm":
        out = functional.relu(norm(state, "bn", out))
    return linear(state, "fc" if name.startswith("rst_own") else "linear", functional.avg_pool2d(out, 4).flatten(1))


def reference_vgg(name, state, x):
    """Thirteen convolutions in five groups and the classifier that each layout has."""
    four_poolings = name in ("base_vgg16_bn", "rst_vgg16", "mad_vgg16", "li20_vgg16", "pwoa_vgg16")
    features = "feature" if name in ("mad_vgg16", "li20_vgg16") else "features"
    out, index = normalised(name, x), 0
    for group, count in enumerate((2, 2, 3, 3, 3), start=1):
        for unit in range(count):
            nested = f"layer{group}.{unit}"
            names = (
                (f"{nested}.0", f"{nested}.1")
                if name == "pwoa_vgg16"
                else (f"{features}.{index}", f"{features}.{index + 1}")
            )
            out = functional.relu(norm(state, names[1], conv(state, names[0], out)))
            index += 3
        if group < 5 or not four_poolings:
            out = functional.max_pool2d(out, 2)
            index += 1
    if name in ("mad_vgg16", "li20_vgg16"):
        out = functional.avg_pool2d(out, 2)
    out = out.flatten(1)
    if name == "li20_vgg16":
        return linear(
            state, "classifier.3", functional.relu(norm(state, "classifier.1", linear(state, "classifier.0", out)))
        )
    hidden = {
        "base_vgg16_bn": ("classifier.0", "classifier.2", "classifier.4"),
        "rst_vgg16": ("classifier.0", "classifier.2", "classifier.4"),
        "pwoa_vgg16": ("layer6.0", "layer7.0", "layer8"),
    }.get(name, ("classifier",))
    for layer in hidden[:-1]:
        out = functional.relu(linear(state, layer, out))
    return linear(state, hidden[-1], out)


def reference_resnet50(name, state, x):
    """7x7 stem with stride 2 and max-pooling, or a 3x3 stem; bottlenecks whose 3x3 convolution has the stride."""
    small = name == "resnet50_small_images"
    shortcut, last = ("shortcut", "linear") if small else ("downsample", "fc")
    out = functional.relu(norm(state, "bn1", conv(state, "conv1", normalised(name, x), 1 if small else 2)))
    out = out if small else functional.max_pool2d(out, 3, 2, 1)
    for stage, count in enumerate((3, 4, 6, 3), start=1):
        for number in range(count):
            block, stride = f"layer{stage}.{number}", 2 if stage > 1 and number == 0 else 1
            inner = functional.relu(norm(state, f"{block}.bn1", conv(state, f"{block}.conv1", out)))
            inner = functional.relu(norm(state, f"{block}.bn2", conv(state, f"{block}.conv2", inner, stride)))
            if number == 0:
                out = norm(state, f"{block}.{shortcut}.1", conv(state, f"{block}.{shortcut}.0", out, stride))
            out = functional.relu(norm(state, f"{block}.bn3", conv(state, f"{block}.conv3", inner)) + out)
    return linear(state, last, functional.avg_pool2d(out, 4 if small else 7).flatten(1))


def reference_wide(name, state, x):
    """Pre-activation blocks in three stages; where the width changes, the shortcut sees the activated input."""
    out = conv(state, "conv1", x)
    for stage in range(1, 4):
        for number in range((int(name.split("_")[1]) - 4) // 6):
            block, stride = f"block{stage}.layer.{number}", 2 if stage > 1 and number == 0 else 1
            activated = functional.relu(norm(state, f"{block}.bn1", out))
            inner = functional.relu(norm(state, f"{block}.bn2", conv(state, f"{block}.conv1", activated, stride)))
            shortcut = out if number else conv(state, f"{block}.convShortcut", activated, stride)
            out = conv(state, f"{block}.conv2", inner) + shortcut
    out = functional.relu(norm(state, "bn1", out))
    return linear(state, "fc", functional.avg_pool2d(out, 8).flatten(1))


def reference_mobilenet(name, state, x):
    """Inverted residuals; the shapes of the weights say how each widens and whether its shortcut has a weight."""
    out = functional.relu(norm(state, "bn1", conv(state, "conv1", x)))
    for number in range(17):
        block, stride = f"layers.{number}", 2 if number in (3, 6, 13) else 1
        inner = functional.relu(norm(state, f"{block}.bn1", conv(state, f"{block}.conv1", out)))
        depthwise = state[f"{block}.conv2.weight"]
        inner = functional.conv2d(inner, depthwise, None, stride, 1, groups=len(depthwise))
        inner = functional.relu(norm(state, f"{block}.bn2", inner))
        inner = norm(state, f"{block}.bn3", conv(state, f"{block}.conv3", inner))
        if f"{block}.shortcut.0.weight" in state:
            out = norm(state, f"{block}.shortcut.1", conv(state, f"{block}.shortcut.0", out))
        out = inner if stride == 2 else inner + out
    out = functional.relu(norm(state, "bn2", conv(state, "conv2", out)))
    return linear(state, "linear", functional.avg_pool2d(out, 4).flatten(1))


def reference_vit(name, state, x):
    """torch's own encoder layer with the weights of each block, between patches and the head."""
    width = state["cls_token"].shape[2]
    kernel = state["patch_embed.proj.weight"]
    patches = functional.conv2d(x, kernel, state["patch_embed.proj.bias"], kernel.shape[-1])
    tokens = torch.cat([state["cls_token"], patches.flatten(2).transpose(1, 2)], 1) + state["pos_embed"]
    names = {
        "self_attn.in_proj_weight": "attn.qkv.weight", "self_attn.in_proj_bias": "attn.qkv.bias",
        "self_attn.out_proj.weight": "attn.proj.weight", "self_attn.out_proj.bias": "attn.proj.bias",
        "linear1.weight": "mlp.fc1.weight", "linear1.bias": "mlp.fc1.bias", "linear2.weight": "mlp.fc2.weight",
        "linear2.bias": "mlp.fc2.bias", "norm1.weight": "norm1.weight", "norm1.bias": "norm1.bias",
        "norm2.weight": "norm2.weight", "norm2.bias": "norm2.bias",
    }  # fmt: skip
    layer = nn.TransformerEncoderLayer(
        width, width // 64, 4 * width, activation="gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
    ).eval()
    for number in range(12):
        layer.load_state_dict({theirs: state[f"blocks.{number}.{ours}"] for theirs, ours in names.items()})
        tokens = layer(tokens)
    tokens = functional.layer_norm(tokens, (width,), state["norm.weight"], state["norm.bias"], 1e-6)
    return linear(state, "head", tokens[:, 0])


@pytest.mark.parametrize("name", ["mad_resnet18", "robustbird_resnet18", "rst_own_resnet18"])
def test_constants_of_the_normalisation_follow_the_dataset(name):
    """SVHN has constants of its own where the method had them; the birds use those of CIFAR-10 for both."""
    layout = layouts()[name]
    small = replace(layout, network=replace(layout.network, widths=(4, 4), blocks=(1, 1)))
    torch.manual_seed(3)
    cifar10, svhn = small.build(Dataset.CIFAR10).eval(), small.build(Dataset.SVHN).eval()
    svhn.load_state_dict(cifar10.state_dict())
    x = images_for(layout)
    with torch.no_grad():
        assert torch.equal(cifar10(x), svhn(x)) == (name == "robustbird_resnet18")


def test_normalisation_is_no_part_of_a_state_dict_and_follows_the_device():
    """Constants that are plain attributes stay behind when a network moves; stored ones break strict loading."""
    normalise = Normalise(Normalisation((0.5, 0.4, 0.3), (0.2, 0.1, 0.4)))
    assert not normalise.state_dict()
    assert {name for name, _ in normalise.named_buffers()} == {"mean", "std"}
    x = torch.tensor([0.7, 0.4, 0.5]).view(1, 3, 1, 1)
    assert torch.allclose(normalise(x).flatten(), torch.tensor([1.0, 0.0, 0.5]))


def test_mad_masks_start_where_they_change_nothing():
    """The published initial value is log(e - 1), at which softplus is 1; mask value 0 is stored as -9.2103."""
    make = LayerMaker(Parametrisation.SOFTPLUS)
    layer = make.conv(2, 3, 3)
    assert math.isclose(NEUTRAL_MASK, 0.5413, abs_tol=1e-4)
    assert torch.equal(layer.effective_weight(), layer.weight)
    with torch.no_grad():
        layer.mask_weight.fill_(math.log(math.exp(1e-4) - 1))
    assert torch.allclose(layer.effective_weight(), layer.weight * 1e-4, rtol=1e-3)


def test_mad_masks_act_on_the_last_layer_s_bias_too():
    layer = LayerMaker(Parametrisation.SOFTPLUS).linear(3, 2)
    with torch.no_grad():
        layer.mask_bias.fill_(-100.0)
    x = torch.rand(4, 3)
    assert torch.allclose(layer(x), x @ layer.weight.T, atol=1e-6)


@pytest.mark.parametrize(("sparsity", "kept"), [(0.0, 10), (0.9, 1), (0.5, 5), (0.55, 5), (0.99, 1)])
def test_scores_keep_exactly_the_highest_of_their_layer(sparsity, kept):
    """``floor(sparsity * n)`` weights go, by absolute score."""
    scores = torch.tensor([0.1, -0.9, 0.3, -0.2, 0.8, 0.7, -0.6, 0.5, 0.4, 0.0])
    mask = top_scores(scores, sparsity)
    assert int(mask.sum()) == kept
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert scores.abs()[mask == 1].min() >= max([*scores.abs()[mask == 0].tolist(), 0])


def test_equal_scores_give_an_exact_and_repeatable_mask():
    """Ties lose the first ones, so the size of the mask never depends on them."""
    mask = top_scores(torch.ones(2, 5), 0.5)
    assert mask.tolist() == [[0] * 5, [1] * 5]
    with pytest.raises(ValueError, match=r"sparsity must be in \[0, 1\), not 1"):
        top_scores(torch.ones(3), 1.0)


def test_a_layer_with_scores_uses_the_kept_weights_only():
    torch.manual_seed(4)
    network = nn.Sequential(ScoredConv2d(3, 8, 3, 2, 1, sparsity=0.9))
    x = torch.rand(2, 3, 8, 8)
    expected = network(x)
    assert multiply_out(network) == ("0",)
    assert type(network[0]) is nn.Conv2d
    assert int((network[0].weight == 0).sum()) == int(0.9 * network[0].weight.numel())
    assert torch.equal(network(x), expected)


def test_no_layout_has_biased_convolutions_with_masks():
    """A description that no checkpoint has is refused rather than built."""
    with pytest.raises(ValueError, match="no published layout"):
        LayerMaker(Parametrisation.SCORES).conv(3, 4, 3, bias=True)


def test_a_layout_is_built_for_its_datasets_only():
    with pytest.raises(
        ValueError, match="base_resnet18 is for cifar10, svhn, cifar100, tiny-imagenet, not for imagenet"
    ):
        layouts()["base_resnet18"].build(Dataset.IMAGENET)
    with pytest.raises(ValueError, match="layout resnet50 is for imagenet, not for svhn"):
        layouts()["resnet50"].build(Dataset.SVHN)


@pytest.mark.parametrize(
    ("method", "architecture", "name"),
    [
        ("HARP_Zhao2023Holistic", Architecture.RESNET18, "base_resnet18"),
        ("HYDRA", Architecture.VGG16, "base_vgg16_bn"),
        ("HYDRA", Architecture.RESNET50, "resnet50"),
        ("HYDRA", Architecture.WRN_28_10, "wrn_28_10"),
        ("RADMM_Ye2019Adversarial", Architecture.VGG16, "radmm_vgg16"),
        ("RADMM_Ye2019Sparsity", Architecture.RESNET18, "radmm_resnet18"),
        ("FlyingBird_Chen2021Sparsity", Architecture.RESNET18, "flyingbird_resnet18"),
        ("RST_Fu2021Drawing", Architecture.VGG16, "rst_vgg16"),
        ("HARP_Someone2026Other", Architecture.RESNET18, None),
        ("MAD", Architecture.RESNET8, None),
        ("Unknown_Nobody2026Thing", Architecture.RESNET18, None),
    ],
)
def test_a_method_s_layout_is_found_by_its_key_or_name(method, architecture, name):
    """Another paper's method of the same name is another method."""
    assert next((layout.name for layout in method_layouts(method, architecture)), None) == name


def test_every_method_with_published_checkpoints_has_a_layout_for_both_networks():
    methods = {method for layout in layouts().values() for method in layout.methods}
    assert all(published_method(method) == method for method in methods)
    for method in methods:
        for architecture in (Architecture.RESNET18, Architecture.VGG16):
            assert method_layouts(method, architecture)
    assert {layout.architecture for layout in layouts().values()} == set(Architecture)
    assert [layout.name for layout in layouts_of(Architecture.RESNET8)] == ["resnet8"]


def test_layouts_of_scores_need_the_sparsity():
    assert layouts()["rst_vgg16"].needs_sparsity
    assert not layouts()["base_vgg16_bn"].needs_sparsity


def test_the_demonstration_network_is_built_from_its_description_alone():
    network = ResNet(ResNetLayout(widths=(32, 64, 160), blocks=(1, 1, 1), stem_stride=2), 10)
    assert list(network.state_dict()) == list(layouts()["resnet8"].tensors())
