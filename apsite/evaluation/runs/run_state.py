"""State of a run on disk, one small file per finished unit of work, so that an interrupted run can resume.

A unit is a batch of one attack, or one trial of the search. Each is a pure function of the run's inputs, so a resumed
run gives the record of an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from apsite.documents.json_files import atomic_file, read_json, write_json
from apsite.errors import ApsiteError, EvaluationError

_DESCRIPTION = "identity.json"


class RunState:
    """Finished units of one run; a context manager that keeps other processes out of its folder.

    Args:
        folder: Folder of all runs; this one has a subfolder.
        identity: Everything that the results depend on; another identity is another run.
        fresh: Forget what an earlier run with this identity has finished.
        about: What is run, for the list of unfinished runs.

    Raises:
        EvaluationError: On entering, if another process works on the same run or the folder cannot be written.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], *, fresh: bool = False, about: str = "") -> None:
        text, self._fresh = json.dumps(identity, sort_keys=True, default=str), fresh
        self.path = folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        self._described = {"about": about, "identity": json.loads(text)}
        self._lock = FileLock(_lock_of(self.path))

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            if self._fresh:
                shutil.rmtree(self.path, ignore_errors=True)
            self.path.mkdir(exist_ok=True)
            write_json(self.path / _DESCRIPTION, self._described)
        except Timeout:
            raise EvaluationError(
                f"{self.path}: another process is already running this evaluation; wait for it to finish or stop it"
            ) from None
        except (OSError, ApsiteError) as error:
            self._lock.release()
            reason = error.strerror if isinstance(error, OSError) else error
            raise EvaluationError(
                f"{self.path}: cannot keep the state of the run: {reason}; choose a folder with --run-dir"
            ) from None
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def __len__(self) -> int:
        return sum(1 for _ in self.path.glob("*.npz"))

    def names(self, prefix: str) -> list[str]:
        """Finished units whose names begin with `prefix`, in order."""
        return sorted(path.stem for path in self.path.glob(f"{prefix}*.npz"))

    def get(self, unit: str) -> dict[str, NDArray[Any]] | None:
        """Arrays of a finished unit; ``None`` if it is not finished."""
        path = self.path / f"{unit}.npz"
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, zipfile.BadZipFile, EOFError):
            path.unlink(missing_ok=True)  # damaged from outside: the unit is simply done again
            return None

    def put(self, unit: str, **arrays: NDArray[Any]) -> None:
        """Keep the arrays of a finished unit, whole or not at all."""
        with atomic_file(self.path / f"{unit}.npz") as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)

    def clear(self) -> None:
        """Remove the state: the record has been written."""
        shutil.rmtree(self.path, ignore_errors=True)


@dataclass(frozen=True)
class KeptRun:
    """A run that has not ended, in a folder of runs.

    Attributes:
        about: What is run; empty if unknown.
        units: Units of work that are finished.
        size: Bytes on disk.
        changed: Time of the last unit, as seconds since 1970.
        running: Whether a process works on it now.
    """

    path: Path
    about: str
    units: int
    size: int
    changed: float
    running: bool


def kept_runs(folder: Path) -> list[KeptRun]:
    """Unfinished runs in a folder, the one that was last worked on first."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        if not (path / _DESCRIPTION).is_file():
            continue
        try:
            about = str(read_json(path / _DESCRIPTION).get("about", ""))
        except ApsiteError:
            about = ""
        files = [one.stat() for one in path.iterdir()]
        size, changed = sum(one.st_size for one in files), max(one.st_mtime for one in files)
        found.append(KeptRun(path, about, sum(1 for _ in path.glob("*.npz")), size, changed, _running(path)))
    return sorted(found, key=lambda run: -run.changed)


def remove_run(run: KeptRun) -> bool:
    """Remove the state of a run, unless a process works on it; says whether it is gone."""
    try:
        with FileLock(_lock_of(run.path), timeout=0):
            shutil.rmtree(run.path)
            _lock_of(run.path).unlink(missing_ok=True)
    except Timeout:
        return False
    except OSError as error:
        raise EvaluationError(f"{run.path}: cannot be removed: {error.strerror}") from None
    return True


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _running(path: Path) -> bool:
    """Whether a process holds the lock of a run."""
    try:
        FileLock(_lock_of(path), timeout=0).acquire().lock.release()
    except Timeout:
        return True
    except OSError:  # a folder where nobody can lock or work
        return False
    return False
