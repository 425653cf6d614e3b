"""Progress of an evaluation on stderr: bars on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Self, TextIO

from apsite.errors import ApsiteError


class Reporter(AbstractContextManager["Reporter"]):
    """Receives the progress of an evaluation. This one shows nothing; the others override what they show."""

    shows = False
    """Whether somebody sees what it is given."""

    def __exit__(self, *_: object) -> None:
        """Nothing is left open."""

    def start(self, phase: str, total: float) -> None:
        """A phase begins; `total` is its amount of work in samples or trials."""

    def plan(self, later: float = 0.0, before: float = 0.0) -> None:
        """What the phase that has begun does not do, in units of its work.

        `later` is the work that follows it, `before` what an earlier run has finished of it.
        """

    def advance(self, done: float, note: str = "") -> None:
        """`done` of the phase's work is finished now; `note` says what is known so far, such as who is robust."""

    def finish(self, note: str) -> None:
        """The phase has ended with the result `note`."""

    def say(self, message: str) -> None:
        """A line for the log, whatever phase is running."""


class _Pace:
    """How long a phase, and the work that follows it, still take at the speed of the phase so far."""

    def __init__(self, total: float) -> None:
        self.total, self.later, self.before, self.started = total, 0.0, 0.0, time.monotonic()

    def plan(self, later: float, before: float) -> None:
        """As :meth:`Reporter.plan`."""
        self.later, self.before, self.started = later, before, time.monotonic()

    def left(self, done: float) -> tuple[float, float]:
        """Seconds that the phase takes from here, and that everything takes; infinite before there is a speed."""
        worked = done - self.before
        each = (time.monotonic() - self.started) / worked if worked > 0 else math.inf
        remaining = max(self.total - done, 0.0)
        return each * remaining, each * (remaining + self.later)


class PlainReporter(Reporter):
    """Writes a line with the time at the start and end of a phase and every `interval` seconds in between.

    A line that cannot be written, as on a full disk, is left out: the work is worth more than its log.
    """

    shows = True

    def __init__(self, stream: TextIO, interval: float = 30.0) -> None:
        self._stream = stream
        self._interval = interval
        self._phase, self._pace = "", _Pace(0.0)
        self._started = self._shown = 0.0

    def start(self, phase: str, total: float) -> None:
        """Announce the phase."""
        self._phase, self._pace = phase, _Pace(total)
        self._started = self._shown = time.monotonic()

    def plan(self, later: float = 0.0, before: float = 0.0) -> None:
        """Take this into account in the time that is left."""
        self._pace.plan(later, before)

    def advance(self, done: float, note: str = "") -> None:
        """Say how far the phase is, at most once per interval."""
        now = time.monotonic()
        left, all_left = self._pace.left(done)
        if now - self._shown < self._interval or left == math.inf:
            return
        self._shown = now
        share = 100 * done / self._pace.total if self._pace.total else 100
        end = f", {duration(all_left)} until the end" if self._pace.later else ""
        self.say(f"{self._phase}: {share:.0f} %{', ' + note if note else ''}, about {duration(left)} left{end}")

    def finish(self, note: str) -> None:
        """Say how the phase ended and what it took."""
        self.say(f"{self._phase}: {note} ({duration(time.monotonic() - self._started)})")

    def say(self, message: str) -> None:
        """Write the line at once."""
        with contextlib.suppress(OSError):
            print(datetime.now().astimezone().isoformat(" ", "seconds"), message, file=self._stream, flush=True)


class TerminalReporter(Reporter):
    """Draws one bar per phase with `rich`, while its context lasts."""

    shows = True

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description:<16}"), BarColumn(bar_width=28), TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=Console(stderr=True),
            refresh_per_second=4,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._pace = _Pace(0.0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, phase: str, total: float) -> None:
        """Add a bar."""
        self._pace = _Pace(max(total, 1e-9))
        self._task = self._progress.add_task(phase, total=self._pace.total, note="")

    def plan(self, later: float = 0.0, before: float = 0.0) -> None:
        """Take this into account in the time until the end."""
        self._pace.plan(later, before)

    def advance(self, done: float, note: str = "") -> None:
        """Move the bar."""
        _, all_left = self._pace.left(done)
        if self._pace.later and all_left < math.inf:
            note = f"{note}{', ' if note else ''}{duration(all_left)} until the end"
        self._move(done, note)

    def finish(self, note: str) -> None:
        """Fill the bar and leave its result next to it."""
        self._move(self._pace.total, note)

    def _move(self, done: float, note: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=done, note=note)

    def say(self, message: str) -> None:
        """Print above the bars."""
        self._progress.console.print(message, markup=False, highlight=False)


class LogFileReporter(Reporter):
    """Passes everything on to another reporter and keeps lines in a file as well, while its context lasts.

    Raises:
        ApsiteError: If the file cannot be opened.
    """

    shows = True

    def __init__(self, inner: Reporter, path: Path) -> None:
        try:
            self._stream = path.open("a", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise ApsiteError(f"{path}: cannot be written: {error.strerror}; choose another --log-file") from None
        both = (inner, PlainReporter(self._stream, interval=60.0))
        for name in ("start", "plan", "advance", "finish", "say"):
            setattr(self, name, _one_after_another([getattr(reporter, name) for reporter in both]))

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # of a full disk, as in `say`
            self._stream.close()


def _one_after_another(functions: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def call(*arguments: object, **named: object) -> None:
        for function in functions:
            function(*arguments, **named)

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


def listener(
    reporter: Reporter, done: float, cost: float, note: Callable[[], str], limit: float = math.inf
) -> Callable[[int], None]:
    """Listener that turns passes into progress beyond `done`; `cost` passes are one unit of it."""
    seen = 0

    def listen(passes: int) -> None:
        nonlocal seen
        seen += passes
        reporter.advance(done + min(seen / cost, limit), note())

    return listen
