"""What is known of the official test sets without their files: the labels in their order, and hashes of the images."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from apsite.vocabulary import Dataset

KNOWN_SHA256: Mapping[Dataset, Mapping[int, str]] = {
    Dataset.CIFAR10: {
        64: "25a787eb8d83b94aa0e7f380dd0c104e33468c8bbf44c39cde9a1feede1e30d5",
        128: "e1f462fe2c811144aef9465b95ff2c4a830629a2a5319f57d7fd363c56d9abbb",
        256: "02c93770de95aa047eefbdb49b752df189e5dac6bca98adb287cd3297d1e6423",
        512: "2796f3fd74a10a933d79a8443b9ced51b907b422668b45391fc114a21c4d2e6a",
        1_000: "2c7f1e2769a741f695dfd5f74aa4a4ef08a7d20b9ec8576214dabab76c75c784",
        10_000: "9a4c74f5c8b6f2c4e13d3a1dfb43a5a8cda8a9da515e99fd620d2013a1a6287a",
    }
}
"""SHA-256 of the first images and their labels by how many they are, as records state it; see ``data.sha256``."""

PUBLISHED: Mapping[Dataset, int] = {
    Dataset.CIFAR10: 2009, Dataset.CIFAR100: 2009, Dataset.SVHN: 2011, Dataset.IMAGENET: 2012,
    Dataset.TINY_IMAGENET: 2015,
}  # fmt: skip
"""Year in which each test set was published."""


def known_sha256(dataset: Dataset, count: int) -> str | None:
    """SHA-256 of the first images of a test set and their labels; ``None`` where it is not known."""
    return KNOWN_SHA256.get(dataset, {}).get(count)


@functools.cache
def official_labels(dataset: Dataset) -> NDArray[np.integer] | None:
    """Class of every image of a test set in the official order, as `apsite eval` reads it; ``None`` where unknown.

    ``official_labels.npz`` has those of CIFAR-10 from ``test_batch`` and those of ImageNet from the ground truth of
    the validation set of 2012, its classes in the order of their WordNet identifiers. SVHN is not among them.

    >>> official_labels(Dataset.CIFAR10)[:8].tolist(), official_labels(Dataset.SVHN)
    ([3, 8, 8, 0, 6, 6, 1, 6], None)
    """
    with resources.files("apsite").joinpath("official_labels.npz").open("rb") as stream, np.load(stream) as file:
        return file[dataset.value].astype(np.int16) if dataset.value in file else None
