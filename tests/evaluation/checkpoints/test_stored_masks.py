"""Masks, factors and scores stored beside the weights give the weights that acted where the file was written."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from apsite.baselines.pruning import prunable_weights
from apsite.errors import CheckpointError
from apsite.evaluation.checkpoints.loading import Declared, open_network
from apsite.evaluation.checkpoints.networks.layers import NEUTRAL_MASK
from apsite.vocabulary import Architecture
from tests.fitting import X, checkpoint_of, equal_outputs, logits, network_of, random_mask

RESNET8, RESNET18 = Architecture.RESNET8, Architecture.RESNET18


@pytest.fixture
def small():
    return network_of("resnet8")


def test_masks_of_torch_prune_are_multiplied_out(small):
    for module in small.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            prune.random_unstructured(module, "weight", amount=0.9)
    prune.random_unstructured(small.linear, "bias", amount=0.5)
    fitted = open_network(checkpoint_of(small.state_dict()), Declared(RESNET8, sparsity=0.9))
    assert equal_outputs(fitted, small)
    weights = prunable_weights(fitted.network).values()
    assert abs(sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights) - 0.9) < 1e-3
    assert "11 tensors multiplied by their masks." in fitted.notes


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda state: state.pop("conv1.weight_mask"), "conv1.weight_orig has no conv1.weight_mask"),
        (
            lambda state: state.update({"conv1.weight": torch.ones(32, 3, 3, 3)}),
            "both conv1.weight_orig and conv1.weight",
        ),
        (
            lambda state: state.update({"conv1.weight_mask": torch.zeros(5)}),
            r"conv1.weight_mask has the shape \[5\], which does not fit conv1.weight_orig",
        ),
    ],
)
def test_a_mask_without_its_weight_is_an_error(small, change, problem):
    prune.random_unstructured(small.conv1, "weight", amount=0.5)
    state = dict(small.state_dict())
    change(state)
    with pytest.raises(CheckpointError, match=problem):
        open_network(checkpoint_of(state), Declared(RESNET8))


def factored(network, mixing):
    """A state as TwinRep trains it, and the weights that it stands for."""
    torch.manual_seed(12)
    state, acting = dict(network.state_dict()), {}
    for name, weight in prunable_weights(network).items():
        layer = name.removesuffix("weight")
        mask = random_mask(weight.shape, 0.5)
        if mixing:
            factor = torch.rand(weight.shape[0], weight.shape[0])
            acting[name] = torch.einsum("pq,q...->p...", factor, weight.detach()) * mask
        else:
            factor = torch.rand(weight.shape)
            acting[name] = weight.detach() * factor * mask
        state[f"{layer}aux_weight"], state[f"{layer}mask"] = factor, mask
    return state, acting


@pytest.mark.parametrize("mixing", [False, True])
def test_factors_and_masks_of_twinrep_are_multiplied_out(small, mixing):
    """A factor of the weight's shape, or for channels a square matrix over output channels; then the mask."""
    state, acting = factored(small, mixing)
    fitted = open_network(checkpoint_of({f"module.{name}": value for name, value in state.items()}), Declared(RESNET8))
    loaded = prunable_weights(fitted.network)
    assert all(torch.allclose(loaded[name], value, atol=1e-5) for name, value in acting.items())
    kind = "channel mixers" if mixing else "factors"
    assert f"10 weights multiplied by their {kind}." in fitted.notes
    assert "10 tensors multiplied by their masks." in fitted.notes


def test_masks_alone_and_one_a_filter_are_multiplied_out(small):
    state = dict(small.state_dict())
    state["conv1.mask"] = random_mask(32, 0.5)
    state["linear.mask"] = random_mask((10, 160), 0.5)
    fitted = open_network(checkpoint_of(state), Declared(RESNET8))
    expected = small.conv1.weight * state["conv1.mask"].view(-1, 1, 1, 1)
    assert torch.equal(fitted.network.conv1.weight, expected)
    assert torch.equal(fitted.network.linear.weight, small.linear.weight * state["linear.mask"])


@pytest.mark.parametrize(
    ("name", "shape", "problem"),
    [
        ("conv1.mask", (5,), r"conv1.mask has the shape \[5\], which does not fit conv1.weight"),
        ("conv1.aux_weight", (5, 5), r"conv1.aux_weight has the shape \[5, 5\], which does not fit conv1.weight"),
        ("conv9.aux_weight", (5,), "conv9.aux_weight has no conv9.weight"),
        ("conv9.mask", (5,), r"1 unexpected \(conv9.mask\)"),
    ],
)
def test_masks_and_factors_must_fit_their_weight(small, name, shape, problem):
    with pytest.raises(CheckpointError, match=problem):
        open_network(checkpoint_of({**small.state_dict(), name: torch.ones(shape)}), Declared(RESNET8))


def scored(network, *, pruned):
    """A training checkpoint of HYDRA: scores beside the weights, which may be pruned already."""
    torch.manual_seed(13)
    state = dict(network.state_dict())
    for name, weight in prunable_weights(network).items():
        scores = torch.rand(weight.shape)
        state[name.replace("weight", "popup_scores")] = scores
        if pruned:
            state[name] = weight.detach() * (scores >= scores.flatten().quantile(0.9))
    return state


