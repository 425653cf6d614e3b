"""Running networks: images to tensors, pass counting, predictions, and an equal network that runs faster."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from apsite.evaluation.image_files import Images
from apsite.records import Passes

PassListener = Callable[[int], None]


class CountedNetwork(nn.Module):
    """A network in evaluation mode with frozen parameters that counts the passes made through it.

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

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape ``(n, classes)`` for images of shape ``(n, 3, height, width)`` in [0, 1]."""
        if torch.is_grad_enabled() and x.requires_grad:
            self.backward_passes += len(x)
        else:
            self.forward_passes += len(x)
        logits = self.network(x)
        if self.listener is not None:
            self.listener(len(x))
        return torch.as_tensor(logits)

    def take_passes(self) -> Passes:
        """Passes since the last call."""
        passes = Passes(self.forward_passes, self.backward_passes)
        self.forward_passes = self.backward_passes = 0
        return passes


def as_inputs(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Images as float32 in [0, 1] on `device`, contiguous, channels first."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(device, non_blocking=True).float().div_(255)


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


def folded(network: nn.Module, example: Tensor) -> nn.Module:
    """An equal network with every batch norm folded into the convolution before it, or `network` itself.

    Attacks may search on the folded network; verdicts are always given by the original one. Networks that cannot be
    traced, or whose logits would change by more than 1e-4 on `example`, are returned as they are.

    Args:
        network: Network in evaluation mode.
        example: Images of shape ``(n, 3, height, width)``.
    """
    try:
        faster = _fold(network)
        with torch.inference_mode():
            if torch.allclose(faster(example), network(example), rtol=1e-4, atol=1e-4):
                return faster
    except Exception:  # tracing runs foreign code, which may fail in any way; folding is optional
        return network
    return network


def _fold(network: nn.Module) -> nn.Module:
    """Trace a copy and merge each batch norm into the convolution that feeds it alone."""
    traced = fx.symbolic_trace(copy.deepcopy(network))
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        if node.op != "call_module" or not isinstance(modules[node.target], nn.BatchNorm2d):
            continue
        source = node.args[0]
        if source.op == "call_module" and isinstance(modules[source.target], nn.Conv2d) and len(source.users) == 1:
            merged = fuse_conv_bn_eval(modules[source.target], modules[node.target])
            parent, _, name = source.target.rpartition(".")
            setattr(traced.get_submodule(parent), name, merged)
            node.replace_all_uses_with(source)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced.eval().requires_grad_(False)
