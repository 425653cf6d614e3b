"""ImageNet, the validation set as a folder of 1,000 class folders.

Source: Russakovsky et al., *ImageNet Large Scale Visual Recognition Challenge*, IJCV 2015.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apsite.errors import DatasetError
from apsite.evaluation.testsets.class_folders import MAPPING, class_folders, mapping, plain
from apsite.evaluation.testsets.image_files import ImageFiles, Labels
from apsite.evaluation.testsets.official import OfficialFiles
from apsite.vocabulary import Dataset

SYNSETS = tuple(Path(__file__).with_name("imagenet_synsets.txt").read_text(encoding="utf-8").split())
"""WordNet identifiers of the classes, in the order of the labels."""


def find(data_dir: Path) -> Path | None:
    """Folder ``val``, or the data folder itself if it holds 1,000 class folders."""
    candidates = (data_dir / "val", data_dir / "imagenet" / "val")
    named = next((path for path in candidates if path.is_dir()), None)
    return named or (data_dir if len(class_folders(data_dir)) == Dataset.IMAGENET.classes else None)


def read(folder: Path) -> tuple[ImageFiles, Labels]:
    """Images and labels, classes numbered in the order of their synsets, after which the folders are named.

    Images come in the order of their file names (``ILSVRC2012_val_00000001`` first), so that the first so many are
    spread over the classes. Folders may have other names where a file :data:`MAPPING` gives their synsets.
    """
    classes = class_folders(folder)
    if len(classes) != Dataset.IMAGENET.classes:
        raise DatasetError(f"{folder}: holds {len(classes)} class folders; the ImageNet validation set has 1,000")
    found = sorted(
        (path.name, number, path)
        for name, number in _labels(folder, classes).items()
        for path in (folder / name).iterdir()
        if path.suffix.lower() in {".jpeg", ".jpg", ".png"}
    )
    if len(found) == Dataset.IMAGENET.test_samples:  # then the numbers in the names are the positions
        for number, (_, _, path) in enumerate(found, 1):
            if path.stem != (official := f"ILSVRC2012_val_{number:08d}"):
                raise DatasetError(f"{path}: is in the place of {official}; keep the official names of the images")
    return ImageFiles([path for _, _, path in found]), np.array([number for _, number, _ in found], np.int64)


def _labels(folder: Path, classes: list[str]) -> dict[str, int]:
    """Label of each class folder, by its name or the mapping."""
    given = mapping(folder)
    labels: dict[str, int] = {}
    for name in classes:
        synset = given.get(plain(name), name)
        if synset not in SYNSETS:
            raise DatasetError(
                f"{folder}: class folder {name!r} is not named after a synset of ImageNet, such as 'n01440764', so its "
                f"label is unknown; rename the folders, or add a file {MAPPING} with a line '{name} n01440764' for each"
            )
        labels[name] = SYNSETS.index(synset)
    if len(set(labels.values())) < len(labels):
        raise DatasetError(f"{folder / MAPPING}: gives two folders the same synset")
    return labels


FILES = OfficialFiles(
    Dataset.IMAGENET, terms="non-commercial research, after registration; https://image-net.org",
    expected="the validation images of https://image-net.org in 1,000 class folders ('val/n01440764/…')", find=find,
    read=read,
)  # fmt: skip
