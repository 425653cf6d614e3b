"""Running networks, which may be anybody's code: images to tensors, logits, gradients, pass counting, predictions."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from apsite.errors import ApsiteError, EvaluationError, NetworkError
from apsite.evaluation.testsets.image_files import Images
from apsite.records import Passes

PassListener = Callable[[int], None]


class StoppedError(Exception):
    """The work on a network was stopped."""


DEVICE_ERRORS = (torch.OutOfMemoryError, torch.AcceleratorError)
"""What a device raises, whatever the code that runs on it."""

IN_PLACE = "the network changes its input images in place; let its forward begin with x = x.clone()"
_CUT_OFF = (
    "no gradient of the logits reaches the input images (torch.no_grad, .detach() or .data in the forward pass?), so "
    "gradient attacks cannot work; return logits that are differentiable in the input"
)


@contextlib.contextmanager
def foreign_code(doing: str) -> Iterator[None]:
    """Context for code that others wrote: whatever it raises becomes one line, `doing` and its own words.

    What the device raises is passed on.

    Raises:
        NetworkError: If the code fails in any way.
    """
    try:
        yield
    except (ApsiteError, StoppedError, *DEVICE_ERRORS):
        raise
    except (Exception, SystemExit) as error:
        raise NetworkError(f"{doing}: {words_of(error)}") from error


@contextlib.contextmanager
def device_errors(device: torch.device) -> Iterator[None]:
    """Context in which what `device` raises is one line that says how to resume."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise EvaluationError(
            f"{device} has too little memory even for one sample; free it or use another --device; "
            "the finished work is kept, the same command resumes it"
        ) from None
    except torch.AcceleratorError as error:
        raise EvaluationError(
            f"{device} failed ({str(error).splitlines()[0]}); the finished work is kept, "
            "the same command resumes it once the device works again"
        ) from error


def words_of(error: BaseException) -> str:
    """Type and message of an error of foreign code, in one line of at most 250 characters."""
    words = "".join(one if one.isprintable() else " " for one in f"{type(error).__name__}: {error}")
    return " ".join(words.split())[:250].rstrip(":")


def logits_of(network: nn.Module, x: Tensor) -> Tensor:
    """Logits of any network, float32, shape ``(n, classes)``; of several outputs the first counts.

    Raises:
        NetworkError: If the network fails, changes `x`, returns something else, or cuts off the gradient of `x`.
    """
    version = x._version
    with foreign_code(f"the network cannot process images of shape {tuple(x.shape)}"):
        output = network(x)
    if x._version != version:
        raise NetworkError(IN_PLACE)
    logits = first_output(output)
    if isinstance(logits, Tensor) and logits.dim() == len(x) == 1:
        logits = logits[None]  # .squeeze() in a forward pass takes a batch of one for none
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(x):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise NetworkError(
            f"the network returns {shape} for {len(x)} images; expected logits of shape ({len(x)}, classes)"
        )
    if torch.is_grad_enabled() and x.requires_grad and not logits.requires_grad:
        raise NetworkError(_CUT_OFF)
    return logits.float()


def first_output(output: Any) -> Any:
    """The first of several outputs, such as logits and features; a single output as it is."""
    return output[0] if isinstance(output, tuple | list) and output else output


def input_gradient(value: Tensor, x: Tensor, *, retain_graph: bool = False) -> Tensor:
    """Gradient of a scalar, computed from logits of `x`, with respect to `x`.

    Raises:
        NetworkError: If the network fails, or nothing of it depends on `x`.
    """
    with foreign_code("the gradient of the network cannot be computed"):
        (gradient,) = torch.autograd.grad(value, x, retain_graph=retain_graph, allow_unused=True)
    if gradient is None:
        raise NetworkError(_CUT_OFF)
    return gradient


class CountedNetwork(nn.Module):
    """A network in evaluation mode with frozen parameters that counts the passes made through it, from any thread.

    Attributes:
        forward_passes: Samples evaluated without gradient.
        backward_passes: Samples evaluated with a gradient of the input.
        listener: Called after every evaluation with the number of its samples.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()
        for parameter in network.parameters():  # which TorchScript allows, unlike network.requires_grad_
            parameter.requires_grad_(False)
        self.forward_passes = 0
        self.backward_passes = 0
        self.listener: PassListener | None = None
        self._stopped = False
        self._finite: bool | Tensor = True
        self._lock = threading.Lock()

    def __call__(self, x: Tensor) -> Tensor:
        """See :meth:`forward`; counts the pass.

        Raises:
            StoppedError: After :meth:`stop`.
        """
        if self._stopped:
            raise StoppedError
        logits: Tensor = super().__call__(x)
        self.count(logits, gradient=torch.is_grad_enabled() and x.requires_grad)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape ``(n, classes)`` for images of shape ``(n, 3, height, width)`` in [0, 1].

        Counts nothing and takes no lock, so that a graph can capture it; :meth:`count` what it replays.
        """
        return logits_of(self.network, x)

    def count(self, logits: Tensor, *, gradient: bool) -> None:
        """Count a pass, without or with a gradient of the input, that gave `logits`."""
        finite = logits.detach().isfinite().all()
        with self._lock:
            self._finite = finite & self._finite
            if gradient:
                self.backward_passes += len(logits)
            else:
                self.forward_passes += len(logits)
            if self.listener is not None:
                self.listener(len(logits))

    def stop(self) -> None:
        """Make every later evaluation fail, so that attacks in other threads end."""
        self._stopped = True

    def take_passes(self) -> Passes:
        """Passes since the last call.

        Raises:
            NetworkError: If a logit was not finite.
        """
        with self._lock:
            finite, self._finite = bool(self._finite), True
            if not finite:
                raise NetworkError("the network returns NaN or infinite logits or gradients for attacked images")
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
            return logits_of(self.network, x)
        filled = torch.cat([x, x[-1:].detach().expand(missing, *x.shape[1:])])
        return logits_of(self.network, filled)[: len(x)]


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
    with torch.no_grad():
        logits = [
            network(as_inputs(images[start : start + batch_size], device)).cpu()
            for start in range(0, len(images), batch_size)
        ]
    joined = torch.cat(logits).clone()
    return joined, joined.argmax(1).numpy()
