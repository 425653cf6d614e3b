"""Images that stay in their files until they are accessed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsite.errors import DatasetError

Labels = NDArray[np.int64]
Pixels = NDArray[np.uint8]


class ImageFiles:
    """Images that are decoded on access; behaves like an array of shape ``(n, 3, size, size)``, uint8.

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
        """Shape of the decoded array."""
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
"""Images in memory, or decoded on access; both give arrays when sliced."""
