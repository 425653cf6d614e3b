"""The questions that describe a method: drawn from the schema, and answers that make a right entry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from apsite.contribution.questions import FIXED, Kind, clean, document, export, problems, questions, suggested_key
from apsite.documents.json_files import to_json
from apsite.documents.schema import load_schema
from apsite.entries import entry_from_json, entry_problems
from apsite.errors import DocumentError
from apsite.validation.entries import entry_problems as contradictions
from apsite.vocabulary import Criterion, Objective, Stage
from tests.answers import CONTRADICTIONS, FULL, any_answers, good_answers


def all_problems(answers: dict[str, Any]) -> list[DocumentError]:
    """What the gate says of the entry that answers make."""
    entry = document(answers)
    path = Path(f"{entry['key']}.json")
    return entry_problems(path, entry) or contradictions(path, entry_from_json(entry))


def test_every_field_of_the_schema_is_asked_for_or_fixed() -> None:
    """A new field of entries needs a question or a fixed value."""
    places = {question.name.split(".")[0] for question in questions()}
    assert set(load_schema("entry")["required"]) <= places | set(FIXED)
    for group in ("paper", "specifics"):
        asked = {question.name for question in questions() if question.name.startswith(f"{group}.")}
        assert asked == {f"{group}.{name}" for name in load_schema("entry")["properties"][group]["required"]}


def test_words_and_meanings_are_those_of_the_vocabulary() -> None:
    asked = {question.name: question for question in questions()}
    assert [choice.value for choice in asked["pipeline.pretraining"].choices] == list(Objective)
    criterion = asked["specifics.criterion"]
    assert [choice.meaning for choice in criterion.choices] == [word.meaning for word in Criterion]
    assert asked["pipeline.training"].stages == (Stage.BEFORE, Stage.DURING)
    assert "null" not in " ".join(question.help for question in questions())


def test_nobody_who_answers_hears_of_null() -> None:
    """Help and complaints leave out what only those who write JSON need."""
    for question in questions():
        assert "null" not in f"{question.help} {question.pattern_meaning}", question.name


def test_full_answers_give_the_entry() -> None:
    assert problems(FULL) == {}
    entry = document(FULL)
    assert entry_problems(Path("entries") / f"{FULL['key']}.json", entry) == []
    assert list(entry) == [name for name in load_schema("entry")["properties"] if name in entry]
    assert entry["pipeline"] == {
        "stage": "after",
        "pretraining": ["AT-PGD", "TRADES", "other: Friendly training"],
        "finetuning": [],
        "schedule": ["iterative"],
    }
    assert entry["in_survey"] is False
    assert (entry["host_methods"], entry["other_compression"]) == (["HYDRA", "HARP"], ["quantization"])
    assert entry["specifics"]["locality"] is None
    assert entry["sources"]["pipeline"] == FULL["sources"]
    assert entry["audit"] == {
        "autoattack": True, "pgd": False, "others": ["CW", "DeepFool"], "robustness_curve": None,
        "pgd_over_10_iterations": None,
    }  # fmt: skip
    assert entry["reported"][0]["robust_accuracy"] == 1
    assert entry["checkpoints"][0] == {
        "model_key": "Tiny-Net_Nunez2026Small_R18_CIFAR10_US_90",
        "url": "hf://jane/tiny/model.pt",
        "sha256": None,
        "file_format": ".pt",
    }
    assert entry["notes"][0] == "Ünïcode – and  tabs"
    assert entry_from_json(entry).key == FULL["key"]


def test_what_is_not_said_is_null() -> None:
    needed = {question.name for question in questions() if question.required}
    entry = document({name: answer for name, answer in FULL.items() if name in needed})
    assert entry["code"] is None
    assert entry["audit"] is None
    assert not {"checkpoints", "auxiliary_loss", "host_methods", "source_data", "other_compression"} & set(entry)
    assert entry["sources"] == dict.fromkeys(("name", "paper", "pipeline", "specifics"), FULL["paper.title"])
    assert entry["pipeline"]["pretraining"] is None
    assert entry["reported"] == []


def test_questions_of_other_stages_do_not_count() -> None:
    entry = document({**FULL, "pipeline.stage": "during", "pipeline.training": ["KD"]})
    assert entry["pipeline"] == {"stage": "during", "training": ["KD"]}


@given(good_answers())
def test_answers_without_problems_make_entries_without_problems(answers: dict[str, object]) -> None:
    assert problems(answers) == {}
    assert all_problems(answers) == []


@settings(max_examples=15)
@given(any_answers())
def test_what_the_questions_let_pass_the_schema_lets_pass(answers: dict[str, object]) -> None:
    for name, answer in answers.items():
        tried = {**FULL, name: answer}
        if not problems(tried):
            assert all_problems(tried) == []
            entry = document(tried)
            assert json.loads(to_json(entry)) == entry


@pytest.mark.parametrize(("name", "answer", "message"), [
    ("name", "", "An answer is required"),
    ("name", "x" * 41, "41 characters; at most 40"),
    ("name", "a\u202eb", "holds U+202E RIGHT-TO-LEFT OVERRIDE, which shows nothing"),
    ("paper.authors", "\n \n", "An answer is required"),
    ("paper.authors", ["A" * 81], "Line 1: Has 81 characters"),
    ("paper.year", "23", "not a whole number from 1980 to 2100"),
    ("paper.year", "twenty", "not a whole number"),
    ("paper.url", "http://example.org", "https only"),
    ("key", "Tiny", "<Name>_<FirstAuthor><Year><FirstTitleWord>"),
    ("key", "HARP_Zhao2023Holistic", "is taken"),
    ("pipeline.stage", "later", "not one of: after, before, during"),
    ("pipeline.pretraining", ["none", "KD"], "excludes an objective"),
    ("pipeline.pretraining", ["Magic"], "not one of: AT-PGD"),
    ("pipeline.pretraining", ["other: one; two"], "or other: and a few words (at most 60 characters, no comma)"),
    ("specifics.criterion", "other:", "not one of: LWM"),
    ("specifics.criterion", "other: " + "x" * 61, "not one of: LWM"),
    ("specifics.structure", ["other: half"], "not one of: unstructured, structured, semi-structured"),
    ("specifics.structure", [], "An answer is required"),
    ("audit.others", ["CW", "CW"], "twice"),
    ("audit.others", [str(n) for n in range(21)], "21 lines; at most 20"),
    ("reported", [{**FULL["reported"][0], "sparsity": "95"}], "Row 1, Sparsity: “95” is not a fraction"),
    ("reported", [{**FULL["reported"][0], "attack": ""}], "Row 1, Attack: An answer is required"),
    ("checkpoints", [{**FULL["checkpoints"][0], "url": "ftp://x"}], "Row 1, URL: “ftp://x” does not have"),
    (
        "checkpoints",
        [{**FULL["checkpoints"][0], "model_key": "Other_Doe2020A_R18_CIFAR10_US_90"}],
        "does not begin with the key of this method",
    ),
])  # fmt: skip
def test_wrong_answers_are_named(name: str, answer: object, message: str) -> None:
    found = problems({**FULL, name: answer}, {"HARP_Zhao2023Holistic"})
    assert message in found[name]


@pytest.mark.parametrize(("answers", "key"), [
    (FULL, "Tiny-Net_Nunez2026Small"),
    ({**FULL, "paper.authors": "van der Berg, Åsa\nOther"}, "Tiny-Net_Vanderberg2026Small"),
    ({**FULL, "paper.title": "HYDRA: pruning"}, "Tiny-Net_Nunez2026Hydra"),
    ({**FULL, "paper.title": "“…” 3D nets"}, "Tiny-Net_Nunez20263D"),
    ({**FULL, "paper.year": ""}, ""),
])  # fmt: skip
def test_a_key_is_suggested(answers: dict[str, object], key: str) -> None:
    assert suggested_key(answers).lower() == key.lower()
    if key:
        assert not problems({**FULL, "key": suggested_key(answers), "checkpoints": []})


@pytest.mark.parametrize(("said", "name", "message"), CONTRADICTIONS)
def test_answers_that_contradict_each_other_are_named(said: dict[str, Any], name: str, message: str) -> None:
    """Each would be refused by the gate; where nothing else is wrong, the gate indeed refuses it."""
    found = problems({**FULL, **said})
    assert list(found) == [name]
    assert message in found[name]
    assert all_problems({**FULL, **said})


def test_texts_are_stored_in_one_way() -> None:
    assert clean(" a\r\nb\tc\u00a0 ") == "a\nb  c"
    assert clean("e\u0301") == "é"


def test_export_is_json_and_complete() -> None:
    exported = json.loads(json.dumps(export()))
    assert [question["name"] for question in exported["questions"]] == [question.name for question in questions()]
    rows = [field for question in exported["questions"] for field in question["rows"]]
    assert {question["kind"] for question in (*exported["questions"], *rows)} == set(Kind)
    assert [question["choices"] for question in exported["questions"]] == [
        [choice.value for choice in question.choices] for question in questions()
    ]
