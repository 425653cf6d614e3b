"""Criteria that read the weights alone: lowest magnitude (LWM), also relative to the layer (LAMP), and chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from apsite.baselines.criteria.terms import BaselineCriterion


def lwm_scores(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Magnitude of each weight (lowest weight magnitude, LWM).

    Source: Han et al., *Learning both Weights and Connections for Efficient Neural Networks*, NeurIPS 2015.
    """
    return {name: weight.detach().abs() for name, weight in weights.items()}


def lamp_scores(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """LAMP score of each weight: its square over the sum of squares of all weights of its layer that are not smaller.

    Comparing these scores across layers gives each layer its own sparsity with no hyperparameter. The largest weight
    of every layer scores 1, so no layer becomes empty if at least as many weights remain as there are layers.

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


def random_scores(weights: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """A uniformly random score of each weight, zeros first."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(weight.shape, generator=generator, dtype=torch.float64).masked_fill(weight.detach() == 0, -1)
        for name, weight in weights.items()
    }


SCORES: Mapping[BaselineCriterion, Callable[[Mapping[str, Tensor], int], dict[str, Tensor]]] = {
    BaselineCriterion.LWM: lambda weights, _seed: lwm_scores(weights),
    BaselineCriterion.LAMP: lambda weights, _seed: lamp_scores(weights),
    BaselineCriterion.RANDOM: random_scores,
}
"""Score of each weight by each of these criteria, from the weights and a seed; the highest stay."""
