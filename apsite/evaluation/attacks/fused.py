"""Convolutions on a CPU together with the sum and the ReLU behind them, each one operation of oneDNN.

The values are those of the single operations, bit by bit, but they pass through memory once, and the weights are laid
out for the processor in advance.
"""

from __future__ import annotations

import contextlib
import copy
import io
import operator
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from apsite.evaluation.attacks.channel_operations import SUMS, is_plain
from apsite.evaluation.attacks.execution import DEVICE_ERRORS, logits_of
from apsite.evaluation.attacks.lanes import ROWS_ON_CPU


class FusedConvolution(nn.Module):
    """``relu(convolution(x) + other)`` on a CPU, with or without the sum and the ReLU.

    Where a gradient is required, the operations run one by one.

    Args:
        convolution: A plain convolution with float32 weights, which do not change.
        rectified: Whether a ReLU follows.
        overwrites: Whether nothing reads `other` later, so that its memory may take the result.
    """

    def __init__(self, convolution: nn.Conv2d, *, rectified: bool, overwrites: bool) -> None:
        super().__init__()
        self.convolution, self.rectified, self.overwrites = convolution, rectified, overwrites
        self._laid_out: Tensor | None = None

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """Result of the shape of the convolution's, which is also that of `other`."""
        one, onednn = self.convolution, torch.ops.mkldnn
        if torch.is_grad_enabled() and x.requires_grad:
            y: Tensor = one(x) if other is None else one(x) + other
            return torch.relu_(y) if self.rectified else y
        where = one.padding, one.stride, one.dilation, one.groups
        if self._laid_out is None:
            self._laid_out = onednn._reorder_convolution_weight(one.weight, *where, [ROWS_ON_CPU, *x.shape[1:]])
        layer, relu = (self._laid_out, one.bias, *where), "relu" if self.rectified else None
        if other is None:
            y = onednn._convolution_pointwise(x, *layer, relu or "none", [], "")
        elif self.overwrites:
            y = onednn._convolution_pointwise_.binary(other, x, *layer, "add", 1.0, relu, [], "")
        else:
            y = onednn._convolution_pointwise.binary(x, other, *layer, "add", 1.0, relu, [], "")
        return y


def fused(network: nn.Module, example: Tensor) -> nn.Module:
    """A traced network on a CPU with its convolutions fused, or the given one, if it gives other logits for `example`.

    Args:
        network: As :func:`~apsite.evaluation.attacks.simplification.simplified` gives it.
        example: Some images, shape ``(n, 3, height, width)``.
    """
    if not isinstance(network, fx.GraphModule):
        return network
    try:
        with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):  # fx prints what fails
            made = _rewritten(network, example)
            same = torch.equal(logits_of(made, example), logits_of(network, example))
    except DEVICE_ERRORS:
        raise
    except Exception:  # oneDNN may be missing, the other operations are foreign code, and fusing is optional
        return network
    return made if same else network


def _rewritten(network: fx.GraphModule, example: Tensor) -> fx.GraphModule:
    """The network with fused convolutions; other modules are shared with the given one."""
    made = fx.GraphModule(network, copy.deepcopy(network.graph))
    ShapeProp(made).propagate(example)
    modules = dict(made.named_modules())
    for number, node in enumerate(list(made.graph.nodes)):
        if not _makes_new(node, modules) or not _fusible(modules[node.target], node):
            continue
        total, other = _sum_of(node)
        before = total or node
        relu = _only_user(before)
        last = relu if relu is not None and _is_relu(relu, modules) else before
        overwrites = other is not None and other not in node.args and _reads_last(before, other, modules)
        convolution = cast(nn.Conv2d, modules[node.target])
        name = f"fused_{number}"
        modules[name] = FusedConvolution(convolution, rectified=last is relu, overwrites=overwrites)
        made.add_submodule(name, modules[name])
        with made.graph.inserting_before(last):
            one = made.graph.call_module(name, node.args if other is None else (*node.args, other))
        one.meta = last.meta
        last.replace_all_uses_with(one)
        for done in dict.fromkeys((last, before, node)):
            made.graph.erase_node(done)
    made.delete_all_unused_submodules()
    made.recompile()
    return made


def _makes_new(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether an operation is a convolution, whose result shares no memory with any other."""
    return node.op == "call_module" and isinstance(modules[str(node.target)], nn.Conv2d | FusedConvolution)


def _fusible(module: nn.Module, node: fx.Node) -> bool:
    """Whether oneDNN gives the very values that the layer gives; for a few sizes another library computes it."""
    if not isinstance(module, nn.Conv2d) or not is_plain(module) or module.weight.dtype != torch.float32:
        return False
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        return False
    read = node.all_input_nodes[0].meta["tensor_meta"]
    x = torch.rand(read.shape, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=read.memory_format or torch.contiguous_format)
    return torch.equal(FusedConvolution(module, rectified=False, overwrites=False)(x), module(x))


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _sum_of(node: fx.Node) -> tuple[fx.Node, fx.Node] | tuple[None, None]:
    """The sum that alone reads a result, and the other result that it adds, of the same shape."""
    total = _only_user(node)
    if total is None or total.target not in SUMS or len(total.args) != 2 or total.kwargs:
        return None, None
    if total.target in (operator.iadd, "add_") and total.args[0] is not node:  # it changes the other result
        return None, None
    others = [one for one in total.all_input_nodes if one is not node]
    shapes = [getattr(one.meta.get("tensor_meta"), "shape", None) for one in (node, *others)]
    return (total, others[0]) if len(shapes) == 2 and shapes[0] == shapes[1] else (None, None)


def _is_relu(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], nn.ReLU)
    return node.target in (functional.relu, torch.relu, torch.relu_)


def _reads_last(reader: fx.Node, node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether `reader` may overwrite a result: a convolution's, read before by others that keep no part of it."""
    return _makes_new(node, modules) and all(
        user is reader or (user < reader and _makes_new(user, modules)) for user in node.users
    )
