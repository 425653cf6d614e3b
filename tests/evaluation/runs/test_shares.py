"""How samples are divided among workers: nothing twice, nothing left out, and few devices wait at the end."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsite.evaluation.runs.worker import shares

EQUAL, ONE_SLOW = (1.0,) * 8, (1.0,) * 7 + (0.1,)


def efficiency(count: int, grain: int, speeds: tuple[float, ...]) -> float:
    """Share of the time for which devices compute, if each takes the next part once it is free."""
    free = [(0.0, speed) for speed in speeds]
    for part in shares(count, 1024, grain, len(speeds)):
        time, speed = heapq.heappop(free)
        heapq.heappush(free, (time + (part.stop - part.start) / speed, speed))
    return count / sum(speeds) / max(time for time, _ in free)


@pytest.mark.parametrize("grain", [4, 16])
@pytest.mark.parametrize("count", [1000, 2000, 3200, 5000, 10_000])
def test_devices_seldom_wait(count, grain):
    assert efficiency(count, grain, EQUAL) >= 0.95
    assert efficiency(count, grain, ONE_SLOW) >= 0.6


@given(st.integers(0, 5000), st.integers(1, 300), st.integers(1, 32), st.integers(1, 9))
def test_every_sample_is_in_one_part(count, rows, grain, workers):
    parts = shares(count, rows, grain, workers)
    assert [position for part in parts for position in range(count)[part]] == list(range(count))
    sizes = [part.stop - part.start for part in parts]
    assert all(0 < size <= max(rows, grain) for size in sizes)
    assert sizes == sorted(sizes, reverse=True)
