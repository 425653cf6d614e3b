"""Arithmetic of the search for adversarial examples; their verdict is always given in float32.

Lower precision makes GPUs quicker. A success that float32 does not confirm is searched again in float32, so no success
is wrong; but a sample that stays robust was attacked with coarser gradients, so such a run is labelled and never ranks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from apsite.evaluation.settings import Precision


@contextlib.contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Let CUDA compute in `precision`; restores what was set before. torch itself allows TF32 in convolutions."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = precision is Precision.TF32
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


class InPrecision(nn.Module):
    """A network that computes in a given precision; logits are float32.

    Args:
        network: Network in evaluation mode.
        precision: How it computes.
    """

    def __init__(self, network: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.network = network
        self._precision = precision

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape ``(n, classes)``."""
        low = self._precision is Precision.BF16
        with arithmetic(self._precision), torch.autocast(x.device.type, torch.bfloat16, enabled=low):
            return torch.as_tensor(self.network(x)).float()
