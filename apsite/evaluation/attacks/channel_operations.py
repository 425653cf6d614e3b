"""What the operations of a traced network do to channels: one table for all who follow channels through networks."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from enum import Enum, auto
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from apsite.errors import NetworkError


class Kind(Enum):
    """What an operation does to channels."""

    INPUT = auto()
    ATTRIBUTE = auto()
    OUTPUT = auto()
    WEIGHTED = auto()
    """A convolution or linear layer: reads channels and writes others."""
    NORM = auto()
    """A batch norm: a scale and a shift per channel."""
    SAME = auto()
    """Passes every channel on by itself."""
    FLATTEN = auto()
    """Makes several features of every channel."""
    ARITHMETIC = auto()
    """Combines every channel with constants."""
    SUM = auto()
    """Adds two results, channel by channel, so that the same channels are written by both."""


NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
SUMS = (operator.add, operator.iadd, torch.add)
_ARITHMETIC = (*SUMS, operator.sub, operator.mul, operator.truediv)
_SAME_MODULES = (nn.ReLU, nn.Identity, nn.Dropout, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_SAME = (
    functional.relu, torch.relu, "relu", functional.adaptive_avg_pool2d, functional.avg_pool2d, functional.max_pool2d,
)  # fmt: skip


def kind_of(node: fx.Node, modules: Mapping[str, nn.Module], constants: Collection[fx.Node]) -> Kind:
    """What an operation does to channels.

    Args:
        node: The operation.
        modules: Modules of the network by name.
        constants: Operations whose results do not depend on the images.

    Raises:
        NetworkError: If it is not known. Nothing is guessed.
    """
    match node.op:
        case "placeholder":
            return Kind.INPUT
        case "get_attr":
            return Kind.ATTRIBUTE
        case "output":
            return Kind.OUTPUT
        case "call_module":
            found = _kind_of_module(modules[str(node.target)])
            what = f"layer {node.target} ({type(modules[str(node.target)]).__name__})"
        case _:
            found, what = _kind_of_call(node, constants), f"operation {node.target}"
    if found is None:
        raise NetworkError(f"{what}: its effect on channels is not known")
    return found


def _kind_of_module(module: nn.Module) -> Kind | None:
    if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1):
        return Kind.WEIGHTED
    if isinstance(module, NORMS):
        return Kind.NORM
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
        return Kind.FLATTEN
    return Kind.SAME if isinstance(module, _SAME_MODULES) else None


def _kind_of_call(node: fx.Node, constants: Collection[fx.Node]) -> Kind | None:
    varying = sum(source not in constants for source in node.all_input_nodes)
    if varying == 2:
        return Kind.SUM if node.target in SUMS and not node.kwargs else None
    if varying and node.target in _ARITHMETIC:
        return Kind.ARITHMETIC
    dimensions = _argument(node, "dim", None)
    over_image = isinstance(dimensions, tuple | list) and (set(dimensions) <= {2, 3} or set(dimensions) == {-1, -2})
    if node.target in _SAME or (node.target == "mean" and over_image):
        return Kind.SAME
    flattens = node.target in ("flatten", torch.flatten) and _argument(node, "start_dim", 0) == 1
    return Kind.FLATTEN if flattens and len(node.args) <= 2 and "end_dim" not in node.kwargs else None


def _argument(node: fx.Node, name: str, default: object) -> Any:
    """The argument after the first of a call."""
    return node.kwargs.get(name, node.args[1] if len(node.args) > 1 else default)
