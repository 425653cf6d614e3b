"""A small recipe for adversarial training, dense or under a fixed mask. Made for baselines, not a framework.

Source: Madry et al., *Towards Deep Learning Models Resistant to Adversarial Attacks*, ICLR 2018 (PGD adversarial
training); Wong et al., *Fast is better than free*, ICLR 2020 (random start, one-cycle schedule, mixed precision).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from apsite.evaluation.pruning import apply_masks


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run.

    Attributes:
        epochs: Passes over the training set.
        peak_learning_rate: Maximum of the one-cycle schedule, reached after 30 % of the steps.
        steps: PGD steps per batch; 1 is the fast single-step variant.
        epsilon: Perturbation budget in input units.
        step_size: PGD step in input units.
        batch_size: Images per step.
        momentum: SGD (Nesterov) momentum.
        weight_decay: L2 penalty on all parameters.
        seed: Seed of initialisation, order, augmentation and random starts.
    """

    epochs: int
    peak_learning_rate: float
    steps: int
    epsilon: float = 8 / 255
    step_size: float = 10 / 255
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 2e-4
    seed: int = 0


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random horizontal flips and shifts of up to four pixels (zero padding), one draw per image."""
    count, _, height, width = images.shape
    padded = functional.pad(images, (4, 4, 4, 4))
    top, left = torch.randint(0, 9, (2, count), generator=generator)
    flip = torch.rand(count, generator=generator) < 0.5
    rows = (top[:, None] + torch.arange(height))[:, None, :, None]
    columns = torch.arange(width).expand(count, width)
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    columns = (left[:, None] + columns)[:, None, None, :]
    return padded[torch.arange(count)[:, None, None, None], torch.arange(3)[None, :, None, None], rows, columns]


def adversarial_images(
    network: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe, generator: torch.Generator
) -> Tensor:
    """Images of maximal cross-entropy found by PGD with a uniform random start inside the ball and [0, 1]."""
    noise = torch.empty_like(images).uniform_(-recipe.epsilon, recipe.epsilon, generator=generator)
    adversarial = (images + noise).clamp(0, 1)
    for _ in range(recipe.steps):
        adversarial.requires_grad_(True)
        with torch.autocast(images.device.type, torch.bfloat16):
            loss = functional.cross_entropy(network(adversarial).float(), labels)
        (gradient,) = torch.autograd.grad(loss, adversarial)
        stepped = adversarial.detach() + recipe.step_size * gradient.sign()
        adversarial = torch.clamp(torch.min(torch.max(stepped, images - recipe.epsilon), images + recipe.epsilon), 0, 1)
    return adversarial.detach()


def train(
    network: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    recipe: Recipe,
    *,
    masks: Mapping[str, Tensor] | None = None,
    report: Callable[[int, float, float], None] = lambda epoch, loss, accuracy: None,
) -> nn.Module:
    """Train `network` in place by adversarial training and return it in evaluation mode.

    Args:
        network: Network to train; its parameters are changed.
        images: Training images, shape ``(n, 3, height, width)``, 0..255.
        labels: Class of each image, shape ``(n,)``.
        recipe: All settings.
        masks: Boolean masks by parameter name; weights outside them are zero before, during and after training.
        report: Called after each epoch with its number, the mean loss and the accuracy on the adversarial images.

    Returns:
        The same network in evaluation mode.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(
        network.parameters(), lr=1.0, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    batches = len(images) // recipe.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        recipe.peak_learning_rate,
        total_steps=recipe.epochs * batches,
        anneal_strategy="linear",
        cycle_momentum=False,
    )
    everything, classes = torch.from_numpy(images), torch.from_numpy(labels)
    if masks is not None:
        apply_masks(network, masks)
    for epoch in range(1, recipe.epochs + 1):
        total_loss, correct = 0.0, 0
        order = torch.randperm(len(images), generator=generator)
        for chosen in order[: batches * recipe.batch_size].view(batches, recipe.batch_size):
            clean = augment(everything[chosen].float() / 255, generator)
            clean = clean.contiguous(memory_format=torch.channels_last)
            network.eval()
            network.requires_grad_(False)
            attacked = adversarial_images(network, clean, classes[chosen], recipe, generator)
            network.train()
            network.requires_grad_(True)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(attacked).float()
            loss = functional.cross_entropy(logits, classes[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            if masks is not None:
                apply_masks(network, masks)
            total_loss += float(loss.detach())
            correct += int((logits.argmax(1) == classes[chosen]).sum())
        report(epoch, total_loss / batches, correct / (batches * recipe.batch_size))
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return network.eval()
