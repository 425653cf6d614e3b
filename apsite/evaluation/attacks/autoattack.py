"""AutoAttack standard, l-inf, through `pyautoattack`: the engine ``reference``.

`pyautoattack` computes bit for bit what the official code does. Its faults stay outside: its checks (they end tracing
and count in module globals), its state file (cannot be restored) and its printed numbers are not used; parameters are
frozen, because FAB would compute their gradients without using them; the caller's random state is left as it was.

Source: Croce and Hein, *Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
attacks*, ICML 2020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from apsite.errors import NetworkError
from apsite.evaluation.attacks.execution import CountedNetwork
from apsite.vocabulary import Attack

TOLERANCE = 1e-6
"""Slack of the l-inf ball: float32 rounding moves images by up to 3e-8 beyond it."""

COST: Mapping[Attack, int] = {Attack.APGD_CE: 103, Attack.APGD_T: 920, Attack.FAB_T: 1829, Attack.SQUARE: 5004}
"""Passes of one sample that stays robust, for progress only (forward passes and passes with gradient together)."""


class Engine(Protocol):
    """An implementation of the four attacks.

    Attributes:
        cost: Passes of one sample that stays robust, for progress.
        surrogate: Network through which it makes its passes.
        dropped_rows: Pairs of sample and target that the last attack gave up early, of samples that it did not break.
    """

    cost: Mapping[Attack, int]
    dropped_rows: int
    surrogate: CountedNetwork

    def perturb(self, attack: Attack, images: Tensor, labels: Tensor, index: Sequence[int]) -> Tensor:
        """Perturbed images of one attack, unverified, of the shape of `images`.

        Args:
            attack: Which of the four attacks.
            images: Correctly classified images in [0, 1], shape ``(n, 3, height, width)``, float32.
            labels: True classes, shape ``(n,)``, int64.
            index: Position of each sample in the test set, on which its draws may depend.
        """


class ReferenceEngine:
    """Runs one attack of AutoAttack on one batch.

    Args:
        network: The evaluated network on `device`, which takes images in [0, 1] and returns at least 10 logits.
        epsilon: Perturbation size in input units.
        seed: Seed of every batch, as in the official code.
    """

    cost = COST
    dropped_rows = 0

    def __init__(self, network: CountedNetwork, epsilon: float, seed: int, device: torch.device) -> None:
        from pyautoattack.autoattack import AutoAttack

        self._suite: Any = AutoAttack(network, norm="Linf", eps=epsilon, seed=seed, version="standard", device=device)
        self.surrogate = network
        self._seed = seed
        self._device = device

    def perturb(self, attack: Attack, images: Tensor, labels: Tensor, index: Sequence[int]) -> Tensor:
        """See :class:`Engine`; `index` is not used, since every batch is seeded: the partition is part of the run."""
        suite = self._suite
        one = {
            Attack.APGD_CE: suite.apgd, Attack.APGD_T: suite.apgd_targeted,
            Attack.FAB_T: suite.fab, Attack.SQUARE: suite.square,
        }[attack]  # fmt: skip
        one.seed = self._seed
        suite.apgd.loss, suite.fab.targeted, suite.fab.n_restarts = "ce", True, 1
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.no_grad():
            return torch.as_tensor(one.perturb(images, labels)).detach()


def is_adversarial(network: nn.Module, images: Tensor, perturbed: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """Flags of the perturbed images that are true adversarial examples, from one new forward pass in float32.

    Returns:
        Shape ``(n,)``, bool: misclassified by the evaluated `network`, inside the ball around `images` (within
        :data:`TOLERANCE`) and inside [0, 1].

    Raises:
        NetworkError: If a logit is not finite.
    """
    with torch.no_grad():
        logits = network(perturbed)
    if not torch.isfinite(logits).all():
        raise NetworkError("the network returns NaN or infinite logits for an attacked image; it cannot be evaluated")
    inside_ball = (perturbed - images).abs().amax(dim=(1, 2, 3)) <= epsilon + TOLERANCE
    inside_box = (perturbed.amin(dim=(1, 2, 3)) >= 0) & (perturbed.amax(dim=(1, 2, 3)) <= 1)
    adversarial: Tensor = (logits.argmax(1) != labels) & inside_ball & inside_box
    return adversarial
