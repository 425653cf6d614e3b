"""Naive pruning criteria: which weights a mask keeps.

The criteria score weights; :func:`prune` turns scores into masks of an exact size. Weights are those of convolutions
and linear layers; biases and batch-norm parameters are never pruned.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def prunable_weights(network: nn.Module) -> dict[str, Tensor]:
    """Weight tensors of all convolutions and linear layers, by parameter name, in order of registration."""
    return {
        f"{name}.weight": module.weight
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }


def lwm_scores(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Magnitude of each weight (lowest weight magnitude, LWM).

    Source: Han et al., *Learning both Weights and Connections for Efficient Neural Networks*, NeurIPS 2015.
    """
    return {name: weight.detach().abs() for name, weight in weights.items()}


def lamp_scores(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """LAMP score of each weight: its square over the sum of squares of all weights of its layer that are not smaller.

    Comparing these scores across layers gives each layer its own sparsity with no hyperparameter. The largest weight
    of every layer scores 1, so no layer is emptied.

    Source: Lee et al., *Layer-adaptive Sparsity for the Magnitude-based Pruning*, ICLR 2021, equation 2.
    """
    scores = {}
    for name, weight in weights.items():
        squares = weight.detach().double().square().flatten()
        ascending, order = torch.sort(squares, stable=True)
        tail = torch.flip(torch.cumsum(torch.flip(ascending, (0,)), 0), (0,))
        scored = torch.zeros_like(squares)
        scored[order] = ascending / tail.clamp_min(torch.finfo(torch.float64).tiny)
        scores[name] = scored.view_as(weight)
    return scores


def global_masks(scores: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """Boolean masks that keep the highest scores over all layers together.

    Args:
        scores: Importance of each weight, by parameter name; higher is kept.
        sparsity: Fraction of all weights to remove, in [0, 1).

    Returns:
        Masks of the shapes of `scores`, ``True`` where a weight stays. Exactly ``floor(total * (1 - sparsity))`` stay
        (the ``k`` of the survey, section 2.1); equal scores are broken by position, so the result is deterministic.

    Raises:
        ValueError: If `sparsity` is outside [0, 1).
    """
    flat = torch.cat([score.flatten().double() for score in scores.values()])
    keep = kept_count(flat.numel(), sparsity)
    order = torch.sort(flat, descending=True, stable=True).indices
    mask = torch.zeros(flat.numel(), dtype=torch.bool)
    mask[order[:keep]] = True
    parts = torch.split(mask, [score.numel() for score in scores.values()])
    return {name: part.view_as(score) for (name, score), part in zip(scores.items(), parts, strict=True)}


def kept_count(total: int, sparsity: float) -> int:
    """Number of parameters that remain of `total`: ``floor(total * (1 - sparsity))``, safe against rounding noise."""
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be in [0, 1), not {sparsity}")
    return int(total * (1 - sparsity) + 1e-6)


def apply_masks(network: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set every weight whose mask is ``False`` to exactly zero, in place."""
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for name, mask in masks.items():
            parameters[name].mul_(mask)
