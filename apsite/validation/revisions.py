"""Data of another revision of the repository, read from git's objects: nothing is checked out or executed.

Only plumbing that looks at objects and the index is called. A link, a submodule, an odd name or an unusual size in a
revision is an error, for a revision may be somebody's pull request.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from apsite.catalogue import Catalogue, load_catalogue
from apsite.errors import ApsiteError

MAX_FILES = 50_000
MAX_TOTAL_BYTES = 300_000_000
MAX_FILE_BYTES = 1_000_000
"""Size of a JSON file beyond which a revision is refused; the same limit as for reading one from disk."""
DATA_FOLDERS = ("entries", "evaluations")

_REGULAR = ("100644", "100755")
_SAFE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
# What a checkout or environment could otherwise make git do: hooks, monitors, pagers, prompts, replaced objects.
_SAFE_GIT = (
    "git", "--no-pager", "--no-replace-objects", "--no-optional-locks", "--literal-pathspecs",
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false",
    "-c", "protocol.allow=never",
)  # fmt: skip
_TIMEOUT = 120


@dataclass(frozen=True)
class TreeFile:
    """A file of a revision: its path relative to the data folder's root, git's mode, object name and bytes."""

    path: str
    mode: str
    object_name: str
    size: int


@dataclass(frozen=True)
class ChangedFile:
    """A path that differs between a revision and the files on disk.

    Attributes:
        path: Relative to the root of the repository, ``/`` between parts.
        old_object: Git's name of its content in the revision; ``None`` if it is new.
        mode: Git's mode on disk, such as ``100644``; ``None`` if it is gone.
        tracked: Whether git knows the file; one that it does not know is no part of a commit yet.
    """

    path: str
    old_object: str | None
    mode: str | None
    tracked: bool = True


def resolve_commit(folder: Path, revision: str) -> str:
    """Full name of the commit that `revision` names in the repository of `folder`.

    Raises:
        ApsiteError: If `folder` is in no repository, or the revision is unknown there.
    """
    if not revision or revision.startswith("-") or not revision.isprintable():
        raise ApsiteError(f"{revision!r} is no name of a revision; give a branch, a tag or a commit")
    found = _git(folder, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", check=False)
    name = found.decode("ascii", "replace").strip()
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name):
        raise ApsiteError(
            f"{revision}: is neither a folder with data nor a revision of the repository at {folder}; "
            "fetch it first, with its history"
        )
    return name


def merge_base(folder: Path, revision: str) -> str:
    """Newest common ancestor of `revision` and the checked-out commit: where a branch began.

    Raises:
        ApsiteError: If there is none, or as :func:`resolve_commit`.
    """
    commit = resolve_commit(folder, revision)
    base = _git(folder, "merge-base", commit, "HEAD", check=False).decode("ascii", "replace").split()
    if not base:
        raise ApsiteError(
            f"{revision}: has no history in common with the checked-out commit; fetch the whole history "
            "(`git fetch --unshallow`)"
        )
    return base[0]


def repository_root(folder: Path) -> Path:
    """Top folder of the repository in which `folder` lies.

    Raises:
        ApsiteError: If it lies in none.
    """
    return Path(os.fsdecode(_git(folder, "rev-parse", "--show-toplevel").rstrip(b"\n")))


def tree_files(folder: Path, commit: str, paths: Sequence[str] = DATA_FOLDERS) -> dict[str, TreeFile]:
    """Files of a commit below `paths` of `folder`, by path relative to `folder`; also links and submodules."""
    listing = _git(folder, "ls-tree", "-r", "-l", "-z", commit, "--", *paths)
    files = {}
    for line in listing.split(b"\0"):
        if not line:
            continue
        head, _, name = line.partition(b"\t")
        mode, _kind, object_name, size = head.split()
        path = os.fsdecode(name)
        files[path] = TreeFile(path, mode.decode(), object_name.decode(), int(size) if size.isdigit() else 0)
        if len(files) > MAX_FILES:
            raise ApsiteError(f"{commit}: holds more than {MAX_FILES:,} data files; is this the right revision?")
    return files


def changed_files(folder: Path, commit: str) -> list[ChangedFile]:
    """What differs between a commit and the files on disk, tracked or not, in the whole repository, by path."""
    top = repository_root(folder)
    listing = _git(
        top, "diff", "--raw", "-z", "--no-renames", "--abbrev=64", "--no-ext-diff", "--no-textconv", commit, "--"
    )
    parts = listing.split(b"\0")
    found: dict[str, ChangedFile] = {}
    for head, name in zip(parts[0:-1:2], parts[1::2], strict=False):
        old_mode, new_mode, old_object, _new_object, _status = head.lstrip(b":").decode("ascii").split()
        path = os.fsdecode(name)
        found[path] = ChangedFile(
            path, None if old_mode == "000000" else old_object, None if new_mode == "000000" else new_mode
        )
    for name in _git(top, "ls-files", "--others", "--exclude-standard", "-z").split(b"\0"):
        if name:
            path = os.fsdecode(name)
            found[path] = ChangedFile(path, None, "120000" if (top / path).is_symlink() else "100644", tracked=False)
    return [found[path] for path in sorted(found)]


def uncommitted_files(folder: Path, paths: Sequence[str] = DATA_FOLDERS) -> list[str]:
    """Files below `paths` of `folder` that a commit does not have as they are on disk, by path relative to `folder`.

    Also those that git ignores: they are on disk, so everything works at home, and nobody else ever sees them.
    """
    names = _git(
        folder, "diff", "--name-only", "-z", "--relative", "--no-ext-diff", "--no-textconv", "HEAD", "--", *paths
    )
    names += _git(folder, "ls-files", "--others", "-z", "--", *paths)
    return sorted({os.fsdecode(name) for name in names.split(b"\0") if name})


def read_objects(folder: Path, names: Sequence[str]) -> Iterator[bytes]:
    """Contents of objects, in order. The caller has checked their sizes.

    Raises:
        ApsiteError: If one is missing.
    """
    if not names:
        return
    with tempfile.TemporaryFile() as requests:
        requests.write("".join(f"{name}\n" for name in names).encode("ascii"))
        requests.seek(0)
        process = subprocess.Popen(  # noqa: S603  (no shell; object names are hexadecimal)
            [*_SAFE_GIT, "-C", str(folder), "cat-file", "--batch"],
            stdin=requests, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment(),
        )  # fmt: skip
        with process:
            assert process.stdout is not None
            try:
                for name in names:
                    header = process.stdout.readline().split()
                    if len(header) != 3 or not header[2].isdigit():
                        raise ApsiteError(
                            f"object {name} is not in the repository at {folder}; fetch the whole history"
                        )
                    content = process.stdout.read(int(header[2]))
                    process.stdout.read(1)
                    yield content
            finally:
                process.kill()


@contextlib.contextmanager
def data_folder(source: str, repository: Path) -> Iterator[Path]:
    """Folder with the entries and records that `source` names: a folder as it is, or a revision of `repository`.

    The JSON files of a revision are written to a temporary folder that is removed in the end. Per-sample files are
    left out, for they are large and what is compared does not need them.

    Raises:
        ApsiteError: If it is neither, or the revision holds a link, a submodule, an odd name or too much.
    """
    folder = Path(source)
    if (folder / DATA_FOLDERS[0]).is_dir():
        yield folder
        return
    commit = resolve_commit(repository, source)
    files = [file for file in tree_files(repository, commit).values() if file.path.endswith(".json")]
    total = 0
    for file in files:
        total += file.size
        _check(source, file, total)
    with tempfile.TemporaryDirectory(prefix="apsite-") as temporary:
        target = Path(temporary)
        for name in DATA_FOLDERS:
            (target / name).mkdir()
        for file, content in zip(files, read_objects(repository, [file.object_name for file in files]), strict=True):
            path = target / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield target


def load_revision(source: str, repository: Path) -> Catalogue:
    """Catalogue of a folder, or of a revision of `repository`; see :func:`data_folder`.

    Raises:
        ApsiteError: As :func:`data_folder` and :func:`apsite.catalogue.load_catalogue`.
    """
    with data_folder(source, repository) as folder:
        try:
            return load_catalogue(folder)
        except ApsiteError as error:
            raise ApsiteError(str(error).replace(str(folder), source)) from None


def _check(source: str, file: TreeFile, total: int) -> None:
    """Refuse what must not be written to disk."""
    shown = file.path if file.path.isprintable() else ascii(file.path)
    if file.mode not in _REGULAR:
        raise ApsiteError(f"{source}: {shown}: is a link or a submodule; data are ordinary files")
    if not all(_SAFE_PART.fullmatch(part) for part in file.path.split("/")):
        raise ApsiteError(f"{source}: {shown}: has a name that no data file has; rename or remove it")
    if file.size > MAX_FILE_BYTES:
        raise ApsiteError(f"{source}: {shown}: has {file.size:,} bytes; at most {MAX_FILE_BYTES:,} are allowed")
    if total > MAX_TOTAL_BYTES:
        raise ApsiteError(f"{source}: holds more than {MAX_TOTAL_BYTES:,} bytes of data; is this the right revision?")


def _environment() -> dict[str, str]:
    """The caller's environment without what would point git elsewhere or make it run something."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}


def _git(folder: Path, *arguments: str, check: bool = True) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603  (no shell, no user text in the place of an option)
            [*_SAFE_GIT, "-C", str(folder), *arguments],
            capture_output=True, check=False, timeout=_TIMEOUT, env=_environment(), stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError:
        raise ApsiteError("git is not installed; comparing revisions needs it") from None
    except subprocess.TimeoutExpired:
        raise ApsiteError(f"{folder}: git did not answer within {_TIMEOUT} s") from None
    if done.returncode and check:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ApsiteError(f"{folder}: git {arguments[0]} failed: {reason[0] if reason else done.returncode}")
    return done.stdout
