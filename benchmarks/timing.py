"""Ratios of times that were taken in turn, in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["autoattack", "hofmn", "efficiency", "passes", "workers", "protocol", "dropped-rows"]


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        kind: Which part of the page it belongs to.
        network: The network, and what about it matters here.
        work: What was timed.
        ours: Seconds of each repetition.
        theirs: Seconds of the other side in the same repetitions.
        other: What the other side is.
        facts: Counts and settings that belong to the times.
    """

    kind: Kind
    network: str
    work: str
    ours: Sequence[float]
    theirs: Sequence[float]
    other: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Network and work; a result of the same name replaces an older one."""
        return f"{self.network}: {self.work}"

    def __str__(self) -> str:
        return f"{self.name}: {self.ratio:.2f} times ({self.other})  {self.facts}"

    @property
    def ratios(self) -> list[float]:
        """How many times as long the other side took, in each repetition."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        """Ratio of the medians."""
        return statistics.median(self.theirs) / statistics.median(self.ours)

    def as_json(self) -> dict[str, Any]:
        """The row as the results file holds it."""
        return {
            "kind": self.kind,
            "network": self.network,
            "work": self.work,
            "ours_s": [round(value, 3) for value in self.ours],
            "theirs_s": [round(value, 3) for value in self.theirs],
            "other": self.other,
            "ratio": round(self.ratio, 3),
            "ratios": [round(value, 3) for value in self.ratios],
            "facts": self.facts,
        }


@dataclass(frozen=True)
class CommandTime:
    """One command on one catalogue.

    Attributes:
        command: Name of the command.
        records: Number of records of the catalogue.
        seconds: Wall time.
        cpu_seconds: Time of the processor, of all its cores.
        peak_megabytes: Largest resident memory.
    """

    command: str
    records: int
    seconds: float
    cpu_seconds: float
    peak_megabytes: float

    @property
    def name(self) -> str:
        """Command and size; a result of the same name replaces an older one."""
        return f"{self.command} on {self.records} records"

    def __str__(self) -> str:
        return f"{self.name}: {self.seconds:.1f} s, {self.cpu_seconds:.1f} s CPU, {self.peak_megabytes:,.0f} MB"

    def as_json(self) -> dict[str, Any]:
        """The measurement as the results file holds it."""
        return {"kind": "catalogue", **asdict(self)}


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Time of one call, by default wall time."""
    started = clock()
    work()
    return clock() - started


def in_turn(
    ours: Callable[[], object], theirs: Callable[[], object], repetitions: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[float], list[float]]:  # fmt: skip
    """Times of both sides; who goes first alternates, so that drift of the machine hits both."""
    times: tuple[list[float], list[float]] = ([], [])
    for repetition in range(repetitions):
        order = (0, 1) if repetition % 2 == 0 else (1, 0)
        for side in order:
            times[side].append(seconds((ours, theirs)[side], clock))
    return times
