"""The questions, with terms, limits and explanations from the schema of entries and the vocabulary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from functools import cache
from typing import Any

from apsite import vocabulary
from apsite.contribution.questions.question import Choice, Kind, Other, Question
from apsite.contribution.questions.wording import ASKED, FIXED, ROW_LABELS
from apsite.documents.references import load_references
from apsite.documents.schema import load_schema

_SOURCE = "Where you read this: the paper with its version and sections. Leave it empty if that is the URL above."
_STEPS = ("pretraining", "finetuning", "pruning", "training", "schedule")


@cache
def questions() -> tuple[Question, ...]:
    """Every question, in the order in which they are asked."""
    return tuple(
        _question(place, section, label, option, example)
        for section, asked in ASKED.items()
        for place, label, option, example in asked
    )


@cache
def skeleton() -> dict[str, Any]:
    """A new entry with nothing answered: every field of the schema that is filled in, in its order."""
    places = {question.name for question in questions()}

    def empty(prefix: str, node: Mapping[str, Any]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, rule in node["properties"].items():
            place = f"{prefix}{name}"
            if place in FIXED:
                fields[name] = FIXED[place]
            elif place in places:
                fields[name] = None
            elif any(other.startswith(f"{place}.") for other in places):
                fields[name] = None if name == "pipeline" else empty(f"{place}.", _plain(rule))
        return fields

    return empty("", load_schema("entry"))


@cache
def pipelines() -> dict[str, dict[str, Any]]:
    """Fields of the pipeline by stage, in the order of the schema."""
    branches = (branch["properties"] for branch in load_schema("entry")["properties"]["pipeline"]["oneOf"])
    return {
        fields["stage"]["const"]: {name: rule["const"] if name == "stage" else None for name, rule in fields.items()}
        for fields in branches
    }


def required_fields(place: str) -> frozenset[str]:
    """Fields that a row of a table must have."""
    return frozenset(load_schema("entry")["properties"][place]["items"]["required"])


def _question(place: str, section: str, label: str, option: str, example: str) -> Question:
    """The question of a place in the entry, from what the schema says of it."""
    branches = _branches(place)
    rule = branches[0][1]
    stages = tuple(stage for stage, _ in branches if stage) if place.rpartition(".")[2] in _STEPS else ()
    made = _from_rule(place, rule, label)
    required = made.required and place.partition(".")[0] in load_schema("entry")["required"]
    made = replace(made, section=section, option=option, stages=stages, example=example, required=required)
    if len(stages) < 2 or place == "pipeline.schedule":
        return made
    return replace(
        made, help=" ".join(f"When pruning {stage} training: {_explained(rule)}" for stage, rule in branches)
    )


def _branches(place: str) -> list[tuple[str, dict[str, Any]]]:
    """Rules of the schema for a place, each with its pipeline stage, if any."""
    found: list[tuple[str, dict[str, Any]]] = [("", load_schema("entry"))]
    for name in place.split("."):
        found = [
            (stage or branch.get("properties", {}).get("stage", {}).get("const", ""), branch["properties"][name])
            for stage, node in found
            for branch in (_plain(node).get("oneOf") or [_plain(node)])
            if name in branch["properties"]
        ]
    return found


def _plain(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule with references followed and, of "this or null", this; its own description wins."""
    while "$ref" in rule or "anyOf" in rule:
        inner = (
            load_schema("entry")["$defs"][rule["$ref"].rpartition("/")[2]]
            if "$ref" in rule
            else next(part for part in rule["anyOf"] if part.get("type") != "null")
        )
        rule = {**inner, **({"description": rule["description"]} if "description" in rule else {})}
    return dict(rule)


