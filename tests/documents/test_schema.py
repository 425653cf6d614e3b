"""The JSON Schemas, and how a problem is put into words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from apsite.documents.schema import json_path, load_schema, schema_problems
from tests.builders import changed, entry_document, own_document, record_document

PATH = Path("entries/x.json")


def objects_of(schema: Any) -> list[dict[str, Any]]:
    """Every object schema within a schema."""
    found = []
    if isinstance(schema, dict):
        if "properties" in schema:
            found.append(schema)
        for value in schema.values():
            found += objects_of(value)
    elif isinstance(schema, list):
        for value in schema:
            found += objects_of(value)
    return found


@pytest.mark.parametrize("name", ["entry", "record", "published"])
def test_the_schema_is_one(name: str) -> None:
    schema = load_schema(name)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", ["entry", "record", "published"])
def test_every_object_is_closed_and_every_field_described(name: str) -> None:
    """A misspelt name is an error everywhere, and the reference page has a sentence for each field."""
    for part in objects_of(load_schema(name)):
        assert part["additionalProperties"] is False
        assert set(part["required"]) <= set(part["properties"])
        for field, rule in part["properties"].items():
            assert rule.get("description") or "$ref" in rule or "sha256" in field, field


def test_good_documents_have_no_problem() -> None:
    assert schema_problems(PATH, "entry", entry_document()) == []
    assert schema_problems(PATH, "record", record_document()) == []
    assert schema_problems(PATH, "record", own_document()) == []


def test_all_problems_are_reported_in_order_of_place() -> None:
    document = changed(entry_document(), "pipeline", {"stage": "after", "pretraining": ["X"], "training": ["NT"]})
    document = changed(document, "baseline", "no")
    found = [(problem.field, problem.problem.split(" ")[0]) for problem in schema_problems(PATH, "entry", document)]
    assert found == [
        ("baseline", "'no'"),
        ("pipeline", "lacks"),
        ("pipeline", "has"),
        ("pipeline.pretraining[0]", "'X'"),
    ]


def test_a_problem_is_reported_once() -> None:
    problems = schema_problems(PATH, "entry", changed(entry_document(), "specifics.structure", ["filters", "filters"]))
    assert [(problem.field, problem.problem) for problem in problems] == [
        ("specifics.structure", "names something twice; name each once"),
        ("specifics.structure[0]", "'filters' is not one of 'unstructured', 'structured', 'semi-structured'"),
        ("specifics.structure[1]", "'filters' is not one of 'unstructured', 'structured', 'semi-structured'"),
    ]


def test_a_long_value_is_cut_in_the_message() -> None:
    """A hostile document cannot flood the log."""
    (problem,) = schema_problems(PATH, "entry", changed(entry_document(), "specifics.criterion", "x" * 10_000))
    assert problem.problem.startswith("'" + "x" * 78 + "… is not one of 'LWM'")


@pytest.mark.parametrize(("field", "value", "message"), [
    ("notes", [1] * 300_000, "notes: has 300,000 members; at most 30 are allowed"),
    ("aliases", [{"a": number} for number in range(60_000)], 'aliases: has 60,000 members; at most 10 are allowed'),
    ("aliases", [{"a": 1}, {"a": 1}], "aliases: names something twice"),
    ("pipeline", {"stage": "after", "pretraining": ["X"] * 100_000}, "pipeline.pretraining: has 100,000 members"),
    ("paper", {f"x{number}": 1 for number in range(70_000)}, "paper: has unknown 'x0', 'x1', 'x2'"),
])  # fmt: skip
def test_very_many_problems_are_few_short_messages(field: str, value: Any, message: str) -> None:
    problems = schema_problems(PATH, "entry", changed(entry_document(), field, value))
    assert len(problems) <= 100
    assert any(message in str(problem) for problem in problems)
    assert max(len(str(problem)) for problem in problems) < 300


@pytest.mark.parametrize("value", [1000.0, 1e300])
def test_a_count_is_a_whole_number_as_python_reads_it(value: float) -> None:
    """JSON Schema takes ``1.0`` for a whole number; code that counts with it does not."""
    (problem,) = schema_problems(PATH, "record", changed(own_document(), "checkpoint.size", value))
    assert problem.problem.endswith("is not of type integer; write a whole number, without a point or an exponent")
    assert schema_problems(PATH, "record", changed(own_document(), "results.clean_accuracy", 1.0)) == []


@pytest.mark.parametrize(("parts", "text"), [
    ([], ""),
    (["key"], "key"),
    (["specifics", "structure", 0], "specifics.structure[0]"),
    (["reported", 2, "attack"], "reported[2].attack"),
    (["settings", "a\nb"], r"settings.'a\nb'"),
    (["passes", "\x1b[31m", "forward"], r"passes.'\x1b[31m'.forward"),
    (["passes", "x" * 100], f"passes.{'x' * 79}…"),
])  # fmt: skip
def test_a_place_is_spelt_as_in_python_and_safe_to_print(parts: list[str | int], text: str) -> None:
    """Names that a document chooses freely cannot break the line."""
    assert json_path(parts) == text


@pytest.mark.parametrize(("document", "field", "value"), [
    ("entry", "key", "Tiny_Doe2024Small"),
    ("entry", "name", "Tiny"),
    ("entry", "aliases", ["Tiny_Doe2024Old"]),
    ("entry", "paper.url", "https://example.org/"),
    ("entry", "notes", ["A remark."]),
    ("record", "model_key", "Tiny_Doe2024Small_R18_CIFAR10_US_90"),
    ("record", "threat_model.epsilon", "8/255"),
    ("record", "provenance.date", "2024-09-02"),
    ("record", "checkpoint.sha256", "a" * 64),
    ("record", "environment", {"device": "cpu"}),
])  # fmt: skip
def test_a_pattern_ends_where_the_text_ends(document: str, field: str, value: Any) -> None:
    """Python's ``$`` also matches before a last newline, which would let one into file names and pages.

    Remarks may hold line feeds, so a remark ends in an escape character here.
    """
    good = entry_document() if document == "entry" else record_document()
    end = "\x1b" if field == "notes" else "\n"
    bad: Any = f"{value}{end}"
    if isinstance(value, list):
        bad = [f"{value[0]}{end}"]
    elif isinstance(value, dict):
        bad = {name: f"{text}{end}" for name, text in value.items()}
    assert schema_problems(PATH, document, changed(good, field, value)) == []
    (problem,) = schema_problems(PATH, document, changed(good, field, bad))
    assert problem.field.startswith(field)
    assert "does not have the required form" in problem.problem or "which shows nothing" in problem.problem


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
    st.sampled_from(["pipeline", "specifics", "audit", "code", "paper.url", "reported", "checkpoints[0].sha256"]),
)
def test_any_value_anywhere_gives_messages_of_one_line(value: Any, field: str) -> None:
    for problem in schema_problems(PATH, "entry", changed(entry_document(), field, value)):
        assert problem.field.startswith(field.split("[", maxsplit=1)[0])
        assert problem.problem
        assert "\n" not in str(problem)
