"""Which filters must be removed together: the channels of a network, followed from layer to layer.

Filters whose outputs are added, as at the end of a residual block, write the same channels; removing one of them alone
removes nothing. The groups are found by tracing the network, so no list of layers has to be kept for any layout.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import fx, nn
from torch.nn import functional

from apsite.errors import NetworkError

_KEEPING_MODULES = (nn.ReLU, nn.Identity, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Dropout)
_KEEPING_FUNCTIONS: tuple[Callable[..., object], ...] = (
    functional.relu, functional.adaptive_avg_pool2d, functional.avg_pool2d, functional.max_pool2d, torch.flatten,
)  # fmt: skip
_KEEPING_METHODS = ("relu", "mean", "flatten")
_ADDING = (operator.add, operator.iadd, torch.add)
_BY_CONSTANTS = (*_ADDING, operator.sub, operator.mul, operator.truediv)


@dataclass(eq=False)
class ChannelGroup:
    """Channels that several layers write and read in common.

    Attributes:
        writers: Convolutions whose filter ``i`` writes channel ``i``, in order of registration.
        norms: Batch norms of these channels.
        readers: Convolutions and linear layers whose inputs they are.
        size: Number of channels; 0 as long as no layer has written one.
        prunable: Whether every channel may go: not those of images, of logits or of hidden linear layers.
    """

    writers: list[str] = field(default_factory=list)
    norms: list[str] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)
    size: int = 0
    prunable: bool = True

    @property
    def name(self) -> str:
        """The first layer that writes them, for messages."""
        return self.writers[0] if self.writers else "input"

    def take_in(self, other: ChannelGroup) -> None:
        """Become one group with `other`, whose channels are added to these."""
        if self.size != other.size:
            raise NetworkError(
                f"{self.name} and {other.name} are added with {self.size} and {other.size} channels; which filters "
                "belong together is ambiguous"
            )
        self.writers += other.writers
        self.norms += other.norms
        self.readers += other.readers
        self.prunable = self.prunable and other.prunable


def channel_groups(network: nn.Module) -> tuple[ChannelGroup, ...]:
    """Groups of channels of a network whose filters may be removed, in the order in which they run.

    Every convolution whose filters are features is a writer of exactly one group. A layer of the last logits, and what
    is added to images, is in none.

    Raises:
        NetworkError: If the network cannot be traced, or has an operation whose effect on channels is not known.
            Nothing is guessed.
    """
    try:
        graph = fx.symbolic_trace(network).graph
    except Exception as error:  # tracing runs the network's own program
        raise NetworkError(f"the network cannot be traced to find its channels: {error}") from error
    modules = dict(network.named_modules())
    groups: dict[fx.Node, ChannelGroup | None] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            groups[node] = ChannelGroup(size=3, prunable=False)
        elif node.op == "get_attr":
            groups[node] = None
        elif node.op == "output":
            _resolve(groups, node.all_input_nodes[0]).prunable = False
        else:
            groups[node] = _after(node, modules, groups)
    found: list[ChannelGroup] = []
    order = {name: number for number, name in enumerate(modules)}
    for group in groups.values():
        if group is not None and group.prunable and group.writers and group not in found:
            group.writers.sort(key=lambda name: order[name])
            found.append(group)
    return tuple(found)


def _after(
    node: fx.Node, modules: dict[str, nn.Module], groups: dict[fx.Node, ChannelGroup | None]
) -> ChannelGroup | None:
    """Channels of the output of one operation."""
    inputs = [group for group in (groups[one] for one in node.all_input_nodes) if group is not None]
    if not inputs:
        return None  # computed from constants alone
    first = inputs[0]
    if node.op == "call_module":
        name = str(node.target)
        module = modules[name]
        if isinstance(module, nn.Conv2d) and module.groups == 1:
            first.readers.append(name)
            return ChannelGroup(writers=[name], size=module.out_channels)
        if isinstance(module, nn.Linear):
            first.readers.append(name)
            return ChannelGroup(size=module.out_features, prunable=False)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            first.norms.append(name)
            return first
        if isinstance(module, _KEEPING_MODULES):
            return first
        raise NetworkError(f"layer {name} ({type(module).__name__}): its effect on channels is not known")
    if len(inputs) == 2 and node.target in _ADDING:
        if inputs[0] is not inputs[1]:
            first.take_in(inputs[1])
            groups.update({one: first for one, group in groups.items() if group is inputs[1]})
        return first
    keeps = (node.op == "call_function" and node.target in _KEEPING_FUNCTIONS) or (
        node.op == "call_method" and node.target in _KEEPING_METHODS
    )
    if len(inputs) == 1 and (node.target in _BY_CONSTANTS or (keeps and not _across_channels(node))):
        return first
    raise NetworkError(f"operation {node.target}: its effect on channels is not known")


def _across_channels(node: fx.Node) -> bool:
    """Whether a mean is taken over the dimension of the channels."""
    if node.target != "mean":
        return False
    dimensions = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    return not isinstance(dimensions, tuple | list) or not set(dimensions) <= {2, 3, -1, -2}


def _resolve(groups: dict[fx.Node, ChannelGroup | None], node: fx.Node) -> ChannelGroup:
    group = groups[node]
    if group is None:
        raise NetworkError("the network's output does not depend on its input")
    return group
