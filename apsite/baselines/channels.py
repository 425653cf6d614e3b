"""Which filters must be removed together: the channels of a network, followed from layer to layer.

Filters whose outputs are added, as at the end of a residual block, write the same channels; removing one of them alone
removes nothing. The groups are found by tracing the network, so no list of layers has to be kept for any layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import fx, nn

from apsite.errors import NetworkError
from apsite.evaluation.attacks.channel_operations import Kind, kind_of
from apsite.evaluation.attacks.execution import foreign_code


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
    with foreign_code("the network cannot be traced to find its channels"):
        graph = fx.symbolic_trace(network).graph
    modules = dict(network.named_modules())
    groups: dict[fx.Node, ChannelGroup | None] = {}  # None: does not depend on the images
    for node in graph.nodes:
        inputs = [group for group in (groups[one] for one in node.all_input_nodes) if group is not None]
        constants = [one for one in node.all_input_nodes if groups[one] is None]
        groups[node] = _after(node, modules, inputs, constants) if inputs or node.op == "placeholder" else None
        if node.op == "output" and not inputs:
            raise NetworkError("the network's output does not depend on its input")
        if node.op != "output" and len(inputs) == 2 and inputs[0] is not inputs[1]:
            groups.update({one: inputs[0] for one, group in groups.items() if group is inputs[1]})
    found: list[ChannelGroup] = []
    order = {name: number for number, name in enumerate(modules)}
    for group in groups.values():
        if group is not None and group.prunable and group.writers and group not in found:
            group.writers.sort(key=lambda name: order[name])
            found.append(group)
    return tuple(found)


def _after(
    node: fx.Node, modules: Mapping[str, nn.Module], inputs: Sequence[ChannelGroup], constants: Sequence[fx.Node]
) -> ChannelGroup | None:
    """Channels of the result of one operation, from those of its inputs; ``None`` for sizes, which have none."""
    kind = kind_of(node, modules, constants)
    if kind is Kind.FIXED:
        return None
    if kind is Kind.INPUT:
        return ChannelGroup(size=3, prunable=False)
    first, name = inputs[0], str(node.target)
    match kind:
        case Kind.OUTPUT:
            first.prunable = False
        case Kind.WEIGHTED:
            first.readers.append(name)
            module = modules[name]
            if isinstance(module, nn.Conv2d):
                return ChannelGroup(writers=[name], size=module.out_channels)
            return ChannelGroup(size=int(module.out_features), prunable=False)  # type: ignore[arg-type]
        case Kind.NORM:
            first.norms.append(name)
        case Kind.SUM if inputs[1] is not first:
            first.take_in(inputs[1])
    return first
