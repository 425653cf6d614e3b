"""CIFAR-10 in either official layout, binary or Python.

Source: Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np

from apsite.documents.unpickling import PickleError, array_of, read_pickle
from apsite.errors import DatasetError
from apsite.evaluation.testsets.image_files import Labels, Pixels
from apsite.evaluation.testsets.official import Download, OfficialFiles, first_file
from apsite.official_sets import known_sha256, official_labels
from apsite.vocabulary import Dataset


def find(data_dir: Path) -> Path | None:
    """Test batch of either layout."""
    binary, python = data_dir / "cifar-10-batches-bin", data_dir / "cifar-10-batches-py"
    return first_file(
        binary / "test_batch.bin", data_dir / "test_batch.bin", python / "test_batch", data_dir / "test_batch"
    )


def read(path: Path) -> tuple[Pixels, Labels]:
    """Images and labels of one batch of either layout."""
    return read_batch(Dataset.CIFAR10, path, "labels", 1)


def read_batch(dataset: Dataset, path: Path, key: str, label_bytes: int) -> tuple[Pixels, Labels]:
    """Images and labels of one batch of CIFAR-10 or CIFAR-100, in either layout.

    Labels are those under `key` in the Python layout, and the last of `label_bytes` before each image in the binary.
    """
    rows, labels = _read_binary(path, label_bytes) if path.suffix == ".bin" else _read_python(dataset, path, key)
    return rows.reshape(-1, 3, 32, 32), labels


def read_training(data_dir: Path) -> tuple[Pixels, Labels]:
    """Images and labels of the five training batches in order."""
    for folder in (data_dir, data_dir / "cifar-10-batches-bin", data_dir / "cifar-10-batches-py"):
        for suffix in (".bin", ""):
            paths = [folder / f"data_batch_{number}{suffix}" for number in range(1, 6)]
            if all(path.is_file() for path in paths):
                images, labels = zip(*map(read, paths), strict=True)
                return np.concatenate(images), np.concatenate(labels)
    raise DatasetError(
        f"{data_dir}: has no CIFAR-10 training set; fetch it with `apsite data fetch cifar10`, or put the five "
        "files 'cifar-10-batches-bin/data_batch_<1 to 5>.bin' or 'cifar-10-batches-py/data_batch_<1 to 5>' there"
    )


def embedded() -> tuple[Pixels, Labels]:
    """The first 256 test images and their labels, from the package."""
    from PIL import Image

    folder = resources.files("apsite.demo")
    with folder.joinpath("cifar10_test_first256.png").open("rb") as stream, Image.open(stream) as sheet:
        tiles = np.asarray(sheet.convert("RGB")).reshape(16, 32, 16, 32, 3)
    images = np.ascontiguousarray(tiles.transpose(0, 2, 4, 1, 3).reshape(256, 3, 32, 32))
    labels = official_labels(Dataset.CIFAR10)
    assert labels is not None
    return images, labels[: len(images)].astype(np.int64)


def _read_binary(path: Path, label_bytes: int) -> tuple[Pixels, Labels]:
    content, width = np.fromfile(path, np.uint8), 3072 + label_bytes
    if content.size == 0 or content.size % width:
        raise DatasetError(f"{path}: has {content.size:,} bytes, which is not a multiple of {width}; fetch it again")
    rows = content.reshape(-1, width)
    return rows[:, label_bytes:], rows[:, label_bytes - 1].astype(np.int64)


def _read_python(dataset: Dataset, path: Path, key: str) -> tuple[Pixels, Labels]:
    try:
        with path.open("rb") as stream:
            stored = read_pickle(stream)
        # Python 2 wrote the official file; a copy that Python 3 wrote has bytes for keys.
        batch = {name.decode() if isinstance(name, bytes) else name: value for name, value in stored.items()}
        rows, labels = array_of(batch["data"]), np.asarray(batch[key], np.int64)
        if rows is None or rows.dtype != np.uint8 or rows.shape != (len(labels), 3072):
            raise ValueError("'data' holds no rows of 3072 bytes")
    except (PickleError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DatasetError(
            f"{path}: is not the official {dataset.label} test batch ({error}); fetch it again"
        ) from None
    return rows, labels


FILES = OfficialFiles(
    Dataset.CIFAR10,
    terms="no licence stated; https://www.cs.toronto.edu/~kriz/cifar.html",
    expected="'cifar-10-batches-bin/test_batch.bin' or 'cifar-10-batches-py/test_batch'",
    known_sha256=known_sha256(Dataset.CIFAR10, Dataset.CIFAR10.test_samples),
    download=Download(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "cifar-10-binary.tar.gz",
        "md5:c32a1d4ab5d03f1284b67883e8d87530", 170_052_171, "cifar-10-batches-bin",
    ),
    find=find, read=read, read_training=read_training, embedded=embedded,
)  # fmt: skip
