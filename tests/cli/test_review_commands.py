"""Commands for reviewing a change of the data: diff, preview-summary, preview-comment."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.builders import METHOD, MODEL, RIVAL, changed, entry_document, record_document, write_data
from tests.repositories import commit, git, repository_with

Run = Callable[..., Result]


@pytest.fixture
def proposal(tmp_path: Path) -> Path:
    """Repository on a branch that adds a better rival."""
    folder = repository_with(tmp_path / "repo", entry_document(), record_document())
    git(folder, "checkout", "--quiet", "-b", "work")
    write_data(folder, entry_document(RIVAL), record_document(f"{RIVAL}_R18_CIFAR10_US_90", robust=0.5))
    commit(folder)
    return folder


def test_diff_says_what_a_branch_changes(run: Run, proposal: Path) -> None:
    """Against the files at --root, or between two revisions, or folders."""
    result = run("diff", "--root", proposal, "main")
    assert result.exit_code == 0
    assert result.stdout == (
        f"New method: Rival ({RIVAL})\n"
        f"added: {RIVAL}_R18_CIFAR10_US_90: clean 80.00, AutoAttack 50.00, published\n"
        "CIFAR-10, ResNet18, unstructured, 90 %: new leader Rival (before: Tiny)\n"
        "  rank – → 1  Rival  AutoAttack – → 50.00\n"
        "  rank 1 → 2  Tiny  AutoAttack 40.00\n"
    )
    assert run("diff", "--root", proposal, "main", "work").stdout == result.stdout
    assert run("diff", "--root", proposal, "main", proposal).stdout == result.stdout
    assert "Removed method: Rival" in run("diff", "--root", proposal, "work", "main").stdout


def test_diff_speaks_markdown_and_json(run: Run, proposal: Path, tmp_path: Path) -> None:
    """For comments and for scripts, on stdout or into a file."""
    assert run("diff", "--root", proposal, "main", "--format", "markdown").stdout.startswith("### What changes\n")
    document = json.loads(run("diff", "--root", proposal, "main", "--format", "json").stdout)
    assert document["settings"][0]["leader_after"] == "Rival"
    run("diff", "--root", proposal, "main", "--format", "json", "-o", tmp_path / "diff.json")
    assert json.loads((tmp_path / "diff.json").read_text()) == document


@pytest.mark.parametrize("arguments", [["nowhere"], ["main", "nowhere"], ["--", "--upload-pack=x"]])
def test_diff_of_nothing_is_a_mendable_problem(run: Run, proposal: Path, arguments: list[str]) -> None:
    """One line on stderr."""
    result = run("diff", "--root", proposal, *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


def test_diff_needs_two_sound_catalogues(run: Run, proposal: Path) -> None:
    """Broken data is not compared."""
    write_data(proposal, changed(entry_document(), "baseline", 1))
    result = run("diff", "--root", proposal, "main")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "baseline: 1 is not of type boolean" in result.stderr


def packed(run: Run, folder: Path, where: Path, head: str) -> Path:
    """Archive with the summary of a maintainer's pull request: the records are of the survey."""
    summary = where / "summary.json"
    result = run(
        "preview-summary", "--root", folder, "--base", "main", "--pull-request", 12, "--head-sha", head, "-o", summary,
        "--maintainer",
    )  # fmt: skip
    assert result.exit_code == 0
    with zipfile.ZipFile(where / "artifact.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(summary, "summary.json")
    return where / "artifact.zip"


def described(where: Path, head: str) -> Path:
    """The platform's description of the pull request."""
    path = where / "pull.json"
    path.write_text(json.dumps({"number": 12, "state": "open", "head": {"sha": head}}))
    return path


def test_the_summary_of_a_good_change_becomes_its_comment(run: Run, proposal: Path, tmp_path: Path) -> None:
    """Number first, then the comment."""
    head = git(proposal, "rev-parse", "HEAD")
    artifact = packed(run, proposal, tmp_path, head)
    assert run("preview-comment", artifact, "--run-head", head, "--number").stdout == "12\n"
    result = run(
        "preview-comment", artifact, "--run-head", head, "--pull-request-file", described(tmp_path, head),
        "--artifact-url", "https://example.org/artifacts/1",
    )  # fmt: skip
    assert result.exit_code == 0
    assert "new leader `Rival` (before: `Tiny`)" in result.stdout
    assert "[download](https://example.org/artifacts/1)" in result.stdout


def test_the_summary_of_a_bad_change_lists_its_problems(run: Run, proposal: Path, tmp_path: Path) -> None:
    """Paths are those of the repository; nothing is compared."""
    write_data(proposal, changed(record_document(), "dataset", "svhn"))
    head = commit(proposal)
    artifact = packed(run, proposal, tmp_path, head)
    result = run(
        "preview-comment", artifact, "--run-head", head, "--pull-request-file", described(tmp_path, head)
    )  # fmt: skip
    assert f"- `evaluations/{METHOD}/{MODEL}.json`, `dataset`: `'svhn' contradicts the model key" in result.stdout
    assert "What changes" not in result.stdout


def test_a_hostile_artifact_is_refused_with_one_line(run: Run, proposal: Path, tmp_path: Path) -> None:
    """Exit 1 and no comment."""
    head = git(proposal, "rev-parse", "HEAD")
    artifact = packed(run, proposal, tmp_path, head)
    for arguments in (
        ["--run-head", "c" * 40, "--number"],
        ["--run-head", head, "--pull-request-file", described(tmp_path, "c" * 40)],
        ["--run-head", "HEAD", "--number"],
    ):
        result = run("preview-comment", artifact, *arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1


def test_the_comment_needs_the_platforms_word(run: Run, tmp_path: Path) -> None:
    """Either the number is asked for, or the description is given."""
    assert run("preview-comment", tmp_path / "a.zip", "--run-head", "a" * 40).exit_code == 2
