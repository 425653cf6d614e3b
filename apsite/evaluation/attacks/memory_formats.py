"""The memory format of the attacked network: values of a channel together, or values of a pixel together.

Which one is faster depends on the processor, the layers and the number of images, and the two round differently. So one
format is chosen for a whole run, and all its workers and its resumed parts use it. Only a clear gain departs from the
usual format of a device: repeated runs on one machine should choose, and so round, alike.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn

from apsite.evaluation.attacks.execution import input_gradient, logits_of
from apsite.protocol import Precision

CLEAR_GAIN = 0.1
"""Share of the time of the usual format that another one must save to be chosen."""

WORTH_A_TRIAL = 0.01
"""CPU seconds of one forward and one gradient pass below which formats are not compared."""

ROUNDS, LONGEST = 4, 20.0
"""Rounds of a trial, the first of which warms up; none but the first two begins after so many CPU seconds."""


class MemoryFormat(StrEnum):
    """Orders in memory."""

    CHANNELS_LAST = "channels_last"
    CONTIGUOUS = "contiguous"

    def applied_to(self, network: nn.Module) -> nn.Module:
        """The same network, with its weights in this format."""
        last = self is MemoryFormat.CHANNELS_LAST
        network.to(memory_format=torch.channels_last if last else torch.contiguous_format)  # type: ignore[call-overload]
        return network


@dataclass(frozen=True)
class FormatChoice:
    """How to choose the memory format.

    Attributes:
        usual: The format to use unless another one is clearly faster, or the network cannot use it.
        rows: Images of a timed pass; 0 to compare nothing.
    """

    usual: MemoryFormat = MemoryFormat.CHANNELS_LAST
    rows: int = 0

    @property
    def formats(self) -> tuple[MemoryFormat, ...]:
        """All formats, the usual one first."""
        return self.usual, *(other for other in MemoryFormat if other is not self.usual)


def format_choice(
    device: torch.device, precision: Precision, rows: int, agreed: MemoryFormat | None = None
) -> FormatChoice:
    """How a run chooses: on a CPU by a trial with `rows` images, on a GPU by the arithmetic of the search.

    `agreed` is what other workers of the run, or its earlier part, have chosen; ``None`` if nothing was chosen yet.
    """
    if agreed is not None:
        return FormatChoice(agreed)
    if precision is not Precision.FLOAT32:  # tensor cores and AMX read channels last
        return FormatChoice(MemoryFormat.CHANNELS_LAST)
    return FormatChoice(rows=rows) if device.type == "cpu" else FormatChoice(MemoryFormat.CONTIGUOUS)


def fastest(times: Mapping[MemoryFormat, float], usual: MemoryFormat) -> MemoryFormat:
    """The usual format, unless another one takes clearly less time.

    >>> fastest({MemoryFormat.CHANNELS_LAST: 1.0, MemoryFormat.CONTIGUOUS: 0.95}, MemoryFormat.CHANNELS_LAST).value
    'channels_last'
    >>> fastest({MemoryFormat.CHANNELS_LAST: 1.0, MemoryFormat.CONTIGUOUS: 0.85}, MemoryFormat.CHANNELS_LAST).value
    'contiguous'
    """
    best = min(times, key=lambda memory_format: times[memory_format], default=usual)
    return best if usual in times and times[best] < (1 - CLEAR_GAIN) * times[usual] else usual


def measured(network: nn.Module, example: Tensor, choice: FormatChoice) -> dict[MemoryFormat, float]:
    """CPU seconds of a forward and a gradient pass in each format, the usual one first; empty if that is not worth it.

    One thread computes, as in the lanes of a run. Its CPU time counts, so other programs hardly matter.

    Args:
        network: The network; it is not changed.
        example: A few images on the CPU.
        choice: The formats, and how many images to use.
    """
    if not choice.rows:
        return {}
    x = example.repeat(-(-choice.rows // len(example)), 1, 1, 1)[: choice.rows]
    networks = {each: each.applied_to(copy.deepcopy(network)) for each in choice.formats}

    def passes(network: nn.Module) -> float:
        started = time.thread_time()
        with torch.no_grad():
            logits_of(network, x)
        point = x.clone().requires_grad_(True)
        input_gradient(logits_of(network, point).sum(), point)
        return time.thread_time() - started

    def trial() -> dict[MemoryFormat, float]:
        spent = passes(networks[choice.usual])  # the first time is not like the others
        if spent < WORTH_A_TRIAL or passes(networks[choice.usual]) < WORTH_A_TRIAL:
            return {}
        times = dict.fromkeys(networks, float("inf"))
        for number in range(ROUNDS):
            if number > 1 and spent > LONGEST:
                break
            for each, one in networks.items():
                seconds = passes(one)
                spent += seconds
                times[each] = min(times[each], seconds)
        return times

    with ThreadPoolExecutor(1, initializer=lambda: torch.set_num_threads(1)) as thread:
        return thread.submit(trial).result()
