"""Tiny-ImageNet, its validation set as a folder of images and an annotation file.

Source: Le and Yang, *Tiny ImageNet Visual Recognition Challenge*, CS 231N, Stanford, 2015.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apsite.errors import DatasetError
from apsite.evaluation.testsets.image_files import ImageFiles, Labels
from apsite.evaluation.testsets.official import OfficialFiles, first_file
from apsite.vocabulary import Dataset


def find(data_dir: Path) -> Path | None:
    """Annotation file of the validation set."""
    folders = data_dir / "tiny-imagenet-200" / "val", data_dir / "val", data_dir
    return first_file(*(folder / "val_annotations.txt" for folder in folders))


def read(path: Path) -> tuple[ImageFiles, Labels]:
    """Images in the order of their numbers, and labels: classes are numbered in the order of their synsets.

    The first two columns of the annotation file are the name of an image and its synset.
    """
    try:
        rows = [line.split("\t")[:2] for line in path.read_text(encoding="utf-8").splitlines()]
        synsets = dict(rows)
    except ValueError as error:
        raise DatasetError(f"{path}: is not the official annotation file ({error}); unpack the archive again") from None
    names, folder = sorted(synsets, key=lambda name: (len(name), name)), path.parent / "images"
    classes = sorted(set(synsets.values()))
    if len(names) != len(rows) or len(classes) != Dataset.TINY_IMAGENET.classes:
        found = f"{len(rows)} rows of {len(names)} images and {len(classes)} classes"
        raise DatasetError(f"{path}: has {found}; the validation set has {Dataset.TINY_IMAGENET.classes} classes")
    there = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    if missing := [name for name in names if name not in there]:
        raise DatasetError(f"{folder}: lacks {missing[0]} and {len(missing) - 1} others; unpack the archive again")
    size = Dataset.TINY_IMAGENET.shape[1]
    numbers = {synset: number for number, synset in enumerate(classes)}
    labels = np.array([numbers[synsets[name]] for name in names], np.int64)
    return ImageFiles([folder / name for name in names], (size, size), shorter_side=size), labels


FILES = OfficialFiles(
    Dataset.TINY_IMAGENET,
    terms="non-commercial research, as ImageNet; http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    expected="the folder 'tiny-imagenet-200/val' of the unpacked archive, with 'val_annotations.txt' and 'images/…'",
    find=find, read=read,
)  # fmt: skip
