"""Documents made from the schemas and from nothing: whatever is wrong is refused at its place, and nothing crashes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from apsite.documents.schema import _decider, _validator, json_path, load_schema
from apsite.entries import entry_problems
from apsite.errors import DocumentError
from apsite.protocol import Settings
from apsite.records import record_problems
from apsite.samples import read_samples
from apsite.validation import validate
from apsite.vocabulary import Dataset
from tests.builders import METHOD, MODEL, Document, changed, entry_document, own_document, write_data
from tests.submissions import full_run

CHANGES = [{"date": "2026-02-01", "kind": "corrected", "reason": "A reason.", "url": "https://example.org/1"}]
Check = Callable[[Path, Document], list[DocumentError]]
KINDS: dict[str, tuple[Document, Path, Check]] = {
    "entry": (entry_document(changes=CHANGES), Path(f"entries/{METHOD}.json"), entry_problems),
    "record": ({**own_document(), "changes": CHANGES}, Path(f"evaluations/{METHOD}/{MODEL}.json"), record_problems),
}

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20), st.sampled_from(["", " ", "null", "Infinity", "<b>", "../x", "\x00", "\u202e", "0.9"]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def places(document: Any, parts: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place of a document, the root last."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for name, value in items:
        yield from places(value, (*parts, name))
    yield parts


def rule_at(schema: Any, document: Any, parts: tuple[str | int, ...]) -> Any:
    """The part of a schema that speaks of a place, its references and alternatives resolved by the document."""
    rule, value, top = schema, document, schema

    def resolved(one: Any) -> Any:
        while "$ref" in one or "anyOf" in one or "oneOf" in one:
            if "$ref" in one:
                one = top["$defs"][one["$ref"].rpartition("/")[2]]
                continue
            options = one.get("anyOf") or one["oneOf"]
            fitting = [
                part for part in options if Draft202012Validator({**part, "$defs": top["$defs"]}).is_valid(value)
            ]
            one = fitting[0]
        return one

    for part in parts:
        rule = resolved(rule)
        rule = (
            rule["items"]
            if isinstance(part, int)
            else rule.get("properties", {}).get(part) or rule["additionalProperties"]
        )
        value = value[part]
    return rule


CASES = [(name, parts) for name, (document, _, _) in KINDS.items() for parts in places(document) if parts]
"""Every place of a full entry and a full record."""


def test_the_generated_cases_cover_both_documents() -> None:
    assert len(CASES) > 150
    assert {"results", "audit", "samples", "changes", "verification"} <= {
        parts[0] for name, parts in CASES if name == "record"
    }


@pytest.mark.parametrize("number", range(0, len(CASES), 8))
@settings(max_examples=24, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(data=st.data())
def test_a_value_that_the_schema_forbids_is_refused_at_its_place(number: int, data: st.DataObject) -> None:
    name, parts = data.draw(st.sampled_from(CASES[number : number + 8]))
    document, path, check = KINDS[name]
    schema = load_schema(name)
    rule = {**rule_at(schema, document, parts), "$defs": schema["$defs"]}
    longest = rule.get("maxLength", 0)
    value = data.draw(values | st.text(min_size=longest + 1, max_size=longest + 3) if longest else values)
    assume(not Draft202012Validator(rule).is_valid(value))
    place = json_path(parts)
    found = check(path, changed(document, place, value))
    # A word that chooses between alternatives, such as a stage, makes its surroundings wrong.
    near = [one for one in found if one.field.startswith(place) or place.startswith(one.field)]
    assert near, found
    for one in found:
        assert str(one).startswith(f"{path}: ")
        assert one.problem.isprintable()
        assert len(one.problem) < 5_000


@settings(max_examples=300)
@given(case=st.sampled_from(CASES), value=values, remove=st.booleans())
def test_the_fast_library_decides_as_the_one_that_explains(case: tuple[str, Any], value: Any, remove: bool) -> None:
    """So that what is accepted in a moment is what the other would have accepted."""
    name, parts = case
    place = json_path(parts)
    document = changed(KINDS[name][0], place) if remove else changed(KINDS[name][0], place, value)
    assert _decider(name).is_valid(document) == (not list(_validator(name).iter_errors(document)))


@pytest.mark.parametrize(
    "letter", [chr(code) for code in (*range(0x21), 0x7F, 0x85, 0xA0, 0x1680, 0x2028, 0x202E, 0x3000)]
)
def test_both_libraries_refuse_the_same_letters(letter: str) -> None:
    """Blanks and control characters, about which regular expressions of languages differ."""
    unseen = ord(letter) < 0x20 or letter in "\x7f\x85\u2028\u202e"
    for place, refused in (("paper.title", unseen), ("paper.url", True)):
        text = f"https://example.org/{letter}x" if refused and place == "paper.url" else f"a{letter}b"
        document = changed(entry_document(), place, text)
        assert _decider("entry").is_valid(document) == (not list(_validator("entry").iter_errors(document)))
        assert _decider("entry").is_valid(document) is not refused


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entry=values, record=values)
def test_any_json_at_all_is_refused_without_a_traceback(tmp_path: Path, entry: Any, record: Any) -> None:
    root = write_data(tmp_path, own_document())
    text = {"entries": json.dumps(entry), "evaluations": json.dumps(record)}
    (root / f"entries/{METHOD}.json").write_text(text["entries"], encoding="utf-8")
    (root / f"evaluations/{METHOD}/{MODEL}.json").write_text(text["evaluations"], encoding="utf-8")
    assert {problem.path.name for problem in validate(root).problems} >= {f"{METHOD}.json", f"{MODEL}.json"}


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".json", ".npz"]))
def test_any_bytes_at_all_are_refused_without_a_traceback(tmp_path: Path, content: bytes, suffix: str) -> None:
    root = write_data(tmp_path, entry_document(), own_document())
    path = root / (f"entries/{METHOD}.json" if suffix == ".json" else f"evaluations/{METHOD}/{MODEL}.npz")
    path.write_bytes(content)
    assert path in {problem.path for problem in validate(root).problems}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_per_sample_file_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    root = write_data(tmp_path, entry_document(), own_document())
    path = root / f"evaluations/{METHOD}/{MODEL}.npz"
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    assume(bytes(content) != path.read_bytes())
    path.write_bytes(bytes(content))
    assert validate(root).problems
    with contextlib.suppress(DocumentError):
        read_samples(path)


def test_a_full_run_is_as_the_evaluator_would_write_it() -> None:
    """The corpus starts from a record whose settings are those of the evaluator's protocol."""
    assert full_run()["settings"] == Settings().on("cpu").as_scalars(Dataset.CIFAR10)
