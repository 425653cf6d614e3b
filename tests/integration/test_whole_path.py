"""The whole way of a contribution, in a scratch repository: described, evaluated, checked, committed, judged, shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="evaluating needs the extra 'eval'")
pytest.importorskip("altair", reason="building needs the extra 'site'")

from tests.cli.conftest import apsite
from tests.contribution.test_bibtex import PAPER
from tests.repositories import commit, git

KEY = "Walk_Doe2026Small"
MODEL = f"{KEY}_R8_CIFAR10_US_90"


@pytest.fixture
def clone(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The benchmark's own data and pages as a repository of its own, which is the current folder."""
    folder = tmp_path / "clone"
    for name in ("entries", "evaluations", "docs"):
        shutil.copytree(repository / name, folder / name)
    for name in ("mkdocs.yml", "CHANGELOG.md", "README.md", ".gitignore"):
        shutil.copy(repository / name, folder)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "The benchmark")
    monkeypatch.chdir(folder)
    return folder


def describe(folder: Path) -> None:
    """`apsite new`, with the paper from a BibTeX file."""
    bibtex = folder.parent / "paper.bib"
    bibtex.write_text(PAPER, encoding="utf-8")
    answers = ["--name", "Walk", "--stage", "after", "--structure", "unstructured", "--criterion", "LWM"]
    said = apsite("new", "--non-interactive", "--from-bibtex", bibtex, *answers).stdout
    assert f"--method {KEY}" in said
    assert (folder / "entries" / f"{KEY}.json").is_file()
    assert (folder / "evaluations" / KEY).is_dir()


def evaluate(repository: Path, *options: object) -> None:
    """`apsite eval` of the demonstration's checkpoint on embedded images, as the printed command says."""
    apsite(
        "eval", repository / "apsite/demo/resnet8_lamp_90.safetensors", "--method", KEY, "--dataset", "cifar10",
        "--arch", "resnet8", "--structure", "unstructured", "--sparsity", "0.90", "--data-dir", "embedded",
        "--checkpoint-url", "https://example.org/walk.safetensors", "--quiet", *options,
    )  # fmt: skip


def test_from_a_paper_to_a_proposal(repository: Path, clone: Path) -> None:
    describe(clone)
    evaluate(repository, "--protocol", "quick", "--n-examples", 1)
    assert "Ready for a pull request." in apsite("submit-check", KEY).stdout
    assert "no problem" in apsite("validate").stdout
    git(clone, "switch", "--quiet", "--create", KEY)
    commit(clone, f"Add {KEY}")
    assert git(clone, "diff", "--name-only", "main", "HEAD").splitlines() == [
        f"entries/{KEY}.json", f"evaluations/{KEY}/{MODEL}.json", f"evaluations/{KEY}/{MODEL}.npz",
    ]  # fmt: skip
    assert "no problem" in apsite("validate", "--changed-since", "main").stdout
    changes = apsite("diff", "main").stdout
    assert f"New method: Walk ({KEY})" in changes
    assert f"added: {MODEL}" in changes
    assert "per-sample files: no problem\n\nNew method: Walk" in apsite("preview-summary", "--base", "main").stdout

    # What the gate is for: a figure that the samples do not bear out, and a proposal that touches more than data.
    path = clone / f"evaluations/{KEY}/{MODEL}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["results"]["attacks"][0]["robust_accuracy"] = record["results"]["clean_accuracy"] = 1.0
    path.write_text(json.dumps(record), encoding="utf-8")
    (clone / "README.md").write_text("Trust me.\n", encoding="utf-8")
    commit(clone, "Better figures")
    refused = apsite("validate", "--changed-since", "main", code=1).stdout
    assert "contradicts the per-sample file" in refused
    assert "README.md" in refused


@pytest.mark.slow
def test_from_a_paper_to_the_site(repository: Path, clone: Path) -> None:
    describe(clone)
    evaluate(repository, "--protocol", "quick", "--n-examples", 8)
    assert "no problem" in apsite("validate").stdout
    commit(clone, f"Add {KEY}")
    assert "no problem" in apsite("validate", "--changed-since", "HEAD^").stdout
    assert f"added: {MODEL}" in apsite("diff", "HEAD^", "HEAD").stdout
    index = Path(apsite("build").stdout.strip())
    page = (index.parent / f"methods/{KEY}.html").read_text(encoding="utf-8")
    assert "Small Networks &amp; Weißer" in page
    assert MODEL in page
    assert "reduced run" in page
    assert KEY in (index.parent / "taxonomy.html").read_text(encoding="utf-8")
