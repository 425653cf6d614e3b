"""Reading checkpoint files without executing anything in them.

The file is recognised by its bytes, never by its name. Tensors come from safetensors, or from ``torch.load`` with
``weights_only=True``, which builds tensors and plain containers and refuses everything else. Sizes are checked before
memory is taken. Which network the tensors belong to is decided elsewhere, see
:mod:`apsite.evaluation.checkpoints.loading`.
"""

from __future__ import annotations

import errno
import hashlib
import pickle
import re
import stat
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from apsite.errors import CheckpointError
from apsite.evaluation.checkpoints import packed
from apsite.evaluation.checkpoints.state_dicts import find_state, usable_tensors

MAX_BYTES = 4 * 2**30
"""No file may be larger, packed or unpacked: the largest network of the benchmark has 0.1 GiB of weights."""
MAX_GROWTH = 20
"""How many times larger than its file a checkpoint may become; float masks stored as bits grow the most."""

_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_SAVE_AGAIN = "Save the tensors alone with torch.save(network.state_dict(), ...) or as safetensors."
_TRANSFER_AGAIN = "Copy or download it again."


class UnsafeLoadWarning(UserWarning):
    """A checkpoint was loaded in a way that lets it execute code."""


@dataclass(frozen=True)
class CheckpointFile:
    """Tensors of a checkpoint file and where they came from.

    Attributes:
        path: The file.
        state: Tensors by name as the file spells them, on the CPU, contiguous and finite; float32, or int64 for
            counters.
        format: How the file is written: ``safetensors``, ``safetensors, packed``
            (:mod:`apsite.evaluation.checkpoints.packed`), ``torch zip`` or ``torch legacy``.
        container: Key of the file under which the tensors were, such as ``state_dict``; ``bare`` if there was none.
        sha256: Hash of the whole file, in hexadecimal.
        size: Size of the file in bytes.
        unsafe_load: Whether the file was allowed to execute code.
        notes: What was converted on the way, one sentence each.
    """

    path: Path
    state: Mapping[str, Tensor]
    format: str
    container: str
    sha256: str
    size: int
    unsafe_load: bool = False
    notes: tuple[str, ...] = ()


def read_checkpoint(path: Path, *, unsafe: bool = False) -> CheckpointFile:
    """Tensors of a checkpoint file.

    Args:
        path: A safetensors file, or what ``torch.save`` wrote: a state dict, alone or in a container.
        unsafe: Allow the file to execute code while it is loaded. Loud, recorded, and only for files that you trust
            as you trust a program.

    Raises:
        CheckpointError: If the file cannot be read, is no checkpoint, would execute code, unpacks to more than
            `MAX_BYTES`, or holds no usable tensors. The message says which, and what to do.
    """
    if unsafe:
        warnings.warn(
            f"{path}: loaded with the permission to execute code. Do this only with a file that you trust.",
            UnsafeLoadWarning,
            stacklevel=2,
        )
    try:
        with _open(path) as file:
            size = file.seek(0, 2)
            written = _identify(path, file, size)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            content = _read_safetensors(path, file) if written == "safetensors" else _read_torch(path, file, unsafe)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}. Check the file system.") from None
    except MemoryError:
        raise CheckpointError(f"{path}: loading it needs more memory than there is. {_SAVE_AGAIN}") from None
    stored, container = find_state(path, content)
    growth = MAX_GROWTH
    if written == "safetensors" and packed.is_packed(stored):
        stored, growth, written = packed.unpack(path, stored), packed.MAX_GROWTH, "safetensors, packed"
    limit = min(MAX_BYTES, growth * size)
    state, notes = usable_tensors(path, stored, limit)
    return CheckpointFile(path, state, written, container, digest, size, unsafe, notes)


