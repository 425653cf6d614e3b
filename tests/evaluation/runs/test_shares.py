"""How samples are divided among workers: nothing twice, nothing left out, and few devices wait at the end."""

import heapq

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from apsite.evaluation.attacks.fast.engine import FastEngine
from apsite.evaluation.runs.run_state import RunState
from apsite.evaluation.runs.runner import run
from apsite.evaluation.runs.worker import LANES, Result, Work, shares
from apsite.evaluation.testsets.datasets import ImageSet
from apsite.progress import Reporter
from apsite.protocol import Settings
from apsite.records import Passes
from apsite.vocabulary import Attack, Dataset

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


class Devices:
    """Devices that take pieces of work, and the simulated time for which they compute and wait."""

    def __init__(self, engine: FastEngine, count: int) -> None:
        self.engine, self.count, self.clock, self.busy = engine, count, 0.0, 0.0

    def alone(self, passes: float) -> None:
        """One device computes and all others wait."""
        self.clock += passes
        self.busy += passes

    def results(self, calls, progress, say):
        """Every piece is done by the device that is free first; what comes next waits for all of them."""
        free = [self.clock] * self.count
        for number, call in enumerate(calls):
            passes, values = self.done(call)
            heapq.heapreplace(free, free[0] + passes)
            self.busy += passes
            yield number, Result(values, Passes(0, int(passes)), passes)
        self.clock = max(free)

    def done(self, call):
        """Passes and results of a piece: APGD-CE breaks every second sample, nothing breaks after it."""
        n = len(call.samples)
        if call.work is Work.ATTACK:
            return self.engine.cost[call.attack] * n, (np.arange(n) % 2 == 0) & (call.attack is Attack.APGD_CE)
        each = (call.steps + 1) * len(call.trials)
        shape = (len(call.trials), n) if call.work is Work.SEARCH else (n, len(call.trials))
        return each * (-(-n // LANES) * LANES), np.full(shape, 0.05, np.float32)


def test_eight_devices_compute_for_nine_tenths_of_a_run(tmp_path):
    """A whole run by the default protocol; models of a list follow each other, so twelve take twelve times as long."""
    images = ImageSet(
        Dataset.CIFAR10, np.zeros((10_000, 3, 4, 4), np.uint8), np.zeros(10_000, np.int64),
        np.arange(10_000, dtype=np.int32), "zeros", known=False,
    )  # fmt: skip
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 10))
    with torch.no_grad():
        network[1].bias.copy_(torch.arange(10).flip(0))
    pools = []

    def hire(worker):
        pools.append(Devices(worker.engine, 8))
        return pools[-1]

    with RunState(tmp_path, {}) as state:
        run(network, images, Settings(batch_size=1024), state, torch.device("cpu"), Reporter(), workers=hire)
    (pool,) = pools
    pool.alone(len(images))  # clean accuracy
    assert pool.busy / (pool.count * pool.clock) >= 0.9
