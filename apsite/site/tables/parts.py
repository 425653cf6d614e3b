"""Long tables in parts: a page shows the first rows, and pages of parts have all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Row = TypeVar("Row")


@dataclass(frozen=True)
class Part(Generic[Row]):
    """One page of a long table: its name, and its rows from number `first` on."""

    name: str
    first: int
    rows: tuple[Row, ...]

    @property
    def span(self) -> str:
        """Numbers of its rows, such as ``121–240``."""
        return f"{self.first}–{self.first + len(self.rows) - 1}"


def parts(identity: str, rows: Sequence[Row], size: int) -> list[Part[Row]]:
    """All rows in parts of a size; the first one has the name `identity`, the second ``<identity>-2``."""
    starts = range(0, len(rows), size)
    names = [identity, *(f"{identity}-{number}" for number in range(2, len(starts) + 1))]
    return [
        Part(name, start + 1, tuple(rows[start : start + size])) for name, start in zip(names, starts, strict=False)
    ]
