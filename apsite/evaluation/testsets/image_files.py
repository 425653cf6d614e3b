"""Images that stay in their files until they are accessed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apsite.errors import DatasetError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

Labels = NDArray[np.int64]
Pixels = NDArray[np.uint8]


FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
"""Formats of image files. Pillow has readers of others that start programs."""


class ImageFiles:
    """Images that are decoded on access; behaves like an array of shape ``(n, 3, height, width)``, uint8.

    Every image is resized so that its shorter side has 256 pixels (bilinear) and cropped to its centre; the longer side
    is rounded down and half a pixel of the crop to even, as torchvision's ``Resize`` and ``CenterCrop`` do.

    Args:
        paths: The files.
        size: Height and width of the images.
        shorter_side: Length of the shorter side before the crop; ``None`` takes images as they are, all of this size.
    """

    def __init__(
        self, paths: Sequence[Path], size: tuple[int, int] = (224, 224), shorter_side: int | None = 256
    ) -> None:
        self._paths = list(paths)
        self._size, self._shorter_side = size, shorter_side

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the decoded array."""
        return (len(self), 3, *self._size)

    def __getitem__(self, chosen: slice | NDArray[np.integer[Any]]) -> Pixels:
        paths = self._paths[chosen] if isinstance(chosen, slice) else [self._paths[int(i)] for i in chosen]
        return np.stack([self._decode(path) for path in paths]) if paths else np.empty((0, *self.shape[1:]), np.uint8)

    def take(self, chosen: NDArray[np.integer[Any]]) -> ImageFiles:
        """The images at positions `chosen`, still not decoded."""
        return ImageFiles([self._paths[int(i)] for i in chosen], self._size, self._shorter_side)

    def _decode(self, path: Path) -> Pixels:
        from PIL import Image

        height, width = self._size
        with opened(path) as image:
            picture = image.convert("RGB")
        if self._shorter_side is not None:
            short = min(picture.size)
            across, down = (self._shorter_side * side // short for side in picture.size)
            picture = picture.resize((across, down), Image.Resampling.BILINEAR)
            left, top = round((across - width) / 2), round((down - height) / 2)
            picture = picture.crop((left, top, left + width, top + height))
        if picture.size != (width, height):
            raise DatasetError(f"{path}: is no longer an image of {width}x{height} pixels; do not change the files")
        return np.ascontiguousarray(np.asarray(picture, np.uint8).transpose(2, 0, 1))


@contextmanager
def opened(path: Path) -> Iterator[ImageFile]:
    """Image whose header is read, and whose pixels are decoded on access.

    Raises:
        DatasetError: If the file is missing, damaged, also where that is found while decoding, or of another format.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: is not a readable image ({error}); allowed are {', '.join(FORMATS)}") from None


Images = Pixels | ImageFiles
"""Images in memory, or decoded on access; both give arrays when sliced."""
