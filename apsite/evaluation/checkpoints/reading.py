"""Reading checkpoint files without executing anything in them.

The file is recognised by its bytes, never by its name. A pickle is described, not run
(:mod:`apsite.documents.unpickling`), so other objects in the file are harmless. Sizes are checked
before memory is allocated. Which network the tensors belong to is decided elsewhere, see
:mod:`apsite.evaluation.checkpoints.loading`.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import stat
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import cast

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from apsite.documents.unpickling import MAX_DIMENSIONS, PickleError
from apsite.errors import CheckpointError
from apsite.evaluation.checkpoints import packed
from apsite.evaluation.checkpoints.state_dicts import BARE, find_state, listed, tensors_of, usable_tensors
from apsite.evaluation.checkpoints.torch_files import (
    LEGACY_MAGIC,
    MAC_FOLDER,
    is_member,
    mapped,
    read_legacy,
    read_plain,
    read_zip,
)

MAX_BYTES = 4 * 2**30
"""No file may be larger, packed or unpacked: the largest network of the benchmark has 0.1 GiB of weights."""
HOLES = 100
"""How many times its bytes on the disk a file may seem to have; a disk that compresses weights saves less."""
HOLES_FROM = 64 * 2**20
"""Size of a file from which that is checked: a smaller one takes little memory, whatever it holds."""
MAX_GROWTH = 20
"""How many times larger than its file a checkpoint may become; float masks stored as bits grow the most."""

_SAVE_AGAIN = "Save the tensors alone with torch.save(network.state_dict(), ...) or as safetensors."
_TRANSFER_AGAIN = "Copy or download it again."


@dataclass(frozen=True)
class CheckpointFile:
    """Tensors of a checkpoint file and where they came from.

    Attributes:
        path: The file.
        state: Tensors by their names in the file, on the CPU, contiguous and finite; float32, or int64 for
            counters.
        format: How the file is written: ``safetensors``, ``safetensors, packed``
            (:mod:`apsite.evaluation.checkpoints.packed`), ``torch zip``, ``torch legacy``, ``pickle`` or ``npz``.
        container: Key of the file under which the tensors were, such as ``state_dict``; ``bare`` if there was none.
        sha256: Hash of the whole file, in hexadecimal.
        size: Size of the file in bytes.
        notes: What was left aside or converted, one sentence each.
    """

    path: Path
    state: Mapping[str, Tensor]
    format: str
    container: str
    sha256: str
    size: int
    notes: tuple[str, ...] = ()


def read_checkpoint(path: Path, *, state: str | None = None) -> CheckpointFile:
    """Tensors of a checkpoint file; nothing in the file is executed.

    Args:
        path: A safetensors file, an ``.npz`` of arrays, or what ``torch.save`` or ``pickle`` wrote: a state dict, alone
            or in a container, or a whole network.
        state: Dotted keys of the state dict to read, where there are several, such as ``ema`` or ``student.model``.

    Raises:
        CheckpointError: If the file cannot be read, is no checkpoint, unpacks to more than `MAX_BYTES`, or holds no
            usable tensors or several state dicts. The message says which, and what to do.
    """
    container: str = BARE
    notes: tuple[str, ...] = ()
    try:
        with _open(path) as file:
            size = file.seek(0, 2)
            written = _identify(path, file, size)
            if path.is_dir():
                notes = ("A folder that was an archive: hash and size are those of its files packed again, in order.",)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            if written == "safetensors":
                stored = _read_safetensors(path, file)
            elif written == "npz":
                stored = _read_npz(path, file)
            else:
                stored, container, found = _read_torch(path, file, written, state, min(MAX_BYTES, MAX_GROWTH * size))
                notes += found
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}. Check the file system.") from None
    except MemoryError:
        raise CheckpointError(f"{path}: loading it needs more memory than there is. {_SAVE_AGAIN}") from None
    if state is not None and state != container:
        raise CheckpointError(f"{path}: no state dict under {state}; the file holds its tensors {container}.")
    if written == "safetensors" and packed.is_packed(stored):
        stored, written = packed.unpack(path, stored), "safetensors, packed"
        if sum(tensor.numel() * 4 for tensor in stored.values()) > min(MAX_BYTES, packed.MAX_GROWTH * size):
            raise CheckpointError(f"{path}: its tensors claim far more bytes than the file holds. {_SAVE_AGAIN}")
    tensors, converted = usable_tensors(path, stored)
    return CheckpointFile(path, tensors, written, container, digest, size, (*notes, *converted))


def _open(path: Path) -> BufferedReader:
    """The file, opened for reading once it is known to be an ordinary one; a folder as the archive that it was."""
    try:
        status = path.stat()
    except (FileNotFoundError, ValueError):  # no path may have a NUL character
        raise CheckpointError(f"{path}: no such file. Give the path of a checkpoint.") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise CheckpointError(f"{path}: a symbolic link that leads back to itself. Link to the file.") from None
        raise
    if stat.S_ISDIR(status.st_mode):
        return _packed_folder(path)
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path}: not an ordinary file. Give the path of a checkpoint.")
    if status.st_size == 0:
        raise CheckpointError(f"{path}: empty. {_TRANSFER_AGAIN}")
    if status.st_size > MAX_BYTES:
        raise CheckpointError(
            f"{path}: {status.st_size} bytes, more than the {MAX_BYTES} that are read. Save the network alone, without "
            "optimiser and history."
        )
    if hasattr(status, "st_blocks") and 512 * status.st_blocks * HOLES < status.st_size - HOLES_FROM:
        raise CheckpointError(
            f"{path}: of its {status.st_size:,} bytes almost none are on the disk, as an "
            f"interrupted download leaves it. {_TRANSFER_AGAIN}"
        )
    return path.open("rb")


def _packed_folder(path: Path) -> BufferedReader:
    """What was unpacked into a folder, as an archive again, the same bytes for the same files."""
    inside = sorted(one for one in path.rglob("*") if one.is_file() and not one.is_symlink())
    if "data.pkl" not in {one.name for one in inside if len(one.relative_to(path).parts) < 3}:
        raise CheckpointError(f"{path}: a directory. Give the path of the checkpoint file inside it.")
    if sum(one.stat().st_size for one in inside) > MAX_BYTES:
        raise CheckpointError(f"{path}: its files have more than the {MAX_BYTES} bytes that are read.")
    file = cast(BufferedReader, TemporaryFile())  # noqa: SIM115  the caller closes it
    with zipfile.ZipFile(file, "w") as archive:
        for one in inside:
            name = one.relative_to(path).as_posix()
            with one.open("rb") as source, archive.open(zipfile.ZipInfo(f"{path.name}/{name}"), "w") as member:
                shutil.copyfileobj(source, member)
    return file


def _identify(path: Path, file: BufferedReader, size: int) -> str:
    """Name of the format that the first bytes show, or an error that says what the file is instead."""
    file.seek(0)
    head = file.read(1024)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()  # bytes.lower changes letters alone
    if head.startswith(b"PK\x03\x04"):
        return _check_zip(path, file, size)
    if head.startswith(LEGACY_MAGIC):
        return "torch legacy"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and not LEGACY_MAGIC.startswith(head):
        return "pickle"
    header = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and header < 100 * 2**20:
        return "safetensors"
    page = b"<html" if b"<html" in text else b""
    kinds = [what for what, starts in _OTHERS.items() if text.startswith(starts) or page in starts]
    if kinds:
        found = kinds[0]
    elif head[257:262] == b"ustar":
        found = f"a tar archive, which is not read. Unpack it and give the file inside; {_SAVE_AGAIN.lower()[:-1]}"
    elif LEGACY_MAGIC.startswith(head) or path.suffix == ".safetensors":
        found = f"truncated or damaged ({size} bytes). {_TRANSFER_AGAIN[:-1]}"
    else:
        start = head[:60] if head.isascii() and b"\x00" not in head else head[:8]
        found = f"not a checkpoint (it starts with {start!r}). Give a safetensors file or one that torch.save wrote"
    raise CheckpointError(f"{path}: {found}.")


_OTHERS = {
    "an HTML page, probably a message of the download site. Download the file itself, in a browser if necessary": (
        b"<!doctype html", b"<html", b"<head",
    ),
    "a message of the download site instead of the file. Download the file itself, logged in if necessary": (
        b"<?xml", b'{"error', b'{"message', b"<error",
    ),
    "a Git LFS pointer, not the file itself. Run git lfs pull": (b"version https://git-lfs",),
    "a DVC pointer, not the file itself. Run dvc pull": (b"outs:", b"md5:"),
    "the index of a checkpoint in several files. Save its tensors in one": (b'{"metadata', b'{"weight_map'),
    "compressed. Unpack it and give the file inside": (
        b"\x1f\x8b", b"bzh", b"\xfd7zxz", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd",
    ),
    "text in base64. Decode it with base64 -d": (b"uesdb", b"gaq", b"gai"),
    "a single NumPy array without names. Save the weights with numpy.savez, under their names": (b"\x93numpy",),
    "an HDF5 file, as Keras writes it. Save the tensors alone, as .npz or safetensors": (b"\x89hdf",),
    "an ONNX file, whose weights have lost their names. Save network.state_dict() before it is exported": tuple(
        bytes((8, version, 18)) for version in range(30)
    ),
}  # fmt: skip
"""Files that are taken for checkpoints and are none: what they are, what to do, and their first bytes in lower case."""


def _check_zip(path: Path, file: BufferedReader, size: int) -> str:
    """Format of a zip archive; refuses one that is damaged, no checkpoint, or unpacks to far more than it is."""
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
    names = [PurePosixPath(entry.filename) for entry in entries if is_member(entry)]
    if any(name.name == "data.pkl" for name in names):
        return "torch zip"
    if names and all(name.suffix == ".npy" for name in names):
        return "npz"
    raise CheckpointError(
        f"{path}: a zip archive that torch.save did not write. If a checkpoint is inside, unpack it first."
    )


def _read_safetensors(path: Path, file: BufferedReader) -> dict[str, Tensor]:
    try:
        stored = dict(sorted(safetensors.torch.load(file.read()).items()))  # their order there is random
        if most := max((tensor.dim() for tensor in stored.values() if tensor.dim() > MAX_DIMENSIONS), default=0):
            raise ValueError(f"a tensor has {most} dimensions")
        return stored
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: truncated or damaged safetensors: {_first_line(error)}. {_TRANSFER_AGAIN}"
        ) from None


def _read_npz(path: Path, file: BufferedReader) -> dict[str, Tensor]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            names = [name for name in arrays.files if not name.startswith(MAC_FOLDER)]
            return {name: torch.from_numpy(np.array(arrays[name])) for name in names}
    except (ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CheckpointError(f"{path}: no archive of numeric arrays: {_first_line(error)}. {_SAVE_AGAIN}") from None


def _read_torch(
    path: Path, file: BufferedReader, written: str, wanted: str | None, limit: int
) -> tuple[dict[str, Tensor], str, tuple[str, ...]]:
    try:
        if written == "torch zip":
            opened = read_zip(file)
        elif written == "torch legacy":
            opened = read_legacy(mapped(file))
        else:
            opened = read_plain(mapped(file))
        state, container, notes = find_state(path, opened.content, wanted)
        tensors, others = tensors_of(path, opened, state, limit)
    except (PickleError, zipfile.BadZipFile, zlib.error) as error:
        raise CheckpointError(f"{path}: truncated or damaged: {_first_line(error)}. {_TRANSFER_AGAIN}") from None
    if others:
        notes += (f"No tensors among the weights, left aside: {listed(others)}.",)
    return tensors, container, notes


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}".strip(": .")
