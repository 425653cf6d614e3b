"""Progress of an evaluation on stderr: bars on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self, TextIO


class Reporter(AbstractContextManager["Reporter"]):
    """Receives the progress of an evaluation. This one shows nothing; the others override what they show."""

    def __exit__(self, *_: object) -> None:
        """Nothing is left open."""

    def start(self, phase: str, total: float) -> None:
        """A phase begins; `total` is its amount of work in samples or trials."""

    def advance(self, done: float, note: str = "") -> None:
        """`done` of the phase's work is finished now; `note` says what is known so far, such as who is robust."""

    def finish(self, note: str) -> None:
        """The phase has ended with the result `note`."""

    def say(self, message: str) -> None:
        """A line for the log, whatever phase is running."""


class PlainReporter(Reporter):
    """Writes a line at the start and end of a phase and every `interval` seconds in between."""

    def __init__(self, stream: TextIO, interval: float = 30.0) -> None:
        self._stream, self._interval = stream, interval
        self._phase, self._total, self._started, self._shown = "", 0.0, 0.0, 0.0

    def start(self, phase: str, total: float) -> None:
        """Announce the phase."""
        self._phase, self._total = phase, total
        self._started = self._shown = time.monotonic()

    def advance(self, done: float, note: str = "") -> None:
        """Say how far the phase is, at most once per interval."""
        now = time.monotonic()
        if now - self._shown < self._interval or done <= 0:
            return
        self._shown = now
        left = (now - self._started) / done * (self._total - done)
        share = 100 * done / self._total if self._total else 100
        self.say(f"{self._phase}: {share:.0f} %{', ' + note if note else ''}, about {duration(left)} left")

    def finish(self, note: str) -> None:
        """Say how the phase ended and what it took."""
        self.say(f"{self._phase}: {note} ({duration(time.monotonic() - self._started)})")

    def say(self, message: str) -> None:
        """Write the line at once."""
        print(message, file=self._stream, flush=True)


class TerminalReporter(Reporter):
    """Draws one bar per phase with `rich`, while its context lasts."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description:<16}"), BarColumn(bar_width=28), TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=Console(stderr=True),
            refresh_per_second=4,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._total = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, phase: str, total: float) -> None:
        """Add a bar."""
        self._total = max(total, 1e-9)
        self._task = self._progress.add_task(phase, total=self._total, note="")

    def advance(self, done: float, note: str = "") -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.update(self._task, completed=done, note=note)

    def finish(self, note: str) -> None:
        """Fill the bar and leave its result next to it."""
        self.advance(self._total, note)

    def say(self, message: str) -> None:
        """Print above the bars."""
        self._progress.console.print(message, markup=False, highlight=False)


class LogFileReporter(Reporter):
    """Passes everything on to another reporter and keeps lines in a file as well, while its context lasts."""

    def __init__(self, inner: Reporter, path: Path) -> None:
        self._stream = path.open("a", encoding="utf-8")
        both = (inner, PlainReporter(self._stream, interval=60.0))
        for name in ("start", "advance", "finish", "say"):
            setattr(self, name, _one_after_another([getattr(reporter, name) for reporter in both]))

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def _one_after_another(functions: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def call(*arguments: object) -> None:
        for function in functions:
            function(*arguments)

    return call


def duration(seconds: float) -> str:
    """Time span as people say it: ``42 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def default_reporter(*, quiet: bool) -> Reporter:
    """Reporter that suits stderr."""
    if quiet:
        return Reporter()
    return TerminalReporter() if sys.stderr.isatty() else PlainReporter(sys.stderr)
