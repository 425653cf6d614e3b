"""Test sets of the users' own: a folder of class folders, or an ``.npz`` file of images and labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsite.documents.array_files import UNREADABLE, arrays_of
from apsite.documents.texts import line_problem
from apsite.errors import DatasetError
from apsite.evaluation.testsets.class_folders import MAPPING, class_folders, mapping, plain
from apsite.evaluation.testsets.image_files import ImageFiles, Images, Labels, Pixels, opened

MAX_CLASSES = int(np.iinfo(np.int16).max)
"""The most classes of a test set: per-sample results hold labels as int16."""
MAX_BYTES = 2_000_000_000
"""Largest ``.npz`` file, and the most that its arrays may take in memory."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
"""Endings of image files in class folders, in either case."""
_SAVE = "np.savez(path, images=images, labels=labels)"


@dataclass(frozen=True)
class OwnSet:
    """Labelled images of a test set that apsite does not know.

    Attributes:
        images: Pixels 0..255, shape ``(n, 3, height, width)``, uint8; decoded when sliced where they are files.
        labels: Class of each image, shape ``(n,)``, int64, from 0.
        class_names: Names of the classes, in the order of the labels. A class may have no image.
    """

    images: Images
    labels: Labels
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image, ``(3, height, width)``."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Number of images of each class, in the order of the labels."""
        return tuple(np.bincount(self.labels, minlength=len(self.class_names)).tolist())


def read_own_set(path: Path) -> OwnSet:
    """Test set from a folder of class folders or an ``.npz`` file. Nothing in it is executed.

    Class folders are labelled in the order of their sorted names, or by a file :data:`MAPPING` with a line of name and
    label per folder; a class that has a line but no folder has no image. All images have one size and at most 8 bits
    per channel, and become RGB as in torchvision's ``ImageFolder``. They come in turns over the classes, in the order
    of their names, so that the first so many are spread over the classes. Hidden files and folders are ignored.

    The arrays of an ``.npz`` are ``images``, uint8 of shape ``(n, height, width, 3)`` or ``(n, 3, height, width)``,
    and ``labels``, integers from 0 of shape ``(n,)``; the one channel of grey images is repeated. There are as many
    classes as the array ``class_names`` names, or one more than the largest label. Images keep the order of the file.

    Raises:
        DatasetError: If there is nothing at `path`, or it is damaged, too large, or holds anything else.
    """
    try:
        if path.is_dir():
            return _read_folder(path)
        if path.is_file():
            return _read_npz(path)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from None
    raise DatasetError(f"{path}: is missing; name a folder of class folders, or an .npz file saved with {_SAVE}")


def _read_folder(folder: Path) -> OwnSet:
    if not (names := class_folders(folder)):
        raise DatasetError(f"{folder}: holds no class folders; name the folder that holds a folder of images per class")
    for path in folder.iterdir():
        if not path.exists():
            raise DatasetError(f"{path}: is a link to nothing; correct or remove it")
        if path.suffix.lower() in SUFFIXES and not path.is_dir() and not path.name.startswith("."):
            raise DatasetError(f"{path}: is an image outside of the class folders; move it into that of its class")
    classes, there = _classes(folder, names), set(names)
    found = sorted(
        (position, label, path)
        for label, name in enumerate(classes)
        if name in there
        for position, path in enumerate(_image_paths(folder / name))
    )
    paths = [path for _, _, path in found]
    height, width = _size(paths[0])
    for path in paths:
        if (other := _size(path)) != (height, width):
            first = f"{paths[0].relative_to(folder)} has {width}x{height}"
            raise DatasetError(
                f"{path}: has {other[1]}x{other[0]} pixels, but {first}; resize all images to the input of the network"
            )
    images = ImageFiles(paths, (height, width), shorter_side=None)
    return _own_set(folder, images, np.array([label for _, label, _ in found], np.int64), classes)


def _classes(folder: Path, names: list[str]) -> tuple[str, ...]:
    """Names of all classes in the order of the labels, by the mapping if there is one."""
    if not (folder / MAPPING).exists():
        return tuple(names)
    labels = mapping(folder)
    numbers, of_label = [str(number) for number in range(len(labels))], {label: name for name, label in labels.items()}
    advice = f"write one line 'name label' per class folder, with the labels 0..{max(len(numbers), len(names)) - 1}"
    if lacking := [number for number in numbers if number not in of_label]:
        raise DatasetError(f"{folder / MAPPING}: gives no class the label {lacking[0]}; {advice}")
    folders = {plain(name): name for name in names}
    classes = tuple(folders.get(of_label[number], of_label[number]) for number in numbers)
    if left := sorted(set(names) - set(classes)):
        raise DatasetError(f"{folder / MAPPING}: has no line of its own for the folder {left[0]!r}; {advice}")
    return classes


def _image_paths(folder: Path) -> list[Path]:
    """Images of one class in the order of their names."""
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in paths:
        if path.is_dir():
            advice = "name the folder that directly holds the class folders, and keep only images in these"
            raise DatasetError(f"{path}: is a folder inside of a class folder; {advice}")
        if not path.is_file() or path.suffix.lower() not in SUFFIXES:
            raise DatasetError(f"{path}: is not an image; allowed are {', '.join(SUFFIXES)}; convert or remove it")
    if not paths:
        advice = f"add its images, or remove the folder and keep the class in {MAPPING}, so that it has no image"
        raise DatasetError(f"{folder}: is a class folder without images; {advice}")
    return paths


