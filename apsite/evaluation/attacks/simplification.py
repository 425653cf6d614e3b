"""An equivalent, faster network: batch norms folded, channels that carry no information removed.

Pruning leaves channels behind that no longer depend on the image: every weight that leads into them is zero. Such a
channel is a constant, but not always zero: batch norm turns it into its shift, and the zero padding of the next
convolution makes the constant felt less near the border. All of this is known before any image is seen. The constants
are therefore propagated through the network once, in float64, and what they add to the outputs of the next layer is
kept as a bias (or as a bias map, where the border differs). Channels that nothing reads any more are removed as well.

Attacks may run on the simplified network; the evaluated network decides every result.
"""

from __future__ import annotations

import contextlib
import copy
import io
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from apsite.errors import NetworkError
from apsite.evaluation.attacks.channel_operations import SUMS, Kind, is_plain, kind_of
from apsite.evaluation.attacks.execution import DEVICE_ERRORS, first_output, input_gradient, logits_of, words_of

TOLERANCE = 1e-5
"""Largest difference of a logit, relative to the largest logit (or 1, if that is smaller)."""


@dataclass(frozen=True)
class Simplified:
    """A network to attack, and what makes it faster than the evaluated one.

    Attributes:
        network: In evaluation mode with frozen parameters; the given one where nothing could be done.
        folded_norms: Batch norms that were merged into the convolution before them.
        removed_channels: Output channels of convolutions and linear layers that are left out, of `channels`.
        as_it_is: Why the given network is attacked; empty if a simpler one is.
    """

    network: nn.Module
    folded_norms: int = 0
    removed_channels: int = 0
    channels: int = 0
    as_it_is: str = ""


def simplified(network: nn.Module, example: Tensor, *, remove_channels: bool = True) -> Simplified:
    """The fastest equivalent of `network` that was found.

    Nothing is assumed: each candidate must give the logits of `network`, in evaluation mode, on images `example` within
    :data:`TOLERANCE`, and gradients. A network that cannot be traced, folded or compared comes back as it is, with the
    reason. Batch norms are folded in any case.
    """
    why = ""
    try:
        with torch.no_grad():
            expected = logits_of(network, example)
        for candidate in _candidates(network, example, remove_channels=remove_channels):
            fast = candidate.network.eval().requires_grad_(False)
            # Convolutions are faster with channels last on a CPU; not on a GPU in float32.
            formats = [torch.channels_last] if example.device.type == "cpu" else []
            for memory_format in (*formats, torch.contiguous_format):
                fast.to(memory_format=memory_format)  # type: ignore[call-overload]
                why = _why_not(fast, example, expected)
                if not why:
                    return candidate
    except DEVICE_ERRORS:
        raise
    except Exception as error:  # copying, tracing and running are foreign code, and simplifying is optional
        why = words_of(error)
    return Simplified(network, as_it_is=why)


def _why_not(fast: nn.Module, example: Tensor, expected: Tensor) -> str:
    """What is wrong with a candidate that should give the logits `expected`; empty if nothing is."""
    try:
        with torch.enable_grad(), contextlib.redirect_stderr(io.StringIO()):  # fx prints what fails
            x = example.clone().requires_grad_(True)
            gradient = input_gradient(logits_of(fast, x).sum(), x)
            with torch.no_grad():
                difference = float((logits_of(fast, example) - expected).abs().max())
    except NetworkError as error:
        return str(error)
    if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
        return f"its logits differ by {difference:.2g}"
    return "" if bool(gradient.isfinite().all()) else "its gradients are not finite"


