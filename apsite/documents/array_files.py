"""Arrays of an untrusted ``.npz`` file."""

from __future__ import annotations

import functools
import io
import math
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsite.documents.zip_files import members_of

MAX_HEADER_BYTES = 1_000
_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4}
"""Versions of the ``.npy`` format, and how many bytes state the length of the header."""
# What unpacking and numpy raise on a damaged or hostile file. A header may claim more memory than there is
# (MemoryError) or a length beyond 64 bits (OverflowError), or not even a number (TypeError).
UNREADABLE = (
    OSError, ValueError, TypeError, EOFError, RuntimeError, OverflowError, MemoryError, struct.error, zlib.error,
)  # fmt: skip


def arrays_of(content: bytes, *, most: int, most_bytes: int) -> dict[str, NDArray[Any]]:
    """Arrays of an ``.npz`` by name. Nothing is unpickled, and sizes are checked before unpacking.

    Args:
        content: The file.
        most: Largest number of arrays.
        most_bytes: Largest size of all arrays together, unpacked.

    Raises:
        Exception: One of :data:`UNREADABLE` if the file is damaged, too large, or holds more than plain arrays.
    """
    members = members_of(content, most=most, most_bytes=most_bytes)
    if others := [name for name in members if not name.endswith(".npy")]:
        raise ValueError(f"{others[0]} is not an array; the names of arrays end in .npy")
    # A member is given up as its array is made, so that not all are in memory twice.
    return {name[:-4]: _array(name[:-4], members.pop(name)) for name in list(members)}


def _array(name: str, content: bytes) -> NDArray[Any]:
    """One array from the content of an ``.npy`` file. Its header must agree with its size, and names no objects."""
    if not content.startswith(np.lib.format.MAGIC_PREFIX):
        raise ValueError(f"{name} is not an array")
    version = np.lib.format.read_magic(io.BytesIO(content[: np.lib.format.MAGIC_LEN]))
    if version not in _LENGTH_BYTES:
        raise ValueError(f"{name} has format version {version}")
    start = np.lib.format.MAGIC_LEN + _LENGTH_BYTES[version]
    offset = start + int.from_bytes(content[np.lib.format.MAGIC_LEN : start], "little")
    if offset - start > MAX_HEADER_BYTES:
        raise ValueError(f"{name} has a header of {offset - start:,} bytes")
    shape, fortran, dtype = _header(version, content[np.lib.format.MAGIC_LEN : offset])
    if dtype.hasobject:
        raise ValueError(f"{name} holds objects, which could run code when read")
    plain = f"{{'descr': {np.lib.format.dtype_to_descr(dtype)!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    if content[start:offset].strip() != plain.encode():
        raise ValueError(f"{name} has a header that holds more than type, order and shape")
    size = math.prod(shape) * dtype.itemsize
    if len(content) - offset != size:
        raise ValueError(f"{name} holds {len(content) - offset:,} bytes; its header says {size:,}")
    if dtype == np.bool_ and np.frombuffer(content, np.uint8, offset=offset).max(initial=0) > 1:
        raise ValueError(f"{name} holds flags that are neither 0 nor 1")
    return np.frombuffer(content, dtype, offset=offset).reshape(shape, order="F" if fortran else "C").copy()


@functools.lru_cache(maxsize=512)
def _header(version: tuple[int, int], header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type that a header states; the same few are read thousands of times."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    return readers[version](io.BytesIO(header), max_header_size=MAX_HEADER_BYTES)
