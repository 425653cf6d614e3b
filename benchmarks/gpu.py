"""The whole protocol on a GPU: ours against `pyautoattack` and the plain FMN loop on the same GPU, in one run."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch

from apsite.evaluation.datasets import load_test_set
from apsite.evaluation.downloads import data_dir as default_data_dir
from apsite.evaluation.loading import load_network
from apsite.evaluation.progress import SilentReporter
from apsite.evaluation.run_state import RunState
from apsite.evaluation.runner import run
from apsite.evaluation.settings import Settings
from apsite.vocabulary import Attack, Dataset
from benchmarks.attacks import EPSILON, GENTLE, official, official_stage
from benchmarks.plain_fmn import plain_fmn
from benchmarks.timing import Row, seconds

BATCH = 1024
TRIALS, SEARCH_SAMPLES, SEARCH_STEPS, STEPS = 32, 64, 100, 200


def whole_protocol_rows(checkpoint: Path | None, data_dir: Path | None) -> Iterator[Row]:
    """AutoAttack and HO-FMN with its search on all 10,000 test images of CIFAR-10; each side runs once."""
    if checkpoint is None or not torch.cuda.is_available():
        raise click.UsageError("the rows 'gpu' need --checkpoint RESNET18 and a CUDA device")
    device = torch.device("cuda")
    images = load_test_set(Dataset.CIFAR10, data_dir or default_data_dir())
    network = load_network(checkpoint, architecture="resnet18").to(device)
    outcome = {}

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder, RunState(Path(folder), {}) as state:
            outcome["ours"] = run(copy.deepcopy(network), images, Settings(), state, device, SilentReporter())
        torch.cuda.synchronize()

    def theirs() -> None:
        plain = copy.deepcopy(network).requires_grad_(True)
        suite = official(plain, EPSILON, device, None)
        x = torch.from_numpy(np.asarray(images.images[:])).float() / 255
        y = torch.from_numpy(images.labels)
        robust = 0
        for a, b in zip(x.split(BATCH), y.split(BATCH), strict=True):
            a, b = a.to(device), b.to(device)  # noqa: PLW2901 - moved to the device
            with torch.no_grad():
                left = plain(a).argmax(1) == b
            for attack in Attack:
                if bool(left.any()):
                    perturbed = official_stage(suite, attack, a[left], b[left]).detach()
                    with torch.no_grad():
                        left[left.clone()] = plain(perturbed).argmax(1) == b[left]
            robust += int(left.sum())
            plain_fmn(plain, a, b, GENTLE, STEPS)
        for _ in range(TRIALS):
            plain_fmn(plain, x[:SEARCH_SAMPLES].to(device), y[:SEARCH_SAMPLES].to(device), GENTLE, SEARCH_STEPS)
        torch.cuda.synchronize()
        outcome["theirs"] = robust

    times = [seconds(ours)], [seconds(theirs)]
    assert outcome["ours"].samples.aa_robust is not None
    facts = {
        "seconds_ours": times[0][0], "seconds_theirs": times[1][0],
        "robust_ours": int(outcome["ours"].samples.aa_robust.sum()), "robust_theirs": outcome["theirs"],
    }  # fmt: skip
    yield Row("ResNet18, 10,000 images: apb-1", *times, "pyautoattack and a plain FMN loop", facts)
