"""Allowed files in the data folders: ordinary JSON and ``.npz`` files in their places, and nothing else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from apsite.documents.json_files import IS_A_LINK
from apsite.errors import DocumentError
from apsite.records import CURVES, HISTORY
from apsite.records.measured import MEASURED_FILE

_SHAPES = {"entries": "<method key>.json", "evaluations": "<method key>/<model key>.json or .npz"}
# What people and tools put in place of data, by how it begins.
_KINDS: tuple[tuple[bytes | tuple[bytes, ...], str, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS", "commit the file itself"),
    ((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), "a pickle", "pickles are never read"),
    (b"PK\x03\x04", "a zip archive", "put JSON there"),
    (b"\x93NUMPY", "a single NumPy array", "write an .npz file with the documented arrays"),
    (b"\x89HDF", "an HDF5 file", "write an .npz file with the documented arrays"),
    (b"\x1f\x8b", "a gzip file", "files here are not compressed again"),
    (b"BZh", "a bzip2 file", "files here are not compressed again"),
    (b"\xfd7zXZ", "an xz file", "files here are not compressed again"),
    (b"\x89PNG", "a PNG image", "pictures do not belong here"),
    (b"\xff\xd8\xff", "a JPEG image", "pictures do not belong here"),
    (b"GIF8", "a GIF image", "pictures do not belong here"),
    (b"%PDF", "a PDF file", "cite it with its URL"),
    ((b"\x7fELF", b"MZ"), "a program", "nothing is executed here"),
    (b"#!", "a script", "nothing is executed here"),
    (b"<", "HTML or XML", "a URL may have returned a web page in place of the file; download it again"),
    ((b"\xff\xfe", b"\xfe\xff"), "UTF-16 text", "save it as UTF-8"),
    (b"\xef\xbb\xbf", "UTF-8 text with a byte order mark", "save it without"),
)  # fmt: skip


def file_problems(root: Path) -> Iterator[DocumentError]:
    """Files that are no entry, no record and no per-sample file; links, devices and folders that are not ours."""
    for folder in _SHAPES:
        base = root / folder
        if base.is_symlink():
            yield DocumentError(base, "", "is a symbolic link; links are not allowed here")
        elif base.is_dir():
            yield from _below(base, folder)


def kind_problems(paths: Iterable[Path]) -> Iterator[DocumentError]:
    """Those of the files that are plainly of another type than their name says."""
    for path in paths:
        if kind := _kind(path):
            required = ".npz" if path.suffix == ".npz" else "JSON"
            yield DocumentError(path, "", f"is {kind[0]}, not {required}; {kind[1]}")


def _below(base: Path, folder: str) -> Iterator[DocumentError]:
    depth, suffixes = (1, {".json"}) if folder == "entries" else (2, {".json", ".npz"})
    for parent, folders, names in os.walk(base, followlinks=False):
        here = Path(parent)
        relative = here.relative_to(base).parts
        level = len(relative) - (depth > 1 and bool(relative) and relative[-1] in (CURVES, HISTORY))
        present = set(names)
        for name in folders:
            if (here / name).is_symlink():
                yield DocumentError(here / name, "", "is a symbolic link; links are not allowed here")
            elif name.startswith(".") or name.endswith((".json", ".npz")):
                wrong = f"is a folder that does not belong here; {folder}/ holds {_SHAPES[folder]} only"
                yield DocumentError(here / name, "", wrong)
        for name in names:
            path, suffix = here / name, os.path.splitext(name)[1]  # noqa: PTH122  (thousands of paths; Path is slow)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                yield DocumentError(path, "", IS_A_LINK)
            elif not stat.S_ISREG(mode):
                yield DocumentError(path, "", "is not an ordinary file; pipes and devices are not allowed here")
            elif not relative and f"{folder}/{name}" == MEASURED_FILE:
                continue
            elif level != depth - 1 or suffix not in suffixes or name.startswith("."):
                yield DocumentError(path, "", f"does not belong here; {folder}/ holds {_SHAPES[folder]} only")
            elif suffix == ".npz" and f"{name.removesuffix('.npz')}.json" not in present:
                yield DocumentError(path, "", "has no record next to it; add the .json that `apsite eval` wrote")


def _kind(path: Path) -> tuple[str, str] | None:
    """Name of what a file is, and a hint, if it is not of the type that its name says."""
    try:
        if path.suffix not in {".json", ".npz"} or not stat.S_ISREG(path.lstat().st_mode):
            return None
        with path.open("rb") as stream:
            start = stream.read(32)
    except OSError:
        return None
    if path.suffix == ".npz":
        if start.startswith(b"PK\x03\x04"):
            return None
        if start[:1] in (b"{", b"["):
            return "JSON", "write it with `apsite eval`"
    return next(((name, hint) for prefix, name, hint in _KINDS if start.startswith(prefix)), None)
