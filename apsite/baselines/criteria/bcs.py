"""Bayesian connectivity sampling (BCS): a sparse network whose connections are sampled while it is trained.

Source: Özdenizci and Legenstein, *Training Adversarially Robust Sparse Networks via Bayesian Connectivity Sampling*,
ICML 2021, after Bellec et al., *Deep Rewiring*, ICLR 2018. A connection has a fixed sign and a size. Noisy gradient
steps on the negative log posterior, which is the robust loss and a prior that favours small sizes, sample the sizes. A
connection whose size falls to zero is gone, and another one, drawn from all that are not there, takes its place, so
that their number never changes.

A reference implementation of the criterion, not of this method, which draws the first connections at random and samples
through the whole training. Here the chain starts at the largest weights of the dense network, with their signs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from apsite.baselines.criteria.scoring import WeightCriterion
from apsite.vocabulary import Locality

PRIOR = 1e-4
"""Rate of the exponential prior of sizes: its part of the gradient."""
TEMPERATURE = 1e-7
"""Of the noise: a step with learning rate ``r`` adds a variance of ``2 r TEMPERATURE``."""
NEWBORN = 1e-6
"""Size of a new connection."""


class Rewiring(WeightCriterion):
    """Weights of which a constant number is not zero."""

    def attach(self, network: nn.Module, generator: torch.Generator) -> None:
        """Begin with the largest weights."""
        super().attach(network, generator)
        self.signs = {name: torch.where(weight.detach() < 0, -1.0, 1.0) for name, weight in self.weights.items()}
        masks = self.masks_of(self.scores())
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(weight * masks[name])

    def before(self) -> None:
        """Note which connections there are."""
        self.present = {name: weight.detach() != 0 for name, weight in self.weights.items()}

    def gradients(self) -> None:
        """Add that of the prior; connections that are not there have none."""
        for name, weight in self.weights.items():
            weight.grad = (self.gradient(name) + PRIOR * self.signs[name]) * self.present[name]

    def after(self, rate: float, done: int, steps: int) -> None:
        """Add the noise, remove connections whose size has fallen to zero, and draw as many others."""
        lost = {}
        with torch.no_grad():
            for name, weight in self.weights.items():
                noise = torch.randn(weight.shape, generator=self.generator).to(weight.device)
                size = self.signs[name] * weight + math.sqrt(2 * rate * TEMPERATURE) * noise
                alive = self.present[name] & (size > 0)
                weight.copy_(self.signs[name] * size * alive)
                lost[name] = int(self.present[name].sum() - alive.sum())
            if self.locality is Locality.LOCAL:
                for name, count in lost.items():
                    self._draw([name], count)
            else:
                self._draw(list(self.weights), sum(lost.values()))

    def _draw(self, names: list[str], count: int) -> None:
        """New connections in these layers, uniformly among those that are not there."""
        absent = torch.cat([(self.weights[name] == 0).flatten() for name in names]).cpu().nonzero().flatten()
        drawn = absent[torch.randperm(len(absent), generator=self.generator)[:count]]
        sizes = [self.weights[name].numel() for name in names]
        born = torch.zeros(sum(sizes))
        born[drawn] = NEWBORN
        for name, part in zip(names, torch.split(born, sizes), strict=True):
            sign = self.signs[name]
            self.weights[name].add_(sign * part.view(sign.shape).to(sign.device))

    def scores(self) -> dict[str, Tensor]:
        """Size of each connection."""
        return {name: weight.detach().abs() for name, weight in self.weights.items()}
