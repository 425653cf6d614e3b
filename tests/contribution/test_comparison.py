"""What a change of the data does to the leaderboard."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apsite.catalogue import Catalogue, load_catalogue
from apsite.contribution.comparison import Comparison, compare, comparison_to_json
from apsite.contribution.comparison_text import code, to_markdown, to_text
from tests.builders import (
    METHOD,
    MODEL,
    RIVAL,
    Document,
    changed,
    entry_document,
    own_document,
    record_document,
    write_data,
)

RIVAL_MODEL = f"{RIVAL}_R18_CIFAR10_US_90"
Folder = Callable[..., Catalogue]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Function that makes a catalogue of documents, the two entries among them unless given."""

    def make(name: str, *documents: Document) -> Catalogue:
        keys = {document["key"] for document in documents if "key" in document}
        entries = [entry_document(key) for key in (METHOD, RIVAL) if key not in keys]
        return load_catalogue(write_data(tmp_path / name, *entries, *documents))

    return make


def change(kind: str, **more: Any) -> dict[str, Any]:
    """One change of a record."""
    return {"date": "2026-02-01", "kind": kind, "reason": "A reason.", **more}


def records_of(comparison: Comparison) -> list[tuple[str, str]]:
    """Kind and model of each record that differs."""
    return [(one.kind, one.model_key) for one in comparison.records]


def test_the_same_data_do_not_differ(folder: Folder, benchmark_data: Catalogue) -> None:
    for catalogue in (folder("one", record_document()), benchmark_data):
        comparison = compare(catalogue, catalogue)
        assert comparison == Comparison((), (), (), (), ())
        assert to_text(comparison) == "No result, rank or method changes.\n"
        assert "No result, rank or method changes." in to_markdown(comparison)


def test_a_first_result_leads(folder: Folder) -> None:
    comparison = compare(folder("one"), folder("two", record_document(robust=0.4)))
    assert records_of(comparison) == [("added", MODEL)]
    (setting,) = comparison.settings
    assert (setting.leader_before, setting.leader_after) == (None, "Tiny")
    assert [(model.rank_before, model.rank_after) for model in setting.models] == [(None, 1)]
    assert "CIFAR-10, ResNet18, unstructured, 90 %: first leader Tiny" in to_text(comparison)


def test_a_better_rival_takes_the_lead_and_moves_the_other_down(folder: Folder) -> None:
    base = folder("one", record_document(robust=0.4))
    head = folder("two", record_document(robust=0.4), record_document(RIVAL_MODEL, robust=0.5))
    comparison = compare(base, head)
    (setting,) = comparison.settings
    assert (setting.leader_before, setting.leader_after) == ("Tiny", "Rival")
    assert setting.tied_after == ()
    assert [(model.model_key, model.rank_before, model.rank_after) for model in setting.models] == [
        (RIVAL_MODEL, None, 1), (MODEL, 1, 2),
    ]  # fmt: skip
    text = to_text(comparison)
    assert "new leader Rival (before: Tiny)" in text
    assert "  rank 1 → 2  Tiny  AutoAttack 40.00\n" in text
    assert to_markdown(comparison) == f"### What changes\n\n```text\n{text}```\n"


def test_a_result_within_the_interval_ties(folder: Folder) -> None:
    """A tenth of a point of 10,000 samples separates nothing, so both share the first rank."""
    base = folder("one", record_document(robust=0.4))
    head = folder("two", record_document(robust=0.4), record_document(RIVAL_MODEL, robust=0.401))
    (setting,) = compare(base, head).settings
    assert (setting.leader_after, setting.tied_before, setting.tied_after) == ("Rival", (), ("Tiny",))
    assert [(model.model_key, model.rank_after) for model in setting.models] == [(RIVAL_MODEL, 1)]
    assert "new leader Rival (before: Tiny), tied with Tiny" in to_text(compare(base, head))


@pytest.mark.parametrize(("before", "after", "kind"), [
    (record_document(), changed(record_document(), "notes", ["A word."]), "edited"),
    (record_document(), changed(record_document(), "results.clean_accuracy", 0.7), "re-evaluated"),
    (record_document(), changed(record_document(), "changes", [change("retracted")]), "retracted"),
    (record_document(), changed(record_document(), "changes", [change("disputed")]), "edited"),
    (changed(changed(own_document(), "provenance.kind", "submitted"), "verification"), own_document(), "verified"),
])  # fmt: skip
def test_what_happened_to_a_record_has_one_word(folder: Folder, before: Document, after: Document, kind: str) -> None:
    comparison = compare(folder("one", before), folder("two", after))
    assert records_of(comparison) == [(kind, MODEL)]
    assert f"{kind}: {MODEL}: " in to_text(comparison)


def test_a_removed_record_and_method_are_named(folder: Folder, tmp_path: Path) -> None:
    base = folder("one", record_document())
    head = load_catalogue(write_data(tmp_path / "two", entry_document(RIVAL)))
    comparison = compare(base, head)
    assert [one.key for one in comparison.methods_removed] == [METHOD]
    assert records_of(comparison) == [("removed", MODEL)]
    text = to_text(comparison)
    assert f"Removed method: Tiny ({METHOD})" in text
    assert "nothing ranks any more (before: Tiny)" in text


