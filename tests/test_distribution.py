"""What is published: the wheel holds the whole package, and works with nothing else of the repository beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

hatchling = pytest.importorskip("hatchling.build", reason="building needs hatchling, which the extra 'dev' brings")


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        return folder / hatchling.build_wheel(str(folder))


def files(folder: Path) -> set[str]:
    """Files below a folder but for what Python writes itself."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_the_package(repository: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.partition("/")[0].endswith(".dist-info")}
    assert packed == {f"apsite/{name}" for name in files(repository / "apsite")}
    for name in (
        "py.typed",
        "documents/schemas/entry.schema.json",
        "site/templates/index.md.j2",
        "demo/resnet8_lamp_90.safetensors",
    ):
        assert f"apsite/{name}" in packed


def test_the_source_archive_holds_every_file_of_the_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests run from it when a version is released, so it lacks nothing that they read."""
    if not (repository / ".git").exists():
        pytest.skip("only a checkout knows what is tracked")
    monkeypatch.chdir(repository)
    with tarfile.open(tmp_path / hatchling.build_sdist(str(tmp_path))) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True).stdout.split("\0")
    tracked = {name for name in listed if name and Path(name).exists()}
    assert {name for name in tracked - packed if not name.startswith(".ci/")} == set()


@pytest.mark.slow
def test_the_wheel_works_by_itself(wheel: Path, tmp_path: Path) -> None:
    pytest.importorskip("altair", reason="building the site needs the extra 'site'")
    installed, work = tmp_path / "installed", tmp_path / "work"
    (work / "entries").mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-P", *arguments],
            cwd=work,
            env={**os.environ, "PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-c", "import apsite; print(apsite.__file__)").startswith(str(installed))
    assert "See results:" in run("-m", "apsite", "--help")
    run(
        "-m", "apsite", "new", "--non-interactive", "--name", "Walk", "--title", "Small Networks",
        "--author", "Jane Doe", "--venue", "arXiv", "--year", "2026", "--paper-url", "https://example.org/paper",
        "--bibtex", "@misc{doe, title = {Small Networks}}", "--stage", "after", "--structure", "unstructured",
        "--criterion", "LWM",
    )  # fmt: skip
    assert "1 entry" in run("-m", "apsite", "validate")
    run("-m", "apsite", "snapshot", "--output", "data.zip")
    assert zipfile.is_zipfile(work / "data.zip")
    run("-m", "apsite", "build")
    assert (work / "build/site/methods/Walk_Doe2026Small.html").is_file()
    pytest.importorskip("torch", reason="looking into the embedded network needs the extra 'eval'")
    network = run("-c", "from apsite.evaluation.runs.demonstration import network_path; print(network_path())").strip()
    assert network.startswith(str(installed))
    audit = json.loads(run("-m", "apsite", "audit", network, "--arch", "resnet8", "--json"))
    assert audit["architecture"] == "resnet8"
