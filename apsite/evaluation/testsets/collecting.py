"""Many published files, one after the other: what is there is left, and what fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from apsite.errors import ApsiteError
from apsite.progress import Reporter


class Named(Protocol):
    """A file to collect."""

    @property
    def name(self) -> str:
        """What messages call it."""


_Item = TypeVar("_Item", bound=Named)


@dataclass(frozen=True)
class Collected:
    """How it went: names of the files that are new and of those that were there, and why others failed, by name."""

    new: tuple[str, ...]
    there: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]


def collect(
    items: Iterable[_Item], there: Callable[[_Item], bool], work: Callable[[_Item], None], reporter: Reporter
) -> Collected:
    """Do the work of each item that is not there yet. An :class:`ApsiteError` ends that item only.

    An interruption passes through; what was finished before it is there the next time.
    """
    listed = list(items)
    new, present, failed = [], [], []
    for number, item in enumerate(listed, 1):
        if there(item):
            present.append(item.name)
            continue
        reporter.say(f"{number} of {len(listed)}: {item.name}")
        try:
            work(item)
        except ApsiteError as error:
            reporter.say(f"failed: {error}")
            failed.append((item.name, str(error)))
        else:
            new.append(item.name)
    return Collected(tuple(new), tuple(present), tuple(failed))