def _size(path: Path) -> tuple[int, int]:
    """Height and width of an image of at most 8 bits per channel, from its header."""
    with path.open("rb") as file:
        header = file.read(25)
    with opened(path) as image:
        if image.format == "PNG" and header[24] > 8:  # Pillow reads colours of 16 bits as if they had 8
            raise DatasetError(f"{path}: has {header[24]} bits per channel; save images of 8 bits per channel")
        return image.height, image.width


def _read_npz(path: Path) -> OwnSet:
    arrays = _arrays(path)
    labels = _labels(path, arrays["labels"])
    images = _channels_first(path, arrays.pop("images"))
    if len(images) != len(labels):
        raise DatasetError(f"{path}: labels: there are {len(labels)} for {len(images)} images; save one per image")
    largest = int(labels.max())
    names = arrays.get("class_names")
    if names is None:
        return _own_set(path, images, labels, tuple(map(str, range(largest + 1))))
    if names.dtype.kind != "U" or names.ndim != 1:
        found = f"is {names.dtype} of shape {names.shape}"
        raise DatasetError(f"{path}: class_names: {found}; save a list of texts, np.array(names, dtype=str)")
    if len(names) <= largest:
        found = f"names {len(names)} classes, but the largest label is {largest}"
        raise DatasetError(f"{path}: class_names: {found}; name all classes, in the order of the labels from 0")
    return _own_set(path, images, labels, tuple(names.tolist()))


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of the file, ``images`` and ``labels`` among them and no unknown one."""
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            limit = f"is {size:,} bytes; at most {MAX_BYTES:,} are allowed"
            raise DatasetError(f"{path}: {limit}; save the images as files in class folders, which are read one by one")
        arrays = arrays_of(path.read_bytes(), most=3, most_bytes=MAX_BYTES)
    except UNREADABLE as error:
        raise DatasetError(f"{path}: is not a readable .npz file ({error}); save it with {_SAVE}") from None
    allowed = ("images", "labels", "class_names")
    if unknown := [name for name in arrays if name not in allowed]:
        found = f"holds an array {unknown[0]!r}; allowed are {', '.join(allowed)}"
        raise DatasetError(f"{path}: {found}; save it with {_SAVE}")
    if missing := [name for name in allowed[:2] if name not in arrays]:
        raise DatasetError(f"{path}: holds no array {missing[0]!r}; save it with {_SAVE}")
    return arrays


def _channels_first(path: Path, images: NDArray[Any]) -> Pixels:
    """Images of shape ``(n, 3, height, width)`` in C order, a single channel repeated."""
    if images.dtype != np.uint8:
        floats = images.dtype.kind == "f"
        advice = "(images * 255).round().astype(np.uint8) if they are in 0..1" if floats else "images.astype(np.uint8)"
        raise DatasetError(f"{path}: images: is {images.dtype}; save uint8 with values 0..255, {advice}")
    axes = [axis for axis in (1, 3) if images.ndim == 4 and images.shape[axis] in (1, 3)]
    if len(axes) != 1:
        found = "both could be the channels" if axes else "no axis is the channels"
        raise DatasetError(
            f"{path}: images: has shape {images.shape}, where {found}; allowed are (n, height, width, 3) and "
            "(n, 3, height, width), or 1 in place of 3 for grey images, as images[..., None] has"
        )
    if not images.size:
        raise DatasetError(f"{path}: images: has shape {images.shape}, so it holds no pixels; save at least one image")
    first = np.moveaxis(images, axes[0], 1)
    return np.ascontiguousarray(first if first.shape[1] == 3 else np.repeat(first, 3, 1))


def _labels(path: Path, labels: NDArray[Any]) -> Labels:
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        missing = np.flatnonzero(np.isnan(labels)).tolist() if labels.dtype.kind == "f" else []
        found = f"is {labels.dtype} of shape {labels.shape}" + (f", with NaN at {missing[0]}" if missing else "")
        advice = "leave out images without a label" if missing else "save labels.astype(np.int64)"
        if labels.ndim != 1:
            advice = "save one label per image, such as labels.argmax(1) of one-hot rows"
        raise DatasetError(f"{path}: labels: {found}; allowed are integers of shape (n,); {advice}")
    wrong = np.flatnonzero((labels < 0) | (labels >= MAX_CLASSES))
    if len(wrong):
        found = f"is {labels[wrong[0]]} at {wrong[0]}; allowed are 0..{MAX_CLASSES - 1:,}"
        raise DatasetError(f"{path}: labels: {found}; number the classes from 0")
    return labels.astype(np.int64)


def _own_set(path: Path, images: Images, labels: Labels, names: tuple[str, ...]) -> OwnSet:
    """The set, if its classes can be those of one."""
    if not 2 <= len(names) <= MAX_CLASSES:
        raise DatasetError(f"{path}: the number of classes is {len(names):,}; allowed are 2..{MAX_CLASSES:,}")
    seen: dict[str, int] = {}
    for number, name in enumerate(names):
        problem = line_problem(name) if name else "is empty; name the class"
        if (first := seen.setdefault(name, number)) != number:
            problem = f"is also the name of class {first}; give each class its own"
        if problem:
            raise DatasetError(f"{path}: name {name!a} of class {number} {problem}")
    return OwnSet(images, labels, names)
