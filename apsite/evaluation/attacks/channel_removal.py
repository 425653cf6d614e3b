"""A network without channels that do not depend on the image, or that nothing reads.

Pruning leaves channels behind whose every weight is zero. Such a channel is a constant, but not always zero: batch norm
turns it into its shift, and the zero padding of the next convolution makes the constant felt less near the border. All
of this is known before any image is seen. The constants are therefore propagated through the network once, in float64,
and what they add to the outputs of the next layer is kept as a bias (or as a bias map, where the border differs).
"""

from __future__ import annotations

import copy
import operator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from apsite.errors import NetworkError
from apsite.evaluation.attacks.channel_operations import Kind, kind_of


@dataclass
class _Channels:
    """What is known of the channels of one intermediate result, shape ``(1, channels, ...)``.

    Attributes:
        shape: Shape of the result for one image.
        constant: Which channels do not depend on the image.
        value: Their values, float64, of `shape`; 0 in all other channels.
        needed: Which channels something later reads.
    """

    shape: torch.Size
    constant: Tensor
    value: Tensor
    needed: Tensor

    @property
    def kept(self) -> Tensor:
        """Indices of the channels that the reduced network computes."""
        return (self.needed & ~self.constant).nonzero().squeeze(1)


_WITHOUT_CHANNELS = (Kind.ATTRIBUTE, Kind.FIXED)


