"""Entries and records together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from apsite.catalogue import load_catalogue, scan
from apsite.errors import ApsiteError
from apsite.vocabulary import Stage
from tests.builders import (
    METHOD,
    MODEL,
    RIVAL,
    Document,
    changed,
    entry_document,
    record_document,
    write_data,
    write_document,
)

DataFolder = Callable[..., Path]


def problems_of(root: Path) -> list[tuple[str, str, str]]:
    """Problems as file below the root, place and text."""
    return [(str(found.path.relative_to(root)), found.field, found.problem) for found in scan(root)[1]]


def test_the_benchmarks_own_data_has_no_problem(repository: Path) -> None:
    catalogue, problems = scan(repository)
    assert problems == []
    assert len(catalogue.entries) == len(list((repository / "entries").iterdir()))
    assert len(catalogue.records) == len(list((repository / "evaluations").glob("*/*.json")))


def test_entries_and_records_come_in_table_order(data_folder: DataFolder) -> None:
    keys = [
        f"{METHOD}_R18_CIFAR10_dense", f"{METHOD}_R18_CIFAR10_S_90", f"{METHOD}_R18_CIFAR10_US_90",
        f"{METHOD}_R18_CIFAR10_US_95", f"{METHOD}_V16_CIFAR10_US_90", f"{METHOD}_R18_SVHN_US_90",
        f"{METHOD}_R50_ImageNet_US_90", "aardvark_Roe2023Other_R18_CIFAR10_US_90",
    ]  # fmt: skip
    root = data_folder(
        entry_document("aardvark_Roe2023Other"), entry_document(), *(record_document(key) for key in reversed(keys))
    )
    catalogue = load_catalogue(root)
    assert list(catalogue.entries) == ["aardvark_Roe2023Other", METHOD]
    assert list(catalogue.records) == [keys[-1], *keys[:-1]]
    assert [record.model_key for record in catalogue.records_of(METHOD)] == keys[:-1]
    assert catalogue.records_of(RIVAL) == []


def test_methods_are_the_taxonomy_without_baselines(data_folder: DataFolder) -> None:
    during = {"stage": "during", "training": None}
    root = data_folder(
        entry_document(), entry_document(RIVAL, pipeline=during), entry_document("Naive_Poe2015Learning", baseline=True)
    )
    catalogue = load_catalogue(root)
    assert [entry.key for entry in catalogue.methods()] == [RIVAL, METHOD]
    assert [entry.key for entry in catalogue.methods(Stage.DURING)] == [RIVAL]
    assert catalogue.methods(Stage.BEFORE) == []


def test_a_record_without_an_entry_is_an_orphan(data_folder: DataFolder) -> None:
    root = data_folder(entry_document(RIVAL), record_document())
    assert problems_of(root) == [
        (f"evaluations/{METHOD}/{MODEL}.json", "method", f"{METHOD!r} has no entry; add entries/{METHOD}.json")
    ]


def test_a_record_of_a_broken_entry_is_no_orphan(data_folder: DataFolder) -> None:
    """One mistake, one message: the entry is there, though wrong."""
    root = data_folder(changed(entry_document(), "baseline", 1), record_document())
    assert [(path, field) for path, field, _ in problems_of(root)] == [(f"entries/{METHOD}.json", "baseline")]


@pytest.mark.parametrize(("first", "second", "path", "field", "message"), [
    (
        entry_document("alpha_Doe2024Small"), entry_document("Alpha_Doe2024Small", name="Another"),
        "entries/alpha_Doe2024Small.json", "key", "'alpha_Doe2024Small' is or looks like 'Alpha_Doe2024Small'",
    ),
    (
        entry_document(RIVAL), entry_document(aliases=[RIVAL]), f"entries/{METHOD}.json", "aliases[0]",
        f"{RIVAL!r} is or looks like {RIVAL!r} of {RIVAL}; add",
    ),
    (
        entry_document(RIVAL, aliases=[METHOD]), entry_document(), f"entries/{RIVAL}.json", "aliases[0]",
        f"{METHOD!r} is or looks like {METHOD!r} of {METHOD}; add",
    ),
    (
        entry_document(RIVAL, aliases=["ok", "Old"]), entry_document(aliases=["old"]), f"entries/{METHOD}.json",
        "aliases[0]", f"'old' is or looks like 'Old' of {RIVAL}; add",
    ),
], ids=["two keys", "alias is a key", "key is an alias", "two aliases"])  # fmt: skip
def test_a_name_belongs_to_one_method(
    data_folder: DataFolder, first: Document, second: Document, path: str, field: str, message: str
) -> None:
    """Keys and aliases share one name space, without regard to case: files must be apart on every file system."""
    root = data_folder(first, second)
    if len(list((root / "entries").iterdir())) < 2:
        pytest.skip("this file system does not tell upper from lower case")
    ((found_path, found_field, problem),) = problems_of(root)
    assert (found_path, found_field) == (path, field)
    assert message in problem


def test_a_method_may_name_itself_as_alias(data_folder: DataFolder) -> None:
    assert problems_of(data_folder(entry_document(aliases=[METHOD]))) == []


def test_an_entry_under_another_name_is_a_mismatch(tmp_path: Path) -> None:
    write_document(tmp_path / "entries" / f"{RIVAL}.json", entry_document())
    assert problems_of(tmp_path) == [
        (f"entries/{RIVAL}.json", "key", f"{METHOD!r} does not match the file name; rename one to match the other")
    ]


def test_a_record_in_another_methods_folder_is_a_mismatch(tmp_path: Path) -> None:
    """It would be counted for the wrong method."""
    write_data(tmp_path, entry_document(), entry_document(RIVAL))
    write_document(tmp_path / "evaluations" / RIVAL / f"{MODEL}.json", record_document())
    message = f"{METHOD!r} does not match the folder {RIVAL!r}; move the files of this method into a folder of its name"
    assert problems_of(tmp_path) == [(f"evaluations/{RIVAL}/{MODEL}.json", "method", message)]


def test_a_checkpoint_belongs_to_its_method(data_folder: DataFolder) -> None:
    """A checkpoint under another method's model key would be downloaded for the wrong method."""
    document = changed(entry_document(), "checkpoints[0].model_key", f"{RIVAL}_R18_CIFAR10_US_90")
    ((path, field, problem),) = problems_of(data_folder(document))
    assert (path, field) == (f"entries/{METHOD}.json", "checkpoints[0].model_key")
    assert problem == (f"'{RIVAL}_R18_CIFAR10_US_90' is not a model of this method; it must start with '{METHOD}_'")


