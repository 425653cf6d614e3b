"""Scratch git repositories with data in them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.builders import Document, write_data

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Jane Doe", "GIT_AUTHOR_EMAIL": "jane@example.org", "GIT_COMMITTER_NAME": "Jane Doe",
    "GIT_COMMITTER_EMAIL": "jane@example.org", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}  # fmt: skip


def git(folder: Path, *arguments: str) -> str:
    """Run git there and give what it printed."""
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **_IDENTITY},
    )
    return done.stdout.strip()


def repository_with(folder: Path, *documents: Document) -> Path:
    """A new repository whose one commit, on the branch ``main``, holds these documents and a file that is no data."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", "--initial-branch=main", "--template=")
    write_data(folder, *documents)
    (folder / "README.md").write_text("Data.\n", encoding="utf-8")
    commit(folder, "First")
    return folder


def commit(folder: Path, message: str = "Change") -> str:
    """Commit everything and give the commit's full name."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(folder, "rev-parse", "HEAD")
