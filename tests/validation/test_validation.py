"""The checks of `apsite validate`: what is implausible, what contradicts the samples, what does not belong there."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apsite.errors import ApsiteError
from apsite.records import record_from_json, record_problems
from apsite.samples import samples_bytes
from apsite.validation import plausibility_problems, validate
from apsite.vocabulary import Attack
from tests.builders import (
    METHOD,
    MODEL,
    REMOVED,
    Document,
    changed,
    entry_document,
    own_document,
    record_document,
    samples,
    write_data,
    write_document,
)
from tests.submissions import full_run

DataFolder = Callable[..., Path]
PATH = Path(f"evaluations/{METHOD}/{MODEL}.json")


def own_run(protocol: str) -> Document:
    """Submitted record of a protocol on the whole test set."""
    return changed(full_run(), "protocol", protocol)


def found_in(document: Document) -> list[tuple[str, str]]:
    """Problems of a document that is otherwise right."""
    assert record_problems(PATH, document) == []
    return [(found.field, found.problem) for found in plausibility_problems(PATH, record_from_json(document))]


def test_the_benchmarks_own_data_is_valid(repository: Path) -> None:
    report = validate(repository)
    assert report.problems == ()
    assert report.entries == len(list((repository / "entries").glob("*.json"))) >= 28
    assert report.records == len(list((repository / "evaluations").rglob("*.json"))) >= 192
    assert report.sample_files == len(list((repository / "evaluations").rglob("*.npz")))


def test_the_tiny_data_is_valid(tiny_data: Path) -> None:
    report = validate(tiny_data)
    assert report.problems == ()
    assert (report.entries, report.records, report.sample_files) == (2, 4, 1)


@pytest.mark.parametrize(
    "document", [record_document(), own_document(), own_run("custom"), own_run("apb-1")], ids=lambda d: d["protocol"]
)
def test_plausible_records_have_no_problem(document: Document) -> None:
    assert found_in(document) == []


def test_a_dense_network_has_no_granularity() -> None:
    document = changed(record_document(f"{METHOD}_R18_CIFAR10_dense"), "granularity", "weight")
    problems = plausibility_problems(PATH, record_from_json(document))
    assert [(found.field, found.problem) for found in problems] == [
        ("granularity", "a dense network has none; set it to null")
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("samples", REMOVED), ("settings", REMOVED), ("data", REMOVED), ("audit", REMOVED),
        ("checkpoint.sha256", None), ("sparsity.measured", None), ("results.n_samples", None),
        ("threat_model.norm", None), ("threat_model.epsilon", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("protocol", ["apb-1", "custom"])
def test_an_own_run_states_how_it_was_made(protocol: str, field: str, value: Any) -> None:
    """A published result may lack these; whoever ran it himself has them."""
    document = changed(own_run(protocol), field, value)
    assert found_in(document) == [(field, "is missing; `apsite eval` writes the record of a run")]


def test_equal_numbers_are_plausible() -> None:
    assert found_in(record_document(clean=0.4, robust=0.4)) == []


@pytest.mark.parametrize(("field", "value", "counted"), [
    ("results.n_samples", 9, "8"),
    ("results.clean_accuracy", 0.875, "0.75"),
    ("results.attacks[autoattack].robust_accuracy", 0.5, "0.375"),
    ("results.attacks[autoattack].stages[apgd-ce].attacked", 8, "6"),
    ("results.attacks[autoattack].stages[apgd-ce].broken", 0, "1"),
    ("results.attacks[autoattack].stages[apgd-ce].robust_after", 6, "5"),
    ("results.attacks[autoattack].stages[apgd-t].attacked", 6, "5"),
    ("results.attacks[autoattack].stages[apgd-t].robust_after", 5, "4"),
    ("results.attacks[autoattack].stages[fab-t].broken", 1, "0"),
    ("results.attacks[autoattack].stages[square].robust_after", 4, "3"),
    ("results.attacks[hofmn].robust_accuracy", 0.25, "0.375"),
    ("results.attacks[hofmn].not_found", 0, "1"),
    ("results.attacks[hofmn].median_distance", 0.03, "0.02734375"),
    ("results.joint.robust_accuracy", 0.125, "0.25"),
    ("results.joint.broken_only_by.autoattack", 0, "1"),
    ("results.joint.broken_only_by.hofmn", 2, "1"),
    ("results.attacks[hofmn].not_found", REMOVED, "1"),
    ("results.attacks[hofmn].median_distance", REMOVED, "0.02734375"),
    ("results.joint.broken_only_by.autoattack", REMOVED, "1"),
    ("results.joint.broken_only_by.hofmn", REMOVED, "1"),
])  # fmt: skip
def test_a_number_that_the_samples_do_not_give_is_an_error(
    data_folder: DataFolder, field: str, value: Any, counted: str
) -> None:
    """Leaving out an unwelcome count is a contradiction, too."""
    root = data_folder(entry_document(), changed(own_document(), field, value))
    problems = [(found.field, found.problem) for found in validate(root).problems]
    stated = None if value is REMOVED else value
    assert (field, f"{stated} contradicts the per-sample file, which gives {counted}") in problems
    assert [name for name, problem in problems if "per-sample file" in problem or value is REMOVED] == [field]


AUTOATTACK, HOFMN, JOINT = "results.attacks[autoattack]", "results.attacks[hofmn]", "results.joint"
NO_FLAGS = {f"{AUTOATTACK}.stages[{attack.value}]": "has no flags of this attack" for attack in Attack}
FAB = f"{AUTOATTACK}.stages[fab-t]"


@pytest.mark.parametrize(("missing", "fields"), [
    ({"aa_robust": None, "robust_after": {}}, NO_FLAGS | dict.fromkeys((AUTOATTACK, JOINT), "lacks aa_robust")),
    ({"distance": None, "tuning": None}, dict.fromkeys((HOFMN, JOINT), "lacks distance")),
    (
        {"robust_after": {attack: flags for attack, flags in samples().robust_after.items() if attack != "fab-t"}},
        {FAB: NO_FLAGS[FAB]},
    ),
], ids=["no AutoAttack", "no HO-FMN", "no FAB-T"])  # fmt: skip
def test_a_number_without_samples_is_an_error(tmp_path: Path, missing: dict[str, Any], fields: dict[str, str]) -> None:
    content = samples_bytes(replace(samples(), **missing))
    document = changed(own_document(), "samples.sha256", hashlib.sha256(content).hexdigest())
    (write_data(tmp_path, entry_document(), document) / PATH.with_suffix(".npz")).write_bytes(content)
    problems = {found.field: found.problem for found in validate(tmp_path).problems if found.path.suffix == ".json"}
    assert problems.keys() == fields.keys()
    for field, message in fields.items():
        assert problems[field].startswith("is stated, but the per-sample file ")
        assert message in problems[field]


@pytest.mark.parametrize(("place", "fields"), [
    ("attacks[autoattack]", ["results.attacks[autoattack].robust_accuracy", "results.joint.robust_accuracy"]),
    (
        "attacks[hofmn]",
        ["results.attacks[hofmn].robust_accuracy", "results.attacks[hofmn].not_found", "results.joint.robust_accuracy"],
    ),
    ("joint", ["results.joint.broken_only_by.hofmn"]),
])  # fmt: skip
def test_samples_without_a_number_are_an_error(data_folder: DataFolder, place: str, fields: list[str]) -> None:
    document = changed(own_document(), f"results.{place}")
    document["results"].pop("joint", None)
    problems = {found.field: found.problem for found in validate(data_folder(entry_document(), document)).problems}
    for field in fields:
        assert problems[field].startswith("None contradicts the per-sample file, which gives ")


def test_an_unreadable_per_sample_file_is_one_problem(tiny_data: Path) -> None:
    (tiny_data / "evaluations" / METHOD / f"{MODEL}.npz").write_bytes(b"x")
    assert [found.problem for found in validate(tiny_data).problems] == [
        "is not a readable .npz file (it is not a zip archive, or holds more than its members); "
        "write it with `apsite eval`"
    ]


def test_a_per_sample_file_that_no_record_refers_to_is_noticed(data_folder: DataFolder) -> None:
    root = data_folder(entry_document(), record_document())
    (root / "evaluations" / METHOD / f"{MODEL}.npz").write_bytes(samples_bytes(samples()))
    assert [(found.path.name, found.problem) for found in validate(root).problems] == [
        (f"{MODEL}.npz", "no record refers to it; remove it or run `apsite eval` again")
    ]


@pytest.mark.parametrize("name", ["entries/Link_Doe2024Small.json", "entries/folder", f"evaluations/{METHOD}/x.npz"])
def test_a_link_is_noticed_and_not_followed(tiny_data: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = outside if name.endswith("folder") else outside / "file.json"
    write_document(outside / "file.json", entry_document())
    (tiny_data / name).symlink_to(target)
    problems = validate(tiny_data).problems
    assert [found.path for found in problems] == [tiny_data / name]
    (problem,) = problems
    assert problem.problem.startswith("is a symbolic link; links are not allowed here")
    assert validate(tiny_data).entries == 2


def test_a_linked_folder_of_records_is_noticed(tiny_data: Path, tmp_path: Path) -> None:
    """Its records are in the catalogue's reach, so the link itself must be refused."""
    folder = tiny_data / "evaluations" / METHOD
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    problems = validate(tiny_data).problems
    assert (folder, "is a symbolic link; links are not allowed here") in [(it.path, it.problem) for it in problems]


def test_all_problems_come_at_once_and_in_order(tmp_path: Path) -> None:
    write_data(
        tmp_path,
        changed(entry_document(), "baseline", 1),
        changed(own_document(), "results.clean_accuracy", 0.2),
        record_document("Orphan_Doe2024Small_R18_CIFAR10_US_90"),
    )
    (tmp_path / "entries" / "notes.txt").write_text("")
    problems = validate(tmp_path).problems
    assert [(found.path.name, found.field) for found in problems] == [
        (f"{METHOD}.json", "baseline"),
        ("notes.txt", ""),
        ("Orphan_Doe2024Small_R18_CIFAR10_US_90.json", "method"),
        (f"{MODEL}.json", "results.attacks[autoattack].robust_accuracy"),
        (f"{MODEL}.json", "results.attacks[hofmn].robust_accuracy"),
        (f"{MODEL}.json", "results.clean_accuracy"),
        (f"{MODEL}.json", "results.joint.robust_accuracy"),
    ]


def test_a_folder_without_data_is_an_error(tmp_path: Path) -> None:
    """Validating nothing must not look like success."""
    with pytest.raises(ApsiteError, match="has no folder 'entries'"):
        validate(tmp_path)
