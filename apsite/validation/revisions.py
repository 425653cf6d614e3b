"""Data of another revision of the repository, unpacked into a temporary folder: nothing is checked out or executed.

A revision may be an untrusted pull request. Only ordinary ``.json`` and ``.npz`` files with plain names and of bounded
size are unpacked; a link, a strange name or an unusual size is an error. A proposal is a revision that is refused if it
changes anything but such files.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
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
HEAD = "HEAD"
"""The checked-out commit, which is trusted."""

_SAFE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
# What a checkout or environment could otherwise make git do: hooks, monitors, pagers, prompts, replaced objects.
_SAFE_GIT = (
    "git", "--no-pager", "--no-replace-objects", "--no-optional-locks", "--literal-pathspecs",
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false",
    "-c", "protocol.allow=never", "-c", "init.defaultObjectFormat=sha1",
    # A file that was changed within its size and time is compared by its content.
    "-c", "core.checkStat=default", "-c", "core.trustCtime=true",
)  # fmt: skip
# `git archive` obeys the attributes that a revision brings: it would leave files out, expand keywords, convert line
# ends and call filters. It runs in an empty repository instead, which borrows the objects, has no configuration, and
# whose own attributes come before all others.
_ATTRIBUTES = "* !export-ignore !export-subst -text !crlf !eol !ident !filter !working-tree-encoding\n"
_TIMEOUT = 120
_SHOWN = 5
"""Files that a message names; of more, the number."""


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


def merge_base(folder: Path, revision: str, head: str = HEAD) -> str:
    """Newest common ancestor of `revision` and `head`: where a branch began.

    Raises:
        ApsiteError: If there is none, or as :func:`resolve_commit`.
    """
    commits = (resolve_commit(folder, revision), resolve_commit(folder, head))
    base = _git(folder, "merge-base", *commits, check=False).decode("ascii", "replace").split()
    if not base:
        other = "the checked-out commit" if head == HEAD else head
        raise ApsiteError(
            f"{revision}: has no history in common with {other}; fetch the whole history (`git fetch --unshallow`)"
        )
    return base[0]


def changed_files(folder: Path, commit: str, head: str | None = None) -> tuple[str, list[ChangedFile]]:
    """Path of `folder` in its repository, ending in ``/`` unless empty, and what differs in the whole repository.

    The two sides are a commit and `head`, another one; or, for ``None``, the files on disk: those that git tracks, even
    if it takes them as unchanged, and data files that it does not track, even if it ignores them.

    Raises:
        ApsiteError: If `folder` is in no repository.
    """
    prefix = os.fsdecode(_git(folder, "rev-parse", "--show-prefix").rstrip(b"\n"))
    compared = [commit] if head is None else [commit, head]
    with _index(folder) as index:
        parts = _git(
            folder, "diff", "--raw", "-z", "--no-renames", "--no-relative", "--no-ext-diff", "--no-textconv",
            "--ignore-submodules=none", *compared, "--", index=index,
        ).split(b"\0")  # fmt: skip
    found = {}
    for state, name in zip(parts[0:-1:2], parts[1::2], strict=False):
        old_mode, mode = state.lstrip(b":").decode("ascii").split()[:2]
        path = os.fsdecode(name)
        found[path] = ChangedFile(path, None if mode == "000000" else mode, new=old_mode == "000000")
    for path in _untracked(folder) if head is None else ():
        mode = "120000" if (folder / path).is_symlink() else "100644"
        found[prefix + path] = ChangedFile(prefix + path, mode, new=True, tracked=False)
    return prefix, [found[path] for path in sorted(found)]


def uncommitted_files(folder: Path) -> list[str]:
    """Data files of `folder` that the checked-out commit does not have as they are on disk, relative to `folder`.

    Files that git ignores are among them: everything works locally, but they never reach a pull request.
    """
    with _index(folder) as index:
        names = _git(
            folder, "diff", "--name-only", "-z", "--relative", "--no-ext-diff", "--no-textconv", HEAD, "--",
            *DATA_FOLDERS, index=index,
        )  # fmt: skip
    return sorted({*_names(names), *_untracked(folder)})


def _names(listed: bytes) -> list[str]:
    return [os.fsdecode(name) for name in listed.split(b"\0") if name]


def _untracked(folder: Path) -> list[str]:
    return _names(_git(folder, "ls-files", "--others", "-z", "--", *DATA_FOLDERS))


@contextlib.contextmanager
def _index(folder: Path) -> Iterator[Path | None]:
    """An index that hides no change: a copy without the marks of files that git takes as unchanged, if there are any.

    A file marked as ``skip-worktree`` that is not on disk keeps its mark, as a sparse checkout leaves it out.
    """
    top = Path(os.fsdecode(_git(folder, "rev-parse", "--show-toplevel").rstrip(b"\n")))
    marked = [entry for entry in _names(_git(top, "ls-files", "-v", "-z")) if entry[0] == "S" or entry[0].islower()]
    shown = [entry[2:] for entry in marked if os.path.lexists(top / entry[2:])]
    if not shown:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="apsite-") as temporary:
        index = Path(temporary, "index")
        shutil.copyfile(top / os.fsdecode(_git(top, "rev-parse", "--git-path", "index").rstrip(b"\n")), index)
        for mark in ("--no-assume-unchanged", "--no-skip-worktree"):  # each excludes the other
            names = b"".join(os.fsencode(name) + b"\0" for name in shown)
            _git(top, "update-index", mark, "-z", "--stdin", index=index, given=names)
        yield index


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
def proposed_data(revision: str, repository: Path, base: str = HEAD) -> Iterator[Path]:
    """Folder with the data of a proposal, as :func:`data_folder`; `base` is a revision of the branch that it is for.

    Raises:
        ApsiteError: If `revision` is none, has nothing that `base` lacks, or changes anything but ordinary data files.
    """
    start, commit = merge_base(repository, revision, base), resolve_commit(repository, revision)
    if start == commit:
        raise ApsiteError(
            f"{revision}: proposes nothing, since {base} contains it; check out the main branch, not the proposal"
        )
    refused = _not_data(*changed_files(repository, start, commit))
    if refused:
        shown = ", ".join(name if name.isprintable() else ascii(name) for name in refused[:_SHOWN])
        more = f" and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
        raise ApsiteError(
            f"{revision}: changes {shown}{more}; a proposal may change ordinary .json and .npz files in "
            f"{' and '.join(f'{name}/' for name in DATA_FOLDERS)} only, so none of it was read; ask for a separate "
            "pull request without data"
        )
    with data_folder(commit, repository) as folder:
        yield folder


def _not_data(prefix: str, changed: Iterable[ChangedFile]) -> list[str]:
    """Paths of changed files that are not ordinary data files below `prefix`."""
    folders = tuple(f"{prefix}{name}/" for name in DATA_FOLDERS)
    return [
        file.path for file in changed
        if not file.path.startswith(folders) or not file.path.endswith(tuple(LIMITS))
        or file.mode not in (None, "100644")
    ]  # fmt: skip


@contextlib.contextmanager
def open_catalogue(source: str, repository: Path, *, proposal: bool = False) -> Iterator[Catalogue]:
    """Catalogue of a folder, or of a revision of `repository`, whose files exist while the block runs.

    `proposal` says that `source` is one: see :func:`proposed_data`.

    Raises:
        ApsiteError: As :func:`data_folder` and :func:`apsite.catalogue.load_catalogue`.
    """
    with (proposed_data if proposal else data_folder)(source, repository) as folder:
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


def _git(
    folder: Path, *arguments: str, check: bool = True, index: Path | None = None, given: bytes = b""
) -> bytes:  # fmt: skip
    """Output of git in a folder, with an index of its own and `given` on stdin."""
    environment = _environment() | ({} if index is None else {"GIT_INDEX_FILE": str(index)})
    try:
        done = subprocess.run(  # noqa: S603  (no shell, no user text in the place of an option)
            [*_SAFE_GIT, "-C", str(folder), *arguments],
            capture_output=True, check=False, timeout=_TIMEOUT, env=environment, input=given,
        )  # fmt: skip
    except FileNotFoundError:
        raise ApsiteError("git is not installed; comparing revisions needs it") from None
    except subprocess.TimeoutExpired:
        raise ApsiteError(f"{folder}: git did not answer within {_TIMEOUT} s") from None
    if done.returncode and check:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ApsiteError(f"{folder}: git {arguments[0]} failed: {reason[0] if reason else done.returncode}")
    return done.stdout
