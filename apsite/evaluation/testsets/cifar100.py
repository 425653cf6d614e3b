"""CIFAR-100 in either official layout, binary or Python, with its 100 fine labels.

Source: Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.
"""

from __future__ import annotations

from pathlib import Path

from apsite.evaluation.testsets.cifar10 import read_batch
from apsite.evaluation.testsets.image_files import Labels, Pixels
from apsite.evaluation.testsets.official import Download, OfficialFiles, first_file
from apsite.vocabulary import Dataset


def find(data_dir: Path) -> Path | None:
    """Test batch of either layout."""
    binary, python = data_dir / "cifar-100-binary", data_dir / "cifar-100-python"
    return first_file(binary / "test.bin", data_dir / "test.bin", python / "test", data_dir / "test")


def read(path: Path) -> tuple[Pixels, Labels]:
    """Images and fine labels of the test batch; the binary layout has the coarse label first."""
    return read_batch(Dataset.CIFAR100, path, "fine_labels", 2)


FILES = OfficialFiles(
    Dataset.CIFAR100,
    terms="no licence stated; https://www.cs.toronto.edu/~kriz/cifar.html",
    expected="'cifar-100-binary/test.bin' or 'cifar-100-python/test'",
    file_hashes=("sha1:8fb6623e830365ff53cf14adec797474f5478006", "md5:f0ef6b0ae62326f3e7ffdfab6717acfc"),
    download=Download(
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", "cifar-100-binary.tar.gz",
        "md5:03b5dce01913d631647c71ecec9e9cb8", 168_513_733, "cifar-100-binary",
    ),
    find=find, read=read,
)  # fmt: skip
