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


def split_of(dataset: Dataset, index: NDArray[np.integer]) -> str:
    """How a record names the images at ascending positions of a test set.

    >>> split_of(Dataset.CIFAR10, np.arange(64)), split_of(Dataset.CIFAR10, np.arange(1, 65))
    ('first 64 test samples', '64 test samples')
    """
    count, ranked = len(index), ranked_images(dataset)
    if count == dataset.test_samples:
        return "whole test set"
    if ranked is not None and np.array_equal(index, ranked):
        return f"the {count} test samples that rank"
    return f"{'first ' * bool(index[-1] == count - 1)}{count} test samples"
