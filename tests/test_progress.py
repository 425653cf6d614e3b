"""Progress as lines: with the time, the time that is left, and never the end of the work that it reports."""

from __future__ import annotations

import io
import re
from datetime import datetime
from pathlib import Path

import pytest

from apsite import progress
from apsite.errors import ApsiteError
from apsite.progress import LogFileReporter, PlainReporter, Reporter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the reporter sees, set by the test."""
    seconds = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    return seconds


def lines(stream: io.StringIO) -> list[str]:
    """What was written, without the times, which are those of now."""
    found = [
        re.fullmatch(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d) (.*)", line)
        for line in stream.getvalue().splitlines()
    ]
    for match in found:
        assert abs((datetime.now().astimezone() - datetime.fromisoformat(match[1])).total_seconds()) < 600
    return [match[2] for match in found]


def test_the_time_left_is_that_of_the_phase_and_of_all_that_follows(clock: list[float]) -> None:
    """At the speed of this run: what an earlier one has done costs no time."""
    stream = io.StringIO()
    reporter = PlainReporter(stream)
    reporter.start("APGD-CE", 100)
    reporter.plan(later=150, before=40)
    clock[0] = 60
    reporter.advance(60, "9 robust")
    reporter.advance(60.1)  # within the interval
    reporter.finish("done")
    reporter.start("HO-FMN attack", 10)
    clock[0] = 90
    reporter.advance(0)  # no speed yet
    clock[0] = 100
    reporter.advance(5)
    assert lines(stream) == [
        "APGD-CE: 60 %, 9 robust, about 2 min 00 s left, 9 min 30 s until the end",
        "APGD-CE: done (1 min 00 s)",
        "HO-FMN attack: 50 %, about 40 s left",
    ]


def test_a_log_that_cannot_be_written_is_no_reason_to_stop(tmp_path: Path) -> None:
    """A full disk loses lines; the other reporter still has them. A file that cannot be opened is an error at once."""
    stream = io.StringIO()
    with LogFileReporter(PlainReporter(stream), Path("/dev/full")) as reporter:
        for _ in range(2):
            reporter.start("x", 1)
            reporter.plan(later=1.0)
            reporter.advance(1)
            reporter.say("line" * 5_000)
            reporter.finish("done")
    assert len(lines(stream)) == 4
    with pytest.raises(ApsiteError, match="choose another --log-file"):
        LogFileReporter(Reporter(), tmp_path / "absent/run.log")
