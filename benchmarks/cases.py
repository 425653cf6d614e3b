"""Networks and images that are measured."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from apsite.evaluation.checkpoints.loading import load_network
from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.evaluation.runs.demonstration import network_path
from apsite.evaluation.testsets.datasets import embedded_images, load_test_set
from apsite.keys import ModelKey
from apsite.protocol import Sample
from apsite.vocabulary import Dataset
from benchmarks.attacks import Case

ROOT = Path(__file__).parents[1]
SHORT = (5, 3, 30)
"""Steps of APGD and FAB and queries of Square for big networks without a trained checkpoint."""


def trained(name: str, checkpoint: Path, count: int) -> Case:
    """A trained small network with embedded test images."""
    images = embedded_images().first(count)
    network = load_network(checkpoint, architecture="resnet8")
    return Case(name, network, np.asarray(images.images[:]), images.labels)


def demonstration(count: int) -> Case:
    """The embedded network, 90 % of whose weights are zero."""
    return trained("ResNet8, LAMP 90 %", network_path(), count)


def recorded(name: str, model: str, count: int, data_dir: Path) -> tuple[Case, dict[str, np.ndarray]]:
    """A network of the series of criteria on the first `count` of the random test images, and its per-sample file.

    The arrays have the same images in the same order.
    """
    images, _ = load_test_set(Dataset.CIFAR10, data_dir).chosen(count, Sample.RANDOM)
    with np.load(ROOT / "evaluations" / str(ModelKey.parse(model).method) / f"{model}.npz") as archive:
        there = np.isin(archive["index"], images.index)
        found = {name: archive[name][there] for name in archive.files}
    if len(found["index"]) < count:
        raise SystemExit(f"{model}: has only {len(found['index'])} of {count} images; choose fewer")
    network = load_network(ROOT / "baselines" / "criteria" / f"{model}.safetensors", architecture="resnet8")
    return Case(name, network, np.asarray(images.images[:]), images.labels), found


def saturated(case: Case) -> Case:
    """The case with saturated probabilities for logits, whose gradients vanish where the network is sure."""

    class Saturated(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return functional.softmax(30 * case.network(x), 1)

    return replace(case, name=f"{case.name}, saturated outputs", network=Saturated().eval())


def without_filters(network: nn.Module, share: float) -> nn.Module:
    """The network with the given share of the filters of every convolution set to zero, those of smallest L1 norm."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                order = module.weight.abs().sum((1, 2, 3)).argsort()
                module.weight[order[: int(share * len(order))]] = 0
    return network.eval()


def untrained(share: float, count: int, architecture: str = "ResNet18", layout: str = "base_resnet18") -> Case:
    """A network with random weights, labelled by its own predictions; a tiny ε keeps every sample robust."""
    torch.manual_seed(0)
    network = layouts()[layout].build(Dataset.CIFAR10).eval()
    if share:
        network = without_filters(network, share)
    images = embedded_images().first(count)
    pixels = np.asarray(images.images[:])
    with torch.no_grad():
        labels = network(torch.from_numpy(pixels).float() / 255).argmax(1).numpy()
    name = f"{architecture}, {share:.0%} of the filters zero" if share else f"{architecture}, dense"
    return Case(f"{name} (random weights)", network, pixels, labels, epsilon=1e-6, budget=SHORT)
