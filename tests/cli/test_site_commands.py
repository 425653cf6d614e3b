"""The command that serves the built site."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from apsite.cli import cli
from tests.cli.conftest import Run


@pytest.mark.parametrize("folder", ["site", "."])
def test_serve_says_where_it_serves_until_it_is_interrupted(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "index.html").write_text("hello", encoding="utf-8")
    command = [sys.executable, "-m", "apsite", "serve", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = re.match(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        assert address is not None
        with urllib.request.urlopen(address[0]) as answer:
            assert answer.read() == b"hello"
        os.kill(process.pid, signal.SIGINT)
        said = process.communicate()[1]
    assert (process.returncode, said.strip()) == (130, "Interrupted.")


def test_serve_without_a_site_says_what_to_run(run: Run, tmp_path: Path) -> None:
    result = run("serve", tmp_path, code=1)
    assert result.stdout == ""
    assert result.stderr == f"Error: {tmp_path}/site: holds no built site; run `apsite build` first\n"


def test_a_demonstration_does_not_stand_in_the_way_of_a_build(repository: Path) -> None:
    """Its folder is none of those that a build would refuse to empty, git ignores it, and ``make clean`` removes it."""
    demo, build = (
        next(Path(one.default) for one in cli.commands[name].params if one.name == "output")
        for name in ("demo", "build")
    )
    assert not demo.is_relative_to(build)
    assert f"/{demo}/" in (repository / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert f" {demo} " in (repository / "Makefile").read_text(encoding="utf-8").partition("\nclean:")[2]
