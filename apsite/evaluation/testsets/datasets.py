"""Test sets of the benchmark, read from their official files without executing anything."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsite.documents.texts import line_problem
from apsite.errors import DatasetError
from apsite.evaluation.testsets import cifar10, cifar100, imagenet, svhn, tiny_imagenet
from apsite.evaluation.testsets.downloads import DownloadError, data_dir, fetch, has_hash, unpack
from apsite.evaluation.testsets.image_files import ImageFiles, Images, Labels, Pixels
from apsite.evaluation.testsets.own_sets import read_own_set
from apsite.progress import Reporter
from apsite.protocol import Sample
from apsite.records.ranked_images import drawn_images, ranked_images
from apsite.vocabulary import Dataset

TEST_SETS = {files.dataset: files for files in (
    cifar10.FILES,
    svhn.FILES,
    imagenet.FILES,
    cifar100.FILES,
    tiny_imagenet.FILES,
)}  # fmt: skip
"""Official files of every dataset."""

EMBEDDED = "embedded"
"""Value of ``--data-dir`` that means the test images inside the package."""


@dataclass(frozen=True)
class ImageSet:
    """Labelled images of one test set.

    Attributes:
        dataset: Which test set.
        images: Pixels 0..255, shape ``(n, 3, height, width)``, uint8; decoded when sliced where they are files.
        labels: Class of each image, shape ``(n,)``, int64.
        index: Position of each image in the official order, shape ``(n,)``, int32, ascending.
        source: Where the images came from, for the record.
        known: Whether the whole set, or the file that holds it, has the official hash.
    """

    dataset: Dataset
    images: Images
    labels: Labels
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
        """The first `count` images in official order; for ``None`` those that rank, of ImageNet a list, else all.

        Raises:
            DatasetError: If there are fewer.
        """
        if count is None:
            ranked = ranked_images(self.dataset)
            return self if ranked is None else self.take(np.flatnonzero(np.isin(self.index, ranked)))
        if not 1 <= count <= len(self):
            raise DatasetError(f"{count} images: {self.source} has {len(self)}; choose 1 to {len(self)}")
        return self.take(np.arange(count))

    def chosen(self, count: int | None, sample: Sample) -> tuple[ImageSet, Sample]:
        """The images of a run on `count` of them, and which those are: the first where a part of the set is missing.

        Raises:
            DatasetError: If there are fewer.
        """
        if count is None or count > self.dataset.ranked_samples:
            return self.first(count), sample
        if sample is Sample.FIRST or not self.complete:
            return self.first(count), Sample.FIRST
        return self.take(np.flatnonzero(np.isin(self.index, drawn_images(self.dataset, count)))), sample

    @property
    def complete(self) -> bool:
        """Whether all images that rank are among them."""
        return len(self.first(None)) == self.dataset.ranked_samples

    def take(self, chosen: NDArray[np.integer[Any]]) -> ImageSet:
        """The images at positions `chosen` of this set."""
        images = self.images.take(chosen) if isinstance(self.images, ImageFiles) else self.images[chosen]
        return replace(self, images=images, labels=self.labels[chosen], index=self.index[chosen])


def array_hash(images: Images, labels: Labels) -> str:
    """SHA-256 of the pixels in C order followed by the labels as one byte each (two for over 256 classes)."""
    width = np.uint8 if labels.max(initial=0) < 256 else np.uint16
    digest = hashlib.sha256()
    step = max(1, 2**25 // math.prod(images.shape[1:]))  # decodes at most 32 MiB at a time
    for start in range(0, len(images), step):
        digest.update(np.ascontiguousarray(images[start : start + step]).tobytes())
    digest.update(labels.astype(width).tobytes())
    return digest.hexdigest()


def usual_folder(dataset: Dataset) -> Path:
    """Folder of a test set where no other is named: the one that ``apsite data fetch`` fills.

    Raises:
        DatasetError: If the dataset is not registered, so that only its owner knows where it is.
    """
    if not dataset.registered:
        raise _unnamed(dataset)
    return data_dir()


def _unnamed(dataset: Dataset) -> DatasetError:
    form = "a folder of class folders, or an .npz file of images and labels"
    return DatasetError(f"{dataset.value} is a test set of your own; name it with --data-dir: {form}")


def load_test_set(dataset: Dataset | str, data_dir: Path | str) -> ImageSet:
    """Whole test set of a dataset, from the folder of its official files or, for ``embedded``, from the package.

    One that is not registered, such as ``other:signs``, is a folder of class folders or an ``.npz`` file, see
    :func:`apsite.evaluation.testsets.own_sets.read_own_set`; its dataset then knows the images.

    >>> images = load_test_set("cifar10", "embedded")
    >>> images.images.shape, images.labels.shape
    ((256, 3, 32, 32), (256,))

    Raises:
        DatasetError: If the files are missing or not of the official format; the message says what is required.
    """
    dataset = Dataset(dataset)
    if str(data_dir) == EMBEDDED:
        return embedded_images(dataset)
    if not dataset.registered:
        own = read_own_set(Path(data_dir))
        dataset = dataset.with_images(own.shape, own.class_counts, dataset.epsilon)
        index, name = np.arange(len(own), dtype=np.int32), Path(data_dir).absolute().name
        source = dataset.label if line_problem(name) else name
        return ImageSet(dataset, own.images, own.labels, index, source, known=False)
    files = TEST_SETS[dataset]
    path = files.find(Path(data_dir))
    if path is None:
        ways = [f"put {files.expected} there"]
        if files.download is not None:
            ways.insert(0, f"fetch it with `apsite data fetch {dataset}`")
        if files.embedded is not None:
            ways.append(f"use the {len(embedded_images(dataset))} images of the package with --data-dir {EMBEDDED}")
        *others, last = ways
        choices = f"{', '.join(others)}, or {last}" if others else last
        raise DatasetError(f"{data_dir}: has no {dataset.label} test set; {choices}")
    images, labels = files.read(path)
    _check(dataset, path, images, labels)
    if len(images) != dataset.test_samples:
        raise DatasetError(
            f"{path.name}: holds {len(images)} images; the test set of {dataset.label} has {dataset.test_samples}"
        )
    if files.known_sha256 is not None:
        known = array_hash(images, labels) == files.known_sha256
    else:
        known = any(has_hash(path, known_hash) for known_hash in files.hashes_of_file)
    return ImageSet(dataset, images, labels, np.arange(len(images), dtype=np.int32), path.name, known)


def load_training_set(dataset: Dataset, data_dir: Path | str) -> tuple[Pixels, Labels]:
    """Training images of a dataset, uint8 of shape ``(n, 3, height, width)``, and their classes.

    Raises:
        DatasetError: If the files are missing or damaged, or if training on this dataset is not offered.
    """
    read_training = TEST_SETS[dataset].read_training if dataset.registered else None
    if read_training is None:
        offered = ", ".join(one.label for one, files in TEST_SETS.items() if files.read_training is not None)
        raise DatasetError(f"training is offered on {offered}, not on {dataset.label}")
    if str(data_dir) == EMBEDDED:
        raise DatasetError("only test images are embedded, and a network is not trained on them; give --data-dir")
    images, labels = read_training(Path(data_dir))
    _check(dataset, data_dir, images, labels)
    return images, labels


def embedded_images(dataset: Dataset = Dataset.CIFAR10) -> ImageSet:
    """Test images inside the package: the first 256 of CIFAR-10.

    Raises:
        DatasetError: If `dataset` has no embedded images.
    """
    if not dataset.registered:
        raise _unnamed(dataset)
    embedded = TEST_SETS[dataset].embedded
    if embedded is None:
        raise DatasetError(f"no images of {dataset.label} are embedded; name a folder with --data-dir")
    images, labels = embedded()
    return ImageSet(dataset, images, labels, np.arange(len(images), dtype=np.int32), "embedded images", known=True)


def fetch_test_set(dataset: Dataset, folder: Path, reporter: Reporter) -> Path:
    """Fetch and unpack the official files of a dataset into the folder to give as ``--data-dir``, and return that.

    Valid files are not fetched again.

    Raises:
        DownloadError: If the dataset may not be fetched, or the file is not the official one.
    """
    files = TEST_SETS[dataset]
    if files.download is None:
        raise DownloadError(
            f"{dataset.label} cannot be fetched for you (its terms: {files.terms}); put {files.expected} "
            "below the folder that you give as --data-dir"
        )
    target = folder / files.download.name
    fetch(files.download.url, target, reporter, known_hash=files.download.known_hash, size=files.download.size)
    if files.download.member is not None:
        unpack(target, folder, files.download.member)
    return folder


def _check(dataset: Dataset, source: Path | str, images: Images, labels: Labels) -> None:
    """Refuse images and labels that cannot be those of a dataset."""
    if images.shape[1:] != dataset.shape or len(images) != len(labels):
        found = f"images of shape {images.shape[1:]} and {len(labels)} labels for {len(images)}"
        raise DatasetError(f"{source}: holds {found}; images of {dataset.label} are {dataset.shape}")
    if labels.size and not 0 <= labels.min() <= labels.max() < dataset.classes:
        raise DatasetError(f"{source}: holds labels outside 0..{dataset.classes - 1}; fetch the file again")
