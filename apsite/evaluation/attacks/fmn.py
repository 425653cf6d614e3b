"""FMN, the fast minimum-norm attack, for the l-inf norm, as HO-FMN configures it.

Sources: Pintor et al., *Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints*, NeurIPS 2021; Mura
et al., *HO-FMN: Hyperparameter optimization for fast minimum-norm attacks*, Neurocomputing 2024 (DLR loss, SGD on the
sign of the gradient, cosine annealing); the DLR loss is of Croce and Hein, *Reliable evaluation of adversarial
robustness with an ensemble of diverse parameter-free attacks*, ICML 2020.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from apsite.errors import NetworkError
from apsite.evaluation.attacks.execution import input_gradient
from apsite.evaluation.attacks.precision import arithmetic
from apsite.protocol import Precision

DECISION_MARGIN = 1e-5
"""How far past the boundary, in units of the DLR loss, an example must lie. Keeps results stable against rounding."""


@dataclass(frozen=True)
class FmnParameters:
    """Hyperparameters of the optimiser inside FMN.

    Attributes:
        learning_rate: Step on the sign of the gradient, in input units; annealed to zero.
        momentum: Momentum of SGD.
        weight_decay: Pull of the perturbation towards zero.
        dampening: Dampening of the momentum.
    """

    learning_rate: float
    momentum: float
    weight_decay: float
    dampening: float

    def as_dict(self) -> dict[str, float]:
        """Values by name, as records hold them."""
        return asdict(self)


def dlr_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio: positive where the class is right, zero on the boundary.

    Logits have the shape ``(n, classes)`` with at least three classes.

    Returns:
        ``(z_y - max of the others) / (z_1st - z_3rd)``, shape ``(n,)``, of no unit and blind to the scale of logits.

    Raises:
        NetworkError: If the network has fewer than three classes.
    """
    if logits.shape[1] < 3:
        raise NetworkError(f"the network has {logits.shape[1]} logits; the DLR loss requires at least 3")
    top = logits.topk(3, dim=1)
    own = logits.gather(1, labels[:, None]).squeeze(1)
    first_is_own = top.indices[:, 0] == labels
    other = torch.where(first_is_own, top.values[:, 1], top.values[:, 0])
    return (own - other) / (top.values[:, 0] - top.values[:, 2] + 1e-12)


def fmn_attack(
    network: nn.Module, images: Tensor, labels: Tensor, parameters: Sequence[FmnParameters], steps: int, *,
    gamma_start: float = 0.05, gamma_end: float = 0.001, gradients: Precision = Precision.FLOAT32,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Closest misclassified image that FMN finds for each image. Deterministic.

    Args:
        network: Network in evaluation mode; only gradients of the input are computed.
        images: Correctly classified images in [0, 1], shape ``(n, 3, height, width)``, float32.
        labels: True classes, shape ``(n,)``.
        parameters: Hyperparameters of each image, so that several trials of a search fit in one batch.
        steps: Gradient steps; all iterates are evaluated, also the last.
        gamma_start: Relative change of the norm constraint at the first step, annealed to `gamma_end` by a cosine.
        gamma_end: Relative change of the norm constraint at the last step.
        gradients: Arithmetic of gradients on a GPU. Logits are those of the surrounding code in any case: an iterate
            that is adversarial in TF32 alone would end the search too far inside.

    Returns:
        The adversarial images, of the shape of `images` (the image itself where none was found), and whether one was
        found, shape ``(n,)``, bool. The distance is ``max |adversarial - image|``, of the stored tensors.
    """
    images = images.contiguous()
    shape = (-1, 1, 1, 1)
    delta, buffer = torch.zeros_like(images), torch.zeros_like(images)
    best = images.clone()
    best_norm = torch.full((len(images),), math.inf, device=images.device)
    found = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    epsilon = torch.full_like(best_norm, math.inf)
    rates, momentum, weight_decay, dampening = (
        torch.tensor([getattr(one, name) for one in parameters], dtype=torch.float64).view(shape).to(images.device)
        for name in ("learning_rate", "momentum", "weight_decay", "dampening")
    )
    momentum, weight_decay, kept = (values.to(images) for values in (momentum, weight_decay, 1 - dampening))
    for step in range(steps + 1):
        last = step == steps
        candidate = (images + delta).requires_grad_(not last)
        with torch.set_grad_enabled(not last):
            margin = dlr_margin(network(candidate), labels)
        candidate_values = candidate.detach()
        norm = (candidate_values - images).abs().amax(dim=(1, 2, 3))
        adversarial = margin.detach() < -DECISION_MARGIN
        better = adversarial & (norm < best_norm)
        best = torch.where(better.view(shape), candidate_values, best)
        best_norm = torch.where(better, norm, best_norm)
        found = found | adversarial
        if last:
            break
        with contextlib.nullcontext() if gradients is Precision.FLOAT32 else arithmetic(gradients):
            gradient = input_gradient(margin.sum(), candidate)
        annealing = (1 + math.cos(math.pi * step / steps)) / 2
        gamma = gamma_end + (gamma_start - gamma_end) * annealing
        to_boundary = margin.detach().abs() / gradient.abs().sum(dim=(1, 2, 3)).clamp_min(1e-12)
        outwards = torch.where(found, epsilon * (1 + gamma), norm + to_boundary)
        epsilon = torch.where(adversarial, torch.minimum(epsilon * (1 - gamma), best_norm), outwards)
        direction = gradient.sign() + weight_decay * delta
        buffer = momentum * buffer + (direction if step == 0 else kept * direction)
        delta = delta - (rates * annealing).to(images) * buffer
        bound = epsilon.view(shape)
        delta = torch.minimum(torch.maximum(delta, -bound), bound)
        delta = (images + delta).clamp(0, 1) - images
    return best, found


def distances(images: Tensor, adversarial: Tensor, found: Tensor) -> Tensor:
    """l-inf distances in float32, shape ``(n,)``; ``inf`` where nothing was found."""
    norm = (adversarial - images).abs().amax(dim=(1, 2, 3))
    return torch.where(found, norm, torch.full_like(norm, math.inf))


def worst_norms(images: Tensor) -> Tensor:
    """Largest l-inf perturbation that stays in [0, 1], for each image, shape ``(n,)``."""
    return torch.maximum(images, 1 - images).amax(dim=(1, 2, 3))
