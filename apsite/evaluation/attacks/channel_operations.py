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

Kind = Enum("Kind", "INPUT ATTRIBUTE OUTPUT WEIGHTED NORM SAME FLATTEN ARITHMETIC SUM")
"""What an operation does. WEIGHTED reads channels and writes others, NORM scales and shifts each, SAME passes each on,
FLATTEN makes several features of each, ARITHMETIC combines each with constants, SUM adds those of two results."""

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
SUMS = (operator.add, operator.iadd, torch.add)
_ARITHMETIC = (*SUMS, operator.sub, operator.mul, operator.truediv)
_MODULES = (
    ((nn.Conv2d, nn.Linear), Kind.WEIGHTED),
    (NORMS, Kind.NORM),
    ((nn.ReLU, nn.Identity, nn.Dropout, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d), Kind.SAME),
    (nn.Flatten, Kind.FLATTEN),
)
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
    if varying == 2 and node.target in SUMS and not node.kwargs:
        return Kind.SUM
    if varying == 1 and node.target in _ARITHMETIC:
        return Kind.ARITHMETIC
    over = _argument(node, "dim", None)
    over_image = isinstance(over, tuple | list) and (set(over) <= {2, 3} or set(over) == {-1, -2})
    if varying == 1 and (node.target in _SAME or (node.target == "mean" and over_image)):
        return Kind.SAME
    whole = len(node.args) <= 2 and "end_dim" not in node.kwargs and _argument(node, "start_dim", 0) == 1
    if node.target in ("flatten", torch.flatten) and whole:
        return Kind.FLATTEN
    raise NetworkError(f"operation {node.target}: its effect on channels is not known")


def is_plain(module: nn.Module) -> bool:
    """Whether a layer computes what its class says, with no hooks and no weights that are computed from others."""
    return not (module._forward_hooks or module._forward_pre_hooks or is_parametrized(module))


def _argument(node: fx.Node, name: str, default: object) -> Any:
    return node.kwargs.get(name, node.args[1] if len(node.args) > 1 else default)