@pytest.mark.parametrize("source", ["Piras2024Adversarial", "Madry2018Towards", METHOD])
def test_a_published_figure_cites_a_known_paper(data_folder: DataFolder, source: str) -> None:
    document = changed(record_document(), "provenance.source", source)
    assert problems_of(data_folder(entry_document(), document)) == []


def test_a_dangling_citation_is_an_error(data_folder: DataFolder) -> None:
    document = changed(record_document(), "provenance.source", "Nobody1999Nothing")
    assert problems_of(data_folder(entry_document(), document)) == [
        (
            f"evaluations/{METHOD}/{MODEL}.json",
            "provenance.source",
            "'Nobody1999Nothing' is neither in the reference list nor a method key; cite a known paper",
        )
    ]


def test_unreadable_files_are_reported_among_the_other_problems(tmp_path: Path) -> None:
    write_data(
        tmp_path,
        entry_document(),
        record_document(),
        changed(record_document(f"{MODEL}".replace("90", "95")), "warnings"),
    )
    (tmp_path / "entries" / "Bad_Doe2024Entry.json").write_text("{")
    (tmp_path / "evaluations" / METHOD / "bad.json").write_text("[]")
    found = [(Path(path).name, problem.split(";")[0]) for path, _, problem in problems_of(tmp_path)]
    assert found == [
        ("Bad_Doe2024Entry.json", "is not JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        (f"{METHOD}_R18_CIFAR10_US_95.json", "lacks 'warnings'"),
        ("bad.json", "holds a JSON list"),
    ]
    assert list(scan(tmp_path)[0].records) == [MODEL]


def test_loading_data_with_problems_lists_them(tmp_path: Path) -> None:
    write_data(tmp_path, changed(entry_document(), "baseline", 1))
    with pytest.raises(ApsiteError, match=r"^1 problem in the data:\n.*baseline: 1 is not of type boolean$"):
        load_catalogue(tmp_path)
    for number in range(24):
        (tmp_path / "entries" / f"Bad_Doe2024Entry{number:02}.json").write_text("{}")
    with pytest.raises(ApsiteError) as caught:
        load_catalogue(tmp_path)
    lines = str(caught.value).split("\n")
    assert lines[0] == "25 problems in the data:"
    assert len(lines) == 22
    assert lines[-1] == "... and 5 more"


@pytest.mark.parametrize("root", ["", "absent"])
def test_a_folder_without_entries_is_no_data(tmp_path: Path, root: str) -> None:
    with pytest.raises(
        ApsiteError, match=r"has no folder 'entries'; run this in a checkout .* or name one with --root"
    ):
        load_catalogue(tmp_path / root)


def test_entries_alone_are_data(data_folder: DataFolder) -> None:
    """A new method comes before its first result."""
    assert load_catalogue(str(data_folder(entry_document()))).records == {}


def test_a_method_is_found_by_key_and_by_alias(tiny_data: Path) -> None:
    catalogue = load_catalogue(tiny_data)
    assert catalogue.resolve(METHOD).key == METHOD
    assert catalogue.resolve("Tiny_Doe2024Old").key == METHOD


@pytest.mark.parametrize(("key", "hint"), [
    ("Tiny_Doe2024Smal", f"did you mean {METHOD} or "),
    ("Rival_Roe", f"did you mean {RIVAL}"),
    ("tiny", f"did you mean {METHOD}?"),
    ("", f"known are {RIVAL}, {METHOD}"),
    ("%%%", f"known are {RIVAL}, {METHOD}"),
])  # fmt: skip
def test_an_unknown_method_is_never_guessed(tiny_data: Path, key: str, hint: str) -> None:
    with pytest.raises(ApsiteError) as caught:
        load_catalogue(tiny_data).resolve(key)
    assert str(caught.value).startswith(f"method {key!r} has no entry in {tiny_data / 'entries'}; {hint}")


@pytest.mark.parametrize(("alias", "key"), [
    ("RSR_Lim2021Robustness", "RFP_Lim2021Robustness"),
    ("RADMM_Ye2019Sparsity", "RADMM_Ye2019Adversarial"),
    ("SRGKP_Zhong2023One", "SR-GKP_Zhong2023One"),
    ("DeadWooding_Kaur2022Deadwooding", "Deadwooding_Kaur2022Deadwooding"),
    ("BCSP_Özdenizc2021Training", "BCS-P_Ozdenizci2021Training"),
])  # fmt: skip
def test_the_keys_of_the_survey_s_repository_stay_valid(benchmark_data, alias: str, key: str) -> None:
    assert benchmark_data.resolve(alias).key == key
