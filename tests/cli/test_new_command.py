"""`apsite new`: a method described in the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apsite.contribution.questions import RARE, Kind, document, questions
from apsite.documents.json_files import to_json
from tests.answers import FULL
from tests.contribution.test_bibtex import PAPER, write


def options(answers: dict[str, Any]) -> list[str]:
    """The options that say these answers."""
    found = []
    for question in questions():
        answer = answers.get(question.name)
        if question.kind is Kind.ROWS:
            found += [part for row in answer or [] for part in (f"--{question.option}", json.dumps(row))]
        elif isinstance(answer, list):
            found += [part for word in answer for part in (f"--{question.option}", word)]
        elif answer:
            found += [f"--{question.option}", answer]
    return found


def typed(answers: dict[str, Any]) -> str:
    """What is typed to answer the same questions one by one."""
    lines, section = [], ""
    for question in questions():
        if question.section == RARE != section:
            lines.append("y")
        section = question.section
        answer = answers.get(question.name, "")
        if question.stages and answers["pipeline.stage"] not in question.stages:
            continue
        match question.kind:
            case Kind.ROWS:
                for row in answer:
                    lines += ["y", *(row[field.name] for field in question.rows if field.kind is not Kind.LONG), ""]
                lines.append("n")
            case Kind.LINES:
                lines += [*answer, ""]
            case Kind.LONG:
                lines += [*answer.split("\n"), ""]
            case Kind.CHOICES:
                lines.append(", ".join(answer))
            case _:
                lines.append(answer)
    return "\n".join(lines) + "\n"


def test_options_write_the_entry_and_the_folder(run, tmp_path: Path) -> None:
    result = run("new", "--root", tmp_path, "--non-interactive", *options(FULL))
    path = tmp_path / "entries" / f"{FULL['key']}.json"
    assert path.read_text(encoding="utf-8") == to_json(document(FULL))
    assert (tmp_path / "evaluations" / FULL["key"]).is_dir()
    assert f"apsite eval model.pt --method {FULL['key']}" in result.stdout
    assert f"apsite submit-check {FULL['key']}" in result.stdout
    assert f"apsite validate --changed-since origin/main --root {tmp_path}" in result.stdout


def test_answers_may_be_typed(run, tmp_path: Path) -> None:
    answers = {**FULL, "reported": [], "notes": ["A remark."]}
    words = typed(answers).replace("2026\n", "26\n2026\n", 1)
    result = run("new", "--root", tmp_path, "--print", typed=words)
    assert result.stdout == to_json(document(answers))
    assert "“26” is not a whole number" in result.stderr


def test_nobody_without_rare_properties_is_asked_for_them(run, tmp_path: Path) -> None:
    """One question more, answered with the enter key."""
    rare = {question.name for question in questions() if question.section == RARE}
    said = {name: answer for name, answer in FULL.items() if name not in rare}
    answers = {**said, "reported": [], "notes": ["A remark."]}
    lines = typed(answers).split("\n")
    start = lines.index("LIS") + 1
    result = run("new", "--root", tmp_path, "--print", typed="\n".join([*lines[:start], "", *lines[start + 5 :]]))
    assert result.stdout == to_json(document(answers))
    assert "Auxiliary loss" not in result.stderr


def test_words_may_be_typed_in_either_case_and_yes_and_no_by_a_letter(run, tmp_path: Path) -> None:
    answers = {**FULL, "reported": [], "notes": ["A remark."]}
    words = typed({**answers, "pipeline.stage": "after"}).split("\n")
    for word, other in (
        ("after", "AFTER"),
        ("TRADES, other: Friendly training, AT-PGD", "trades, other: Friendly training, 1"),
        ("LIS", "lis"),
        ("yes", "Y"),
        ("no", "n"),
    ):
        words[words.index(word)] = other
    assert run("new", "--root", tmp_path, "--print", typed="\n".join(words)).stdout == to_json(document(answers))


def test_an_option_in_the_other_case_is_the_same_word(run, tmp_path: Path) -> None:
    said = options({**FULL, "specifics.criterion": "lis", "pipeline.stage": "After"})
    assert run("new", "--root", tmp_path, "--non-interactive", "--print", *said).stdout == to_json(document(FULL))


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ([], "--finetuning needs --stage"),
        (["--stage", "before"], "--finetuning does not apply to a method that prunes before training; its steps are "
         "--pruning, --training, --schedule"),
        (["--stage", "during"], "its steps are --training"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("way", [[], ["--non-interactive"]])
def test_a_step_of_another_stage_is_not_dropped_silently(
    run, tmp_path: Path, stage: list[str], message: str, way: list[str]
) -> None:
    result = run("new", "--root", tmp_path, *way, "--finetuning", "NT", *stage, code=2)
    assert message in " ".join(result.stderr.split())


def test_what_the_gate_would_refuse_is_not_written(run, tmp_path: Path) -> None:
    result = run(
        "new", "--root", tmp_path, "--non-interactive", *options({**FULL, "specifics.granularity": ["filter"]}), code=1
    )
    assert result.stderr == "Error: --granularity: Unstructured pruning needs its unit; choose weight.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_new_data_folder_is_announced(run, tmp_path: Path, tiny_data: Path) -> None:
    """Whoever meant a clone is somewhere else."""
    said = options({**FULL, "name": "Other"})
    assert "so this starts a new benchmark" in run("new", "--root", tmp_path / "new", "--non-interactive", *said).stderr
    assert "begins here" not in run("new", "--root", tiny_data, "--non-interactive", *said).stderr


def test_the_paper_comes_from_bibtex_and_the_key_is_suggested(run, tmp_path: Path) -> None:
    words = ["--name", "Tiny", "--stage", "during", "--structure", "structured", "--criterion", "HGM"]
    path = write(tmp_path, PAPER)
    run("new", "--root", tmp_path, "--non-interactive", "--from-bibtex", path, *words)
    entry = json.loads((tmp_path / "entries/Tiny_Doe2026Small.json").read_text(encoding="utf-8"))
    assert entry["paper"]["authors"] == ["Jane Doe", "Jérôme van der Müller"]
    assert entry["paper"]["bibtex"] == PAPER.strip().replace("\t", "  ")
    assert entry["pipeline"] == {"stage": "during", "training": None}


def test_everything_missing_is_named_at_once(run, tmp_path: Path) -> None:
    result = run("new", "--root", tmp_path, "--non-interactive", "--year", "12", code=1)
    for option in ("--name", "--title", "--author", "--year", "--stage", "--structure", "--criterion"):
        assert f"{option}: " in result.stderr
    assert "--key" not in result.stderr, "it follows from the others"
    assert list(tmp_path.iterdir()) == []


def test_an_existing_method_is_not_replaced(run, tiny_data: Path) -> None:
    for key in ("Tiny_Doe2024Small", "Tiny_Doe2024Old"):
        result = run(
            "new", "--root", tiny_data, "--non-interactive", *options({**FULL, "key": key, "checkpoints": []}), code=1
        )
        assert f"--key: “{key}” is taken" in result.stderr


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"speed": 1}'])
def test_rows_must_be_objects_of_the_known_fields(run, tmp_path: Path, text: str) -> None:
    assert "--reported" in run("new", "--root", tmp_path, "--non-interactive", "--reported", text, code=2).stderr


def test_an_interruption_writes_nothing(run, tmp_path: Path) -> None:
    run("new", "--root", tmp_path, typed="Tiny\n", code=130)
    assert list(tmp_path.iterdir()) == []
