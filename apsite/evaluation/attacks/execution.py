"""Running networks: images to tensors, pass counting and predictions."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from apsite.evaluation.testsets.image_files import Images
from apsite.records import Passes

PassListener = Callable[[int], None]


class StoppedError(Exception):
    """The work on a network was stopped."""


class CountedNetwork(nn.Module):
    """A network in evaluation mode with frozen parameters that counts the passes made through it, from any thread.

    Attributes:
        forward_passes: Samples evaluated without gradient.
        backward_passes: Samples evaluated with a gradient of the input.
        listener: Called after every evaluation with the number of its samples.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.forward_passes = 0
        self.backward_passes = 0
        self.listener: PassListener | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape ``(n, classes)`` for images of shape ``(n, 3, height, width)`` in [0, 1].

        Raises:
            StoppedError: After :meth:`stop`.
        """
        if self._stopped:
            raise StoppedError
        logits = self.network(x)
        with self._lock:
            if torch.is_grad_enabled() and x.requires_grad:
                self.backward_passes += len(x)
            else:
                self.forward_passes += len(x)
            if self.listener is not None:
                self.listener(len(x))
        return torch.as_tensor(logits)

    def stop(self) -> None:
        """Make every later evaluation fail, so that attacks in other threads end."""
        self._stopped = True

    def take_passes(self) -> Passes:
        """Passes since the last call."""
        with self._lock:
            passes = Passes(self.forward_passes, self.backward_passes)
            self.forward_passes = self.backward_passes = 0
        return passes


FEWEST_ROWS = 4
"""Kernels of CPUs for fewer rows than this round differently."""


class FilledUp(nn.Module):
    """A network on a CPU whose batches have at least :data:`FEWEST_ROWS` rows: smaller ones repeat their last row.

    So the logits of an image, and its gradient, do not depend on how many others are in the batch.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape ``(n, classes)``."""
        missing = FEWEST_ROWS - len(x)
        if missing <= 0 or not len(x):
            return torch.as_tensor(self.network(x))
        filled = torch.cat([x, x[-1:].detach().expand(missing, *x.shape[1:])])
        return torch.as_tensor(self.network(filled))[: len(x)]


def as_inputs(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Images as float32 in [0, 1] on `device`, contiguous, channels first."""
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    if device.type == "cuda":  # from pinned memory the copy overlaps with the computation
        pixels = pixels.pin_memory()
    return pixels.to(device, non_blocking=True).float().div_(255)


def predict(
    network: nn.Module, images: Images, device: torch.device, batch_size: int
) -> tuple[Tensor, NDArray[np.int64]]:
    """Logits (on the CPU) and predicted classes of all images, without gradients."""
    with torch.inference_mode():
        logits = [
            network(as_inputs(images[start : start + batch_size], device)).float().cpu()
            for start in range(0, len(images), batch_size)
        ]
    joined = torch.cat(logits).clone()
    return joined, joined.argmax(1).numpy()
