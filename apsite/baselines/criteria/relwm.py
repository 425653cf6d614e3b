"""Regularization-based lowest weight magnitude (RELWM): robust training with an L1 penalty, then pruning by magnitude.

Source: Rakin et al., *Robust Sparse Regularization: Simultaneously Optimizing Neural Network Robustness and
Compactness*, arXiv:1905.13074, 2019, whose lasso penalty is added to the loss of adversarial training.

A reference implementation of the criterion, not of this method, which trains from scratch and injects noise.
"""

from __future__ import annotations

from torch import Tensor

from apsite.baselines.criteria.scoring import WeightCriterion

PENALTY = 1e-4
"""Weight of the sum of magnitudes in the loss."""


class Lasso(WeightCriterion):
    """Weights whose magnitude costs as much wherever it is, so that those of no use shrink."""

    def gradients(self) -> None:
        """Add that of the penalty."""
        for name, weight in self.weights.items():
            weight.grad = self.gradient(name) + PENALTY * weight.detach().sign()

    def scores(self) -> dict[str, Tensor]:
        """Magnitude of each weight."""
        return {name: weight.detach().abs() for name, weight in self.weights.items()}
