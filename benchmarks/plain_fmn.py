"""FMN as a plain loop: the yardstick for ours, with the habits of published implementations kept.

All images are attacked, also those that are misclassified from the start; ``backward`` computes the gradients of all
parameters as well; batch norms are not folded. Algorithm: Pintor et al., NeurIPS 2021, in the configuration of Mura et
al., Neurocomputing 2024 (l-inf, DLR loss, SGD on the sign of the gradient, cosine annealing).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from apsite.evaluation.attacks.fmn import FmnParameters


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio, negative where the class is right."""
    ordered = logits.sort(dim=1).values
    first = (ordered[:, -1] == logits.gather(1, labels[:, None]).squeeze(1)).float()
    own = logits.gather(1, labels[:, None]).squeeze(1)
    other = ordered[:, -2] * first + ordered[:, -1] * (1 - first)
    return -(own - other) / (ordered[:, -1] - ordered[:, -3] + 1e-12)


def plain_fmn(network: nn.Module, images: Tensor, labels: Tensor, parameters: FmnParameters, steps: int) -> Tensor:
    """Distances of all images, shape ``(n,)``; 0 where misclassified from the start, ``inf`` where none is found."""
    delta = torch.zeros_like(images, requires_grad=True)
    optimiser = torch.optim.SGD(
        [delta], lr=parameters.learning_rate, momentum=parameters.momentum,
        weight_decay=parameters.weight_decay, dampening=parameters.dampening,
    )  # fmt: skip
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps)
    epsilon = torch.full((len(images),), math.inf, device=images.device)
    best = torch.full_like(epsilon, math.inf)
    for step in range(steps):
        optimiser.zero_grad()
        logits = network(images + delta)
        loss = dlr(logits, labels)
        adversarial = logits.argmax(1) != labels
        norm = delta.detach().flatten(1).abs().amax(1)
        best = torch.where(adversarial & (norm < best), norm, best)
        loss.sum().backward()
        gradient = delta.grad
        assert gradient is not None
        gamma = 0.001 + (0.05 - 0.001) * (1 + math.cos(math.pi * step / steps)) / 2
        found = best.isfinite()
        to_boundary = loss.detach().abs() / gradient.flatten(1).abs().sum(1).clamp_min(1e-12)
        epsilon = torch.where(
            adversarial,
            torch.minimum(epsilon * (1 - gamma), best),
            torch.where(found, epsilon * (1 + gamma), norm + to_boundary),
        )
        gradient.sign_().neg_()
        optimiser.step()
        with torch.no_grad():
            flat = delta.flatten(1)
            flat.copy_(torch.minimum(torch.maximum(flat, -epsilon[:, None]), epsilon[:, None]))
            delta.add_(images).clamp_(0, 1).sub_(images)
        scheduler.step()
    return best
