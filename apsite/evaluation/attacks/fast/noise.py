"""Random numbers of the attacks.

By default every draw belongs to one sample, attack and target, so that a result depends on neither batch, order,
device nor resume. The exact mode draws as the official code does, which makes parity testable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from apsite.vocabulary import Term


class Noise(Protocol):
    """Source of uniform random numbers in [0, 1)."""

    def uniform(self, attack: Term, stream: int, samples: Sequence[int], shape: tuple[int, ...]) -> Tensor:
        """Float32 on the CPU, shape ``(len(samples), *shape)``; `stream` separates the draws of one attack."""


class SampleNoise:
    """One generator per sample, attack and stream."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def uniform(self, attack: Term, stream: int, samples: Sequence[int], shape: tuple[int, ...]) -> Tensor:
        """Draws that depend on the seed, the attack, the stream and each sample's position in the test set only."""
        generator = torch.Generator()
        drawn = torch.empty((len(samples), *shape))
        for row, sample in enumerate(samples):
            text = f"{self._seed}/{attack.value}/{stream}/{sample}"
            generator.manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1)
            torch.rand(shape, generator=generator, out=drawn[row])
        return drawn


class BatchNoise:
    """One generator per attack and batch, read in the order of the official code."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def uniform(self, attack: Term, stream: int, samples: Sequence[int], shape: tuple[int, ...]) -> Tensor:
        """The next numbers of the stream of this batch."""
        return torch.rand((len(samples), *shape), generator=self._generator)
