"""Naive criteria: LAMP against its formula, masks of an exact size."""

import pytest
import torch
from torch import nn

from apsite.evaluation.pruning import apply_masks, global_masks, kept_count, lamp_scores, lwm_scores, prunable_weights


def small_network():
    """A convolution and a linear layer with batch norm between them."""
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
    """Over all layers together exactly ``floor(total * (1 - sparsity))`` weights stay, also among equal scores."""
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
    """Biases and batch norms stay; masked weights are exactly zero."""
    network = small_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    masks = global_masks(lwm_scores(prunable_weights(network)), 0.5)
    apply_masks(network, masks)
    for name, value in network.state_dict().items():
        expected = before[name] * masks[name] if name in masks else before[name]
        assert torch.equal(value, expected)
    assert set(masks) == {"0.weight", "3.weight"}
