"""A pull request that a maintainer reviews runs nothing on their machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result

from apsite.site.making import build, generator
from tests.builders import METHOD, MODEL, changed, entry_document, own_document, record_document, write_data
from tests.repositories import commit, git, repository_with

Run = Callable[..., Result]
RECORD = f"evaluations/{METHOD}/{MODEL}.json"
REVIEWS = (
    ["validate"],
    ["diff", "main"],
    ["build", "--output", "preview"],
    ["verify", RECORD, "--checkpoint", "absent.pt"],
)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A maintainer's clone on main, in which they work. Foreign code that runs would make `witness` next to it."""
    folder = repository_with(tmp_path / "clone", entry_document(), own_document())
    write(folder, "mkdocs.yml", "site_name: Ours\n")
    write(folder, "apsite/__init__.py", "")
    commit(folder)
    git(folder, "config", "filter.evil.smudge", f"touch {tmp_path}/witness; cat")
    monkeypatch.chdir(folder)
    return folder


def write(clone: Path, path: str, text: str) -> None:
    """Put a file there, with its folders."""
    (clone / path).parent.mkdir(parents=True, exist_ok=True)
    (clone / path).write_text(text, encoding="utf-8")


def propose(clone: Path, change: Callable[[Path], object] = lambda clone: None) -> None:
    """A good record and a change, on the branch ``proposal``; the clone is on ``main`` as before."""
    git(clone, "switch", "--quiet", "--create", "proposal")
    write_data(clone, record_document(f"{METHOD}_R18_CIFAR10_US_95", robust=0.3))
    change(clone)
    commit(clone)
    git(clone, "switch", "--quiet", "main")
    assert git(clone, "status", "--porcelain") == ""


CODE = "import pathlib; pathlib.Path(__file__).parents[{}].joinpath('witness').touch()\n"
HOOKS = "site_name: x\nhooks: [hooks.py]\ntheme: {name: material, custom_dir: hooks}\n"
ATTRIBUTES = "*.json filter=evil export-subst export-ignore\n"


def linked_folder(clone: Path) -> None:
    """A link in place of all entries."""
    (clone / "entries").rename(clone.parent / "elsewhere")
    (clone / "entries").symlink_to("../elsewhere")


HOSTILE: dict[str, Callable[[Path], object]] = {
    "mkdocs.yml": lambda clone: (write(clone, "mkdocs.yml", HOOKS), write(clone, "hooks.py", CODE.format(1))),
    "conftest.py": lambda clone: write(clone, "conftest.py", CODE.format(1)),
    f"evaluations/{METHOD}/conftest.py": lambda clone: write(
        clone, f"evaluations/{METHOD}/conftest.py", CODE.format(3)
    ),
    "apsite/__init__.py": lambda clone: write(clone, "apsite/__init__.py", CODE.format(2)),
    "sitecustomize.py": lambda clone: write(clone, "sitecustomize.py", CODE.format(1)),
    ".gitattributes": lambda clone: write(clone, ".gitattributes", ATTRIBUTES),
    "entries/.gitattributes": lambda clone: write(clone, "entries/.gitattributes", ATTRIBUTES),
    "entries": linked_folder,
    "entries/Link_Doe2024Small.json": lambda clone: (clone / "entries/Link_Doe2024Small.json").symlink_to("/etc/hosts"),
    RECORD: lambda clone: (clone / RECORD).chmod(0o755),
    "Entries/x.json": lambda clone: write(clone, "Entries/x.json", "{}"),
    r"'a\x1b[31m.json'": lambda clone: write(clone, "a\x1b[31m.json", "{}"),
}


@pytest.mark.parametrize("path", HOSTILE)
def test_a_proposal_that_changes_more_than_data_is_refused_unread(run: Run, clone: Path, path: str) -> None:
    """By every command of a review, with the path; nothing runs and nothing is written."""
    propose(clone, HOSTILE[path])
    (clone.parent / "witness").unlink(missing_ok=True)  # the switch of branches has run filters
    before = git(clone, "status", "--porcelain", "--ignored")
    for command in REVIEWS:
        result = run(*command, "--proposal", "proposal", code=1)
        assert result.stdout == ""
        assert result.stderr.startswith("Error: proposal: changes ")
        assert path in result.stderr.partition(";")[0]
        assert (
            "ordinary .json and .npz files in entries/ and evaluations/ only, so none of it was read" in result.stderr
        )
    assert not (clone.parent / "witness").exists()
    assert git(clone, "status", "--porcelain", "--ignored") == before


def test_the_installed_commands_run_nothing_even_in_a_checkout(clone: Path) -> None:
    """The package, site settings and test settings of a proposal lie in the working directory; the data is read."""
    for path in ("mkdocs.yml", "conftest.py", "apsite/__init__.py", "sitecustomize.py"):
        HOSTILE[path](clone)
    root = Path(__file__).parents[2]
    for command in ("validate", "build"):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "apsite", command], capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": str(root)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert (clone / "build/site/index.html").exists()
    assert not (clone.parent / "witness").exists()
    subprocess.run([sys.executable, "-c", "import apsite"], check=True, env=os.environ | {"PYTHONPATH": ""})
    assert (clone.parent / "witness").exists(), "the trap works"


def test_a_proposal_of_data_is_reviewed_without_a_checkout(
    run: Run, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked by the rules for proposals, compared, and built with the pages and the settings of the clone."""
    monkeypatch.setattr(generator, "run_generator", lambda configuration: None)
    monkeypatch.setattr(build, "write_bundle", lambda folder, cache: "vega.0.js")
    propose(clone)
    write(clone, "docs/extra.md", "# Ours too\n")
    model = f"{METHOD}_R18_CIFAR10_US_95"
    line, summary = run("validate", "--proposal", "proposal", code=1).stdout.splitlines()
    assert line.startswith(
        f"evaluations/{METHOD}/{model}.json: protocol: 'piras-2024' is for the results of the survey"
    )
    assert summary == "1 entry, 2 records, 1 per-sample file: 1 problem"
    assert f"added: {model}: " in run("diff", "main", "--proposal", "proposal").stdout
    run("build", "--proposal", "proposal")
    assert (clone / f"build/pages/data/evaluations/{METHOD}/{model}.json").exists()
    assert (clone / "build/pages/extra.md").exists()
    assert yaml.safe_load((clone / "build/mkdocs.yml").read_text())["site_name"] == "Ours"
    assert not (clone / f"evaluations/{METHOD}/{model}.json").exists()


def test_a_proposal_is_compared_with_where_it_began(run: Run, clone: Path) -> None:
    """A newer main changes nothing about it; a proposal that is checked out, or an unknown one, is named."""
    propose(clone, lambda clone: write_data(clone, changed(entry_document(), "notes", ["New."])))
    write(clone, "README.md", "Newer.\n")
    commit(clone)
    assert "README.md" not in run("validate", "--proposal", "proposal", code=1).output
    git(clone, "switch", "--quiet", "proposal")
    for command in REVIEWS:
        assert "proposes nothing, since HEAD contains it" in run(*command, "--proposal", "proposal", code=1).stderr
    assert "1 problem" in run("validate", "--proposal", "proposal", "--changed-since", "main", code=1).stdout
    for command in REVIEWS:
        assert "neither a folder with data nor a revision" in run(*command, "--proposal", "nowhere", code=1).stderr
    run("diff", "main", "proposal", "--proposal", "proposal", code=2)
