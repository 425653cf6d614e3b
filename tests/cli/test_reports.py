"""The report of the gate: lines of places, and annotations out of which no name can break."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsite.documents.schema import json_path
from apsite.errors import DocumentError
from apsite.validation import Report
from apsite.validation.positions import line_of
from apsite.validation.reports import to_github, to_json, to_text
from tests.builders import METHOD, MODEL, changed, entry_document, own_document, record_document, write_data
from tests.cli.conftest import Run
from tests.submissions import write_json
from tests.test_generated_documents import places


def report_of(*problems: DocumentError) -> Report:
    """A report with these problems."""
    return Report(1, 2, 3, problems)


def test_every_place_of_a_document_is_found_on_its_line(tmp_path: Path) -> None:
    """As Python's own writer breaks the lines: the line of a member is that on which its name or value begins."""
    document = own_document()
    write_json(tmp_path / "x.json", document)
    lines = (tmp_path / "x.json").read_text().splitlines()
    for parts in places(document):
        if not parts:
            continue
        line = lines[line_of(tmp_path / "x.json", json_path(parts)) - 1].strip()
        name = parts[-1]
        assert line.startswith(f'"{name}":') if isinstance(name, str) else line[0] in '{["0123456789', (parts, line)


def test_a_missing_place_is_that_of_its_surroundings(tmp_path: Path) -> None:
    """So that an annotation stands where something has to be added."""
    write_json(tmp_path / "x.json", {"a": 1, "b": {"c": [1, {"d": 2}]}})
    path = tmp_path / "x.json"
    assert [line_of(path, place) for place in ("a", "b", "b.c", "b.c[0]", "b.c[1]", "b.c[1].d")] == [2, 3, 4, 5, 6, 7]
    assert [line_of(path, place) for place in ("", "z", "b.z", "b.c[9]", "b.c[1].z.y")] == [1, 1, 3, 4, 6]


@pytest.mark.parametrize(
    ("content", "place", "line"),
    [
        ('{"a": "x\\"y{[",\n "b": 1}', "b", 2),
        ('{"a": {"k": 1},\n "b": 1', "b", 2),
        ('}}]] {"a":\n 1', "a", 1),
        ("[[[[", "a[0]", 1),
        ('{"\\ud800": 1}', "a", 1),
        ('{"a\n', "a", 1),
        ("\xff", "a", 1),
        ("", "a", 1),
    ],
)
def test_a_broken_file_has_lines_as_far_as_they_go(tmp_path: Path, content: str, place: str, line: int) -> None:
    (tmp_path / "x.json").write_bytes(content.encode("latin-1"))
    assert line_of(tmp_path / "x.json", place) == line


@given(st.text(alphabet='{}[],:"\\ \nax1', max_size=60))
def test_no_text_has_no_line(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.json"
        path.write_text(text, encoding="utf-8")
        assert 1 <= line_of(path, "a.x[1]") <= text.count("\n") + 1


def test_annotations_name_file_line_and_message(run: Run, tmp_path: Path) -> None:
    """Relative to the data folder, which is where the repository's own paths begin."""
    root = write_data(tmp_path, entry_document(), record_document())
    write_json(root / f"entries/{METHOD}.json", changed(entry_document(), "paper.year", 20240))
    result = run("validate", "--root", root, "--format", "github", code=1)
    first, last = result.stdout.splitlines()
    assert first == (
        f"::error file=entries/{METHOD}.json,line=13,title=paper.year::paper.year: 20240 is above the maximum 2100"
    )
    assert last == "0 entries, 1 record, 0 per-sample files: 1 problem"


def test_annotations_of_good_data_are_none(run: Run, tiny_data: Path) -> None:
    result = run("validate", "--root", tiny_data, "--format", "github")
    assert result.stdout == "2 entries, 4 records, 1 per-sample file: no problem\n"


HOSTILE = "entries/a\n::warning file=x,line=1::b%0Ac,:\r\x1b[31m.json"


def test_no_name_begins_a_command_of_its_own() -> None:
    text = to_github(report_of(DocumentError(Path(HOSTILE), "x\n::error::y", f"is {HOSTILE}")), Path())
    line, summary, end = text.split("\n")
    assert end == ""
    assert summary == "1 entry, 2 records, 3 per-sample files: 1 problem"
    assert line.startswith("::error file=entries/a%0A%3A%3Awarning file=x%2Cline=1%3A%3Ab%250Ac%2C%3A%0D")
    properties, _, message = line.removeprefix("::").partition("::")
    assert properties.count(",") == 2
    assert properties.partition(",line=")[2].startswith("1,title=x?%3A%3Aerror%3A%3Ay")
    assert "\x1b" not in message
    assert "%250Ac" in message


@given(st.text(max_size=80), st.text(max_size=40), st.text(max_size=80))
def test_any_problem_is_one_annotation(name: str, field: str, problem: str) -> None:
    path = Path("entries") / name.replace("\0", "").replace("/", "")
    lines = to_github(report_of(DocumentError(path, field, problem)), Path("elsewhere")).split("\n")
    assert len(lines) == 3
    line = lines[0]
    assert "\r" not in line
    head = line.removeprefix("::error ").split("::")[0]
    assert [part.split("=")[0] for part in head.split(",")] == ["file", "line", "title"]


def test_texts_are_those_of_the_problems() -> None:
    problem = DocumentError(Path("entries/x.json"), "key", "is wrong")
    assert to_text(report_of(problem)) == (
        "entries/x.json: key: is wrong\n1 entry, 2 records, 3 per-sample files: 1 problem\n"
    )
    assert json.loads(to_json(report_of(problem)))["problems"] == [
        {"path": "entries/x.json", "field": "key", "problem": "is wrong"}
    ]


def test_maintainer_needs_a_proposal(run: Run, tiny_data: Path) -> None:
    result = run("validate", "--root", tiny_data, "--maintainer", code=2)
    assert "--maintainer requires --changed-since" in result.stderr


def test_a_proposal_in_no_repository_is_a_mendable_problem(
    run: Run, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tiny_data.parent))
    result = run("validate", "--root", tiny_data, "--changed-since", "main", code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: main: is neither a folder with data nor a revision of the repository")


def test_show_tells_what_happened(run: Run, tmp_path: Path) -> None:
    retracted = {"date": "2026-03-01", "kind": "retracted", "reason": "Wrong [bold]file[/]."}
    corrected = {"date": "2026-02-01", "kind": "corrected", "reason": "The venue."}
    root = write_data(tmp_path, entry_document(changes=[corrected]), changed(record_document(), "changes", [retracted]))
    shown = run("show", METHOD, "--root", root).stdout
    assert shown.endswith(
        f"Changes\n  2026-02-01  Corrected: Tiny: The venue.\n  2026-03-01  Retracted: {MODEL}: Wrong [bold]file[/].\n"
    )
