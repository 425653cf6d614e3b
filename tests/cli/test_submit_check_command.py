"""`apsite submit-check`: the checklist of a submission."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders import METHOD, MODEL, entry_document, own_document, record_document, write_data
from tests.repositories import git, repository_with


def own_run(**changes: object) -> dict[str, object]:
    return {**own_document(), "provenance": {**own_document()["provenance"], "kind": "submitted"}, **changes}


def test_everything_there_is_ready(run, data_folder) -> None:
    root = data_folder(
        entry_document(), *(record_document(f"{METHOD}_R18_CIFAR10_US_{percent}") for percent in (90, 95, 99))
    )
    result = run("submit-check", METHOD, "--root", root)
    assert "[x] ResNet18 on CIFAR-10, unstructured: the three sparsities" in result.stdout
    assert "Ready for a pull request." in result.stdout
    assert f"New method: Tiny ({METHOD})" in result.stdout
    assert "[ ]" not in result.stdout


def test_a_method_without_results_may_be_proposed(run, data_folder) -> None:
    entry = entry_document(audit=None, code=None)
    entry["pipeline"]["pretraining"] = None
    entry["specifics"]["locality"] = None
    result = run("submit-check", METHOD, "--root", data_folder(entry))
    assert "[-] The code has a URL" in result.stdout
    assert "not specified: pretraining, locality" in result.stdout
    assert "[-] There are evaluation records" in result.stdout


def test_one_sparsity_alone_is_not_enough(run, data_folder) -> None:
    result = run("submit-check", METHOD, "--root", data_folder(entry_document(), record_document(MODEL)), code=1)
    assert "the three sparsities: without 95%, 99%" in result.stdout
    assert "[ ] One series of three checkpoints is complete" in result.stdout


def test_reduced_runs_and_checkpoints_without_address_are_named(run, data_folder) -> None:
    """A maintainer must be able to run the checkpoint; a reduced run does not rank."""
    record = own_run(checkpoint={**own_document()["checkpoint"], "url": None})
    del record["verification"]
    result = run("submit-check", METHOD, "--root", data_folder(entry_document(), record), code=1)
    assert f"[ ] Every checkpoint has a URL: give --checkpoint-url to `apsite eval` for {MODEL}" in result.stdout
    assert f"shown, not ranked: {MODEL} (reduced run)" in result.stdout
    assert f"explain in the pull request: {MODEL}" in result.stdout


def test_problems_of_the_files_come_first(run, data_folder) -> None:
    entry = entry_document()
    entry["specifics"]["criterion"] = "MAGIC"
    root = data_folder(entry, entry_document("Rival_Roe2023Other", schema_version=7))
    result = run("submit-check", METHOD, "--root", root, code=1)
    assert "[ ] The files of the method are valid" in result.stdout
    assert "specifics.criterion: 'MAGIC' is not one of" in result.stdout
    assert "[ ] Other files are valid: 1 problem;" in result.stdout


def test_many_problems_are_counted(run, data_folder) -> None:
    entry = {**entry_document(), "more": 1}
    entry["paper"] = dict.fromkeys(entry["paper"], 7)
    listed = run("submit-check", METHOD, "--root", data_folder(entry), code=1).stdout
    problems = run("validate", "--root", data_folder(entry), code=1).stdout.count("\n") - 1
    assert problems > 5
    assert f"; and {problems - 5} more, which `apsite validate` lists\n" in listed


def test_the_body_keeps_contributed_text_in_code_spans(run, data_folder) -> None:
    entry = entry_document()
    entry["paper"]["title"] = "A `b` [c](https://d.example) @everyone"
    root = data_folder(entry, record_document(MODEL))
    body = run("submit-check", METHOD, "--root", root, "--body", code=1).stdout
    assert body.startswith(f"### `{METHOD}`\n")
    assert "`A 'b' [c](https://d.example) @everyone`" in body
    assert f"added: {MODEL}: clean 80.00, AutoAttack 40.00, HO-FMN –, joint –, " in body
    assert "- [ ] One series of three checkpoints is complete" in body


def test_the_body_asks_what_the_template_asks(run, data_folder, repository: Path) -> None:
    """It takes the place of the template, so the licence must be agreed to in it as well."""
    template = (repository / ".github/pull_request_template.md").read_text(encoding="utf-8").splitlines()
    body = run("submit-check", METHOD, "--root", data_folder(entry_document()), "--body").stdout.splitlines()
    for words in ("CC BY 4.0", "What a reviewer should know"):
        (asked,) = [line for line in template if words in line]
        assert asked in body


def test_a_reviewer_sees_whose_method_it_is(run, tmp_path: Path) -> None:
    """Against the main branch of the repository, where it is known: the method is here already."""
    root = repository_with(tmp_path / "clone", entry_document(), record_document())
    git(root, "update-ref", "refs/remotes/origin/main", "main")
    record = own_run(provenance={**own_document()["provenance"], "kind": "submitted", "source": "Eve Other"})
    del record["verification"]
    write_data(root, entry_document(notes=["Eve was here."]), record)
    shown = run("submit-check", METHOD, "--root", root).stdout
    assert "[-] Evaluations name an author of the paper: run by Eve Other, not named in the paper" in shown
    assert (
        "Check who proposes changes of these methods:\n"
        f"  Tiny ({METHOD}), here already, paper by Jane Doe, results so far by Piras2024Adversarial: "
        "notes, 1 record run by Eve Other\n"
    ) in shown


def test_scripts_get_json(run, data_folder) -> None:
    result = run(
        "submit-check", METHOD, "--root", data_folder(entry_document(), record_document(MODEL)), "--json", code=1
    )
    found = json.loads(result.stdout)
    assert found["ready"] is False
    assert found["models"] == [MODEL]
    assert {"title": "The paper has a URL", "state": "done", "detail": ""} in found["points"]


@pytest.mark.parametrize(
    ("key", "message"),
    [("Tiny_Doe2024Old", f"is an alias; the method is {METHOD}"), ("Tony_Doe2024Small", "has no entry")],
)
def test_unknown_keys_are_refused(run, tiny_data: Path, key: str, message: str) -> None:
    assert message in run("submit-check", key, "--root", tiny_data, code=1).stderr
