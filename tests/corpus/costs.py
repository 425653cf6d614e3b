"""CPU time and memory of checking each submission of the corpus: ``python -m tests.corpus.costs``."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from apsite.validation import validate
from tests.corpus import CORPUS
from tests.submissions import submission


def costs(folder: Path) -> list[tuple[str, str, float, float]]:
    """Name, outcome, CPU seconds and megabytes of every case, each checked in a process of its own.

    The outcome is ``refused``, ``accepted`` or ``traceback``. A process starts with the memory of this one.
    """
    good, found = submission(folder / "good"), []
    validate(good, changed_since="main")  # so that imports count for no case
    for bad in CORPUS:
        root = Path(shutil.copytree(good, folder / "case", symlinks=True))
        bad.spoil(root)
        if (child := os.fork()) == 0:
            try:
                os._exit(0 if validate(root, changed_since="main").problems else 1)
            except BaseException:
                traceback.print_exc()
                os._exit(2)
        _, status, usage = os.wait4(child, 0)
        outcome = {0: "refused", 1: "accepted"}.get(os.waitstatus_to_exitcode(status), "traceback")
        megabytes = usage.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
        found.append((bad.name, outcome, usage.ru_utime + usage.ru_stime, megabytes))
        shutil.rmtree(root)
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        json.dump(costs(Path(place)), sys.stdout)
