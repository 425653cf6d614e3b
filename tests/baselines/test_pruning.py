"""Pruning criteria: scores against their formulas, masks of an exact size, filters removed with all that is theirs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from apsite.baselines.criteria.magnitude import lamp_scores, lwm_scores
from apsite.baselines.criteria.terms import BaselineCriterion
from apsite.baselines.pruning import (
    apply_masks,
    filter_masks,
    global_masks,
    kept_count,
    local_masks,
    masks_for,
    prunable_weights,
    zero_masks,
)
from apsite.errors import EvaluationError
from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.vocabulary import Dataset, Locality, Structure

LOCAL, GLOBAL = Locality.LOCAL, Locality.GLOBAL
UNSTRUCTURED = [one for one in BaselineCriterion if one.structure is Structure.UNSTRUCTURED]


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 10))


def test_lamp_scores_equal_their_formula():
    """Squares 1, 4, 9 in one layer: each over the sum of those that are not smaller."""
    scores = lamp_scores({"w": torch.tensor([-2.0, 1.0, 3.0])})["w"]
    assert scores.tolist() == pytest.approx([4 / 13, 1 / 14, 1.0])


def test_lamp_keeps_the_largest_weight_of_every_layer():
    """A layer of tiny weights is not emptied, as a global magnitude would."""
    weights = {"large": torch.linspace(1, 2, 90), "tiny": torch.full((10,), 1e-6)}
    kept = global_masks(lamp_scores(weights), 0.9)
    assert int(kept["tiny"].sum()) >= 1
    assert int(global_masks(lwm_scores(weights), 0.9)["tiny"].sum()) == 0


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.95, 0.99, 0.9375])
def test_masks_have_exactly_the_size_asked_for(sparsity):
    weights = prunable_weights(small_network())
    total = sum(weight.numel() for weight in weights.values())
    for scores in (lamp_scores(weights), {name: torch.ones_like(weight) for name, weight in weights.items()}):
        masks = global_masks(scores, sparsity)
        assert sum(int(mask.sum()) for mask in masks.values()) == kept_count(total, sparsity)


def test_the_count_is_safe_against_rounding():
    """1000 weights at 90 % leave 100, although 1 - 0.9 is not exact."""
    assert kept_count(1000, 0.9) == 100
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        kept_count(10, 1.0)


def test_pruned_weights_are_zero_and_the_rest_unchanged():
    network = small_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    masks = global_masks(lwm_scores(prunable_weights(network)), 0.5)
    apply_masks(network, masks)
    for name, value in network.state_dict().items():
        expected = before[name] * masks[name] if name in masks else before[name]
        assert torch.equal(value, expected)
    assert set(masks) == {"0.weight", "3.weight"}


@given(
    st.lists(st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=12), min_size=1, max_size=4),
    st.floats(0, 0.95),
)
def test_lamp_s_sparsity_of_each_layer_is_that_of_its_formula(layers, sparsity):
    """Against the definition written out: sort all scores ``w_i^2 / sum_{j: w_j^2 >= w_i^2} w_j^2``, keep the top."""
    weights = {str(number): torch.tensor(layer, dtype=torch.float64) for number, layer in enumerate(layers)}
    formula = []
    for name, weight in weights.items():
        order = sorted(range(len(weight)), key=lambda i: (float(weight[i]) ** 2, i))
        for rank, i in enumerate(order):
            rest = sum(float(weight[j]) ** 2 for j in order[rank:])
            formula.append((float(weight[i]) ** 2 / rest if rest else 0.0, name, i))
    keep = kept_count(len(formula), sparsity)
    masks = global_masks(lamp_scores(weights), sparsity)
    ranked = sorted((score for score, _, _ in formula), reverse=True)
    threshold = ranked[keep - 1] if keep else float("inf")
    for score, name, i in formula:
        if abs(score - threshold) > 1e-9:  # those at the threshold may be broken by position
            assert bool(masks[name][i]) == (score > threshold)


def test_lamp_and_the_magnitude_agree_within_a_layer():
    """LAMP changes how many weights of a layer stay, never which."""
    weights = prunable_weights(small_network())
    lamp, magnitude = lamp_scores(weights), lwm_scores(weights)
    for name, weight in weights.items():
        assert torch.equal(lamp[name].flatten().argsort(), magnitude[name].flatten().argsort()), weight.shape


@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("criterion", [BaselineCriterion.LWM, BaselineCriterion.RANDOM])
def test_local_masks_have_the_sparsity_in_every_layer(criterion, sparsity):
    masks = masks_for(small_network(), criterion, LOCAL, sparsity)
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        name: kept_count(mask.numel(), sparsity) for name, mask in masks.items()
    }


def test_the_smallest_weights_go_first():
    masks = local_masks(lwm_scores({"w": torch.tensor([0.1, -0.9, 0.3, -0.2])}), 0.75)
    assert masks["w"].tolist() == [False, True, False, False]


def test_random_masks_differ_by_seed_alone():
    first, again, other = (
        masks_for(small_network(), BaselineCriterion.RANDOM, GLOBAL, 0.5, seed) for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_an_empty_layer_is_an_error_where_layers_have_their_own_sparsity():
    """Globally it is what the criterion does, locally a mistake."""
    with pytest.raises(EvaluationError, match=r"3\.weight has 160 weights, of which 99\.90% locally leaves none"):
        local_masks({"3.weight": torch.ones(160)}, 0.999)
    with pytest.raises(EvaluationError, match="conv1 has 32 filters"):
        filter_masks(layouts()["resnet8"].build(Dataset.CIFAR10), LOCAL, 0.98)
    with pytest.raises(EvaluationError, match="fewer than one channel per layer"):
        filter_masks(layouts()["resnet8"].build(Dataset.CIFAR10), GLOBAL, 0.99)


def test_local_lamp_is_an_error():
    """It would be local LWM under another name."""
    with pytest.raises(EvaluationError, match="choose --criterion lwm --locality local"):
        masks_for(small_network(), BaselineCriterion.LAMP, LOCAL, 0.9)


def two_convolutions():
    """Filters of L1 norms 1, 3, 2 and 0.5, 5 with batch norms between, a linear layer on 2x2 maps after."""
    network = nn.Sequential(
        nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(8, 2)
    )
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([1.0, -3.0, 2.0]).view(3, 1, 1, 1).expand(3, 3, 1, 1) / 3)
        network[3].weight.copy_(torch.tensor([-0.5, 5.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1) / 3)
    return network


def test_filters_of_the_lowest_l1_norm_go_with_all_that_is_theirs():
    """Bias, batch norm, and the kernels and columns that read the channel; the rest stays."""
    masks = filter_masks(two_convolutions(), LOCAL, 0.5)
    assert masks["0.weight"].flatten(1).all(1).tolist() == masks["0.bias"].tolist() == [False, True, False]
    for part in ("weight", "bias", "running_mean"):
        assert masks[f"1.{part}"].tolist() == [False, True, False]
    assert masks["3.weight"].flatten(1).tolist() == [[False, False, False], [False, True, False]]
    assert masks["5.weight"].tolist() == [[False] * 4 + [True] * 4] * 2
    assert "5.bias" not in masks


def test_globally_filters_compete_across_layers():
    """Mean magnitudes 1/3, 1, 2/3 and 1/6, 5/3: the two lowest of five go, wherever they are."""
    masks = filter_masks(two_convolutions(), GLOBAL, 0.4)
    assert masks["0.bias"].tolist() == [False, True, True]
    assert masks["3.bias"].tolist() == [False, True]


@pytest.mark.parametrize("name", ["resnet8", "base_resnet18", "robustbird_resnet18", "radmm_vgg16", "li20_vgg16"])
@pytest.mark.parametrize("locality", Locality)
def test_removed_channels_are_zero_in_the_forward_pass(name, locality):
    """Whatever the layout, the masked network is the one without the channels: they stay zero after batch norm."""
    torch.manual_seed(0)
    network = layouts()[name].build(Dataset.CIFAR10)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training, when nothing is zero by chance
            for tensor in (module.weight, module.bias, module.running_mean):
                nn.init.uniform_(tensor, 0.1, 0.2)
    masks = filter_masks(network, locality, 0.75)
    apply_masks(network.eval(), masks)
    filters = {
        path: ~module.weight.detach().flatten(1).any(1)
        for path, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    }
    removed, total = (sum(f(one) for one in filters.values()) for f in (lambda one: int(one.sum()), len))
    assert abs(removed / total - 0.75) <= (0.002 if locality is GLOBAL else 0.01)
    assert (total - removed == kept_count(total, 0.75)) or locality is LOCAL
    seen = {}
    handles = [
        module.register_forward_hook(lambda _m, _i, out, path=path: seen.__setitem__(path, out))
        for path, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    with torch.no_grad():
        network(torch.rand(2, 3, 32, 32))
    for handle in handles:
        handle.remove()
    checked = 0
    for path, output in seen.items():
        stays = masks[f"{path}.weight"]
        assert not output[:, ~stays].any(), path
        checked += int((~stays).sum())
    assert checked > total // 2


def test_coupled_filters_go_together_and_the_count_is_exact():
    torch.manual_seed(0)
    network = layouts()["resnet8"].build(Dataset.CIFAR10)
    apply_masks(network, filter_masks(network, LOCAL, 0.75))
    stays = {
        name: module.weight.detach().flatten(1).any(1)
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    }
    assert sum(int((~one).sum()) for one in stays.values()) == 576
    assert sum(len(one) for one in stays.values()) == 768
    assert torch.equal(stays["conv1"], stays["layer1.0.conv2"])
    assert torch.equal(stays["layer3.0.conv2"], stays["layer3.0.shortcut.0"])
    assert [int(stays[name].sum()) for name in ("conv1", "layer2.0.conv1", "layer3.0.conv2")] == [8, 16, 40]


def test_masks_can_be_read_from_the_zeros():
    """Those of a pruned network come back; a dense network and a fresh batch norm have none."""
    network = small_network()
    assert zero_masks(network) == {}
    masks = masks_for(network, BaselineCriterion.LWM, GLOBAL, 0.9)
    apply_masks(network, masks)
    found = zero_masks(network)
    assert set(found) == set(masks)
    assert all(torch.equal(found[name], mask) for name, mask in masks.items())
    structured = layouts()["resnet8"].build(Dataset.CIFAR10)
    removed = filter_masks(structured, LOCAL, 0.5)
    apply_masks(structured, removed)
    found = zero_masks(structured)
    assert {name for name in removed if not name.endswith("running_mean") and not removed[name].all()} == set(found)
    assert all(torch.equal(found[name], removed[name]) for name in found)
