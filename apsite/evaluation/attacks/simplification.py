"""An equivalent, faster network: batch norms folded, channels that carry no information removed.

Attacks may run on the simplified network; the evaluated network decides every result.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from apsite.errors import NetworkError
from apsite.evaluation.attacks.channel_operations import SUMS, WEIGHTED, is_plain
from apsite.evaluation.attacks.channel_removal import ChannelRemoval
from apsite.evaluation.attacks.execution import DEVICE_ERRORS, first_output, input_gradient, logits_of, words_of
from apsite.evaluation.attacks.memory_formats import FormatChoice, MemoryFormat, fastest, measured
from apsite.protocol import Scalar

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
        unremoved_channels: Channels that could be removed and are not; where channels cannot be followed, the filters
            without a weight.
        why_unremoved: Why they are not; empty if there are none.
        memory_format: Order of the values in memory; ``None`` for that of the given network.
        timed: CPU time of a forward and a gradient pass in each memory format, for the log; empty if none was compared.
    """

    network: nn.Module
    folded_norms: int = 0
    removed_channels: int = 0
    channels: int = 0
    as_it_is: str = ""
    unremoved_channels: int = 0
    why_unremoved: str = ""
    memory_format: MemoryFormat | None = None
    timed: str = ""

    @property
    def remarks(self) -> list[str]:
        """Lines for the log: how the memory format was chosen, and which channels are not removed."""
        format_line = f"memory format {self.memory_format}; CPU time of a forward and a gradient pass: {self.timed}"
        kept_line = f"{self.unremoved_channels} channels could be removed and are not: {self.why_unremoved}"
        return [line for line, said in ((format_line, self.timed), (kept_line, self.why_unremoved)) if said]

    def as_scalars(self) -> dict[str, Scalar]:
        """What the environment of a record says of it; reasons and choices only where there are any."""
        stated: dict[str, Scalar] = {
            "folded_norms": self.folded_norms, "removed_channels": self.removed_channels,
            "channels": self.channels or None,
        }  # fmt: skip
        optional: dict[str, Scalar] = {
            "unremoved_channels": self.unremoved_channels, "unremoved_channels_because": self.why_unremoved,
            "memory_format": self.memory_format and self.memory_format.value, "memory_format_trial": self.timed,
            "attacked_as_it_is": self.as_it_is,
        }  # fmt: skip
        return stated | {name: value for name, value in optional.items() if value}


def simplified(
    network: nn.Module, example: Tensor, *, remove_channels: bool = True, choice: FormatChoice | None = None
) -> Simplified:
    """The fastest equivalent of `network` that was found.

    Nothing is assumed: each candidate must give the logits of `network`, in evaluation mode, on images `example` within
    :data:`TOLERANCE`, and gradients. A network that cannot be traced, folded or compared comes back as it is, with the
    reason. Batch norms are folded in any case. `choice` says how to choose the memory format.
    """
    choice, why, unremoved, why_unremoved = choice or FormatChoice(), "", 0, ""
    try:
        with torch.no_grad():
            expected = logits_of(network, example)
        for candidate in _candidates(network, example, remove_channels=remove_channels):
            found, why = _in_a_format(candidate, example, expected, choice)
            if found is not None:
                return replace(found, unremoved_channels=unremoved, why_unremoved=why_unremoved) if unremoved else found
            if candidate.removed_channels:
                unremoved, why_unremoved = candidate.removed_channels, why
    except DEVICE_ERRORS:
        raise
    except Exception as error:  # copying, tracing and running are foreign code, and simplifying is optional
        why = words_of(error)
    unremoved = unremoved or empty_filters(network)
    return Simplified(network, as_it_is=why, unremoved_channels=unremoved, why_unremoved=why if unremoved else "")


def _in_a_format(
    candidate: Simplified, example: Tensor, expected: Tensor, choice: FormatChoice
) -> tuple[Simplified | None, str]:
    """A candidate in the usual or a clearly faster memory format; ``None`` and the reason if it can use neither."""
    fast, why = candidate.network.eval().requires_grad_(False), ""
    for each in choice.formats:
        why = _why_not(each.applied_to(fast), example, expected)
        if why:
            continue
        times = measured(fast, example, choice) if each is choice.usual else {}
        if (best := fastest(times, each)) is not each and _why_not(best.applied_to(fast), example, expected):
            best = each
        best.applied_to(fast)
        timed = ", ".join(f"{name.value} {1000 * seconds:.1f} ms" for name, seconds in times.items())
        timed = f"{choice.rows} images: {timed}" if timed else ""
        return replace(candidate, network=fast, memory_format=best, timed=timed), ""
    return None, why


def empty_filters(network: nn.Module) -> int:
    """Filters of convolutions and rows of linear layers that have no weight, but for those of the last layer."""
    layers = [module for module in network.modules() if isinstance(module, WEIGHTED)]
    return sum(int((module.weight.detach().flatten(1) == 0).all(1).sum()) for module in layers[:-1])


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
    unremoved, why = 0, "the settings keep all channels"
    try:
        removal = ChannelRemoval(folded, example[:1])
        unremoved = removal.removed
        if remove_channels:
            reduced = Simplified(_in_place(removal.build()), norms, removal.removed, removal.channels)
            unremoved = 0
            yield reduced
    except DEVICE_ERRORS:
        raise
    except Exception as error:  # nothing is known of its operations, so anything may fail
        unremoved, why = unremoved or empty_filters(folded), words_of(error)
    why_unremoved = why if unremoved else ""
    yield Simplified(_in_place(folded), norms, unremoved_channels=unremoved, why_unremoved=why_unremoved)


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
        made_by = modules.get(str(source.target)) if source.op == "call_module" else source.target
        fresh = made_by in SUMS or isinstance(made_by, WEIGHTED)
        if fresh and len(source.users) == 1:
            with traced.graph.inserting_before(node):
                node.replace_all_uses_with(traced.graph.call_function(torch.relu_, (source,)))
            traced.graph.erase_node(node)
    traced.recompile()
    return traced
