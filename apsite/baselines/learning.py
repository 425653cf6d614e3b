"""What a training step changes: the weights of the network, or what a pruning criterion learns instead."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Learner:
    """Plain training: SGD changes the weights by the gradient of the robust loss. Criteria override what they change.

    The training loop calls :meth:`attach` once, and in each step :meth:`before` ahead of the attack, :meth:`gradients`
    behind the gradient of the loss and :meth:`after` behind the step of SGD.

    Attributes:
        keeps_weights: Whether the network's own tensors are as before once the training is over.
    """

    keeps_weights = False
    network: nn.Module
    generator: torch.Generator

    def attach(self, network: nn.Module, generator: torch.Generator) -> None:
        """Begin with a network, which is on its device; `generator` on the CPU is the one of the whole training."""
        self.network, self.generator = network, generator

    def parameters(self) -> dict[str, Tensor]:
        """What SGD changes, by name."""
        return dict(self.network.named_parameters())

    def before(self) -> None:
        """Prepare the network for a step."""

    def gradients(self) -> None:
        """Complete the gradients of what SGD changes from those of the network."""

    def after(self, rate: float, done: int, steps: int) -> None:
        """Finish step `done` of `steps`, whose learning rate was `rate`."""

    def state(self) -> dict[str, Tensor]:
        """Tensors beside the network on which the remaining steps depend; a resumed run overwrites them in place."""
        return {}
