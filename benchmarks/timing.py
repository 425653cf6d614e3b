"""Ratios of times that were taken in turn, in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: What was compared.
        ours: Seconds of each repetition.
        theirs: Seconds of the other side in the same repetitions.
        other: What the other side is.
        facts: Counts and settings that belong to the figures.
    """

    name: str
    ours: Sequence[float]
    theirs: Sequence[float]
    other: str
    facts: dict[str, Any] = field(default_factory=dict)

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
            "name": self.name,
            "ours_s": [round(value, 3) for value in self.ours],
            "theirs_s": [round(value, 3) for value in self.theirs],
            "other": self.other,
            "ratio": round(self.ratio, 3),
            "ratios": [round(value, 3) for value in self.ratios],
            "facts": self.facts,
        }


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turn(
    ours: Callable[[], object], theirs: Callable[[], object], repetitions: int
) -> tuple[list[float], list[float]]:
    """Times of both sides; who goes first alternates, so that drift of the machine hits both."""
    times: tuple[list[float], list[float]] = ([], [])
    for repetition in range(repetitions):
        order = (0, 1) if repetition % 2 == 0 else (1, 0)
        for side in order:
            times[side].append(seconds((ours, theirs)[side]))
    return times
