"""Engine ``fast``: our AutoAttack, with what makes it quick and nothing that changes its verdicts.

Parameters are frozen, batch norms are folded, fooled samples leave their batch, and the nine targets of a sample are
attacked side by side. Attacks search on the folded network; a success counts only where the evaluated network itself
confirms it, and a success that it does not confirm is searched again on that network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from apsite.evaluation.execution import CountedNetwork, folded
from apsite.evaluation.fast import apgd, fab, square
from apsite.evaluation.fast.noise import BatchNoise, Noise, SampleNoise
from apsite.vocabulary import Attack

TARGETS = 9

COST: Mapping[Attack, int] = {Attack.APGD_CE: 101, Attack.APGD_T: 910, Attack.FAB_T: 1200, Attack.SQUARE: 5001}
"""Passes of one sample that stays robust, for progress only."""


class FastEngine:
    """Runs one attack of AutoAttack on any number of samples.

    Args:
        network: The evaluated network, in evaluation mode, on its device.
        epsilon: Budget in input units.
        seed: Seed of all draws.
        batch_size: Rows evaluated at a time; a row is a sample, or a sample with one target.
        example: A few images, to check the folded network on.
        exact: Draw and order as the official code does, search on the network itself; for parity tests.
    """

    cost = COST

    def __init__(
        self,
        network: CountedNetwork,
        epsilon: float,
        seed: int,
        batch_size: int,
        example: Tensor,
        *,
        exact: bool = False,
    ) -> None:
        self._network = network
        self.searched = network if exact else CountedNetwork(folded(network.network, example))
        self._epsilon, self._seed, self._batch_size, self._exact = epsilon, seed, batch_size, exact

    def perturb(self, attack: Attack, images: Tensor, labels: Tensor, index: Sequence[int]) -> Tensor:
        """Perturbed images of one attack; the clean image where it failed.

        Args:
            attack: Which of the four attacks.
            images: Correctly classified images in [0, 1], shape ``(n, 3, height, width)``, float32.
            labels: True classes, shape ``(n,)``, int64.
            index: Position of each sample in the test set; its draws depend on it.

        Returns:
            Images of the same shape.
        """
        noise: Noise = BatchNoise(self._seed) if self._exact else SampleNoise(self._seed)
        found, perturbed = self._attack(self.searched, attack, images, labels, index, noise)
        if self._exact or not bool(found.any()):
            return perturbed
        with torch.no_grad():
            confirmed = self._network(perturbed[found]).argmax(1) != labels[found]
        again = found.nonzero().squeeze(1)[~confirmed]
        if len(again):
            chosen = [index[int(position)] for position in again]
            _, perturbed[again] = self._attack(self._network, attack, images[again], labels[again], chosen, noise)
        return perturbed

    def _attack(
        self, network: nn.Module, attack: Attack, images: Tensor, labels: Tensor, index: Sequence[int], noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """Who is fooled, and the images that fool."""
        found = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        perturbed = images.clone()
        targeted = attack in (Attack.APGD_T, Attack.FAB_T)
        if self._exact and targeted:
            self._one_target_after_another(network, attack, images, labels, index, noise, found, perturbed)
            return found, perturbed
        part = max(1, self._batch_size // TARGETS) if targeted else self._batch_size
        for start in range(0, len(images), part):
            chosen = slice(start, start + part)
            run = {
                Attack.APGD_CE: self._apgd_ce,
                Attack.APGD_T: self._targets,
                Attack.FAB_T: self._targets,
                Attack.SQUARE: self._square,
            }[attack]
            run(network, attack, images[chosen], labels[chosen], index[chosen], noise, found[chosen], perturbed[chosen])
        return found, perturbed

    def _apgd_ce(
        self,
        network: nn.Module,
        attack: Attack,
        x: Tensor,
        y: Tensor,
        index: Sequence[int],
        noise: Noise,
        found: Tensor,
        perturbed: Tensor,
    ) -> None:
        starts = apgd.start_points(x, noise.uniform(attack, 0, index, tuple(x.shape[1:])), self._epsilon)
        rows = torch.arange(len(x), device=x.device)
        apgd.apgd(network, x, y, rows, starts, y, apgd.cross_entropy, self._epsilon, found, perturbed)

    def _targets(
        self,
        network: nn.Module,
        attack: Attack,
        x: Tensor,
        y: Tensor,
        index: Sequence[int],
        noise: Noise,
        found: Tensor,
        perturbed: Tensor,
    ) -> None:
        """All targets of each sample side by side."""
        targets = self._ranked_targets(network, x)
        rows = torch.arange(len(x), device=x.device).repeat_interleave(targets.shape[1])
        self._rows(network, attack, x, y, index, noise, rows, targets.flatten(), found, perturbed)

    def _one_target_after_another(
        self,
        network: nn.Module,
        attack: Attack,
        x: Tensor,
        y: Tensor,
        index: Sequence[int],
        noise: Noise,
        found: Tensor,
        perturbed: Tensor,
    ) -> None:
        """Each target on the samples that the targets before it did not fool, as the official code does."""
        for rank in range(TARGETS):
            left = (~found).nonzero().squeeze(1)
            if not len(left):
                return
            targets = self._ranked_targets(network, x[left])[:, rank]
            rows = torch.arange(len(left), device=x.device)
            here, images = torch.zeros_like(found[left]), x[left].clone()
            chosen = [index[int(position)] for position in left]
            self._rows(network, attack, x[left], y[left], chosen, noise, rows, targets, here, images)
            found[left], perturbed[left] = here, images

    def _rows(
        self,
        network: nn.Module,
        attack: Attack,
        x: Tensor,
        y: Tensor,
        index: Sequence[int],
        noise: Noise,
        rows: Tensor,
        targets: Tensor,
        found: Tensor,
        perturbed: Tensor,
    ) -> None:
        """Attack rows of samples and targets."""
        if attack is Attack.FAB_T:
            fab.fab_targeted(network, x, y, rows, targets, self._epsilon, found, perturbed)
            return
        per_sample = len(rows) // len(x)
        shape = tuple(x.shape[1:])
        draws = torch.stack([noise.uniform(attack, rank, index, shape) for rank in range(per_sample)], dim=1)
        starts = apgd.start_points(x[rows], draws.flatten(0, 1), self._epsilon)
        apgd.apgd(network, x, y, rows, starts, targets, apgd.targeted_dlr, self._epsilon, found, perturbed)

    def _square(
        self,
        network: nn.Module,
        attack: Attack,
        x: Tensor,
        y: Tensor,
        index: Sequence[int],
        noise: Noise,
        found: Tensor,
        perturbed: Tensor,
    ) -> None:
        channels, side = x.shape[1], x.shape[-1]
        stripes = noise.uniform(attack, 0, index, (channels, 1, side)).to(x.device)
        if self._exact:  # the official code draws one square a query for the whole batch
            draws = noise.uniform(attack, 1, [0], (square.QUERIES, 2 + channels)).to(x.device)
        else:
            draws = noise.uniform(attack, 1, index, (square.QUERIES, 2 + channels)).to(x.device)
        places, colours = draws[..., :2], draws[..., 2:]
        square.square_attack(network, x, y, stripes, places, colours, self._epsilon, found, perturbed)

    def _ranked_targets(self, network: nn.Module, x: Tensor) -> Tensor:
        """Classes of the second to tenth largest logit of each image, shape ``(n, 9)``."""
        with torch.no_grad():
            order: Tensor = network(x).sort(dim=1).indices
        return order.flip(1)[:, 1 : 1 + TARGETS]
