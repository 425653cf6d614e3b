"""Test sets in their official formats, made of images that a network of two layers tells apart."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from apsite.evaluation.testsets.imagenet import SYNSETS
from apsite.vocabulary import Dataset

FACTORY = """
from torch import nn


def network():
    return nn.Sequential(
        nn.Conv2d(3, 1, {block}, stride={block}, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(16, {classes})
    )
"""
"""Source of the network: the brightness of sixteen blocks, and a linear layer."""


def codes(dataset: Dataset) -> NDArray[np.int64]:
    """Code of each class, ten times -1 or 1; no two are alike."""
    return (np.arange(dataset.classes)[:, None] >> np.arange(10) & 1) * 2 - 1


def labels(dataset: Dataset) -> NDArray[np.int64]:
    """Labels with the official number of images per class, in turns, so that the first ones are of all classes."""
    rounds = np.concatenate([np.arange(count) for count in dataset.class_counts])
    classes = np.repeat(np.arange(dataset.classes), dataset.class_counts)
    return classes[np.lexsort((classes, rounds))]


def images(dataset: Dataset, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
    """An image for each class in `chosen`: grey, with a block a little darker or brighter for each part of its code."""
    blocks = np.full((len(chosen), 16), 128, np.uint8)
    blocks[:, :10] += (3 * codes(dataset)[chosen]).astype(np.uint8)
    _, height, width = dataset.shape
    grid = np.kron(blocks.reshape(-1, 1, 4, 4), np.ones((height // 4, width // 4), np.uint8))
    return np.ascontiguousarray(np.broadcast_to(grid, (len(chosen), *dataset.shape)))


def write_network(folder: Path, dataset: Dataset) -> tuple[Path, str, float]:
    """Checkpoint of the network that tells the images apart, its factory, and its sparsity in whole percent."""
    block = dataset.shape[1] // 4
    linear = torch.zeros(dataset.classes, 16)
    linear[:, :10] = torch.from_numpy(codes(dataset)) * 20.0
    state = {"0.weight": torch.full((1, 3, block, block), 1 / (3 * block * block)), "3.weight": linear}
    torch.save(state | {"3.bias": -128 / 255 * linear.sum(1)}, folder / "network.pt")
    (folder / "factory.py").write_text(FACTORY.format(block=block, classes=dataset.classes), encoding="utf-8")
    weights = torch.cat([tensor.flatten() for tensor in state.values()])
    return folder / "network.pt", f"{folder / 'factory.py'}:network", round(float((weights == 0).float().mean()), 2)


def _write_cifar10(folder: Path, dataset: Dataset) -> None:
    pixels = images(dataset, labels(dataset)).reshape(-1, 3072)
    (folder / "cifar-10-batches-bin").mkdir()
    rows = np.concatenate([labels(dataset)[:, None].astype(np.uint8), pixels], 1)
    rows.tofile(folder / "cifar-10-batches-bin" / "test_batch.bin")


def _write_cifar100(folder: Path, dataset: Dataset) -> None:
    pixels = images(dataset, labels(dataset)).reshape(-1, 3072)
    (folder / "cifar-100-binary").mkdir()
    both = np.stack([labels(dataset) // 5, labels(dataset)], 1).astype(np.uint8)
    np.concatenate([both, pixels], 1).tofile(folder / "cifar-100-binary" / "test.bin")


def _write_tiny_imagenet(folder: Path, dataset: Dataset) -> None:
    from PIL import Image

    val = folder / "tiny-imagenet-200" / "val"
    (val / "images").mkdir(parents=True)
    synsets, rows = sorted(f"n{number * 7919 % 10**8:08d}" for number in range(1, dataset.classes + 1)), []
    for number, label in enumerate(map(int, labels(dataset))):
        pixels = images(dataset, np.array([label]))[0].transpose(1, 2, 0)
        Image.fromarray(pixels).save(val / "images" / f"val_{number}.JPEG", "JPEG", quality=95)
        rows.append(f"val_{number}.JPEG\t{synsets[label]}\t0\t32\t44\t62\n")
    (val / "val_annotations.txt").write_text("".join(rows), encoding="utf-8")


def _write_svhn(folder: Path, dataset: Dataset) -> None:
    from scipy.io import savemat

    pixels, digits = images(dataset, labels(dataset)).transpose(2, 3, 1, 0), labels(dataset)
    content = {"X": pixels, "y": np.where(digits == 0, 10, digits).astype(np.uint8)[:, None]}
    savemat(folder / "test_32x32.mat", content, do_compression=True)


def _write_imagenet(folder: Path, dataset: Dataset) -> None:
    """The first images are right; all others are the last of these under another name, which takes less time."""
    from PIL import Image

    last = folder
    for number, label in enumerate(map(int, labels(dataset)), 1):
        path = folder / "val" / SYNSETS[label] / f"ILSVRC2012_val_{number:08d}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number > 8:
            os.link(last, path)
            continue
        last = path
        pixels = np.pad(images(dataset, np.array([label]))[0], ((0, 0), (16, 16), (16, 16)), mode="edge")
        Image.fromarray(pixels.transpose(1, 2, 0)).save(path, "JPEG", quality=95)


WRITERS: dict[Dataset, Callable[[Path, Dataset], None]] = {
    Dataset.CIFAR10: _write_cifar10,
    Dataset.SVHN: _write_svhn,
    Dataset.IMAGENET: _write_imagenet,
    Dataset.CIFAR100: _write_cifar100,
    Dataset.TINY_IMAGENET: _write_tiny_imagenet,
}
"""What writes the test set of a dataset into a folder, as its authors publish it."""
