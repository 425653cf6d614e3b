"""Least importance score (LIS): scores of weights or filters, learned by straight-through top-k under the robust loss.

Source: Sehwag et al., *HYDRA: Pruning Adversarially Robust Neural Networks*, NeurIPS 2020: the weights of the robust
network are frozen, the highest scores are kept in the forward pass, and the gradient passes the selection as if it were
the identity. Scores begin in proportion to the weights. For filters, a score per coupled channel, as the filters of
Zhao and Wressnegger, *Holistic Adversarially Robust Pruning*, ICLR 2023, but at one given sparsity.

A reference implementation of the criterion, not of these methods: they train the scores for many more epochs, and HARP
learns the sparsity of each layer too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from apsite.baselines.channels import ChannelGroup
from apsite.baselines.criteria.scoring import ChannelCriterion, WeightCriterion


class WeightImportance(WeightCriterion):
    """Scores of single weights."""

    keeps_weights = True

    def attach(self, network: nn.Module, generator: torch.Generator) -> None:
        """Begin with HYDRA's scaled scores: ``sqrt(6 / fan_in) w / max |w|`` in each layer."""
        super().attach(network, generator)
        self.dense = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.learned = {}
        for name, weight in self.dense.items():
            fan_in = max(weight[0].numel(), 1)
            scale = math.sqrt(6 / fan_in) / float(weight.abs().max().clamp_min(torch.finfo(weight.dtype).tiny))
            self.learned[name] = (weight * scale).requires_grad_()

    def parameters(self) -> dict[str, Tensor]:
        """The scores."""
        return {f"score/{name}": score for name, score in self.learned.items()}

    def before(self) -> None:
        """Put the weights of the highest scores into the network, zeros elsewhere."""
        masks = self.masks_of(self.scores())
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(self.dense[name] * masks[name])

    def gradients(self) -> None:
        """That of a score is the gradient of its mask, ``w dL/dw``: the selection passes it on unchanged."""
        for name, score in self.learned.items():
            score.grad = self.gradient(name) * self.dense[name] * score.detach().sign()

    def scores(self) -> dict[str, Tensor]:
        """Magnitude of each score."""
        return {name: score.detach().abs() for name, score in self.learned.items()}

    def state(self) -> dict[str, Tensor]:
        """The scores."""
        return {name: score.detach() for name, score in self.learned.items()}


class ChannelImportance(ChannelCriterion):
    """Scores of coupled filters.

    A channel is taken out where it is read, which gives the outputs of a network without it, and leaves the derivative
    by its mask in reach: ``sum w dL/dw`` over the kernels that read it.
    """

    keeps_weights = True

    def attach(self, network: nn.Module, generator: torch.Generator) -> None:
        """Begin with the mean magnitudes of the filters, the largest of each group as 1."""
        super().attach(network, generator)
        self.dense = {name: weight.detach().clone() for name, weight in self.weights.items()}
        first = self.written({name: weight.abs() for name, weight in self.dense.items()})
        scaled = [score / score.max().clamp_min(torch.finfo(score.dtype).tiny) for score in first]
        self.learned = [score.float().requires_grad_() for score in scaled]

    def parameters(self) -> dict[str, Tensor]:
        """The scores."""
        return {f"score/{group.name}": score for group, score in zip(self.groups, self.learned, strict=True)}

    def before(self) -> None:
        """Put the kernels that read the kept channels into the network, zeros elsewhere."""
        with torch.no_grad():
            for group, stays in zip(self.groups, self.kept(), strict=True):
                for name in (f"{reader}.weight" for reader in group.readers):
                    mask = self.columns(stays, self.dense[name])
                    self.weights[name].copy_(self.dense[name] * mask)

    def gradients(self) -> None:
        """That of a score is the gradient of the mask of its channel."""
        for group, score in zip(self.groups, self.learned, strict=True):
            score.grad = torch.stack([self._by_channel(group, f"{one}.weight") for one in group.readers]).sum(0)

    def _by_channel(self, group: ChannelGroup, name: str) -> Tensor:
        product = (self.gradient(name) * self.dense[name]).transpose(0, 1).flatten(1).sum(1)
        return product.view(group.size, -1).sum(1)

    def scores(self) -> list[Tensor]:
        """The scores of each group."""
        return [score.detach() for score in self.learned]

    def state(self) -> dict[str, Tensor]:
        """The scores."""
        return {group.name: score.detach() for group, score in zip(self.groups, self.learned, strict=True)}
