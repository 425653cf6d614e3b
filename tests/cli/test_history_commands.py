"""Commands for what happens to results after they were published: supersede, amend, migrate."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apsite.catalogue import load_catalogue
from apsite.validation import validate
from tests.builders import (
    METHOD,
    MODEL,
    Document,
    changed,
    entry_document,
    own_document,
    record_document,
    reduced_document,
    version_1,
    write_data,
)
from tests.cli.conftest import Run

RECORD = f"evaluations/{METHOD}/{MODEL}.json"
KEPT = f"evaluations/{METHOD}/history/{MODEL}"
REASON = ("--reason", "Trained for longer.", "--date", "2026-02-03")


def submitted(**changes: Any) -> dict[str, Any]:
    """An own run that nobody has verified."""
    document = changed(changed(own_document(), "provenance.kind", "submitted"), "verification")
    return {**document, **changes}


def new_run(where: Path, document: dict[str, Any] | None = None) -> Path:
    """A new run that `apsite eval --output` wrote elsewhere."""
    write_data(where, document or submitted())
    return where / RECORD


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_new_run_takes_the_place_of_a_published_figure(run: Run, tmp_path: Path) -> None:
    root = write_data(tmp_path / "data", entry_document(), reduced_document())
    before = (root / RECORD).read_bytes()
    result = run("supersede", new_run(tmp_path / "new"), "--root", root, *REASON, "--url", "https://example.org/1")
    assert result.stdout == f"Record: {root / RECORD}\n"
    assert (root / f"{KEPT}.1.json").read_bytes() == before
    record = load_catalogue(root).records[MODEL]
    assert record.version == 2
    assert json.loads((root / RECORD).read_text())["changes"] == [
        {"date": "2026-02-03", "kind": "supersedes", "reason": "Trained for longer.", "url": "https://example.org/1",
         "version": 1}
    ]  # fmt: skip
    assert validate(root).problems == ()


def test_history_grows(run: Run, tmp_path: Path) -> None:
    root = write_data(tmp_path / "data", entry_document(), own_document())
    first = contents(root)
    new = new_run(tmp_path / "new")
    for run_of in (new, new_run(tmp_path / "newer", submitted(notes=["On another machine."]))):
        run("supersede", run_of, "--root", root, *REASON)
    after = contents(root)
    assert after[f"{KEPT}.1.json"] == first[RECORD]
    assert after[f"{KEPT}.1.npz"] == first[RECORD.replace(".json", ".npz")]
    assert json.loads(after[f"{KEPT}.2.json"])["changes"][0]["version"] == 1
    assert [record.version for record in load_catalogue(root).versions(MODEL)] == [1, 2, 3]
    assert validate(root).problems == ()
    assert new.exists()


def test_a_figure_without_samples_leaves_no_samples_behind(run: Run, tmp_path: Path) -> None:
    root = write_data(tmp_path / "data", entry_document(), own_document())
    decided = ("--by", "Jane Doe, maintainer")
    run("supersede", new_run(tmp_path / "new", reduced_document()), "--root", root, *REASON, *decided)
    assert not (root / RECORD).with_suffix(".npz").exists()
    assert json.loads((root / RECORD).read_text())["changes"][0]["by"] == "Jane Doe, maintainer"
    assert validate(root).problems == ()


@pytest.mark.parametrize(
    ("spoil", "arguments", "message"),
    [
        (lambda root, new: (root / RECORD).unlink(), (), "does not exist, so nothing is superseded"),
        (lambda root, new: new.with_suffix(".npz").unlink(), (), f"{MODEL}.npz: is missing; add the file"),
        (lambda root, new: new.with_suffix(".npz").write_bytes(b"x"), (), "is not a readable .npz file"),
        (lambda root, new: new.write_text("{}"), (), "lacks 'schema_version'"),
        (lambda root, new: new.unlink(), (), "cannot be read"),
        (lambda root, new: (root / RECORD).write_text("{}"), (), "lacks 'schema_version'"),
        (lambda root, new: None, ("--date", "today"), "the required form: Day of the change, as year-month-day."),
        (lambda root, new: None, ("--url", "http://example.org"), "changes[0].url: 'http://example.org'"),
        (lambda root, new: None, ("--reason", ""), "changes[0].reason: is empty"),
        (lambda root, new: write_kept(root), (), "is already there; history is never overwritten"),
    ],
)  # fmt: skip
def test_what_cannot_be_superseded_changes_nothing(
    run: Run, tmp_path: Path, spoil: Callable[[Path, Path], object], arguments: tuple[str, ...], message: str
) -> None:
    root, new = write_data(tmp_path / "data", entry_document(), reduced_document()), new_run(tmp_path / "new")
    spoil(root, new)
    before = contents(tmp_path)
    result = run("supersede", new, "--root", root, *REASON, *arguments, code=1)
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert contents(tmp_path) == before


FEW = "results.n_samples: 8 is fewer than the 9 of version 1, which this one replaces"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (record_document(), submitted(), "protocol: 'custom' does not rank, unlike version 1, which this one replaces"),
        (changed(reduced_document(), "results.n_samples", 9), submitted(), FEW),
        (submitted(), changed(submitted(), "results.attacks[1]"), "results.attacks: lacks hofmn, unlike version 1"),
        (submitted(), reduced_document(), "provenance.kind: 'published' cannot supersede a record"),
        (reduced_document(), own_document(), "provenance.kind: 'verified' is set by maintainers"),
        (submitted(), changed(submitted(), "provenance.source", "Rick Roe"), "'Rick Roe' is not 'Jane Doe', whose run"),
        (reduced_document(), changed(submitted(), "audit.layers[3].filters", 65), "audit"),
        (reduced_document(), changed(submitted(), "results.clean_accuracy", 0.875), "contradicts the per-sample file"),
    ],
)  # fmt: skip
def test_what_is_less_well_founded_is_refused_at_once(
    run: Run, tmp_path: Path, old: Document, new: Document, message: str
) -> None:
    """By the same rules as by `apsite validate`, once it is in its place."""
    if "joint" in new["results"] and len(new["results"]["attacks"]) == 1:
        del new["results"]["joint"]
    root = write_data(tmp_path / "data", entry_document(), old)
    before = contents(root)
    result = run("supersede", new_run(tmp_path / "new", new), "--root", root, *REASON, code=1)
    assert message in result.stderr
    assert contents(root) == before


def test_a_maintainer_may_decide_otherwise_and_is_named(run: Run, tmp_path: Path) -> None:
    """What is wrong in itself stays refused; see above."""
    root, new = write_data(tmp_path / "data", entry_document(), record_document()), new_run(tmp_path / "new")
    run("supersede", new, "--root", root, *REASON, "--by", "Jane Doe")
    assert validate(root).problems == ()
    record = load_catalogue(root).records[MODEL]
    assert record.supersedes.text == "Trained for longer. Decided by Jane Doe."
    undecided = json.loads((root / RECORD).read_text())
    del undecided["changes"][0]["by"]
    (root / RECORD).write_text(json.dumps(undecided))
    assert {problem.field for problem in validate(root).problems} == {"protocol", "results.n_samples"}


def test_a_retracted_result_may_be_replaced_by_any(run: Run, tmp_path: Path) -> None:
    root, new = write_data(tmp_path / "data", entry_document(), record_document()), new_run(tmp_path / "new")
    run("amend", MODEL, "--root", root, "--kind", "retracted", *REASON)
    run("supersede", new, "--root", root, *REASON)
    assert validate(root).problems == ()
    run("amend", MODEL, "--root", root, "--kind", "retracted", *REASON)
    assert validate(root).problems == ()


def write_kept(root: Path) -> None:
    """A file that history already holds."""
    (root / KEPT).parent.mkdir()
    (root / f"{KEPT}.1.json").write_text("{}")


def test_a_record_cannot_supersede_itself(run: Run, tmp_path: Path) -> None:
    """After `apsite eval --overwrite` the old one is gone; git has it."""
    root = write_data(tmp_path / "data", entry_document(), own_document())
    result = run("supersede", root / RECORD, "--root", root, *REASON, code=1)
    assert "is the current record; write the new one elsewhere" in result.stderr


def test_a_run_supersedes_once(run: Run, tmp_path: Path) -> None:
    root, new = write_data(tmp_path / "data", entry_document(), own_document()), new_run(tmp_path / "new")
    run("supersede", new, "--root", root, *REASON)
    before = contents(root)
    result = run("supersede", new, "--root", root, *REASON, code=1)
    assert f"is already the run at {root / RECORD}; nothing is superseded" in result.stderr
    assert contents(root) == before


@pytest.mark.parametrize(
    ("day", "message"),
    [
        ("2099-01-01", "date: '2099-01-01' is in the future"),
        ("2026-02-30", "'2026-02-30' is not a day of the calendar"),
    ],
)
def test_a_day_that_cannot_be_is_refused_at_once(run: Run, tmp_path: Path, day: str, message: str) -> None:
    """The gate would refuse it later."""
    root, new = write_data(tmp_path / "data", entry_document(), reduced_document()), new_run(tmp_path / "new")
    before = contents(root)
    for arguments in (
        ("supersede", new),
        ("amend", MODEL, "--kind", "corrected"),
        ("amend", METHOD, "--kind", "corrected"),
    ):
        assert message in run(*arguments, "--root", root, "--reason", "Better.", "--date", day, code=1).stderr
        assert contents(root) == before


def test_a_dispute_a_settlement_and_a_retraction_are_noted(run: Run, tmp_path: Path) -> None:
    root = write_data(tmp_path / "data", entry_document(), record_document())
    for kind in ("disputed", "settled", "retracted"):
        assert run("amend", MODEL, "--root", root, "--kind", kind, *REASON).stdout == f"Amended: {root / RECORD}\n"
        assert validate(root).problems == ()
    catalogue = load_catalogue(root)
    assert MODEL not in catalogue.records
    assert [change.kind.value for change in catalogue.retracted[MODEL].changes] == ["disputed", "settled", "retracted"]


def test_an_entry_is_amended_by_its_key(run: Run, tmp_path: Path) -> None:
    root = write_data(tmp_path / "data", entry_document())
    run("amend", METHOD, "--root", root, "--kind", "corrected", "--reason", "The venue.")
    (change,) = load_catalogue(root).entries[METHOD].changes
    assert change.reason == "The venue."
    assert validate(root).problems == ()


@pytest.mark.parametrize(
    ("key", "kind", "message"),
    [
        ("nothing", "corrected", "'nothing' is neither the key of an entry nor of a record"),
        ("../../etc/passwd", "corrected", "is neither the key of an entry nor of a record"),
        (MODEL, "settled", "changes[0].kind: 'settled' requires an open dispute before it"),
        (METHOD, "retracted", "changes[0].kind: 'retracted' is not one of 'corrected', 'disputed', 'settled'"),
    ],
)
def test_what_cannot_be_amended_stays(run: Run, tmp_path: Path, key: str, kind: str, message: str) -> None:
    root = write_data(tmp_path / "data", entry_document(), record_document())
    before = contents(root)
    assert message in run("amend", key, "--root", root, "--kind", kind, *REASON, code=1).stderr
    assert contents(root) == before


def test_old_records_are_converted_once(run: Run, tmp_path: Path) -> None:
    other = f"{METHOD}_R18_CIFAR10_US_95"
    new = {**submitted(), "changes": [{"date": "2026-02-03", "kind": "supersedes", "reason": "x", "version": 1}]}
    root = write_data(tmp_path, entry_document(), version_1(new), version_1(record_document(other)))
    (root / f"{KEPT}.1.json").parent.mkdir()
    (root / f"{KEPT}.1.json").write_text(json.dumps(version_1(reduced_document())), encoding="utf-8")
    before, catalogue = contents(root), load_catalogue(root)
    old = [root / RECORD, root / f"evaluations/{METHOD}/{other}.json"]
    checked = run("migrate", "--root", root, "--check", code=1)
    assert checked.stdout == "".join(f"{path}\n" for path in old)
    assert "2 records to convert to version 2; run `apsite migrate`" in checked.stderr
    assert contents(root) == before
    assert "Converted 2 records to version 2 of the file format." in run("migrate", "--root", root).stdout
    assert [path for path, content in contents(root).items() if content != before[path]] == [
        str(path.relative_to(root)) for path in old
    ]
    assert [json.loads(path.read_text()) for path in old] == [new, record_document(other)]
    assert load_catalogue(root) == catalogue
    assert validate(root).problems == ()
    for options in ((), ("--check",)):
        assert run("migrate", "--root", root, *options).stdout == "Nothing to convert.\n"


def test_nothing_is_converted_beside_a_broken_record(run: Run, tmp_path: Path) -> None:
    broken = changed(version_1(record_document(f"{METHOD}_R18_CIFAR10_US_99")), "results.n_samples", 0)
    root = write_data(tmp_path / "data", entry_document(), version_1(own_document()), broken)
    before = contents(root)
    assert "US_99.json: results.n_samples: 0 is below the minimum 1" in run("migrate", "--root", root, code=1).stderr
    assert contents(root) == before
    assert "has no folder 'evaluations'" in run("migrate", "--root", tmp_path, code=1).stderr
