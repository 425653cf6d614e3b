"""JSON as this project reads and writes it: strict, bounded, UTF-8, atomic, the same bytes for the same content.

Contributed files are untrusted, so reading refuses what `json` lets pass: duplicate names, NaN and Infinity, links,
files of unusual size and depth.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apsite.errors import ApsiteError, DocumentError

MAX_BYTES = 1_000_000
MAX_DEPTH = 12
MAX_INTEGER = 2**63 - 1
IS_A_LINK = "is a symbolic link; links are not allowed here, so put the file itself there"
"""Message for a link in place of a data file."""


def read_json(path: Path) -> dict[str, Any]:
    """Object in a JSON file.

    Raises:
        DocumentError: If the file is missing, a link, over 1 MB, not UTF-8, not JSON, not an object, nested deeper
            than 12 levels, or holds a duplicate name, NaN, Infinity, a whole number beyond 64 bits or half a
            surrogate pair.
    """
    if path.is_symlink():
        raise DocumentError(path, "", IS_A_LINK)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DocumentError(path, "", "is not an ordinary file; put a JSON file there")
        _check_size(path, status.st_size)
        content = path.read_bytes()
    except OSError as error:
        raise DocumentError(path, "", f"cannot be read: {error.strerror}") from None
    return parse_json(path, content)


def parse_json(path: Path, content: bytes) -> dict[str, Any]:
    """Object in the content of a JSON file; `path` is for messages only.

    Raises:
        DocumentError: As :func:`read_json`, for everything that is in the content.
    """
    _check_size(path, len(content))
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DocumentError(path, "", f"is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_bounded
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DocumentError(path, "", f"is not JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise DocumentError(path, "", f"is nested deeper than {MAX_DEPTH} levels") from None
    except _RefusedError as error:
        raise DocumentError(path, "", str(error)) from None
    if not isinstance(value, dict):
        raise DocumentError(path, "", f"holds a JSON {type(value).__name__}; an object is required")
    if _depth(value) > MAX_DEPTH:
        raise DocumentError(path, "", f"is nested deeper than {MAX_DEPTH} levels")
    if "\\u" in text and _has_surrogate(value):
        raise DocumentError(path, "", "holds half a surrogate pair, such as \\ud800; write the character itself")
    return value


def _check_size(path: Path, size: int) -> None:
    if size > MAX_BYTES:
        raise DocumentError(path, "", f"has {size:,} bytes; at most {MAX_BYTES:,} are allowed")


def to_json(value: object) -> str:
    """Text of a document as files have it: two-space indent, names in the given order, one final newline.

    Raises:
        ValueError: If `value` holds NaN or an infinity.
    """
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: object) -> None:
    """Write a document atomically: an old file stays until the new one is complete."""
    with atomic_file(path) as temporary:
        temporary.write_text(to_json(value), encoding="utf-8")


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Temporary path whose content becomes that of `path` when the block succeeds, and is removed when it fails.

    A regular file is replaced in one step, and of a symbolic link the file that it leads to. A device or a pipe, such
    as ``/dev/stdout``, is written to and never replaced.

    Raises:
        ApsiteError: If the folder cannot be made or written to, or `path` is a folder.
    """
    special = path.exists() and not path.is_file()
    target = path if special else Path(os.path.realpath(path))  # a pipe behind /dev/stdout has no real path
    try:
        if target.is_dir():
            raise ApsiteError(f"{path}: is a folder; name a file in it")
        if not special:
            target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=None if special else target.parent)
        os.close(handle)
    except OSError as error:
        wrong = f"cannot be written: {error.strerror}; choose a folder that you can write to"
        raise ApsiteError(f"{path}: {wrong}") from None
    temporary = Path(name)
    try:
        yield temporary
        if special:
            with temporary.open("rb") as source, target.open("wb", buffering=0) as device:
                shutil.copyfileobj(source, device)
            return
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as error:
        raise ApsiteError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


class _RefusedError(ValueError):
    """A construct that JSON parsers let pass and this project does not."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise _RefusedError(f"names {twice[:80]!r} twice in one object; keep one of them")
    return value


def _refuse_constant(text: str) -> float:
    raise _RefusedError(f"holds {text}, which is not a JSON number; use null for an unknown value")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _RefusedError(f"holds the number {text[:40]}{'…' * (len(text) > 40)}, which is too large")
    return value


def _bounded(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > MAX_INTEGER:
        raise _RefusedError(f"holds a whole number of {len(text.lstrip('-'))} digits, which is too large")
    return int(text)


def _has_surrogate(value: object) -> bool:
    """Whether a text in `value` cannot be written as UTF-8."""
    return bool(re.search("[\ud800-\udfff]", json.dumps(value, ensure_ascii=False)))


def _depth(value: object) -> int:
    """Levels of nesting; level by level, so that a hostile document cannot exhaust the stack."""
    depth, level = 0, [value]
    while level:
        depth += 1
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [child for item in containers for child in (item.values() if isinstance(item, dict) else item)]
    return depth