def _open(path: Path) -> BufferedReader:
    """The file, opened for reading once it is known to be an ordinary one."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file. Give the path of a checkpoint.") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise CheckpointError(f"{path}: a symbolic link that leads back to itself. Link to the file.") from None
        raise
    if stat.S_ISDIR(status.st_mode):
        raise CheckpointError(f"{path}: a directory. Give the path of the checkpoint file inside it.")
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path}: not an ordinary file. Give the path of a checkpoint.")
    if status.st_size == 0:
        raise CheckpointError(f"{path}: empty. {_TRANSFER_AGAIN}")
    if status.st_size > MAX_BYTES:
        raise CheckpointError(
            f"{path}: {status.st_size} bytes, more than the {MAX_BYTES} that are read. Save the network alone, without "
            "optimiser and history."
        )
    return path.open("rb")


def _identify(path: Path, file: BufferedReader, size: int) -> str:
    """Name of the format that the first bytes show, or an error that says what the file is instead."""
    file.seek(0)
    head = file.read(1024)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(b"PK\x03\x04"):
        _check_zip(path, file, size)
        return "torch zip"
    if head.startswith(_LEGACY_MAGIC):
        return "torch legacy"
    header = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and header < 100 * 2**20:
        return "safetensors"
    if text.startswith((b"<!doctype html", b"<html", b"<head")) or b"<html" in text:
        found = (
            "an HTML page, probably a message of the download site. Download the file itself, in a browser if needed"
        )
    elif head.startswith(b"version https://git-lfs"):
        found = "a Git LFS pointer, not the file it stands for. Run git lfs pull"
    elif head[257:262] == b"ustar":
        found = f"a tar archive, which is not read. Unpack it and give the file inside; {_SAVE_AGAIN.lower()[:-1]}"
    elif head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd")):
        found = "compressed. Unpack it and give the file inside"
    elif _LEGACY_MAGIC.startswith(head) or path.suffix == ".safetensors":
        found = f"truncated or damaged ({size} bytes). {_TRANSFER_AGAIN[:-1]}"
    elif head[:1] == b"\x80":
        found = f"a pickle that torch.save did not write; reading it could execute code. {_SAVE_AGAIN[:-1]}"
    else:
        found = f"not a checkpoint (it starts with {head[:8]!r}). Give a safetensors file or one that torch.save wrote"
    raise CheckpointError(f"{path}: {found}.")


def _check_zip(path: Path, file: BufferedReader, size: int) -> None:
    """Refuse a zip archive that is damaged, is not a checkpoint, or unpacks to far more than it is."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        raise CheckpointError(f"{path}: truncated or damaged ({size} bytes). {_TRANSFER_AGAIN}") from None
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > min(MAX_BYTES, MAX_GROWTH * size):
        raise CheckpointError(
            f"{path}: its {size} bytes unpack to {unpacked}, as in a zip bomb; it was not unpacked. {_SAVE_AGAIN}"
        )
    names = {entry.filename.partition("/")[2] for entry in entries}
    if "constants.pkl" in names:
        raise CheckpointError(f"{path}: a TorchScript program, which would be executed. {_SAVE_AGAIN}")
    if "data.pkl" not in names:
        raise CheckpointError(
            f"{path}: a zip archive that torch.save did not write. If a checkpoint is inside, unpack it first."
        )


def _read_safetensors(path: Path, file: BufferedReader) -> object:
    try:
        return dict(sorted(safetensors.torch.load(file.read()).items()))  # their order there is random
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: truncated or damaged safetensors: {_first_line(error)}. {_TRANSFER_AGAIN}"
        ) from None


class _Inert:
    """Stands for harmless objects beside the weights (options, numpy numbers); holds nothing and does nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


_SYSTEMS = ("", "Posix", "Windows")
_INERT_NAMES = (
    "argparse.Namespace",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"{module}.multiarray.{name}" for module in ("numpy.core", "numpy._core") for name in ("scalar", "_reconstruct")),
    *(f"numpy.dtypes.{name}DType" for name in ("Float64", "Float32", "Int64", "Int32", "Bool")),
    *(
        f"{module}.{kind}{system}Path"
        for module in ("pathlib", "pathlib._local")
        for kind in ("", "Pure")
        for system in _SYSTEMS
    ),
)
"""Classes that training scripts store beside the weights. None of them is ever made: each becomes `_Inert`."""


def _read_torch(path: Path, file: BufferedReader, unsafe: bool) -> object:
    stand_ins: list[Any] = [(_Inert, name) for name in _INERT_NAMES]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if unsafe:
                return torch.load(file, map_location="cpu", weights_only=False)
            with torch.serialization.safe_globals(stand_ins):
                return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        wants = (
            f"asks for {found[1]}, which is not plain data" if found else "holds more than plain data, or is damaged"
        )
        raise CheckpointError(
            f"{path}: {wants}; loading it could execute code, so it was not loaded. {_SAVE_AGAIN} If you trust the "
            "file as you trust a program, --unsafe-load loads it."
        ) from None
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(f"{path}: truncated or damaged: {_first_line(error)}. {_TRANSFER_AGAIN}") from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}".strip(": .")
