"""Passes through a network on a CPU do not wait for memory that the pass before has freed."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource

import numpy as np
import torch

from apsite.evaluation.checkpoints.loading import load_network
from apsite.evaluation.runs.demonstration import network_path
from apsite.evaluation.runs.worker import Worker
from apsite.protocol import Settings

example = np.zeros((8, 3, 32, 32), np.uint8)
network = load_network(network_path(), architecture="resnet8")
network = Worker(network, example, Settings().on("cpu"), 8 / 255, torch.device("cpu")).simplified.network
x = torch.zeros(64, 3, 32, 32)


def passes():
    for _ in range(10):
        point = x.clone().requires_grad_(True)
        torch.autograd.grad(network(point).sum(), point)


passes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
passes()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting belongs to glibc")
@pytest.mark.parametrize(
    ("environment", "least", "most"),
    [({}, 0, 200), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, 1000, float("inf"))],
    ids=["by default", "as the user set it"],
)
def test_new_pages_of_memory_for_each_pass(environment, least, most):
    """A gradient pass of 64 images takes 8 MB, that is 2,000 pages, which are new only if glibc gave the old away."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"} | environment,
    )  # fmt: skip
    assert least <= float(done.stdout) < most
