"""Readers of the official files of each test set. Nothing in these files is executed."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsite.errors import DatasetError

Labels = NDArray[np.int64]
Pixels = NDArray[np.uint8]


def find_cifar10(data_dir: Path) -> Path | None:
    """Test batch of either official layout; ``None`` if there is none."""
    candidates = [
        data_dir / "cifar-10-batches-bin" / "test_batch.bin",
        data_dir / "test_batch.bin",
        data_dir / "cifar-10-batches-py" / "test_batch",
        data_dir / "test_batch",
    ]
    return next((path for path in candidates if path.is_file()), None)


def find_cifar10_training(data_dir: Path) -> list[Path]:
    """The five training batches of either official layout; empty if they are not all there."""
    for folder in (data_dir, data_dir / "cifar-10-batches-bin", data_dir / "cifar-10-batches-py"):
        for suffix in (".bin", ""):
            paths = [folder / f"data_batch_{number}{suffix}" for number in range(1, 6)]
            if all(path.is_file() for path in paths):
                return paths
    return []


def find_svhn(data_dir: Path) -> Path | None:
    """Test file of cropped digits; ``None`` if there is none."""
    candidates = [data_dir / "test_32x32.mat", data_dir / "svhn" / "test_32x32.mat"]
    return next((path for path in candidates if path.is_file()), None)


def find_imagenet(data_dir: Path) -> Path | None:
    """Folder that holds the 1,000 class folders of the validation set; ``None`` if there is none."""
    candidates = [data_dir / "val", data_dir / "imagenet" / "val", data_dir]
    return next((path for path in candidates if len(_class_folders(path)) == 1000), None)


def _class_folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def read_cifar10(data_dir: Path) -> tuple[Pixels, Labels, str]:
    """CIFAR-10 test set of either official layout: images, labels, name of the file.

    Source: Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.

    Raises:
        DatasetError: If there is none, or it is damaged.
    """
    path = find_cifar10(data_dir)
    if path is None:
        raise DatasetError(
            f"{data_dir}: has no CIFAR-10 test set; fetch it with `apsite data fetch cifar10`, put "
            "'cifar-10-batches-bin/test_batch.bin' or 'cifar-10-batches-py/test_batch' there, "
            "or use the 256 images of the package with --data-dir embedded"
        )
    rows, labels = _cifar_batch(path)
    return rows.reshape(-1, 3, 32, 32), labels, path.name


def read_cifar10_training(data_dir: Path) -> tuple[Pixels, Labels]:
    """CIFAR-10 training set of either official layout: images and labels of the five batches in order.

    Raises:
        DatasetError: If there is none, or it is damaged.
    """
    paths = find_cifar10_training(data_dir)
    if not paths:
        raise DatasetError(
            f"{data_dir}: has no CIFAR-10 training set; fetch it with `apsite data fetch cifar10`, or put the five "
            "files 'cifar-10-batches-bin/data_batch_<1 to 5>.bin' or 'cifar-10-batches-py/data_batch_<1 to 5>' there"
        )
    rows, labels = zip(*map(_cifar_batch, paths), strict=True)
    return np.concatenate(rows).reshape(-1, 3, 32, 32), np.concatenate(labels)


def _cifar_batch(path: Path) -> tuple[Pixels, Labels]:
    """Rows of 3,072 pixels and labels of one file of either official layout."""
    rows, labels = _cifar_binary(path) if path.suffix == ".bin" else _cifar_python(path)
    if labels.size and not 0 <= labels.min() <= labels.max() <= 9:
        raise DatasetError(f"{path}: holds labels outside 0..9; fetch the file again")
    return rows, labels


def _cifar_binary(path: Path) -> tuple[Pixels, Labels]:
    content = np.fromfile(path, np.uint8)
    if content.size == 0 or content.size % 3073:
        raise DatasetError(f"{path}: has {content.size:,} bytes, which is not a multiple of 3073; fetch it again")
    rows = content.reshape(-1, 3073)
    return rows[:, 1:], rows[:, 0].astype(np.int64)


def _cifar_python(path: Path) -> tuple[Pixels, Labels]:
    try:
        with path.open("rb") as stream:
            batch = _PlainUnpickler(stream, encoding="bytes").load()
        rows, labels = batch[b"data"], np.asarray(batch[b"labels"], np.int64)
        if rows.dtype != np.uint8 or rows.shape != (len(labels), 3072):
            raise ValueError(f"'data' is {rows.dtype} of shape {rows.shape}")
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DatasetError(f"{path}: is not the official CIFAR-10 test batch ({error}); fetch it again") from None
    return rows, labels


class _PlainUnpickler(pickle.Unpickler):
    """Unpickler that builds containers, bytes and numpy arrays and refuses every other class and function."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}:
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which a dataset has no use for")


