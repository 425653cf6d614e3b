"""A corpus of bad submissions: each is refused, with a message that names file and field, with no traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from apsite.cli import cli
from tests.builders import METHOD, RIVAL, entry_document, version_1, write_data
from tests.corpus import CORPUS
from tests.corpus.cases import Bad
from tests.corpus.proposals import CHANGE, own_run_of_rival, superseding, verified
from tests.repositories import commit, git
from tests.submissions import (
    MODELS,
    OTHERS_ENTRY,
    OTHERS_RECORD,
    PUBLISHED,
    RECORD,
    REDUCED,
    REDUCED_MODEL,
    edit,
    full_run,
    submission,
    verdicts,
    write,
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The submission before it is spoilt; never changed."""
    return submission(tmp_path_factory.mktemp("good") / "repository")


@pytest.fixture
def root(good: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(good, tmp_path / "repository", symlinks=True))


def checked(root: Path, *arguments: str) -> tuple[int, list[dict[str, str]]]:
    """Exit code and problems of ``apsite validate --changed-since main``, with paths relative to the repository."""
    command = ["validate", "--root", str(root), "--changed-since", "main", "--format", "json", *arguments]
    result = CliRunner().invoke(cli, command, prog_name="apsite")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    problems = json.loads(result.stdout)["problems"]
    return result.exit_code, [{**one, "path": os.path.relpath(one["path"], root)} for one in problems]


def test_the_corpus_is_large_and_has_no_case_twice() -> None:
    assert len(CORPUS) >= 150
    assert len({one.name for one in CORPUS}) == len(CORPUS)


def test_the_submission_is_good_before_it_is_spoilt(root: Path) -> None:
    """Uncommitted and committed; so each case below is refused for what was done to it."""
    assert checked(root) == (0, [])
    commit(root)
    assert checked(root) == (0, [])
    assert checked(root, "--maintainer") == (0, [])


@pytest.mark.parametrize("bad", CORPUS, ids=lambda bad: bad.name)
def test_a_bad_submission_is_refused(root: Path, bad: Bad) -> None:
    bad.spoil(root)
    code, problems = checked(root)
    assert code == 1
    here = [one["problem"] for one in problems if (one["path"], one["field"]) == (bad.path, bad.field)]
    assert any(bad.message in problem for problem in here), problems
    for one in problems:
        assert not one["path"].startswith("..")
        assert one["problem"]
        assert one["problem"].isprintable()
        assert len(one["problem"]) < 2_000


def test_rows_that_fab_dropped_took_fewer_passes(root: Path) -> None:
    """Each saves the 70 steps that are left; a pass less than that is refused."""
    stage = "results.attacks[autoattack].stages[fab-t].dropped_rows"
    for forward, expected in ((1_480_000, []), (1_479_999, ["passes.fab-t"])):
        passes = {"forward": forward, "backward": 0}
        edit(RECORD, (stage, 20_000), ("passes.fab-t", passes))(root)
        assert [problem["field"] for problem in checked(root)[1]] == expected


