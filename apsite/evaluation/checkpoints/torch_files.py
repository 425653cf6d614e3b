"""What ``torch.save`` wrote, read without PyTorch's unpickler: descriptions first, then the numbers of chosen tensors.

Source of the formats: ``torch/serialization.py`` of PyTorch 2, its zip archive and the older stream of pickles.
"""

from __future__ import annotations

import io
import mmap
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import IO, Any

import torch
from torch import Tensor

from apsite.documents.unpickling import Global, PickleError, Storage, StoredTensor, bytes_from, read_pickle

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How the older format begins: a pickle of one large number."""
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C

DTYPES: Mapping[str, torch.dtype] = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "ComplexDoubleStorage": torch.complex128, "ComplexFloatStorage": torch.complex64, "UntypedStorage": torch.uint8,
}  # fmt: skip
"""Type of the numbers in each kind of storage."""


@dataclass(frozen=True)
class TorchFile:
    """What a file holds, and how to get the numbers of its tensors.

    Attributes:
        content: The saved object, as :func:`.unpickling.read_pickle` describes it.
        bytes_of: Bytes of a storage.
    """

    content: Any
    bytes_of: Callable[[Storage], bytes]

    def tensor(self, stored: StoredTensor) -> Tensor:
        """The tensor of a description: contiguous, on the CPU, in its own memory.

        Raises:
            PickleError: If its storage is missing or shorter than it says, or its numbers are of an unknown type.
        """
        kind = stored.storage.kind
        dtype = DTYPES.get(kind)
        if stored.dtype is not None:
            dtype = getattr(torch, stored.dtype.removeprefix("torch."), None)
        if not isinstance(dtype, torch.dtype):
            raise PickleError(f"numbers of the type {stored.dtype or kind} are not read")
        data = stored.storage.data if stored.storage.data is not None else self.bytes_of(stored.storage)
        last = sum((size - 1) * step for size, step in zip(stored.shape, stored.stride, strict=True))
        needed = (stored.offset + last + 1) * dtype.itemsize if all(stored.shape) else 0
        if needed > len(data):
            raise PickleError("a storage is shorter than its tensors")
        try:
            if not needed:
                return torch.empty(stored.shape, dtype=dtype)
            flat = torch.frombuffer(bytearray(data[:needed]), dtype=dtype)
            view = flat.as_strided(stored.shape, stored.stride, stored.offset)
            return view.clone(memory_format=torch.contiguous_format)
        except (RuntimeError, ValueError, OverflowError) as error:
            raise PickleError(f"a tensor is damaged: {str(error).splitlines()[0]}") from None


MAC_FOLDER = "__MACOSX/"
"""Where macOS puts what it knows about the files of an archive."""


def is_member(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry of an archive is a file that the author put there."""
    return not entry.is_dir() and not entry.filename.startswith(MAC_FOLDER)


def read_zip(file: IO[bytes]) -> TorchFile:
    """A zip archive of ``torch.save`` or TorchScript; of the latter the parameters, never the program.

    Raises:
        PickleError: If it holds no pickle, or one that is damaged.
        zipfile.BadZipFile: If the archive is damaged; the checksum of every member that is read is checked.
    """
    archive = zipfile.ZipFile(file)
    names = {PurePosixPath(info.filename): info.filename for info in archive.infolist() if is_member(info)}
    pickles = [path for path in names if path.name == "data.pkl"]
    if len(pickles) != 1:
        raise PickleError("it is a zip archive that torch.save did not write")
    folder = pickles[0].parent

    def member(name: str) -> bytes:
        try:
            return archive.read(name)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
            raise PickleError(str(error)) from None

    order = names.get(folder / "byteorder")
    if order is not None and member(order).strip() != b"little":
        raise PickleError("its numbers are stored with the highest byte first")

    def bytes_of(storage: Storage) -> bytes:
        for place in ("data", "constants"):
            name = names.get(folder / place / storage.key)
            if name is not None:
                return member(name)
        raise PickleError(f"storage {storage.key} is missing")

    return TorchFile(read_pickle(io.BytesIO(member(names[pickles[0]])), _storage), bytes_of)


def read_legacy(file: IO[bytes]) -> TorchFile:
    """A stream of pickles, as ``torch.save`` wrote before version 1.6.

    Raises:
        PickleError: If it is damaged.
    """
    used: dict[str, Storage] = {}

    def persistent(reference: Any) -> Any:
        if isinstance(reference, tuple) and reference[:1] == ("module",) and len(reference) > 1:
            return reference[1]  # the class of a network, beside its source
        storage = _storage(reference)
        return used.setdefault(storage.key, storage)

    if read_pickle(file) != _MAGIC_NUMBER:
        raise PickleError("it does not begin as torch.save begins a file")
    version, system = read_pickle(file), read_pickle(file)
    if version != 1001 or not (isinstance(system, dict) and system.get("little_endian", True)):
        raise PickleError("its format is not known")
    content = read_pickle(file, persistent)
    keys = read_pickle(file)
    start, places = file.tell(), {}
    for key in keys if isinstance(keys, list) else ():
        storage = used.get(str(key)) if isinstance(key, str | int) else None
        if storage is None or storage.kind not in DTYPES:
            raise PickleError("a storage is of no known kind")
        size = storage.length * DTYPES[storage.kind].itemsize
        places[storage.key] = (start + 8, size)
        start += 8 + size
    file.seek(0, 2)
    if start > file.tell():
        raise PickleError("it ends within a storage")

    def bytes_of(storage: Storage) -> bytes:
        if storage.key not in places:
            raise PickleError(f"storage {storage.key} is missing")
        position, size = places[storage.key]
        file.seek(position)
        return file.read(size)

    return TorchFile(content, bytes_of)


def read_plain(file: IO[bytes]) -> TorchFile:
    """A pickle of tensors or NumPy arrays that ``torch.save`` did not write.

    Raises:
        PickleError: If it is damaged.
    """
    opened: dict[int, tuple[Any, Storage]] = {}

    def nested(data: Any) -> Storage:
        """A storage that the pickle holds as bytes of the older format; the same bytes are opened once."""
        if id(data) not in opened:
            content = bytes_from(data)
            inner = read_legacy(io.BytesIO(content if isinstance(content, bytes) else b""))
            if not isinstance(inner.content, Storage):
                raise PickleError("it holds something that is no storage where one belongs")
            opened[id(data)] = data, replace(inner.content, data=inner.bytes_of(inner.content))
        return opened[id(data)][1]

    def bytes_of(storage: Storage) -> bytes:
        raise PickleError(f"storage {storage.key} is missing")

    return TorchFile(read_pickle(file, known={"torch.storage._load_from_bytes": nested}), bytes_of)


def mapped(file: IO[bytes]) -> Any:
    """The bytes of a file, none of them in memory before they are read; a read never takes more than there are."""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _storage(reference: Any) -> Storage:
    """The storage of a persistent reference: ``("storage", class, key, device, number of elements, ...)``."""
    if not isinstance(reference, tuple) or len(reference) < 5 or reference[0] != "storage":
        raise PickleError("it refers to something that is no storage")
    _, kind, key, _, length, *rest = reference
    plain = isinstance(kind, Global) and isinstance(key, str | int) and type(length) is int and 0 <= length < 2**50
    if not plain or any(part is not None for part in rest):
        raise PickleError("it refers to a storage in a way that is not known")
    return Storage(str(key), kind.name.rpartition(".")[2], length)
