"""State of a run on disk, one small file per finished unit of work, so that an interrupted run can resume.

A unit is a batch of one attack, or one trial of the search. Each is a pure function of the run's inputs, so a resumed
run gives the record of an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from apsite.documents.json_files import atomic_file
from apsite.errors import EvaluationError


class RunState:
    """Finished units of one run; a context manager that keeps other processes out of its folder.

    Args:
        folder: Folder of all runs; this one has a subfolder.
        identity: Everything that the results depend on; another identity is another run.
        fresh: Forget what an earlier run with this identity has finished.

    Raises:
        EvaluationError: On entering, if another process works on the same run or the folder cannot be written.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], *, fresh: bool = False) -> None:
        self._identity, self._fresh = json.dumps(identity, sort_keys=True, default=str), fresh
        self.path = folder / hashlib.sha256(self._identity.encode()).hexdigest()[:16]
        self._lock = FileLock(folder / f"{self.path.name}.lock")

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            if self._fresh:
                shutil.rmtree(self.path, ignore_errors=True)
            self.path.mkdir(exist_ok=True)
        except Timeout:
            raise EvaluationError(
                f"{self.path}: another process is already running this evaluation; wait for it to finish or stop it"
            ) from None
        except OSError as error:
            raise EvaluationError(
                f"{self.path}: cannot keep the state of the run: {error.strerror}; choose a folder with --run-dir"
            ) from None
        (self.path / "identity.json").write_text(self._identity, encoding="utf-8")
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
