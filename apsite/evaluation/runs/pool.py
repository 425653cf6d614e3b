"""Who does the work of an evaluation: this process, or others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from apsite.evaluation.runs.worker import Call, Result, Worker


class Pool(Protocol):
    """Does pieces of work, in any order, `count` of them at the same time."""

    count: int

    def results(
        self, calls: Sequence[Call], progress: Callable[[int], None], say: Callable[[str], None]
    ) -> Iterator[tuple[int, Result]]:
        """Number and result of every piece, as they finish.

        `progress` is called with the number of passes whenever some have been made, `say` with lines for the log.
        """


class LocalPool:
    """One worker in this process."""

    count = 1

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def results(
        self, calls: Sequence[Call], progress: Callable[[int], None], say: Callable[[str], None]
    ) -> Iterator[tuple[int, Result]]:
        """The pieces one after the other."""
        self._worker.listener, self._worker.say = progress, say
        for number, call in enumerate(calls):
            yield number, self._worker.run(call)
        self._worker.listener = None