class _FromImages(nn.Module):
    """A network that is given images alone, so that other arguments have their defaults, and returns logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Any:
        return first_output(self.network(x))


def _candidates(network: nn.Module, example: Tensor, *, remove_channels: bool) -> Iterator[Simplified]:
    """Networks to try, fastest first."""
    folded, norms = _fold(fx.symbolic_trace(_FromImages(copy.deepcopy(network))))
    if remove_channels:
        try:
            reduction = _Reduction(folded, example[:1])
            reduced = Simplified(_in_place(reduction.build()), norms, reduction.removed, reduction.channels)
        except DEVICE_ERRORS:
            raise
        except Exception:  # nothing is known of its operations, so anything may fail
            reduced = None
        if reduced is not None:
            yield reduced
    yield Simplified(_in_place(folded), norms)


def _fold(traced: fx.GraphModule) -> tuple[fx.GraphModule, int]:
    """Merge each batch norm into the convolution that feeds it alone."""
    modules = dict(traced.named_modules())
    count = 0
    for node in list(traced.graph.nodes):
        if node.op != "call_module" or not isinstance(modules[node.target], nn.BatchNorm2d):
            continue
        (source,) = node.all_input_nodes
        before = modules[source.target] if source.op == "call_module" else None
        foldable = isinstance(before, nn.Conv2d) and is_plain(before) and is_plain(modules[node.target])
        if foldable and len(source.users) == 1:
            merged = fuse_conv_bn_eval(cast(nn.Conv2d, before), modules[node.target])
            parent, _, name = source.target.rpartition(".")
            setattr(traced.get_submodule(parent), name, merged)
            node.replace_all_uses_with(source)
            traced.graph.erase_node(node)
            count += 1
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced, count


def _in_place(traced: fx.GraphModule) -> fx.GraphModule:
    """Let ReLUs overwrite what a layer or a sum has just made for them alone; no gradient needs it."""
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(module, nn.ReLU) and not (node.op == "call_function" and node.target is functional.relu):
            continue
        (source,) = node.all_input_nodes
        fresh = source.target in SUMS or isinstance(modules.get(str(source.target)), _WEIGHTED)
        if fresh and len(source.users) == 1:
            with traced.graph.inserting_before(node):
                node.replace_all_uses_with(traced.graph.call_function(torch.relu_, (source,)))
            traced.graph.erase_node(node)
    traced.recompile()
    return traced


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


_WEIGHTED = (nn.Conv2d, nn.Linear)


class _Reduction:
    """Follows the channels of a traced network forwards and backwards, and writes the reduced network."""

    def __init__(self, traced: fx.GraphModule, image: Tensor) -> None:
        self.traced, self.image = traced, image
        self.modules = dict(traced.named_modules())
        self.known: dict[fx.Node, _Channels] = {}
        self.graph, self.root, self.made = fx.Graph(), nn.Module(), dict[fx.Node, fx.Node]()
        self.attributes = {node for node in traced.graph.nodes if node.op == "get_attr"}
        self.kinds = {node: self._kind(node) for node in traced.graph.nodes}
        self._shapes()
        for node in traced.graph.nodes:
            if self.kinds[node] not in (Kind.ATTRIBUTE, Kind.OUTPUT):
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
        return kind_of(node, self.modules, self.attributes)

    def _shapes(self) -> None:
        """Shape of every intermediate result, by running the network on one image."""
        reduction = self

        class Recorder(fx.Interpreter):
            def run_node(self, n: fx.Node) -> Any:
                result = super().run_node(n)
                if isinstance(result, Tensor) and reduction.kinds[n] not in (Kind.ATTRIBUTE, Kind.OUTPUT):
                    value = torch.zeros_like(result, dtype=torch.float64)
                    none = torch.zeros(result.shape[1], dtype=torch.bool, device=result.device)
                    reduction.known[n] = _Channels(result.shape, none, value, none.clone())
                return result

        Recorder(self.traced).run(self.image)

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
        arguments, keywords = fx.node.map_arg((node.args, node.kwargs), lambda source: value)
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
        if kind in (Kind.ATTRIBUTE, Kind.INPUT, Kind.OUTPUT):
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
        """Let convolutions before a sum compute all of its channels, and the last layer all logits.

        A channel of a sum may be constant in one operand and not in the other. A convolution gives its constants for
        nothing, as a bias next to a filter of zeros, where adding tensors of different widths costs more than it saves.
        """
        if self.kinds[node] not in (Kind.SUM, Kind.OUTPUT):
            return
        for source in node.all_input_nodes:
            if self.kinds[source] is Kind.WEIGHTED and len(source.users) == 1:
                known = self.known[source]
                wanted = self.known[node].kept if node in self.known else torch.arange(len(known.constant))
                known.constant[wanted], known.needed[wanted] = False, True
                known.value[:, wanted] = 0

    def build(self) -> fx.GraphModule:
        """The reduced network."""
        graph, made, root = self.graph, self.made, self.root
        for node in self.traced.graph.nodes:
            kind = self.kinds[node]
            if kind is Kind.OUTPUT:
                (result,) = node.args
                if not len(self.known[result].kept) == len(self.known[result].constant):
                    raise NetworkError("some logits are constant")
                graph.output(made[result])
            elif kind is Kind.INPUT:
                self.known[node].needed |= True
                made[node] = graph.node_copy(node)
            elif kind is Kind.ATTRIBUTE:
                value = operator.attrgetter(str(node.target))(self.traced)
                made[node] = self._constant(node.name, value.detach().clone())
            elif len(self.known[node].kept):
                made[node] = self._write(node)
        return fx.GraphModule(root, graph)

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
            known.needed = self._spread(self.known[node.all_input_nodes[0]].needed, node)
        else:
            for source in self._sources(node):
                known.needed = known.needed | source.needed
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
            raise NetworkError("neither operand of a sum has all of its channels")
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