def _from_rule(place: str, rule: Mapping[str, Any], label: str) -> Question:
    """A question with kind, limits, terms and explanation of a place, from its rule."""
    plain = _plain(rule)
    kinds = plain.get("type", "string")
    kind_names = kinds if isinstance(kinds, list) else [kinds]
    nullable = "null" in kind_names or any(part.get("type") == "null" for part in rule.get("anyOf", ()))
    made = Question(place, "", label, _explained(plain), "", Kind.TEXT, required=not nullable)
    if place == "pipeline.stage":
        words = tuple(
            Choice(stage.value, f"{stage.value} training ({stage.code})", stage.meaning) for stage in vocabulary.Stage
        )
        return replace(made, kind=Kind.CHOICE, choices=words, help="When the mask is made, relative to training.")
    if "enum" in plain:
        reference = _reference(rule)
        required = made.required or place == "specifics.criterion"  # whoever describes a method knows how it chooses
        return replace(made, kind=Kind.CHOICE, choices=_choices(reference), required=required, other=_other(reference))
    if "boolean" in kind_names:
        words = (Choice("yes", "yes", ""), Choice("no", "no", ""))
        return replace(made, kind=Kind.YES_NO, choices=words, required=False)
    if "integer" in kind_names:
        return replace(made, kind=Kind.WHOLE, minimum=plain["minimum"], maximum=plain["maximum"])
    if "number" in kind_names:
        return replace(made, kind=Kind.FRACTION)
    if "array" in kind_names:
        return _list_question(made, plain, nullable=nullable)
    if place == "sources":
        plain, made = plain["additionalProperties"], replace(made, required=False, help=_SOURCE)
    pattern = str(plain.get("pattern", "^[^"))
    long = pattern.startswith("^[^\\u0000-\\u0009")
    harmless = f"plain characters{'' if long else ' in one line'}, with no control or direction marks."
    return replace(
        made, kind=Kind.LONG if long else Kind.TEXT, required=made.required and place != "code.url",
        pattern=plain.get("pattern"), format=plain.get("format"), max_length=plain.get("maxLength"),
        pattern_meaning=harmless if pattern.startswith("^[^") else made.help or harmless,
    )  # fmt: skip


def _explained(rule: Mapping[str, Any]) -> str:
    """What the schema says of a place, without what concerns only those who write JSON."""
    text = re.sub(r"[;,.]? ?\bnull\b.*$", "", str(rule.get("description", ""))).strip()
    return text if text.endswith(".") or not text else f"{text}."


def _list_question(made: Question, plain: Mapping[str, Any], *, nullable: bool) -> Question:
    """The question of a list: of rows, of terms, or of lines of text."""
    item, least = plain["items"], plain.get("minItems", 0)
    if "properties" in item:
        rows = []
        for name, rule in item["properties"].items():
            label, example = ROW_LABELS[name]
            field = _from_rule(name, rule, label)
            rows.append(replace(field, example=example, required=field.required and name in item["required"]))
        return replace(made, kind=Kind.ROWS, required=False, max_items=plain.get("maxItems"), rows=tuple(rows))
    if "$ref" in item:
        nothing = nullable and least == 0
        choices = _choices(item["$ref"])
        other = _other(item["$ref"])
        return replace(made, kind=Kind.CHOICES, choices=choices, allows_nothing=nothing, other=other)
    line = _from_rule(made.name, item, made.label)
    return replace(line, help=made.help, kind=Kind.LINES, required=least > 0, max_items=plain.get("maxItems"))


def _reference(rule: Mapping[str, Any]) -> str:
    """Definition that a rule names, alone or as an alternative to null."""
    parts = (rule, *rule.get("anyOf", ()))
    return next(str(part["$ref"]) for part in parts if "$ref" in part)


def _terms(reference: str) -> type[StrEnum]:
    """The terms of a definition of the schema, which is named for their enum."""
    terms: type[StrEnum] = getattr(vocabulary, reference.rpartition("/")[2].capitalize())
    return terms


def _other(reference: str) -> Other | None:
    """How a term in the contributor's own words is written; ``None`` where the terms are a closed set."""
    terms = _terms(reference)
    if not issubclass(terms, vocabulary.OpenTerm):
        return None
    return Other(f"^{terms.other_form()}$", terms.other_meaning())


def _choices(reference: str) -> tuple[Choice, ...]:
    """The terms of a list of the schema with their meanings."""
    terms = _terms(reference)
    return tuple(Choice(term.value, getattr(term, "label", term.value), _meaning(term)) for term in terms)


def _meaning(word: StrEnum) -> str:
    """Meaning of a term; for a training objective, the paper that defines it."""
    if isinstance(word, vocabulary.Objective):
        reference = load_references()[word.citation] if word.citation else None
        if reference is None:
            return ""
        others = " et al." if len(reference.authors) > 1 else ""
        return f"{reference.authors[0]}{others}, {reference.year}"
    return str(getattr(word, "meaning", ""))
