"""Solver-based lowest weight magnitude (SOLWM): ADMM on the sparsity constraint, then pruning by magnitude.

Source: Ye et al., *Adversarial Robustness vs. Model Compression, or Both?*, ICCV 2019. The robust loss is minimised
over weights ``W`` under the constraint that they equal a sparse copy ``Z``. In turns, SGD lowers the loss plus
``rho / 2 |W - Z + U|^2``, then ``Z`` becomes the largest magnitudes of ``W + U``, and ``U`` grows by ``W - Z``.

A reference implementation of the criterion, not of this method, which takes many more turns and raises ``rho``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from apsite.baselines.criteria.scoring import WeightCriterion

RHO = 1e-2
"""Weight of the distance to the sparse copy."""
TURNS = 10
"""How often the sparse copy is made anew during the training."""


class Admm(WeightCriterion):
    """Weights that approach a sparse copy of themselves while they are trained."""

    def attach(self, network: nn.Module, generator: torch.Generator) -> None:
        """Begin with the largest weights as the copy."""
        super().attach(network, generator)
        self.copy = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.dual = {name: torch.zeros_like(weight) for name, weight in self.copy.items()}
        self._project()

    def gradients(self) -> None:
        """Add that of the distance to the copy."""
        for name, weight in self.weights.items():
            distance = RHO * (weight.detach() - self.copy[name] + self.dual[name])
            weight.grad = self.gradient(name) + distance

    def after(self, rate: float, done: int, steps: int) -> None:
        """Make the copy anew at the end of each turn."""
        if (done + 1) * TURNS // steps > done * TURNS // steps:
            self._project()

    def _project(self) -> None:
        """The sparse weights next to ``W + U``, and what is left of it as the new ``U``."""
        for name, weight in self.weights.items():
            self.dual[name].add_(weight.detach())
        masks = self.masks_of({name: value.abs() for name, value in self.dual.items()})
        for name, value in self.dual.items():
            self.copy[name].copy_(value * masks[name])
            value.sub_(self.copy[name])

    def scores(self) -> dict[str, Tensor]:
        """Magnitude of each weight."""
        return {name: weight.detach().abs() for name, weight in self.weights.items()}

    def state(self) -> dict[str, Tensor]:
        """The copy and the dual variables."""
        return {f"{part}/{name}": value for part in ("copy", "dual") for name, value in getattr(self, part).items()}
