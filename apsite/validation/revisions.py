"""Data of another revision of the repository, unpacked into a temporary folder: nothing is checked out or executed.

A revision may be an untrusted pull request. Only ordinary ``.json`` and ``.npz`` files with plain names and of bounded
size are unpacked; a link, a strange name or an unusual size is an error.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from apsite.catalogue import Catalogue, load_catalogue
from apsite.documents import json_files
from apsite.errors import ApsiteError
from apsite.samples import MAX_FILE_BYTES

MAX_FILES = 50_000
MAX_TOTAL_BYTES = 300_000_000
LIMITS = {".json": json_files.MAX_BYTES, ".npz": MAX_FILE_BYTES}
"""Files that are unpacked, by suffix, and their largest size; the same limits as for reading them."""
DATA_FOLDERS = ("entries", "evaluations")

_SAFE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
# What a checkout or environment could otherwise make git do: hooks, monitors, pagers, prompts, replaced objects.
_SAFE_GIT = (
    "git", "--no-pager", "--no-replace-objects", "--no-optional-locks", "--literal-pathspecs",
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false",
    "-c", "protocol.allow=never", "-c", "init.defaultObjectFormat=sha1",
)  # fmt: skip
# `git archive` obeys the attributes that a revision brings: it would leave files out, expand keywords, convert line
# ends and call filters. It runs in an empty repository instead, which borrows the objects, has no configuration, and
# whose own attributes come before all others.
_ATTRIBUTES = "* !export-ignore !export-subst -text !crlf !eol !ident !filter !working-tree-encoding\n"
_TIMEOUT = 120


@dataclass(frozen=True)
class ChangedFile:
    """A path that differs between a revision and the files on disk."""

    path: str  # relative to the root of the repository, / between parts
    mode: str | None = "100644"  # git's mode on disk; None if the file was removed
    new: bool = False  # whether the revision does not have it
    tracked: bool = True  # whether git knows it; an untracked file is not part of a commit yet


def resolve_commit(folder: Path, revision: str) -> str:
    """Full name of the commit that `revision` names in the repository of `folder`.

    Raises:
        ApsiteError: If `folder` is in no repository, or the revision is unknown there.
    """
    if not revision or revision.startswith("-") or not revision.isprintable():
        raise ApsiteError(f"{revision!r} is not a valid revision; give a branch, a tag or a commit")
    if not (name := _object(folder, f"{revision}^{{commit}}")):
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


def changed_files(folder: Path, commit: str) -> tuple[Path, list[ChangedFile]]:
    """Top folder of the repository, and what differs in it between a commit and the files on disk, tracked or not.

    Raises:
        ApsiteError: If `folder` is in no repository.
    """
    top = Path(os.fsdecode(_git(folder, "rev-parse", "--show-toplevel").rstrip(b"\n")))
    parts = _git(
        top, "diff", "--raw", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none",
        commit, "--",
    ).split(b"\0")  # fmt: skip
    found = {}
    for head, name in zip(parts[0:-1:2], parts[1::2], strict=False):
        old_mode, mode = head.lstrip(b":").decode("ascii").split()[:2]
        path = os.fsdecode(name)
        found[path] = ChangedFile(path, None if mode == "000000" else mode, new=old_mode == "000000")
    for name in _git(top, "ls-files", "--others", "--exclude-standard", "-z").split(b"\0"):
        if name:
            path = os.fsdecode(name)
            mode = "120000" if (top / path).is_symlink() else "100644"
            found[path] = ChangedFile(path, mode, new=True, tracked=False)
    return top, [found[path] for path in sorted(found)]


def uncommitted_files(folder: Path) -> list[str]:
    """Data files of `folder` that the checked-out commit does not have as they are on disk, relative to `folder`.

    Files that git ignores are among them: everything works locally, but they never reach a pull request.
    """
    names = _git(
        folder, "diff", "--name-only", "-z", "--relative", "--no-ext-diff", "--no-textconv", "HEAD", "--",
        *DATA_FOLDERS,
    )  # fmt: skip
    names += _git(folder, "ls-files", "--others", "-z", "--", *DATA_FOLDERS)
    return sorted({os.fsdecode(name) for name in names.split(b"\0") if name})


@contextlib.contextmanager
def data_folder(source: str, repository: Path) -> Iterator[Path]:
    """Folder with the data that `source` names: a folder as it is, or a revision of `repository`.

    The data files of a revision are unpacked into a temporary folder, byte for byte, which is removed in the end.

    Raises:
        ApsiteError: If it is neither, or the revision holds a link, a strange name or too much data.
    """
    folder = Path(source)
    if (folder / DATA_FOLDERS[0]).is_dir():
        yield folder
        return
    commit = resolve_commit(repository, source)
    with tempfile.TemporaryDirectory(prefix="apsite-") as temporary:
        target, store = Path(temporary, "data"), Path(temporary, "git")
        _git(repository, "init", "--quiet", "--bare", "--template=",
             *(["--object-format=sha256"] if len(commit) == 64 else []), str(store))  # fmt: skip
        (store / "info").mkdir(exist_ok=True)
        (store / "info/attributes").write_text(_ATTRIBUTES, encoding="utf-8")
        objects = repository / os.fsdecode(_git(repository, "rev-parse", "--git-path", "objects").rstrip(b"\n"))
        environment = {
            **_environment(), "GIT_DIR": str(store), "GIT_OBJECT_DIRECTORY": str(objects.resolve()),
            "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
        }  # fmt: skip
        for name in DATA_FOLDERS:
            (target / name).mkdir(parents=True)
            if tree := _object(repository, f"{commit}:./{name}"):
                _unpack(source, tree, environment, target / name)
        yield target


@contextlib.contextmanager
def open_catalogue(source: str, repository: Path) -> Iterator[Catalogue]:
    """Catalogue of a folder, or of a revision of `repository`, whose files exist while the block runs.

    Raises:
        ApsiteError: As :func:`data_folder` and :func:`apsite.catalogue.load_catalogue`.
    """
    with data_folder(source, repository) as folder:
        try:
            catalogue = load_catalogue(folder)
        except ApsiteError as error:
            raise ApsiteError(str(error).replace(str(folder), source)) from None
        yield catalogue


def _unpack(source: str, tree: str, environment: dict[str, str], folder: Path) -> None:
    """Write the data files of a tree into a folder, after a look at the kind, name and size of each."""
    total = 0
    broken = ApsiteError(f"{source}: {folder.name}/ cannot be unpacked by `git archive`; fetch the whole history")
    with subprocess.Popen(  # noqa: S603  (no shell; the name of an object is hexadecimal)
        [*_SAFE_GIT, "archive", "--format=tar", tree],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
    ) as process:  # fmt: skip
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for count, member in enumerate(archive):
                    total += member.size
                    if count >= MAX_FILES or total > MAX_TOTAL_BYTES:
                        raise ApsiteError(
                            f"{source}: holds more than {MAX_FILES:,} files or {MAX_TOTAL_BYTES:,} bytes of data; "
                            "is this the right revision?"
                        )
                    if member.name.endswith(tuple(LIMITS)) and not member.isdir():
                        _check(source, f"{folder.name}/{member.name}", member)
                        content = archive.extractfile(member)
                        assert content is not None
                        target = folder / member.name
                        target.parent.mkdir(parents=True, exist_ok=True)
                        target.write_bytes(content.read())
            assert process.stdout is not None
            process.stdout.read()  # the padding, so that git ends well
        except BaseException as error:
            process.kill()
            if isinstance(error, tarfile.TarError):
                raise broken from None
            raise
    if process.returncode:
        raise broken


def _check(source: str, path: str, member: tarfile.TarInfo) -> None:
    """Refuse what must not be written to disk. With these names, nothing can lead out of the folder."""
    shown = f"{source}: {path if path.isprintable() else ascii(path)}"
    if not member.isreg():
        raise ApsiteError(f"{shown}: is a link; data files are ordinary files")
    if not all(_SAFE_PART.fullmatch(part) for part in path.split("/")):
        raise ApsiteError(f"{shown}: has a name that no data file has; rename or remove it")
    limit = LIMITS[Path(path).suffix]
    if member.size > limit:
        raise ApsiteError(f"{shown}: has {member.size:,} bytes; at most {limit:,} are allowed")


def _object(folder: Path, name: str) -> str | None:
    """Git's name of the object that an expression names; ``None`` if there is no such object."""
    found = _git(folder, "rev-parse", "--verify", "--quiet", name, check=False).decode("ascii", "replace").strip()
    return found if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", found) else None


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
