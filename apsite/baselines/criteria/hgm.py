"""Highest gradient magnitude (HGM): what the gradient of the robust loss is largest of stays.

Source: the survey's section 3.3.3; Lim et al., *Robustness-Aware Filter Pruning for Robust Neural Networks Against
Adversarial Attacks*, MLSP 2021, for filters. The gradient of each batch is that of the loss on its attacked images, at
the weights of the dense network, and its magnitude is summed over the batches; nothing is trained.

A reference implementation of the criterion, not of this method, which trains on a dataset of robust features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from apsite.baselines.criteria.scoring import ChannelCriterion, LearnedCriterion, WeightCriterion


class _Sums(LearnedCriterion):
    """Sums of the magnitudes of gradients, by name of the weight."""

    keeps_weights = True

    def attach(self, network: nn.Module, generator: torch.Generator) -> None:
        """Begin with zeros."""
        super().attach(network, generator)
        self.sums = {name: torch.zeros_like(weight) for name, weight in self.weights.items()}

    def parameters(self) -> dict[str, Tensor]:
        """None: the weights stay."""
        return {}

    def gradients(self) -> None:
        """Add the magnitudes of this batch."""
        for name, total in self.sums.items():
            total.add_(self.gradient(name).abs())

    def state(self) -> dict[str, Tensor]:
        """The sums so far."""
        return self.sums


class WeightGradients(_Sums, WeightCriterion):
    """For single weights."""

    def scores(self) -> dict[str, Tensor]:
        """The sums."""
        return self.sums


class ChannelGradients(_Sums, ChannelCriterion):
    """For coupled filters: the mean over all weights that write a channel."""

    def scores(self) -> list[Tensor]:
        """The means of each group."""
        return self.written(self.sums)
