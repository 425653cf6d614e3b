"""Which images of a test set rank: all of them, or of ImageNet the 5,000 validation images of RobustBench.

``imagenet_5000.txt`` holds the numbers of these images, ascending, as in ``ILSVRC2012_val_00000011.JPEG``. They are
those of ``robustbench/helper_files/imagenet_test_image_ids.txt`` at commit 78fcc9e of RobustBench, whose SHA-256 is
d4121626d07722a0126c35b1563042e46a546f1a05ce705f2cdc635896d58574.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from apsite.vocabulary import Dataset

FILE = "imagenet_5000.txt"
DRAW_SEED = 0
"""Seed of the order from which reduced runs take their images. Never that of a run: all models have the same images."""


@cache
def ranked_images(dataset: Dataset) -> NDArray[np.int32] | None:
    """Positions in official order, from 0, of the images that rank; ``None`` where the whole test set does.

    >>> ranked_images(Dataset.IMAGENET)[:3]
    array([10, 30, 40], dtype=int32)
    """
    if dataset is not Dataset.IMAGENET:
        return None
    numbers = files("apsite.records").joinpath(FILE).read_text(encoding="ascii").split()
    return np.array(numbers, np.int32) - 1


def drawn_images(dataset: Dataset, count: int) -> NDArray[np.int32]:
    """Positions in official order, ascending, of a random sample of the images that rank, the same for every model.

    It has the first `count` images of one fixed random order, so that smaller samples are parts of larger ones.

    >>> thousand, ten = drawn_images(Dataset.CIFAR10, 1000), drawn_images(Dataset.CIFAR10, 10)
    >>> ten, set(ten.tolist()) <= set(thousand.tolist())
    (array([ 318, 1176, 2079, 2165, 3057, 3387, 3755, 3978, 4254, 7519], dtype=int32), True)
    """
    ranked = ranked_images(dataset)
    ranked = np.arange(dataset.ranked_samples, dtype=np.int32) if ranked is None else ranked
    return np.sort(ranked[np.random.default_rng(DRAW_SEED).permutation(len(ranked))[:count]])


def split_of(dataset: Dataset, index: NDArray[np.integer]) -> str:
    """How a record names the images at ascending positions of a test set.

    >>> split_of(Dataset.CIFAR10, np.arange(64)), split_of(Dataset.CIFAR10, np.arange(1, 65))
    ('first 64 test samples', '64 test samples')
    >>> split_of(Dataset.CIFAR10, drawn_images(Dataset.CIFAR10, 1000))
    'random 1000 test samples'
    """
    count, ranked = len(index), ranked_images(dataset)
    if count == dataset.test_samples:
        return "whole test set"
    if ranked is not None and np.array_equal(index, ranked):
        return f"the {count} test samples that rank"
    if index[-1] == count - 1:
        return f"first {count} test samples"
    random = "random " if np.array_equal(index, drawn_images(dataset, count)) else ""
    return f"{random}{count} test samples"
