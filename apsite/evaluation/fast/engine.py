"""Engine ``fast``: our AutoAttack, with what makes it quick and nothing that changes its verdicts.

Parameters are frozen, batch norms are folded, fooled samples leave their batch, and the nine targets of a sample are
attacked side by side. Attacks search on the folded network; a success counts only where the evaluated network itself
confirms it, and a success that it does not confirm is searched again on that network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from apsite.evaluation.execution import CountedNetwork, folded
from apsite.evaluation.fast import apgd, fab, square
from apsite.evaluation.fast.noise import BatchNoise, Noise, SampleNoise
from apsite.vocabulary import Attack

TARGETS = 9

COST: Mapping[Attack, int] = {Attack.APGD_CE: 101, Attack.APGD_T: 910, Attack.FAB_T: 1200, Attack.SQUARE: 5001}
"""Passes of one sample that stays robust, for progress only."""


@dataclass(frozen=True)
class _Batch:
    """Samples under one attack, and what it has found; `found` and `perturbed` are filled in place."""

    network: nn.Module
    attack: Attack
    images: Tensor
    labels: Tensor
    index: Sequence[int]
    noise: Noise
    found: Tensor
    perturbed: Tensor

    @classmethod
    def of(
        cls, network: nn.Module, attack: Attack, images: Tensor, labels: Tensor, index: Sequence[int], noise: Noise
    ) -> _Batch:
        """Samples for which nothing is found yet."""
        found = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        return cls(network, attack, images, labels, index, noise, found, images.clone())

    def part(self, chosen: slice) -> _Batch:
        """Some of the samples, with their share of the results."""
        names = ("images", "labels", "index", "found", "perturbed")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    def draw(self, stream: int, shape: tuple[int, ...]) -> Tensor:
        """Uniform draws of each sample, on the device."""
        return self.noise.uniform(self.attack, stream, self.index, shape).to(self.images.device)

    def ranked_targets(self) -> Tensor:
        """Classes of the second to tenth largest logit of each image, shape ``(n, 9)``."""
        with torch.no_grad():
            order: Tensor = self.network(self.images).sort(dim=1).indices
        return order.flip(1)[:, 1 : 1 + TARGETS]


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
        batch = _Batch.of(self.searched, attack, images, labels, index, noise)
        self._attack(batch)
        if self._exact or not bool(batch.found.any()):
            return batch.perturbed
        with torch.no_grad():
            confirmed = self._network(batch.perturbed[batch.found]).argmax(1) != labels[batch.found]
        again = batch.found.nonzero().squeeze(1)[~confirmed]
        if len(again):
            chosen = [index[int(position)] for position in again]
            repeated = _Batch.of(self._network, attack, images[again], labels[again], chosen, noise)
            self._attack(repeated)
            batch.perturbed[again] = repeated.perturbed
        return batch.perturbed

    def _attack(self, batch: _Batch) -> None:
        """Run the attack of a batch, as many rows at a time as the batch size allows."""
        targeted = batch.attack in (Attack.APGD_T, Attack.FAB_T)
        if targeted and self._exact:
            self._one_target_after_another(batch)
            return
        run = self._targets if targeted else self._square if batch.attack is Attack.SQUARE else self._apgd_ce
        size = max(1, self._batch_size // TARGETS) if targeted else self._batch_size
        for start in range(0, len(batch.images), size):
            run(batch.part(slice(start, start + size)))

    def _apgd_ce(self, batch: _Batch) -> None:
        x, y = batch.images, batch.labels
        starts = apgd.start_points(x, batch.draw(0, tuple(x.shape[1:])), self._epsilon)
        rows = torch.arange(len(x), device=x.device)
        apgd.apgd(batch.network, x, y, rows, starts, y, apgd.cross_entropy, self._epsilon, batch.found, batch.perturbed)

    def _targets(self, batch: _Batch) -> None:
        """All targets of each sample side by side."""
        targets = batch.ranked_targets()
        rows = torch.arange(len(targets), device=targets.device).repeat_interleave(targets.shape[1])
        self._rows(batch, rows, targets.flatten())

    def _one_target_after_another(self, batch: _Batch) -> None:
        """Each target on the samples that the targets before it did not fool, as the official code does."""
        for rank in range(TARGETS):
            left = (~batch.found).nonzero().squeeze(1)
            if not len(left):
                return
            chosen = [batch.index[int(position)] for position in left]
            part = _Batch.of(batch.network, batch.attack, batch.images[left], batch.labels[left], chosen, batch.noise)
            self._rows(part, torch.arange(len(left), device=left.device), part.ranked_targets()[:, rank])
            batch.found[left], batch.perturbed[left] = part.found, part.perturbed

    def _rows(self, batch: _Batch, rows: Tensor, targets: Tensor) -> None:
        """Attack rows, each a sample of the batch and a target class."""
        x, y = batch.images, batch.labels
        if batch.attack is Attack.FAB_T:
            fab.fab_targeted(batch.network, x, y, rows, targets, self._epsilon, batch.found, batch.perturbed)
            return
        shape = tuple(x.shape[1:])
        draws = torch.stack([batch.draw(rank, shape) for rank in range(len(rows) // len(x))], dim=1)
        starts = apgd.start_points(x[rows], draws.flatten(0, 1), self._epsilon)
        apgd.apgd(
            batch.network, x, y, rows, starts, targets, apgd.targeted_dlr, self._epsilon, batch.found, batch.perturbed
        )

    def _square(self, batch: _Batch) -> None:
        channels, side = batch.images.shape[1], batch.images.shape[-1]
        stripes = batch.draw(0, (channels, 1, side))
        # The official code draws one square a query for the whole batch.
        drawn = replace(batch, index=batch.index[:1]) if self._exact else batch
        squares = drawn.draw(1, (square.QUERIES, 2 + channels))
        square.square_attack(
            batch.network,
            batch.images,
            batch.labels,
            stripes,
            squares[..., :2],
            squares[..., 2:],
            self._epsilon,
            batch.found,
            batch.perturbed,
        )