def read_svhn(data_dir: Path) -> tuple[Pixels, Labels, str]:
    """SVHN test set of cropped digits, ``test_32x32.mat``: images, labels (0 for the digit 0), name of the file.

    Source: Netzer et al., *Reading Digits in Natural Images with Unsupervised Feature Learning*, 2011. Their files
    write the digit 0 as class 10.

    Raises:
        DatasetError: If there is none, or it is damaged.
    """
    import zlib

    from scipy.io.matlab import MatReadError, loadmat

    path = find_svhn(data_dir)
    if path is None:
        raise DatasetError(
            f"{data_dir}: has no SVHN test set; fetch it with `apsite data fetch svhn`, or put 'test_32x32.mat' there"
        )
    try:
        with path.open("rb") as stream:
            stream.seek(128)
            # A compressed file carries checksums; on a damaged one without them loadmat can crash the interpreter.
            if stream.read(4) not in {b"\x0f\0\0\0", b"\0\0\0\x0f"}:
                raise ValueError("it is not a compressed MATLAB 5 file")
        content = loadmat(path, variable_names=["X", "y"])  # type: ignore[no-untyped-call]
        pixels, labels = content["X"], content["y"].astype(np.int64).reshape(-1)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape != (32, 32, 3, len(labels)):
            raise ValueError(f"'X' is {pixels.dtype} of shape {pixels.shape}")
    except (
        MatReadError,
        zlib.error,
        ValueError,
        KeyError,
        TypeError,
        OSError,
        NotImplementedError,
        IndexError,
    ) as error:
        raise DatasetError(f"{path}: is not the official SVHN test file ({error}); fetch it again") from None
    if labels.size == 0 or not 1 <= labels.min() <= labels.max() <= 10:
        raise DatasetError(f"{path}: holds labels outside 1..10; fetch the file again")
    return np.ascontiguousarray(pixels.transpose(3, 2, 0, 1)), labels % 10, path.name


class ImageFiles:
    """Images that are decoded when they are asked for; behaves like an array of shape ``(n, 3, size, size)``, uint8.

    Every image is resized so that its shorter side has 256 pixels (bilinear) and cropped to its centre; the longer side
    is rounded down and half a pixel of the crop to even, as torchvision's ``Resize`` and ``CenterCrop`` do.
    """

    def __init__(self, paths: Sequence[Path], size: int = 224, shorter_side: int = 256) -> None:
        self._paths = list(paths)
        self._size, self._shorter_side = size, shorter_side

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the array that this stands for."""
        return (len(self), 3, self._size, self._size)

    def __getitem__(self, chosen: slice | NDArray[np.integer[Any]]) -> Pixels:
        paths = self._paths[chosen] if isinstance(chosen, slice) else [self._paths[int(i)] for i in chosen]
        return np.stack([self._decode(path) for path in paths]) if paths else np.empty((0, *self.shape[1:]), np.uint8)

    def take(self, chosen: NDArray[np.integer[Any]]) -> ImageFiles:
        """The images at positions `chosen`, still not decoded."""
        return ImageFiles([self._paths[int(i)] for i in chosen], self._size, self._shorter_side)

    def _decode(self, path: Path) -> Pixels:
        from PIL import Image

        try:
            with Image.open(path) as image:
                picture = image.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DatasetError(f"{path}: is not a readable image ({error})") from None
        short = min(picture.size)
        width, height = (self._shorter_side * side // short for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        left, top = round((width - self._size) / 2), round((height - self._size) / 2)
        cropped = picture.crop((left, top, left + self._size, top + self._size))
        return np.ascontiguousarray(np.asarray(cropped, np.uint8).transpose(2, 0, 1))


Images = Pixels | ImageFiles
"""Images in memory, or decoded when asked for; both give arrays when sliced."""


def read_imagenet(data_dir: Path) -> tuple[ImageFiles, Labels, str]:
    """ImageNet validation set: a folder of 1,000 class folders, classes numbered in the order of their names.

    Images come in the order of their file names (``ILSVRC2012_val_00000001`` first), so that the first so many are
    spread over the classes.

    Source: Russakovsky et al., *ImageNet Large Scale Visual Recognition Challenge*, IJCV 2015.

    Raises:
        DatasetError: If there are not exactly 1,000 class folders.
    """
    folder = find_imagenet(data_dir)
    if folder is None:
        near = next((path for path in (data_dir / "val", data_dir / "imagenet" / "val") if path.is_dir()), data_dir)
        raise DatasetError(
            f"{near}: holds {len(_class_folders(near))} class folders; the ImageNet validation set has 1,000 "
            "(val/n01440764/…). Its licence forbids fetching it for you: get it from https://image-net.org and sort it "
            "into class folders"
        )
    classes = _class_folders(folder)
    found = sorted(
        (path.name, number, path)
        for number, name in enumerate(classes)
        for path in (folder / name).iterdir()
        if path.suffix.lower() in {".jpeg", ".jpg", ".png"}
    )
    labels = np.array([number for _, number, _ in found], np.int64)
    return ImageFiles([path for _, _, path in found]), labels, folder.name