def test_scores_beside_pruned_weights_are_dropped(small):
    state = scored(small, pruned=True)
    fitted = open_network(checkpoint_of(state), Declared(RESNET8, sparsity=0.9))
    assert torch.equal(fitted.network.conv1.weight, state["conv1.weight"])
    assert "Scores (popup_scores) dropped: 90.0% of their weights are zeros already." in fitted.notes


def test_scores_beside_weights_that_are_not_pruned_yet_prune_them(small):
    """Dropping them would evaluate the dense network under the name of the pruned one."""
    state = scored(small, pruned=False)
    fitted = open_network(checkpoint_of(state), Declared(RESNET8, sparsity=0.9))
    for name, weight in prunable_weights(fitted.network).items():
        assert int((weight == 0).sum()) == int(0.9 * weight.numel())
        kept = state[name.replace("weight", "popup_scores")][weight != 0].min()
        assert kept >= state[name.replace("weight", "popup_scores")][weight == 0].max()
    dense = open_network(checkpoint_of(state), Declared(RESNET8))
    assert equal_outputs(dense, small)


def test_rates_of_harp_are_dropped_from_pruned_weights_and_refused_otherwise(small):
    """HARP's dense export leaves ``k_score`` behind; without the export the rates need settings that no file has."""
    rates = {"conv1.k_score": torch.tensor(0.3), "linear.k_score": torch.tensor(0.1)}
    fitted = open_network(checkpoint_of({**small.state_dict(), **rates}), Declared(RESNET8, sparsity=0.9))
    assert equal_outputs(fitted, small)
    assert "2 pruning rates (k_score) dropped" in fitted.notes[0]
    assert open_network(checkpoint_of({**scored(small, pruned=True), **rates}), Declared(RESNET8, sparsity=0.9))
    with pytest.raises(
        CheckpointError, match=r"its weights are not pruned yet, and the rates of HARP.* export the dense"
    ):
        open_network(checkpoint_of({**scored(small, pruned=False), **rates}), Declared(RESNET8, sparsity=0.9))


def test_scores_without_a_weight_of_their_shape_are_an_error(small):
    with pytest.raises(CheckpointError, match=r"popup_scores of conv1.weight have no weight of their shape"):
        open_network(checkpoint_of({**small.state_dict(), "conv1.popup_scores": torch.ones(2)}), Declared(RESNET8))


def test_operation_counters_are_dropped(small):
    state = {**small.state_dict(), "total_ops": torch.ones(1), "layer1.total_params": torch.ones(1)}
    fitted = open_network(checkpoint_of(state), Declared(RESNET8))
    assert fitted.notes == (
        "Left aside, since the network's outputs do not depend on it: total_ops, layer1.total_params.",
    )


def test_a_file_of_mad_without_masks_has_masks_of_one():
    """MAD's own test ignores its masks; the network is then the plain one behind MAD's normalisation."""
    large = network_of("base_resnet18")
    fitted = open_network(checkpoint_of(large.state_dict()), Declared(RESNET18, "MAD_Lee2022Masking"))
    assert fitted.layout == "mad_resnet18"
    assert "The file has no masks; every mask was set to 1." in fitted.notes
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
    std = torch.tensor([0.2023, 0.1994, 0.2010]).view(3, 1, 1)
    assert torch.allclose(logits(fitted.network), logits(large, (X - mean) / std), atol=1e-5)


def test_weights_that_mad_s_masks_remove_without_a_zero_are_counted():
    """A ten-thousandth of a weight is no zero, and the notes say how many there are."""
    state = dict(network_of("mad_resnet18").state_dict())
    mask = torch.full_like(state["conv1.mask_weight"], NEUTRAL_MASK)
    mask.view(-1)[:5] = -9.2103
    state["conv1.mask_weight"] = mask
    state["conv1.weight"] = state["conv1.weight"].clone()
    state["conv1.weight"].view(-1)[0] = 0
    fitted = open_network(checkpoint_of(state), Declared(RESNET18))
    assert "Masks scale 4 weights that are not zero to less than half; they count as non-zero." in fitted.notes
    assert int((fitted.network.conv1.weight == 0).sum()) == 1


def test_scores_of_rst_need_the_declared_sparsity():
    """It is a setting of the run and not in the file; without it the network would be another one."""
    checkpoint = checkpoint_of(network_of("rst_resnet18").state_dict())
    with pytest.raises(CheckpointError, match=r"layout rst_resnet18 holds scores, .* Declare the sparsity."):
        open_network(checkpoint, Declared(RESNET18, "RST_Fu2021Drawing"))
    fitted = open_network(checkpoint, Declared(RESNET18, "RST_Fu2021Drawing", sparsity=0.95))
    weight = fitted.network.layer4[1].conv2.weight
    assert int((weight == 0).sum()) == int(0.95 * weight.numel())