def test_a_new_version_supersedes(folder: Folder, tmp_path: Path) -> None:
    base = folder("one", record_document())
    new = changed(record_document(robust=0.5), "changes", [change("supersedes", version=1)])
    head_folder = write_data(tmp_path / "two", entry_document(), entry_document(RIVAL), new)
    history = head_folder / "evaluations" / METHOD / "history" / f"{MODEL}.1.json"
    history.parent.mkdir()
    history.write_text(json.dumps(record_document()), encoding="utf-8")
    comparison = compare(base, load_catalogue(head_folder))
    assert records_of(comparison) == [("superseded", MODEL)]
    (setting,) = comparison.settings
    assert setting.leader_before == setting.leader_after
    assert [(model.robust_before, model.robust_after) for model in setting.models] == [(0.4, 0.5)]
    assert "AutoAttack 40.00 → 50.00" in to_text(comparison)


def test_an_edited_entry_names_its_fields(folder: Folder) -> None:
    comparison = compare(folder("one"), folder("two", entry_document(baseline=False, notes=["Another."])))
    assert [(one.key, one.fields) for one in comparison.methods_edited] == [(METHOD, ("notes",))]
    assert comparison.settings == ()
    assert "Edited entry: Tiny (notes)" in to_text(comparison)


def test_settings_come_in_table_order(folder: Folder) -> None:
    keys = [
        f"{METHOD}_{rest}" for rest in ("R18_SVHN_US_90", "V16_CIFAR10_US_90", "R18_CIFAR10_S_50", "R18_CIFAR10_US_90")
    ]
    comparison = compare(folder("one"), folder("two", *map(record_document, keys)))
    assert [one.models[0].model_key for one in comparison.settings] == keys[::-1]


def test_the_whole_benchmark_as_new_data(benchmark_data: Catalogue) -> None:
    comparison = compare(Catalogue(benchmark_data.root, {}, {}), benchmark_data)
    assert len(comparison.methods_added) == len(benchmark_data.entries)
    assert len(comparison.records) == len(benchmark_data.records)
    assert {setting.leader_before for setting in comparison.settings} == {None}
    document = json.loads(json.dumps(comparison_to_json(comparison), allow_nan=False))
    assert [one["model_key"] for one in document["records"]] == list(benchmark_data.records)
    assert document["settings"][0] | {"models": []} == {
        "dataset": "cifar10", "architecture": "resnet18", "structure": "unstructured", "percent": 90, "models": [],
        "leader_before": None, "leader_after": comparison.settings[0].leader_after, "tied_before": [],
        "tied_after": list(comparison.settings[0].tied_after),
    }  # fmt: skip


def test_warnings_of_new_records_are_shown(folder: Folder) -> None:
    warned = changed(own_document(), "warnings", [{"code": "fab-did-nothing", "message": "A remark."}])
    assert "  warnings: fab-did-nothing\n" in to_text(compare(folder("one"), folder("two", warned)))


@pytest.mark.parametrize(("text", "shown"), [
    ("plain", "`plain`"),
    ("a`b", "`a'b`"),
    ("a|b", "`a\N{BROKEN BAR}b`"),
    ("a\nb\x1b\u202e", "`a?b??`"),
    ("", "` `"),
    ("<img src=x onerror=alert(1)>", "`<img src=x onerror=alert(1)>`"),
    ("x" * 400, f"`{'x' * 299}…`"),
])  # fmt: skip
def test_a_code_span_cannot_be_left(text: str, shown: str) -> None:
    """Markdown gives nothing a meaning inside, and there is no way out."""
    assert code(text) == shown


def test_a_reviewer_sees_whose_method_changes(folder: Folder) -> None:
    """Also if somebody else's name is on it: text is all that a pull request brings."""
    base = folder("one", record_document())
    edited = changed(entry_document(), "paper.authors", ["Eve Other"])
    run = changed(changed(own_document(), "provenance.source", "Eve Other"), "provenance.kind", "submitted")
    (claim,) = compare(base, folder("two", edited, changed(run, "verification"))).claims
    assert (claim.key, claim.new, claim.authors, claim.known) == (
        METHOD,
        False,
        ("Jane Doe",),
        ("Piras2024Adversarial",),
    )
    assert (claim.fields, claim.models, claim.sources) == (("paper",), (MODEL,), ("Eve Other",))


def test_a_new_method_by_its_authors_claims_nothing_of_others(folder: Folder) -> None:
    base = folder("one")
    run = changed(
        changed(own_document("New_Doe2024Small_R18_CIFAR10_US_90"), "provenance.kind", "submitted"), "verification"
    )
    new = entry_document("New_Doe2024Small", checkpoints=[])
    assert compare(base, folder("two", new, run)).claims == ()
    head = folder("three", new, changed(run, "provenance.source", "Eve Other"))
    comparison = compare(base, head)
    assert to_text(comparison).startswith(
        "Check who proposes changes of these methods:\n"
        "  New (New_Doe2024Small), new, paper by Jane Doe: 1 record run by Eve Other\n"
    )
    assert comparison_to_json(comparison)["claims"][0]["sources"] == ("Eve Other",)
