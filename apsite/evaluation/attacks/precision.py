"""Arithmetic of the search for adversarial examples; float32 decides every result.

Lower precision makes GPUs faster. A success that float32 does not confirm is searched again in float32, so no success
is wrong; but a sample that stays robust was attacked with coarser gradients, so such a run is labelled and never ranks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from apsite.evaluation.attacks.execution import logits_of
from apsite.protocol import Precision


@contextlib.contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Let CUDA compute in `precision`, by algorithms that give the same again; restores what was set before.

    torch itself allows TF32 in convolutions. Separate threads compute gradients, so it is not enough to set
    this around a forward pass.
    """
    cudnn = torch.backends.cudnn
    deterministic, benchmark = cudnn.deterministic, cudnn.benchmark
    with _tf32(allowed=precision is Precision.TF32):
        cudnn.deterministic, cudnn.benchmark = True, False
        try:
            yield
        finally:
            cudnn.deterministic, cudnn.benchmark = deterministic, benchmark


@contextlib.contextmanager
def _tf32(*, allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 by the older switches of torch, which a network may read, or by the newer ones.

    torch refuses to read the older ones where a program has set the newer ones to what they cannot express.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    places: list[Any] = [matmul, cudnn]
    name, value = "allow_tf32", cast(bool | str, allowed)
    try:
        before = [getattr(place, name) for place in places]
    except RuntimeError:
        operators: Any = cudnn
        places = [matmul, operators.conv, operators.rnn]
        name, value = "fp32_precision", "tf32" if allowed else "ieee"
        before = [getattr(place, name) for place in places]
    try:
        for place in places:
            setattr(place, name, value)
        yield
    finally:
        for place, earlier in zip(places, before, strict=True):
            setattr(place, name, earlier)


class InBfloat16(nn.Module):
    """A network that computes in bfloat16 where torch deems that safe; logits are float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape ``(n, classes)``."""
        with torch.autocast(x.device.type, torch.bfloat16):
            return logits_of(self.network, x)
