"""Arithmetic of the search for adversarial examples; float32 decides every result.

Lower precision makes GPUs faster. A success that float32 does not confirm is searched again in float32, so no success
is wrong; but a sample that stays robust was attacked with coarser gradients, so such a run is labelled and never ranks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

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
    switches: list[tuple[Any, str, Any]]
    try:
        _ = matmul.allow_tf32, cudnn.allow_tf32
        switches = [(matmul, "allow_tf32", allowed), (cudnn, "allow_tf32", allowed)]
    except RuntimeError:
        operators: Any = cudnn
        word = "tf32" if allowed else "ieee"
        switches = [(one, "fp32_precision", word) for one in (matmul, operators.conv, operators.rnn)]
    before = [getattr(place, name) for place, name, _ in switches]
    try:
        for place, name, value in switches:
            setattr(place, name, value)
        yield
    finally:
        for (place, name, _), value in zip(switches, before, strict=True):
            setattr(place, name, value)


class InBfloat16(nn.Module):
    """A network that computes in bfloat16 where torch deems that safe; logits are float32.

    Args:
        network: Network in evaluation mode.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape ``(n, classes)``."""
        with torch.autocast(x.device.type, torch.bfloat16):
            return torch.as_tensor(self.network(x)).float()