class ChannelRemoval:
    """Follows the channels of a traced network forwards and backwards, and writes the reduced network.

    Args:
        traced: The network, traced; it is not changed.
        image: An image, to run it on, shape ``(1, 3, height, width)``.

    Attributes:
        channels: Output channels of all convolutions and linear layers.
        removed: How many of them the reduced network leaves out.

    Raises:
        NetworkError: If the effect of one of its operations on channels is not known.
    """

    def __init__(self, traced: fx.GraphModule, image: Tensor) -> None:
        self.traced, self.image = traced, image
        self.modules = dict(traced.named_modules())
        self.known: dict[fx.Node, _Channels] = {}
        self.graph, self.root, self.made = fx.Graph(), nn.Module(), dict[fx.Node, fx.Node]()
        self.kinds: dict[fx.Node, Kind] = {}
        self.fixed: dict[fx.Node, Any] = {}
        for node in traced.graph.nodes:
            self.kinds[node] = self._kind(node)
        self._shapes()
        for node in self.known:
            self._find_constants(node)
        for node in reversed(traced.graph.nodes):
            self._find_needed(node)
        for node in traced.graph.nodes:
            self._widen(node)
        weighted = [node for node, kind in self.kinds.items() if kind is Kind.WEIGHTED]
        self.channels = sum(len(self.known[node].constant) for node in weighted)
        self.removed = self.channels - sum(len(self.known[node].kept) for node in weighted)

    def _kind(self, node: fx.Node) -> Kind:
        """How an operation treats channels; an error if it is not known, or is not followed here."""
        module = self.modules[str(node.target)] if node.op == "call_module" else None
        if getattr(module, "padding_mode", "zeros") != "zeros" or not getattr(module, "track_running_stats", True):
            raise NetworkError(f"layer {node.target}: its constants are not followed")
        return kind_of(node, self.modules, [one for one, kind in self.kinds.items() if kind in _WITHOUT_CHANNELS])

    def _shapes(self) -> None:
        """Shape of every intermediate result, by running the network on two images, so that none is taken for a row."""
        reduction = self

        class Recorder(fx.Interpreter):
            def run_node(self, n: fx.Node) -> Any:
                result = super().run_node(n)
                if reduction.kinds[n] in _WITHOUT_CHANNELS:
                    reduction.fixed[n] = result
                elif reduction.kinds[n] is not Kind.OUTPUT:
                    flat = reduction.kinds[n] is not Kind.FLATTEN or result.dim() == 2
                    if result.dim() < 2 or len(result) != 2 or not flat:
                        raise NetworkError(f"operation {n.target}: its effect on channels is not known")
                    value = torch.zeros_like(result[:1], dtype=torch.float64)
                    none = torch.zeros(result.shape[1], dtype=torch.bool, device=result.device)
                    reduction.known[n] = _Channels(value.shape, none, value, none.clone())
                return result

        with torch.no_grad():
            Recorder(self.traced).run(self.image.repeat(2, 1, 1, 1))
        for node, kind in self.kinds.items():
            fixed = [self.fixed[one] for one in node.all_input_nodes if one in self.fixed]
            if kind is Kind.ARITHMETIC and all(torch.as_tensor(one).numel() == 1 for one in fixed):
                self.kinds[node] = Kind.SAME

    def _sources(self, node: fx.Node) -> list[_Channels]:
        return [self.known[value] for value in node.all_input_nodes if value in self.known]

    def _module(self, node: fx.Node) -> Any:
        return self.modules[str(node.target)]

    def _find_constants(self, node: fx.Node) -> None:
        """Constant channels of a result, from those of its sources."""
        known, sources = self.known[node], self._sources(node)
        match self.kinds[node]:
            case Kind.INPUT | Kind.ARITHMETIC:
                if any(bool(source.constant.any()) for source in sources):
                    raise NetworkError("arithmetic on constant channels")
                return
            case Kind.WEIGHTED:
                known.constant = ~(_reads(self._module(node).weight) & ~sources[0].constant).any(1)
                known.value = self._weighted(node, sources[0].value)
            case Kind.NORM:
                known.constant = sources[0].constant
                known.value = copy.deepcopy(self._module(node)).double()(sources[0].value)
            case Kind.SUM:
                known.constant = sources[0].constant & sources[-1].constant
                known.value = sources[0].value + sources[-1].value
            case Kind.FLATTEN:
                known.constant = self._spread(sources[0].constant, node)
                known.value = sources[0].value.flatten(1)
            case Kind.SAME:
                known.constant = sources[0].constant
                known.value = self._apply(node, sources[0].value)
        shape = (1, -1, *[1] * (len(known.shape) - 2))
        known.value = torch.where(known.constant.view(shape), known.value, torch.zeros_like(known.value))

    def _weighted(self, node: fx.Node, value: Tensor) -> Tensor:
        """What constant inputs and the bias add to a convolution or linear layer, float64."""
        module = self._module(node)
        bias = None if module.bias is None else module.bias.double()
        if isinstance(module, nn.Linear):
            return functional.linear(value, module.weight.double(), bias)
        return functional.conv2d(value, module.weight.double(), bias, module.stride, module.padding, module.dilation)

    def _apply(self, node: fx.Node, value: Tensor) -> Tensor:
        """An operation that treats every channel alike."""
        if node.op == "call_module":
            return torch.as_tensor(self._module(node)(value))
        arguments, keywords = fx.node.map_arg((node.args, node.kwargs), lambda source: self.fixed.get(source, value))
        if node.op == "call_method":
            return torch.as_tensor(getattr(value, str(node.target))(*arguments[1:], **keywords))
        assert callable(node.target)
        return torch.as_tensor(node.target(*arguments, **keywords))

    def _spread(self, mask: Tensor, node: fx.Node) -> Tensor:
        """A mask of channels as one of the features that flattening makes of them."""
        return mask.repeat_interleave(self.known[node].shape[1] // len(mask))

    def _find_needed(self, node: fx.Node) -> None:
        """Channels of the sources that a result reads."""
        kind, sources = self.kinds[node], self._sources(node)
        if kind is Kind.OUTPUT:
            for source in sources:
                source.needed |= True
        if kind in (*_WITHOUT_CHANNELS, Kind.INPUT, Kind.OUTPUT):
            return
        known = self.known[node]
        active = known.needed & ~known.constant
        match kind:
            case Kind.WEIGHTED:
                sources[0].needed |= _reads(self._module(node).weight[active]).any(0)
            case Kind.FLATTEN:
                sources[0].needed |= active.view(len(sources[0].needed), -1).any(1)
            case Kind.ARITHMETIC:
                sources[0].needed |= True
                known.needed |= True
            case _:
                for source in sources:
                    source.needed |= active

    def _widen(self, node: fx.Node) -> None:
        """Let the layers before a sum compute all of its channels, and those before the end all logits.

        A channel of a sum may be constant in one operand and not in the other. A layer gives its constants at no cost,
        as a bias next to a filter of zeros, where adding tensors of different widths costs more than it saves.
        """
        for source in node.all_input_nodes if self.kinds[node] in (Kind.SUM, Kind.OUTPUT) else ():
            if source in self.known:
                known = self.known.get(node)
                every = torch.ones_like(self.known[source].constant)
                self._compute(source, every if known is None else known.needed & ~known.constant)

    def _compute(self, node: fx.Node, wanted: Tensor) -> None:
        """Let a layer compute the `wanted` channels of `node`, constant or not, if all between keeps channels apart.

        A layer that reads nothing is left out: its channels are cheaper as constants.
        """
        path = []
        while self._feeds_one(node) and self.kinds[node] in (Kind.SAME, Kind.FLATTEN, Kind.NORM):
            path.append(node)
            (node,) = (source for source in node.all_input_nodes if source in self.known)
            wanted = wanted.view(len(self.known[node].constant), -1).any(1)
        if self._feeds_one(node) and self.kinds[node] is Kind.WEIGHTED and len(self.known[node].kept):
            for one in (node, *reversed(path)):
                known, wanted = self.known[one], self._spread(wanted, one)
                known.constant, known.needed = known.constant & ~wanted, known.needed | wanted
                known.value[:, wanted] = 0

    def _feeds_one(self, node: fx.Node) -> bool:
        return sum(self.kinds[user] is not Kind.FIXED for user in node.users) == 1

    def build(self) -> fx.GraphModule:
        """The reduced network."""
        graph, made, root = self.graph, self.made, self.root
        for node in self.traced.graph.nodes:
            kind = self.kinds[node]
            if kind is Kind.OUTPUT:
                graph.output(self._logits(node.args[0]))
            elif kind is Kind.INPUT:
                self.known[node].needed |= True
                made[node] = graph.node_copy(node)
            elif kind is Kind.ATTRIBUTE:
                value = operator.attrgetter(str(node.target))(self.traced)
                made[node] = self._constant(node.name, value.detach().clone())
            elif kind is Kind.FIXED:
                if all(source in made for source in node.all_input_nodes):
                    made[node] = graph.node_copy(node, lambda source: made[source])
            elif len(self.known[node].kept):
                made[node] = self._write(node)
        reduced = fx.GraphModule(root, graph)
        reduced.graph.eliminate_dead_code()
        reduced.recompile()
        return reduced

    def _logits(self, node: fx.Node) -> fx.Node:
        """All logits: those that are computed, and constants in the places of the others."""
        known = self.known[node]
        if not len(known.kept):
            raise NetworkError("no logit depends on the image")
        if len(known.kept) == len(known.constant):
            return self.made[node]
        every = torch.arange(len(known.constant), device=known.constant.device)
        constants = self._constant("constant_logits", known.value.to(self.image.dtype))
        return self.graph.call_function(operator.add, (self._filled_up(node, known.kept, every), constants))

    def _filled_up(self, node: fx.Node, index: Tensor, wanted: Tensor, value: fx.Node | None = None) -> fx.Node:
        """The channels `index`, which are written as `value`, with zeros for those of `wanted` that it lacks."""
        places = torch.full_like(wanted, len(index))
        places[torch.searchsorted(wanted, index)] = torch.arange(len(index), device=index.device)
        beyond = (*[0] * (2 * len(self.known[node].shape) - 4), 0, 1)
        padded = self.graph.call_function(functional.pad, (value or self.made[node], beyond))
        return self.graph.call_method("index_select", (padded, 1, self._constant(f"{node.name}_places", places)))

    def _write(self, node: fx.Node) -> fx.Node:
        """Write one operation on the channels that are kept."""
        graph, root, made = self.graph, self.root, self.made
        kind, known = self.kinds[node], self.known[node]
        match kind:
            case Kind.WEIGHTED:
                return self._write_weighted(node)
            case Kind.SUM:
                return self._write_sum(node)
            case Kind.NORM:
                kept = self.known[node.all_input_nodes[0]].kept
                root.add_module(node.name, _part_of_norm(self._module(node), kept))
                known.needed = torch.zeros_like(known.needed).index_fill_(0, kept, True)
                return graph.call_module(node.name, (made[node.all_input_nodes[0]],))
        if kind is Kind.FLATTEN:
            (source,) = (one for one in node.all_input_nodes if one in self.known)
            known.needed = self._spread(self.known[source].needed, node)
            flat = len(self.known[source].shape) == 2
            return made[source] if flat else graph.call_function(torch.flatten, (made[source], 1))
        for each in self._sources(node):
            known.needed = known.needed | each.needed
        if node.op == "call_module":
            root.add_module(node.name, self._module(node))
            return graph.call_module(node.name, (made[node.all_input_nodes[0]],))
        return graph.node_copy(node, lambda source: made[source])

    def _write_weighted(self, node: fx.Node) -> fx.Node:
        """A convolution or linear layer between kept channels, with what removed constants add as its bias."""
        module, (source,) = self._module(node), node.all_input_nodes
        rows, columns = self.known[node].kept, self.known[source].kept
        added = self._weighted(node, self.known[source].value)[:, rows]
        linear = isinstance(module, nn.Linear)
        names = () if linear else ("kernel_size", "stride", "padding", "dilation")
        with torch.device("meta"):
            made = nn.Linear if linear else nn.Conv2d
            part = made(len(columns), len(rows), **{name: getattr(module, name) for name in names})
        part.weight = nn.Parameter(module.weight.detach()[rows][:, columns].clone())
        flat = added.flatten(2) if added.dim() > 2 else added[..., None]
        uniform = bool((flat == flat[..., :1]).all())
        centre = flat[0, :, flat.shape[2] // 2]
        part.bias = nn.Parameter(centre.to(module.weight.dtype))
        self.root.add_module(node.name, part)
        result = self.graph.call_module(node.name, (self.made[source],))
        if uniform:
            return result
        remainder = (added - centre.view(1, -1, 1, 1)).to(module.weight.dtype)
        return self.graph.call_function(operator.add, (result, self._constant(f"{node.name}_map", remainder)))

    def _write_sum(self, node: fx.Node) -> fx.Node:
        """A sum whose operands may lack channels: what they lack is constant, and added as such."""
        graph, wanted, operands = self.graph, self.known[node].kept, []
        constant = torch.zeros_like(self.known[node].value)
        for operand in cast(tuple[fx.Node, ...], node.args[:2]):
            constant += self.known[operand].value
            kept = self.known[operand].kept
            shared = torch.isin(kept, wanted)
            if not bool(shared.any()):
                continue
            value = self.made[operand]
            if not bool(shared.all()):
                chosen = self._constant(f"{node.name}_of_{operand.name}", shared.nonzero().squeeze(1))
                value = graph.call_method("index_select", (value, 1, chosen))
            operands.append((kept[shared], value))
        operands.sort(key=lambda pair: -len(pair[0]))
        index, total = operands[0]
        if len(index) < len(wanted):
            total = self._filled_up(node, index, wanted, total)
        for index, value in operands[1:]:
            if len(index) == len(wanted):
                total = graph.call_function(operator.add, (total, value))
            else:
                places = self._constant(f"{node.name}_places", torch.searchsorted(wanted, index))
                total = graph.call_method("index_add", (total, 1, places, value))
        constant = constant[:, wanted]
        if bool(constant.any()):
            flat = constant.flatten(2)
            if bool((flat == flat[..., :1]).all()):
                constant = flat[..., :1, None]
            added = self._constant(f"{node.name}_constant", constant.to(self.image.dtype))
            total = graph.call_function(operator.add, (total, added))
        return total

    def _constant(self, name: str, value: Tensor) -> fx.Node:
        """A constant of the reduced network, kept in it under `name`."""
        self.root.register_buffer(name, value)
        return self.graph.get_attr(name)


def _reads(weight: Tensor) -> Tensor:
    """Which input channels each output channel reads, shape ``(outputs, inputs)``."""
    return weight.abs().flatten(2).amax(2) > 0 if weight.dim() > 2 else weight.abs() > 0


def _part_of_norm(module: nn.BatchNorm1d | nn.BatchNorm2d, kept: Tensor) -> nn.Module:
    part = type(module)(len(kept), eps=module.eps, affine=module.affine).to(kept.device)
    part.load_state_dict({name: value[kept] if value.dim() else value for name, value in module.state_dict().items()})
    return part
