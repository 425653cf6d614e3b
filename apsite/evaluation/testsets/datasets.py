"""Test sets of the benchmark, read from their official files without executing anything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsite.errors import DatasetError
from apsite.evaluation.testsets.downloads import OFFICIAL, has_hash
from apsite.evaluation.testsets.image_files import (
    ImageFiles,
    Images,
    find_cifar10,
    find_imagenet,
    find_svhn,
    read_cifar10,
    read_cifar10_training,
    read_imagenet,
    read_svhn,
)
from apsite.vocabulary import Dataset

EMBEDDED = "embedded"
"""Value of ``--data-dir`` that means the 256 test images inside the package."""

KNOWN_SHA256 = {
    Dataset.CIFAR10: "9a4c74f5c8b6f2c4e13d3a1dfb43a5a8cda8a9da515e99fd620d2013a1a6287a",
}
"""SHA-256 of images (uint8, channels first, in official order) and labels of each whole test set.

A set that is not listed here is known by the checksum that its authors publish for the file, if they do."""

_READERS: dict[Dataset, Callable[[Path], tuple[Images, NDArray[np.int64], str]]] = {
    Dataset.CIFAR10: read_cifar10,
    Dataset.SVHN: read_svhn,
    Dataset.IMAGENET: read_imagenet,
}
_FINDERS: dict[Dataset, Callable[[Path], Path | None]] = {
    Dataset.CIFAR10: find_cifar10,
    Dataset.SVHN: find_svhn,
    Dataset.IMAGENET: find_imagenet,
}


@dataclass(frozen=True)
class ImageSet:
    """Labelled images of one test set.

    Attributes:
        dataset: Which test set.
        images: Pixels 0..255, shape ``(n, 3, height, width)``, uint8; for ImageNet decoded when sliced.
        labels: Class of each image, shape ``(n,)``, int64.
        index: Position of each image in the official order, shape ``(n,)``, int32, ascending.
        source: Where the images came from, for the record.
        known: Whether the whole set, or the file that holds it, has the official hash.
    """

    dataset: Dataset
    images: Images
    labels: NDArray[np.int64]
    index: NDArray[np.int32]
    source: str
    known: bool

    def __len__(self) -> int:
        return len(self.images)

    @property
    def sha256(self) -> str:
        """Hash of exactly these images and labels."""
        return array_hash(self.images, self.labels)

    def first(self, count: int | None) -> ImageSet:
        """The first `count` images in official order; all of them for ``None``.

        Raises:
            DatasetError: If there are fewer.
        """
        if count is None:
            return self
        if not 1 <= count <= len(self):
            raise DatasetError(f"--n-examples {count}: {self.source} has {len(self)} images; choose 1 to {len(self)}")
        return self.take(np.arange(count))

    def take(self, chosen: NDArray[np.integer[Any]]) -> ImageSet:
        """The images at positions `chosen` of this set."""
        images = self.images.take(chosen) if isinstance(self.images, ImageFiles) else self.images[chosen]
        return replace(self, images=images, labels=self.labels[chosen], index=self.index[chosen])


def array_hash(images: Images, labels: NDArray[np.int64]) -> str:
    """SHA-256 of the pixels in C order followed by the labels as one byte each (two for over 256 classes)."""
    width = np.uint8 if labels.max(initial=0) < 256 else np.uint16
    digest = hashlib.sha256()
    for start in range(0, len(images), 1000):
        digest.update(np.ascontiguousarray(images[start : start + 1000]).tobytes())
    digest.update(labels.astype(width).tobytes())
    return digest.hexdigest()


def load_test_set(dataset: Dataset | str, data_dir: Path | str) -> ImageSet:
    """Whole test set of a dataset.

    Args:
        dataset: Which one.
        data_dir: Folder with its official files, or :data:`EMBEDDED` for the 256 images inside the package.

    Raises:
        DatasetError: If the files are missing or not of the official format; the message says what is needed.
    """
    dataset = Dataset(dataset)
    if str(data_dir) == EMBEDDED:
        return embedded_images(dataset)
    images, labels, source = _READERS[dataset](Path(data_dir))
    if len(images) != dataset.test_samples:
        raise DatasetError(
            f"{source}: holds {len(images)} images; the test set of {dataset.label} has {dataset.test_samples}"
        )
    known = _is_official(dataset, images, labels, find_test_set(dataset, Path(data_dir)))
    return ImageSet(dataset, images, labels, np.arange(len(images), dtype=np.int32), source, known)


def load_training_set(dataset: Dataset, data_dir: Path | str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Training images of a dataset, uint8 of shape ``(n, 3, height, width)``, and their classes.

    Raises:
        DatasetError: If the files are missing or damaged, or if training on this dataset is not offered.
    """
    if dataset is not Dataset.CIFAR10:
        raise DatasetError(f"training is offered on {Dataset.CIFAR10.label} alone, not on {dataset.label}")
    if str(data_dir) == EMBEDDED:
        raise DatasetError("only test images are embedded, and a network is not trained on them; give --data-dir")
    return read_cifar10_training(Path(data_dir))


def find_test_set(dataset: Dataset, data_dir: Path) -> Path | None:
    """File (ImageNet: folder) that :func:`load_test_set` would read; ``None`` if there is none."""
    return _FINDERS[dataset](data_dir)


def has_known_hash(dataset: Dataset) -> bool:
    """Whether it can be told that a set of this dataset is the official one."""
    return dataset in KNOWN_SHA256 or dataset in OFFICIAL


def _is_official(dataset: Dataset, images: Images, labels: NDArray[np.int64], file: Path | None) -> bool:
    if dataset in KNOWN_SHA256:
        return array_hash(images, labels) == KNOWN_SHA256[dataset]
    official = OFFICIAL.get(dataset)
    return official is not None and file is not None and has_hash(file, official.known_hash)


def embedded_images(dataset: Dataset = Dataset.CIFAR10) -> ImageSet:
    """The first 256 CIFAR-10 test images, from the package.

    Raises:
        DatasetError: If another dataset is asked for.
    """
    from PIL import Image

    if dataset is not Dataset.CIFAR10:
        raise DatasetError(f"no images of {dataset.label} are embedded; name a folder with --data-dir")
    folder = resources.files("apsite.demo")
    with folder.joinpath("cifar10_test_first256.png").open("rb") as stream, Image.open(stream) as sheet:
        tiles = np.asarray(sheet.convert("RGB")).reshape(16, 32, 16, 32, 3)
    images = np.ascontiguousarray(tiles.transpose(0, 2, 4, 1, 3).reshape(256, 3, 32, 32))
    labels = np.array(json.loads(folder.joinpath("cifar10_test_first256.json").read_text(encoding="utf-8")), np.int64)
    return ImageSet(dataset, images, labels, np.arange(256, dtype=np.int32), "embedded images", known=True)
