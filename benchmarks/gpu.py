"""The whole protocol on a GPU: ours against `pyautoattack` and the plain FMN loop on the same GPU, in one run."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from torch import nn

from apsite.evaluation.checkpoints.loading import load_network
from apsite.evaluation.runs.run_state import RunState
from apsite.evaluation.runs.runner import Outcome, run
from apsite.evaluation.testsets.datasets import ImageSet, load_test_set
from apsite.evaluation.testsets.downloads import data_dir as default_data_dir
from apsite.progress import Reporter
from apsite.protocol import Precision, Settings
from apsite.vocabulary import Attack, Dataset
from benchmarks.attacks import EPSILON, GENTLE, official, official_stage, short_attacks
from benchmarks.plain_fmn import plain_fmn
from benchmarks.timing import Row, seconds

BATCH = 1024
Budget = tuple[int, int, int] | None


def gpu_rows(checkpoint: Path | None, data_dir: Path | None) -> Iterator[Row]:
    """The whole protocol on all 10,000 test images of CIFAR-10."""
    if checkpoint is None or not torch.cuda.is_available():
        raise click.UsageError("the rows 'gpu' need --checkpoint RESNET18 and a CUDA device")
    device = torch.device("cuda")
    images = load_test_set(Dataset.CIFAR10, data_dir or default_data_dir())
    network = load_network(checkpoint, architecture="resnet18").to(device)
    yield from whole_protocol_rows("ResNet18", network, images, Settings().on("cuda"), device)


def whole_protocol_rows(
    name: str, network: nn.Module, images: ImageSet, settings: Settings, device: torch.device, budget: Budget = None
) -> Iterator[Row]:
    """Time evaluations with everything that belongs to them against the attacks of the other side alone.

    The other side runs once, with the arithmetic that torch has by itself: on a GPU, convolutions in TF32. Ours runs
    in float32, as results that rank do, and searching in TF32.

    Args:
        name: How to call the network.
        network: On `device`.
        images: What to evaluate on.
        settings: The protocol; both sides make as many trials and steps of FMN.
        device: Where both sides compute.
        budget: Steps of APGD and FAB and queries of Square; ``None`` for the standard ones.
    """
    outcome: dict[str, Outcome] = {}
    counted: dict[str, int] = {}

    def ours(precision: Precision) -> None:
        with short_attacks(budget), tempfile.TemporaryDirectory() as folder, RunState(Path(folder), {}) as state:
            own = replace(settings, precision=precision)
            outcome["ours"] = run(copy.deepcopy(network), images, own, state, device, Reporter())

    def theirs() -> None:
        counted["theirs"] = _official_protocol(network, images, settings, device, budget)

    other = [seconds(theirs)]
    for precision in (Precision.FLOAT32, Precision.TF32):
        own = [seconds(lambda precision=precision: ours(precision))]  # type: ignore[misc]
        robust = outcome["ours"].samples.aa_robust
        assert robust is not None
        facts = {
            "precision": precision.value,
            "correct": int(outcome["ours"].samples.clean_correct.sum()),
            "robust_ours": int(robust.sum()),
            "robust_theirs": counted["theirs"],
            "seconds_by_phase": {phase: round(spent, 1) for phase, spent in outcome["ours"].seconds.items()},
        }
        work = f"apb-1 on {len(images):,} images, {precision.value}"
        yield Row("protocol", name, work, own, other, "pyautoattack and a plain FMN loop", facts)


def _official_protocol(
    network: nn.Module, images: ImageSet, settings: Settings, device: torch.device, budget: Budget
) -> int:
    """Robust images of `pyautoattack`; the plain FMN loop runs as well, its distances are not used."""
    plain = copy.deepcopy(network).requires_grad_(True)
    suite = official(plain, EPSILON, device, budget)
    x = torch.from_numpy(np.asarray(images.images[:])).float() / 255
    y = torch.from_numpy(images.labels)
    robust = 0
    for some, classes in zip(x.split(BATCH), y.split(BATCH), strict=True):
        batch, labels = some.to(device), classes.to(device)
        with torch.no_grad():
            left = plain(batch).argmax(1) == labels
        for attack in Attack:
            chosen = left.nonzero().squeeze(1)
            if len(chosen):
                perturbed = official_stage(suite, attack, batch[chosen], labels[chosen]).detach()
                with torch.no_grad():
                    left[chosen] = plain(perturbed).argmax(1) == labels[chosen]
        robust += int(left.sum())
        plain_fmn(plain, batch, labels, GENTLE, settings.attack_steps)
    searched = slice(None, settings.search_samples)
    for _ in range(settings.trials):
        plain_fmn(plain, x[searched].to(device), y[searched].to(device), GENTLE, settings.search_steps)
    return robust
