"""Disputes, corrections, retractions and history: what may follow what, and what a record is after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apsite.catalogue import load_catalogue, scan
from apsite.comparable import by_setting, rankable
from apsite.entries import entry_from_json, entry_problems
from apsite.records import record_from_json, record_problems, record_to_json
from apsite.validation import validate
from apsite.vocabulary import ChangeKind
from tests.builders import (
    METHOD,
    MODEL,
    RIVAL,
    Document,
    changed,
    entry_document,
    own_document,
    record_document,
    reduced_document,
    write_data,
    write_document,
)

DataFolder = Callable[..., Path]
PATH = Path(f"evaluations/{METHOD}/{MODEL}.json")
HISTORY = Path(f"evaluations/{METHOD}/history")


def change(kind: str, date: str = "2026-03-01", **more: Any) -> dict[str, Any]:
    """One change of a record."""
    return {"date": date, "kind": kind, "reason": f"It was {kind}.", **more}


def with_changes(*changes: dict[str, Any], document: Document | None = None) -> Document:
    """A published record with these changes."""
    return changed(document or record_document(), "changes", list(changes))


def found_in(document: Document, path: Path = PATH) -> list[tuple[str, str]]:
    """Problems of a record as pairs of field and text."""
    return [(problem.field, problem.problem) for problem in record_problems(path, document)]


def test_changes_are_read_and_written_as_they_stand() -> None:
    document = with_changes(
        change("supersedes", version=2), change("disputed", url="https://example.org/issues/1"), change("settled"),
        change("corrected"), change("retracted", "2026-04-01"), document=own_document(),
    )  # fmt: skip
    assert found_in(document) == []
    record = record_from_json(document)
    assert record_to_json(record) == document
    assert [one.kind for one in record.changes] == [
        ChangeKind.SUPERSEDES, ChangeKind.DISPUTED, ChangeKind.SETTLED, ChangeKind.CORRECTED, ChangeKind.RETRACTED,
    ]  # fmt: skip
    assert record.version == 3
    assert record.supersedes is record.changes[0]
    assert record.retracted is record.changes[-1]
    assert record.disputed is None
    assert str(record.history_path) == f"{METHOD}/history/{MODEL}.3.json"


def test_a_record_without_changes_is_the_first_and_stands() -> None:
    record = record_from_json(record_document())
    assert (record.version, record.supersedes, record.retracted, record.disputed) == (1, None, None, None)
    assert "changes" not in record_to_json(record)


def test_the_last_open_dispute_is_shown() -> None:
    document = with_changes(change("disputed"), change("settled"), change("disputed", reason="Again."))
    disputed = record_from_json(document).disputed
    assert disputed is not None
    assert disputed.reason == "Again."
    assert rankable(record_from_json(document))


@pytest.mark.parametrize(("changes", "field", "message"), [
    ([], "changes", "is empty; give at least one"),
    ([change("forgotten")], "changes[0].kind", "'forgotten' is not one of 'supersedes', 'corrected', 'disputed'"),
    ([{"kind": "retracted", "date": "2026-01-01"}], "changes[0]", "lacks 'reason'"),
    ([change("retracted", reason="")], "changes[0].reason", "is empty"),
    ([change("disputed", url="http://example.org")], "changes[0].url", "does not have the required form"),
    ([change("disputed", "1 March")], "changes[0].date", "does not have the required form"),
    ([change("supersedes")], "changes[0].version", "is missing; say which version was replaced"),
    ([change("supersedes", version=0)], "changes[0].version", "0 is below the minimum 1"),
    ([change("corrected", version=1)], "changes[0].version", "belongs to a change of kind 'supersedes' only"),
    ([change("corrected", by="Jane Doe")], "changes[0].by", "belongs to a change of kind 'supersedes' only"),
    ([change("supersedes", version=1, by="")], "changes[0].by", "is empty"),
    (
        [change("corrected"), change("supersedes", version=1)], "changes[1].kind",
        "'supersedes' must be the first change of a record",
    ),
    ([change("settled")], "changes[0].kind", "'settled' requires an open dispute before it"),
    (
        [change("disputed"), change("settled"), change("settled")], "changes[2].kind",
        "'settled' requires an open dispute before it",
    ),
    ([change("retracted"), change("corrected")], "changes[1]", "follows a retraction, which is final"),
    (
        [change("corrected", "2026-03-02"), change("disputed", "2026-03-01")], "changes[1].date",
        "'2026-03-01' is before '2026-03-02'; the newest change comes last",
    ),
    ("retracted", "changes", "'retracted' is not of type array"),
    ([3], "changes[0]", "3 is not of type object"),
])  # fmt: skip
def test_changes_that_cannot_be_are_refused(changes: Any, field: str, message: str) -> None:
    matching = [found for found in found_in(changed(record_document(), "changes", changes)) if message in found[1]]
    assert [found[0] for found in matching] == [field]


def test_an_entry_has_changes_too() -> None:
    path = Path(f"entries/{METHOD}.json")
    document = entry_document(changes=[change("corrected"), change("disputed")])
    assert entry_problems(path, document) == []
    assert [one.kind for one in entry_from_json(document).changes] == [ChangeKind.CORRECTED, ChangeKind.DISPUTED]
    for kind in ("supersedes", "retracted"):
        problems = entry_problems(path, entry_document(changes=[change(kind)]))
        assert "changes[0].kind" in [problem.field for problem in problems]


def test_a_retracted_record_stays_readable_and_has_no_part_in_results(data_folder: DataFolder) -> None:
    root = data_folder(
        entry_document(),
        entry_document(RIVAL),
        with_changes(change("retracted", reason="The checkpoint was not the pruned one.")),
        record_document(f"{RIVAL}_R18_CIFAR10_US_90", robust=0.3),
    )
    assert validate(root).problems == ()
    catalogue = load_catalogue(root)
    assert list(catalogue.records) == [f"{RIVAL}_R18_CIFAR10_US_90"]
    assert list(catalogue.retracted) == [MODEL]
    retraction = catalogue.retracted[MODEL].retracted
    assert retraction is not None
    assert retraction.reason == "The checkpoint was not the pruned one."
    (ranked,) = by_setting(catalogue).values()
    assert [record.method for record in ranked] == [RIVAL]
    assert not rankable(catalogue.retracted[MODEL])
    assert len(catalogue.to_frame()) == 1


def history_folder(root: Path) -> Path:
    """Data in which an own run has replaced a published figure, and another own run that one."""
    write_data(root, entry_document(), own_document())
    (root / HISTORY).mkdir()
    write_document(root / HISTORY / f"{MODEL}.1.json", reduced_document())
    second = with_changes(change("supersedes", version=1), document=own_document())
    write_document(root / HISTORY / f"{MODEL}.2.json", second)
    npz = (root / PATH).with_suffix(".npz")
    (root / HISTORY / f"{MODEL}.2.npz").write_bytes(npz.read_bytes())
    write_document(root / PATH, with_changes(change("supersedes", version=2), document=own_document()))
    return root


def test_replaced_records_are_read_in_order(tmp_path: Path) -> None:
    root = history_folder(tmp_path)
    report = validate(root)
    assert report.problems == ()
    assert (report.records, report.sample_files) == (3, 2)
    catalogue = load_catalogue(root)
    assert [record.version for record in catalogue.versions(MODEL)] == [1, 2, 3]
    assert catalogue.records[MODEL].version == 3
    assert [record.version for record in catalogue.superseded[MODEL]] == [1, 2]
    assert catalogue.versions("nothing") == []
    assert [str(path.relative_to(root)) for path, _ in catalogue.every_record()] == [
        str(PATH), f"{HISTORY}/{MODEL}.1.json", f"{HISTORY}/{MODEL}.2.json",
    ]  # fmt: skip


def break_gap(root: Path) -> None:
    (root / HISTORY / f"{MODEL}.1.json").unlink()


def break_current(root: Path) -> None:
    (root / PATH).unlink()
    (root / PATH).with_suffix(".npz").unlink()


def break_extra(root: Path) -> None:
    write_document(root / PATH, own_document())


def break_name(root: Path) -> None:
    (root / HISTORY / f"{MODEL}.1.json").rename(root / HISTORY / f"{MODEL}.7.json")


def break_orphan(root: Path) -> None:
    (root / HISTORY / f"{MODEL}.2.json").unlink()


@pytest.mark.parametrize(("spoil", "path", "field", "message"), [
    (break_gap, PATH, "changes[0].version", f"the older version is not there as history/{MODEL}.1.json"),
    (break_current, HISTORY / f"{MODEL}.2.json", "", f"no record has replaced it; move it back to {METHOD}/"),
    (break_extra, HISTORY / f"{MODEL}.2.json", "", "is version 2, but the current record is version 1"),
    (break_name, HISTORY / f"{MODEL}.7.json", "changes", "make this version 1 of the record, not '7'"),
    (break_orphan, HISTORY / f"{MODEL}.2.npz", "", "has no record next to it"),
])  # fmt: skip
def test_a_broken_history_is_noticed(
    tmp_path: Path, spoil: Callable[[Path], None], path: Path, field: str, message: str
) -> None:
    root = history_folder(tmp_path)
    spoil(root)
    found = {
        (problem.path, problem.field): problem.problem for problem in scan(root)[1] + list(validate(root).problems)
    }
    assert message in found[root / path, field]
