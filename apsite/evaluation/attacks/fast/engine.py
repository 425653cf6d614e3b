"""Engine ``fast``: the built-in AutoAttack, optimised without changing its results.

Parameters are frozen, fooled samples leave their batch, the nine targets of a sample share a batch, and so
are batches on the cores of a CPU. Attacks search on an equal network that runs faster; a success counts only where the
evaluated network itself confirms it, and a success that it does not confirm is searched again on that network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from apsite.evaluation.attacks.execution import CountedNetwork
from apsite.evaluation.attacks.fast import apgd, fab, square
from apsite.evaluation.attacks.fast.noise import BatchNoise, Noise, SampleNoise
from apsite.evaluation.attacks.lanes import ROWS_ON_CPU, Lanes, batch_slices
from apsite.evaluation.attacks.precision import arithmetic
from apsite.protocol import TARGETS, Precision
from apsite.vocabulary import Attack

COST: Mapping[Attack, int] = {Attack.APGD_CE: 101, Attack.APGD_T: 910, Attack.FAB_T: 1800, Attack.SQUARE: 5001}
"""Passes of one sample that stays robust, for progress only."""


@dataclass(frozen=True)
class _Batch:
    """Samples under one attack, and what it has found; `found`, `perturbed` and `dropped` are filled in place."""

    network: CountedNetwork
    attack: Attack
    images: Tensor
    labels: Tensor
    index: Sequence[int]
    noise: Noise
    found: Tensor
    perturbed: Tensor
    dropped: Tensor

    @classmethod
    def of(
        cls, network: CountedNetwork, attack: Attack, images: Tensor, labels: Tensor, index: Sequence[int], noise: Noise
    ) -> _Batch:
        """Samples without an adversarial example so far."""
        found = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        dropped = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        return cls(network, attack, images, labels, index, noise, found, images.clone(), dropped)

    def part(self, chosen: slice) -> _Batch:
        """Some of the samples, with their share of the results."""
        names = ("images", "labels", "index", "found", "perturbed", "dropped")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    @property
    def given_up(self) -> int:
        """Hopeless rows of the samples that are not fooled."""
        return int(self.dropped[~self.found].sum())

    def draw(self, stream: int, shape: tuple[int, ...]) -> Tensor:
        """Uniform draws of each sample, on the device."""
        return self.noise.uniform(self.attack, stream, self.index, shape).to(self.images.device)

    def ranked_targets(self) -> Tensor:
        """Classes of the second to tenth largest logit of each image, shape ``(n, 9)``."""
        with torch.no_grad():
            order: Tensor = self.network(self.images).sort(dim=1).indices
        return order.flip(1)[:, 1 : 1 + TARGETS]


FAST_COST: Mapping[Attack, int] = {**COST, Attack.FAB_T: 680}
"""Passes of one sample that stays robust, where FAB gives up hopeless rows."""


class FastEngine:
    """Runs one attack of AutoAttack on any number of samples.

    Args:
        epsilon: Perturbation size in input units.
        rows: Rows evaluated at a time on a GPU; a row is a sample, or a sample with one target. A CPU takes
            :data:`apsite.evaluation.attacks.lanes.ROWS_ON_CPU` at most.
        surrogate: Equal network to search on; ``None`` for `network`.
        precision: Arithmetic of the search on a GPU; a success is confirmed in float32.
        lanes: Batches that are attacked in parallel.
        exact: Draw and order as the official code does; for parity tests.
        drop_rows: Let FAB give up hopeless rows, see :func:`apsite.evaluation.attacks.fast.fab.hopeless`; never if
            `exact`.

    The attribute `rows` may be changed between attacks, which changes no result. `dropped_rows` counts the rows that
    the last attack gave up, of the samples that it did not fool.
    """

    cost: Mapping[Attack, int] = COST

    def __init__(
        self, network: CountedNetwork, epsilon: float, seed: int, rows: int, *, surrogate: CountedNetwork | None = None,
        precision: Precision = Precision.FLOAT32, lanes: int = 1, exact: bool = False,
        drop_rows: bool = True,
    ) -> None:  # fmt: skip
        self._network = network
        self.surrogate = surrogate or network
        self.rows, self.dropped_rows = rows, 0
        self._drop_rows = drop_rows and not exact
        if self._drop_rows:
            self.cost = FAST_COST
        self._epsilon, self._seed, self._precision, self._lanes, self._exact = epsilon, seed, precision, lanes, exact

    def perturb(self, attack: Attack, images: Tensor, labels: Tensor, index: Sequence[int]) -> Tensor:
        """See :class:`~apsite.evaluation.attacks.autoattack.Engine`; the clean image where the attack failed."""
        noise: Noise = BatchNoise(self._seed) if self._exact else SampleNoise(self._seed)
        batch = _Batch.of(self.surrogate, attack, images, labels, index, noise)
        with arithmetic(self._precision):
            self._attack(batch)
        self.dropped_rows = batch.given_up
        if self._exact or not bool(batch.found.any()):
            return batch.perturbed
        succeeded = batch.found.nonzero().squeeze(1)
        with torch.no_grad():
            predicted = [self._network(some).argmax(1) for some in torch.split(batch.perturbed[succeeded], self.rows)]
        again = succeeded[torch.cat(predicted) == labels[succeeded]]
        if len(again):
            chosen = [index[position] for position in again.tolist()]
            repeated = _Batch.of(self._network, attack, images[again], labels[again], chosen, noise)
            self._attack(repeated)
            batch.perturbed[again] = repeated.perturbed
            self.dropped_rows += repeated.given_up
        return batch.perturbed

    def _attack(self, batch: _Batch) -> None:
        """Run the attack of a batch, as many rows at a time as the batch size allows."""
        targeted = batch.attack in (Attack.APGD_T, Attack.FAB_T)
        if targeted and self._exact:
            self._one_target_after_another(batch)
            return
        run = self._targets if targeted else self._square if batch.attack is Attack.SQUARE else self._apgd_ce
        if self._exact:
            run(batch)
            return
        size = self._rows_at_a_time(batch.images.device)
        parts = batch_slices(len(batch.images), TARGETS if targeted else 1, size, self._lanes)
        with Lanes(self._lanes, batch.network.stop) as lanes:
            lanes.run([lambda part=part: run(batch.part(part)) for part in parts])  # type: ignore[misc]

    def _rows_at_a_time(self, device: torch.device) -> int:
        return min(self.rows, ROWS_ON_CPU) if device.type == "cpu" else self.rows

    def _apgd_ce(self, batch: _Batch) -> None:
        x, y = batch.images, batch.labels
        starts = apgd.start_points(x, batch.draw(0, tuple(x.shape[1:])), self._epsilon)
        rows = torch.arange(len(x), device=x.device)
        self._ascend(batch, rows, starts, y, apgd.cross_entropy)

    def _targets(self, batch: _Batch) -> None:
        """All targets of each sample in one batch."""
        targets = batch.ranked_targets()
        rows = torch.arange(len(targets), device=targets.device).repeat_interleave(targets.shape[1])
        self._rows(batch, rows, targets.flatten())

    def _one_target_after_another(self, batch: _Batch) -> None:
        """Each target on the samples that the targets before it did not fool, as the official code does."""
        for rank in range(TARGETS):
            left = (~batch.found).nonzero().squeeze(1)
            if not len(left):
                return
            chosen = [batch.index[position] for position in left.tolist()]
            part = _Batch.of(batch.network, batch.attack, batch.images[left], batch.labels[left], chosen, batch.noise)
            self._rows(part, torch.arange(len(left), device=left.device), part.ranked_targets()[:, rank])
            batch.found[left], batch.perturbed[left] = part.found, part.perturbed

    def _rows(self, batch: _Batch, rows: Tensor, targets: Tensor) -> None:
        """Attack rows, each a sample of the batch and a target class."""
        x, y = batch.images, batch.labels
        if batch.attack is Attack.FAB_T:
            fab.fab_targeted(
                batch.network, x, y, rows, targets, self._epsilon, batch.found, batch.perturbed, to_the_end=self._exact,
                dropped=batch.dropped if self._drop_rows else None,
            )  # fmt: skip
            return
        shape = tuple(x.shape[1:])
        draws = torch.stack([batch.draw(rank, shape) for rank in range(len(rows) // len(x))], dim=1)
        starts = apgd.start_points(x[rows], draws.flatten(0, 1), self._epsilon)
        self._ascend(batch, rows, starts, targets, apgd.targeted_dlr)

    def _ascend(self, batch: _Batch, rows: Tensor, starts: Tensor, targets: Tensor, objective: apgd.Objective) -> None:
        apgd.apgd(
            batch.network, batch.images, batch.labels, rows, starts, targets, objective, self._epsilon, batch.found,
            batch.perturbed, to_the_end=self._exact,
        )  # fmt: skip

    def _square(self, batch: _Batch) -> None:
        channels, side = batch.images.shape[1], batch.images.shape[-1]
        stripes = batch.draw(0, (channels, 1, side))
        # The official code draws one square a query for the whole batch.
        drawn = replace(batch, index=batch.index[:1]) if self._exact else batch
        squares = drawn.draw(1, (square.QUERIES, 2 + channels))
        square.square_attack(
            batch.network, batch.images, batch.labels, stripes, squares[..., :2], squares[..., 2:], self._epsilon,
            batch.found, batch.perturbed, self._rows_at_a_time(batch.images.device),
        )  # fmt: skip
