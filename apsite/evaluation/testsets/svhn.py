"""SVHN, the test set of cropped digits in ``test_32x32.mat``.

Source: Netzer et al., *Reading Digits in Natural Images with Unsupervised Feature Learning*, 2011.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apsite.errors import DatasetError
from apsite.evaluation.testsets.image_files import Labels, Pixels
from apsite.evaluation.testsets.official import Download, OfficialFiles, first_file
from apsite.vocabulary import Dataset

_COMPRESSED = {b"\x0f\0\0\0", b"\0\0\0\x0f"}


def find(data_dir: Path) -> Path | None:
    """Test file of cropped digits."""
    return first_file(data_dir / "test_32x32.mat", data_dir / "svhn" / "test_32x32.mat")


def read(path: Path) -> tuple[Pixels, Labels]:
    """Images and labels of the file, which writes the digit 0 as class 10."""
    import zlib

    from scipy.io.matlab import MatReadError, loadmat

    try:
        with path.open("rb") as stream:
            stream.seek(128)
            # A compressed file carries checksums; on a damaged one without them loadmat can crash the interpreter.
            if stream.read(4) not in _COMPRESSED:
                raise ValueError("it is not a compressed MATLAB 5 file")
        content = loadmat(path, variable_names=["X", "y"])  # type: ignore[no-untyped-call]
        pixels, labels = content["X"], content["y"].astype(np.int64).reshape(-1)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape != (32, 32, 3, len(labels)):
            raise ValueError(f"'X' is {pixels.dtype} of shape {pixels.shape}")
    except (
        MatReadError, zlib.error, ValueError, KeyError, TypeError, OSError, NotImplementedError, IndexError,
    ) as error:  # fmt: skip
        raise DatasetError(f"{path}: is not the official SVHN test file ({error}); fetch it again") from None
    if labels.size == 0 or not 1 <= labels.min() <= labels.max() <= 10:
        raise DatasetError(f"{path}: holds labels outside 1..10; fetch the file again")
    return np.ascontiguousarray(pixels.transpose(3, 2, 0, 1)), labels % 10


FILES = OfficialFiles(
    Dataset.SVHN, terms="for non-commercial use only; http://ufldl.stanford.edu/housenumbers",
    expected="'test_32x32.mat'", find=find, read=read,
    download=Download(
        "http://ufldl.stanford.edu/housenumbers/test_32x32.mat", "test_32x32.mat",
        "md5:eb5a983be6a315427106f1b164d9cef3", 64_275_384,
    ),
)  # fmt: skip
