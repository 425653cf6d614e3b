"""Arithmetic of the search for adversarial examples; their verdict is always given in float32.

Lower precision makes GPUs quicker. A success that float32 does not confirm is searched again in float32, so no success
is wrong; but a sample that stays robust was attacked with coarser gradients, so such a run is labelled and never ranks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from apsite.evaluation.settings import Precision


@contextlib.contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Let CUDA compute in `precision`, by algorithms that give the same again; restores what was set before.

    torch itself allows TF32 in convolutions. Gradients are computed by threads of their own, so it is not enough to set
    this around a forward pass.
    """
    cudnn: Any = torch.backends.cudnn
    operators = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    before = [operator.fp32_precision for operator in operators]
    deterministic, benchmark = cudnn.deterministic, cudnn.benchmark
    for operator in operators:
        operator.fp32_precision = "tf32" if precision is Precision.TF32 else "ieee"
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        for operator, value in zip(operators, before, strict=True):
            operator.fp32_precision = value
        cudnn.deterministic, cudnn.benchmark = deterministic, benchmark


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
