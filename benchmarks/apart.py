"""The other software in a process of its own: with the memory settings of Python, as its users run it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

Timed = tuple[Any, float]
"""What a piece of work returned, and the CPU seconds that it took."""


def timed(work: Callable[..., Any], *arguments: Any) -> Timed:
    """Do a piece of work in this process."""
    started = time.process_time()
    value = work(*arguments)
    return value, time.process_time() - started


@contextmanager
def apart() -> Iterator[Callable[..., Timed]]:
    """Context whose value is :func:`timed` in another process, on one thread; so is this process meanwhile."""
    threads, context = torch.get_num_threads(), multiprocessing.get_context("spawn")
    torch.set_num_threads(1)
    try:
        with ProcessPoolExecutor(1, context, torch.set_num_threads, (1,)) as pool:
            yield lambda work, *arguments: pool.submit(timed, work, *arguments).result()
    finally:
        torch.set_num_threads(threads)
