"""Commands for reviewing a change of the data: diff, preview-summary, preview-comment."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from click.testing import Result

from tests.builders import METHOD, MODEL, RIVAL, changed, entry_document, record_document, write_data
from tests.cli.conftest import Run
from tests.repositories import commit, git, repository_with


@pytest.fixture
def proposal(tmp_path: Path) -> Path:
    """Repository on a branch that adds a better rival."""
    folder = repository_with(tmp_path / "repo", entry_document(), record_document())
    git(folder, "checkout", "--quiet", "-b", "work")
    write_data(folder, entry_document(RIVAL), record_document(f"{RIVAL}_R18_CIFAR10_US_90", robust=0.5))
    commit(folder)
    return folder


def test_diff_says_what_a_branch_changes(run: Run, proposal: Path) -> None:
    result = run("diff", "--root", proposal, "main")
    assert result.stdout == (
        f"New method: Rival ({RIVAL})\n"
        f"added: {RIVAL}_R18_CIFAR10_US_90: clean 80.00, AutoAttack 50.00, HO-FMN –, joint –, piras-2024, published\n"
        "CIFAR-10, ResNet18, unstructured, 90 %: new leader Rival (before: Tiny)\n"
        "  rank – → 1  Rival  AutoAttack – → 50.00\n"
        "  rank 1 → 2  Tiny  AutoAttack 40.00\n"
    )
    assert run("diff", "--root", proposal, "main", "work").stdout == result.stdout
    assert run("diff", "--root", proposal, "main", proposal).stdout == result.stdout
    assert "Removed method: Rival" in run("diff", "--root", proposal, "work", "main").stdout


def test_diff_speaks_markdown_and_json(run: Run, proposal: Path, tmp_path: Path) -> None:
    assert run("diff", "--root", proposal, "main", "--format", "markdown").stdout.startswith(
        "### What changes\n\n```text\nNew"
    )
    document = json.loads(run("diff", "--root", proposal, "main", "--format", "json").stdout)
    assert document["settings"][0]["leader_after"] == "Rival"
    run("diff", "--root", proposal, "main", "--format", "json", "-o", tmp_path / "diff.json")
    assert json.loads((tmp_path / "diff.json").read_text()) == document


@pytest.mark.parametrize("arguments", [["nowhere"], ["main", "nowhere"], ["--", "--upload-pack=x"]])
def test_diff_of_nothing_is_a_mendable_problem(run: Run, proposal: Path, arguments: list[str]) -> None:
    result = run("diff", "--root", proposal, *arguments, code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


def test_diff_needs_two_sound_catalogues(run: Run, proposal: Path) -> None:
    write_data(proposal, changed(entry_document(), "baseline", 1))
    result = run("diff", "--root", proposal, "main", code=1)
    assert result.stdout == ""
    assert "baseline: 1 is not of type boolean" in result.stderr


def test_the_text_of_the_checks_becomes_the_comment(run: Run, proposal: Path, tmp_path: Path) -> None:
    text, files, head = tmp_path / "preview.txt", tmp_path / "files.txt", git(proposal, "rev-parse", "HEAD")
    files.write_text(f"entries/{RIVAL}.json\n")
    options = ("--head-sha", head, "--changed-files", files, "--run-url", "https://example.org/runs/1")

    def made() -> Result:
        run("preview-summary", "--root", proposal, "--base", "main", "--maintainer", "-o", text)
        with zipfile.ZipFile(tmp_path / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(text, "preview.txt")
        return run("preview-comment", tmp_path / "archive.zip", *options)

    good = made()
    assert "new leader Rival (before: Tiny)" in good.stdout
    assert "[The run](https://example.org/runs/1)" in good.stdout
    write_data(proposal, changed(record_document(), "dataset", "svhn"))
    bad = made()
    assert f"\nevaluations/{METHOD}/{MODEL}.json: dataset: 'svhn' contradicts the model key" in bad.stdout
    assert "new leader" not in bad.stdout
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("preview.txt", "```\n@everyone")
    refused = run("preview-comment", tmp_path / "archive.zip", *options, code=1)
    assert (refused.stdout, refused.stderr.count("\n")) == ("", 1)
    assert refused.stderr.startswith("Error: ")
