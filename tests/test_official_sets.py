"""What is known of the official test sets, against the images in the package and the vocabulary."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from apsite.evaluation.testsets.datasets import embedded_images
from apsite.official_sets import PUBLISHED, known_sha256, official_labels
from apsite.validation.runs import hash_problem
from apsite.vocabulary import Dataset


@pytest.mark.parametrize("dataset", [Dataset.CIFAR10, Dataset.IMAGENET])
def test_official_labels_have_the_right_number_of_each_class(dataset: Dataset) -> None:
    labels = official_labels(dataset)
    assert labels is not None
    assert tuple(np.bincount(labels)) == dataset.class_counts


@pytest.mark.parametrize("count", [64, 128, 256])
def test_the_hash_of_images_and_labels_is_the_known_one(count: int) -> None:
    """The hash covers the labels, so they are those of these images."""
    assert embedded_images().first(count).sha256 == known_sha256(Dataset.CIFAR10, count)


def test_labels_of_imagenet_are_those_of_its_ground_truth() -> None:
    """The first validation image shows a sea snake, n01751748, which is class 65."""
    labels = official_labels(Dataset.IMAGENET)
    assert labels is not None
    assert labels[:4].tolist() == [65, 970, 230, 809]


def test_every_set_has_a_year() -> None:
    assert PUBLISHED.keys() == set(Dataset)


def test_a_hash_of_something_is_not_a_placeholder() -> None:
    digests = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(5_000)]
    assert [digest for digest in digests if hash_problem(digest)] == []