@pytest.mark.slow
def test_checking_any_submission_stays_small() -> None:
    """Each is refused without a traceback, within 2 seconds of CPU time and 300 MB."""
    command = [sys.executable, "-m", "tests.corpus.costs"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert len(found) == len(CORPUS) >= 300
    assert [one for one in found if one[1] != "refused" or one[2] > 2 or one[3] > 300] == []


def test_what_a_maintainer_may_do_is_not_refused(root: Path) -> None:
    verified()(root)
    edit(OTHERS_RECORD, ("changes", [{**CHANGE, "kind": "retracted"}]))(root)
    edit(PUBLISHED, ("results.clean_accuracy", 0.79), ("changes", [{**CHANGE, "kind": "corrected"}]))(root)
    edit(OTHERS_ENTRY, ("aliases", []))(root)
    write("README.md", "Better.\n")(root)
    assert checked(root, "--maintainer") == (0, [])
    code, problems = checked(root)
    assert code == 1
    assert {one["path"] for one in problems} == {RECORD, OTHERS_RECORD, PUBLISHED, OTHERS_ENTRY, "README.md"}


def test_a_maintainers_word_does_not_make_figures_true(root: Path) -> None:
    """What is wrong in itself is wrong for everybody; a silent change of figures too."""
    edit(PUBLISHED, ("results.clean_accuracy", 0.79))(root)
    edit(RECORD, ("results.clean_accuracy", 0.7))(root)
    _, problems = checked(root, "--maintainer")
    assert {(one["path"], one["field"]) for one in problems} == {
        (PUBLISHED, "results"),
        (RECORD, "results.clean_accuracy"),
    }
    (silent,) = [one["problem"] for one in problems if one["path"] == PUBLISHED]
    assert "changes does not say why; add a change of kind 'corrected'" in silent


def test_what_a_contributor_may_edit_is_not_refused(root: Path) -> None:
    edit(OTHERS_ENTRY, ("paper.venue", "NeurIPS"), ("changes", [{**CHANGE, "kind": "corrected"}]))(root)
    edit(OTHERS_RECORD, ("notes", ["Better."]), ("checkpoint.url", "https://example.org/moved.pt"))(root)
    old = version_1(json.loads((root / PUBLISHED).read_text(encoding="utf-8")))
    edit(PUBLISHED, ("granularity", "weight"), ("schema_version", 1), ("results", old["results"]))(root)
    assert checked(root) == (0, [])


def test_a_note_beside_the_data_is_no_part_of_the_proposal(root: Path) -> None:
    """The BibTeX file that `apsite new` was given may lie about; a file in the data folders may not."""
    write("paper.bib", "@misc{a}\n")(root)
    assert checked(root) == (0, [])
    write("entries/paper.bib", "@misc{a}\n")(root)
    code, problems = checked(root)
    assert (code, [one["path"] for one in problems]) == (1, ["entries/paper.bib"])


def test_what_a_pull_request_would_lack_is_said(root: Path) -> None:
    """Files that are not committed, changed since, or ignored by git; it is no problem, for the commit may follow."""
    command = ["validate", "--root", str(root), "--changed-since", "main"]
    first = CliRunner().invoke(cli, command)
    assert first.exit_code == 0
    assert "Not in a commit as on disk, so not in a pull request: " in first.stdout
    assert " more; use `git add`" in first.stdout
    write(".gitignore", "*.npz\n")(root)
    commit(root, "All but the samples")
    git(root, "rm", "--quiet", "--cached", ".gitignore")
    git(root, "commit", "--quiet", "--amend", "--no-edit")
    lacking = CliRunner().invoke(cli, [*command, "--format", "json"])
    ignored = [str(root / f"evaluations/{METHOD}/{MODELS[percent]}.npz") for percent in MODELS]
    assert json.loads(lacking.stdout)["uncommitted"] == ignored
    (root / ".gitignore").unlink()
    commit(root, "The samples")
    edit(RECORD, ("notes", "Later."))(root)
    assert "Not in a commit" not in CliRunner().invoke(cli, command).stdout, "first things first"
    edit(RECORD, ("notes", ["Later."]))(root)
    assert f"pull request: {root / RECORD}; use" in CliRunner().invoke(cli, command).stdout
    commit(root, "The note")
    assert "Not in a commit" not in CliRunner().invoke(cli, command).stdout


def test_a_new_run_may_take_the_place_of_a_published_figure(root: Path) -> None:
    superseding(REDUCED, REDUCED_MODEL, own_run_of_rival(REDUCED_MODEL))(root)
    assert checked(root) == (0, [])
    commit(root)
    assert checked(root) == (0, [])


def test_history_never_changes(root: Path) -> None:
    superseding(REDUCED, REDUCED_MODEL, own_run_of_rival(REDUCED_MODEL))(root)
    commit(root)
    git(root, "checkout", "--quiet", "main")
    git(root, "merge", "--quiet", "work")
    git(root, "checkout", "--quiet", "-b", "later")
    kept = f"evaluations/{RIVAL}/history/{REDUCED_MODEL}.1.json"
    (root / kept).write_text((root / kept).read_text() + "\n")
    assert [(one["path"], one["problem"][:8]) for one in checked(root)[1]] == [(kept, "differs;")]
    (root / kept).unlink()
    found = {one["path"]: one["problem"] for one in checked(root)[1]}
    assert found[kept] == "was removed; files in history/ never change, so restore it"


def test_a_change_without_data_has_no_data_rules(good: Path, tmp_path: Path) -> None:
    """So that the check can be required of every pull request."""
    root = Path(shutil.copytree(good, tmp_path / "repository"))
    git(root, "stash", "--quiet", "--include-untracked")
    write("apsite/x.py", "x = 1\n")(root)
    assert checked(root) == (0, [])


def test_data_below_the_top_of_a_repository_are_known_as_such(good: Path, tmp_path: Path) -> None:
    from tests.repositories import repository_with

    top = repository_with(tmp_path / "top")
    data = write_data(top / "benchmark", entry_document(RIVAL))
    commit(top)
    git(top, "checkout", "--quiet", "-b", "work")
    write_data(data, entry_document())
    assert checked(data) == (0, [])
    write_data(top, entry_document())
    git(top, "add", "--all")
    code, problems = checked(data)
    assert code == 1
    assert [one["path"] for one in problems] == [f"../entries/{METHOD}.json"]


@pytest.mark.parametrize("name", ["record provenance.kind='verified'", "NaN", "samples zip bomb", "code too", "pipe"])
def test_a_bad_submission_is_refused_by_the_program_itself(root: Path, name: str) -> None:
    (bad,) = [one for one in CORPUS if one.name == name]
    bad.spoil(root)
    command = [sys.executable, "-m", "apsite", "validate", "--root", str(root), "--changed-since", "main"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, "")
    place = f"{root / bad.path}: {bad.field}: " if bad.field else f"{root / bad.path}: "
    assert any(line.startswith(place) and bad.message in line for line in result.stdout.splitlines())


def test_the_curve_of_every_accepted_file_falls(good: Path) -> None:
    """Monotone by construction: it is counted from distances, none of which may be negative or NaN."""
    from apsite.metrics import robustness_curve

    for percent in MODELS:
        distance = verdicts(percent).distance
        assert distance is not None
        budgets, robust = robustness_curve(distance)
        assert (np.diff(robust) <= 0).all()
        assert (np.diff(budgets) > 0).all()
        assert robust[0] == full_run(percent)["results"]["clean_accuracy"]
