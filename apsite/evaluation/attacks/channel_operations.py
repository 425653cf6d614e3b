"""What the operations of a traced network do to channels: one table for all who follow channels through networks."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.utils.parametrize import is_parametrized

from apsite.errors import NetworkError

Kind = Enum("Kind", "INPUT ATTRIBUTE FIXED OUTPUT WEIGHTED NORM SAME FLATTEN ARITHMETIC SUM")
"""What an operation does. FIXED gives sizes, or computes with attributes alone, WEIGHTED reads channels and writes
others, NORM scales and shifts each, SAME treats each alike, FLATTEN makes several features of each, ARITHMETIC combines
each with attributes, SUM adds those of two results."""

WEIGHTED = (nn.Conv2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
_ARITHMETIC = (*SUMS, operator.sub, operator.mul, operator.truediv)
_MODULES = (
    (WEIGHTED, Kind.WEIGHTED),
    (NORMS, Kind.NORM),
    (
        (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.Sigmoid, nn.Hardtanh,
         nn.Identity, nn.Dropout, nn.Dropout2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
        Kind.SAME,
    ),
    (nn.Flatten, Kind.FLATTEN),
)  # fmt: skip
_SAME = (
    functional.relu, torch.relu, torch.relu_, "relu", "relu_", functional.relu6, functional.leaky_relu, functional.elu,
    functional.gelu, functional.silu, functional.softplus, torch.tanh, "tanh", torch.sigmoid, "sigmoid", "contiguous",
    functional.dropout, functional.dropout2d, functional.adaptive_avg_pool2d, functional.adaptive_max_pool2d,
    functional.avg_pool2d, functional.max_pool2d,
)  # fmt: skip
_MEANS = ("mean", torch.mean)
_FLATTENING = ("flatten", torch.flatten, "view", "reshape", torch.reshape, "squeeze", torch.squeeze)


def kind_of(node: fx.Node, modules: Mapping[str, nn.Module], constants: Collection[fx.Node]) -> Kind:
    """What an operation does to channels.

    Args:
        node: The operation.
        modules: Modules of the network by name.
        constants: Operations whose results do not depend on the images.

    Raises:
        NetworkError: If it is not known. Nothing is guessed.
    """
    ends = {"placeholder": Kind.INPUT, "get_attr": Kind.ATTRIBUTE, "output": Kind.OUTPUT}
    if node.op in ends:
        return ends[node.op]
    if node.op == "call_module":
        module = modules[str(node.target)]
        found = next((kind for types, kind in _MODULES if isinstance(module, types)), None)
        partial = isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) != (1, -1)
        if found is None or partial or getattr(module, "groups", 1) != 1 or not is_plain(module):
            raise NetworkError(f"layer {node.target} ({type(module).__name__}): its effect on channels is not known")
        return found
    varying = sum(source not in constants for source in node.all_input_nodes)
    if not varying or node.target == "size" or (node.target is getattr and node.args[1] == "shape"):
        return Kind.FIXED
    if varying == 2 and node.target in SUMS and not node.kwargs:
        return Kind.SUM
    if varying == 1 and node.target in _ARITHMETIC:
        return Kind.ARITHMETIC if len(node.all_input_nodes) > 1 else Kind.SAME
    over = _argument(node, "dim", None)
    over_image = isinstance(over, tuple | list) and list(over) in ([2, 3], [3, 2], [2], [3], [-2, -1], [-1, -2])
    if varying == 1 and (node.target in _SAME or (node.target in _MEANS and over_image)):
        return Kind.SAME
    if varying == 1 and node.target in _FLATTENING and _flattens(node):
        return Kind.FLATTEN
    raise NetworkError(f"operation {node.target}: its effect on channels is not known")


def _flattens(node: fx.Node) -> bool:
    """Whether a change of shape may make rows of features out of images; only the shapes say that it does."""
    if node.target in ("flatten", torch.flatten):
        return len(node.args) <= 2 and "end_dim" not in node.kwargs and bool(_argument(node, "start_dim", 0) == 1)
    if node.target in ("squeeze", torch.squeeze):
        return len(node.args) + len(node.kwargs) == 1
    sizes = node.args[1] if len(node.args) == 2 and isinstance(node.args[1], tuple | list) else node.args[1:]
    return isinstance(sizes, tuple | list) and len(sizes) == 2 and not node.kwargs


def is_plain(module: nn.Module) -> bool:
    """Whether a layer computes what its class says, with no hooks and no weights that are computed from others."""
    return not (module._forward_hooks or module._forward_pre_hooks or is_parametrized(module))


def _argument(node: fx.Node, name: str, default: object) -> Any:
    return node.kwargs.get(name, node.args[1] if len(node.args) > 1 else default)
