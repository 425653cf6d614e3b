"""The JSON Schemas of entries and records, and messages for documents that break them."""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, cast

import jsonschema_rs
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from apsite import keys, vocabulary
from apsite.errors import DocumentError

_SHOWN = 80
_MOST = 100
"""Problems of one document that are reported at once."""


@functools.cache
def load_schema(name: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of ``"entry"`` or ``"record"`` documents, with the terms of the vocabulary.

    The files name an enum of :mod:`apsite.vocabulary` as ``x-values`` where its terms are allowed, and a pattern of
    :mod:`apsite.keys` as ``x-pattern``; here they become ``enum`` and ``pattern``.
    """
    text = resources.files("apsite.documents").joinpath(f"schemas/{name}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text, object_pairs_hook=lambda pairs: dict(map(_filled, pairs)))
    return schema


def _filled(pair: tuple[str, Any]) -> tuple[str, Any]:
    match pair:
        case "x-values", str(enum):
            return "enum", [term.value for term in getattr(vocabulary, enum)]
        case "x-pattern", str(pattern):
            return "pattern", f"^{getattr(keys, pattern).pattern}$"
    return pair


@functools.cache
def _validator(name: str) -> Any:
    rules = {"pattern": _pattern, "uniqueItems": _unique_items, "items": _items}
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, instance: type(instance) is int)
    return validators.extend(Draft202012Validator, rules, type_checker=types)(load_schema(name))  # type: ignore[no-untyped-call]


@functools.cache
def _decider(name: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(load_schema(name))


def _pattern(validator: Any, pattern: str, instance: object, _schema: object) -> Iterator[ValidationError]:
    """``pattern`` as JSON Schema means it: ``$`` is the end of the text; Python's also stops before a last newline."""
    if validator.is_type(instance, "string") and not re.search(re.sub(r"\$$", r"\\Z", pattern), str(instance)):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _unique_items(validator: Any, unique: bool, instance: object, _schema: object) -> Iterator[ValidationError]:
    """``uniqueItems`` in one pass; the library compares every two items that cannot be sorted."""
    if unique and validator.is_type(instance, "array"):
        texts = [json.dumps(item, sort_keys=True) for item in cast("list[object]", instance)]
        if len(set(texts)) < len(texts):
            yield ValidationError("has non-unique elements")


def _items(validator: Any, rule: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """``items`` without the problems of all members of a long list."""
    return itertools.islice(Draft202012Validator.VALIDATORS["items"](validator, rule, instance, schema), _MOST)


def _has_whole_float(value: object) -> bool:
    """Whether a document has a number such as ``1.0``, for JSON Schema a whole number and for Python none."""
    level = [value]
    while level:
        if any(type(item) is float and item.is_integer() for item in level):
            return True
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [child for item in containers for child in (item.values() if isinstance(item, dict) else item)]
    return False


def schema_problems(path: Path, name: str, document: dict[str, Any]) -> list[DocumentError]:
    """Problems of `document` under the schema `name`, in order of place; empty if it is valid.

    Of very many problems, only some are listed.
    """
    # One library decides, a hundred times faster; the other one has what the messages need. A test holds them equal.
    decider = _decider(name)
    if decider.is_valid(document) and not _has_whole_float(document):
        return []
    parts = (part for error in _validator(name).iter_errors(document) for part in _parts(error))
    problems = [
        DocumentError(path, json_path(part.absolute_path), _explain(part)) for part in itertools.islice(parts, _MOST)
    ] or [
        DocumentError(path, json_path(error.instance_path), error.message[:300])
        for error in decider.iter_errors(document)
    ]
    unique = {(problem.field, problem.problem): problem for problem in problems}
    return sorted(unique.values(), key=lambda problem: problem.field)


def json_path(parts: Any) -> str:
    """Place in a document, such as ``results.attacks[0].stages`` or ``specifics.structure[0]``."""
    text = ""
    for part in parts:
        name = part if isinstance(part, int) or part.isprintable() else ascii(part)
        name = name if isinstance(name, int) or len(name) <= _SHOWN else f"{name[: _SHOWN - 1]}…"
        text += f"[{name}]" if isinstance(part, int) else f".{name}" if text else str(name)
    return text


def _parts(error: ValidationError) -> Iterator[ValidationError]:
    """The problems within the alternative that the document means, instead of 'is not valid under any'."""
    alternatives: dict[int, list[ValidationError]] = {}
    for part in error.context or ():
        alternatives.setdefault(int(part.schema_path[0]), []).append(part)
    if not alternatives:
        yield error
        return
    for part in _meant(error, alternatives):
        yield from _parts(part)


def _meant(error: ValidationError, alternatives: dict[int, list[ValidationError]]) -> list[ValidationError]:
    """Problems of one alternative: the one whose ``stage`` the document names, else the first of the right type."""
    rules: Any = error.validator_value
    stages = [rule.get("properties", {}).get("stage", {}).get("const") for rule in rules]
    stage = error.instance.get("stage") if isinstance(error.instance, dict) else None
    if stage is not None and all(stages):
        if stage in stages:
            return alternatives[stages.index(stage)]
        return [part for part in alternatives[0] if part.validator == "const"]
    for parts in alternatives.values():
        if not any(part.validator == "type" and not part.relative_path for part in parts):
            return parts
    return alternatives[0]


def _explain(error: ValidationError) -> str:
    """What was found and what is allowed, in one line."""
    instance: Any = error.instance
    rule: Any = error.validator_value
    schema: Any = error.schema
    found = _show(instance)
    match error.validator:
        case "enum":
            return f"{found} is not one of {', '.join(_show(word) for word in rule)}"
        case "const":
            allowed = _stages(error) or [rule]
            return f"{found} is not {' or '.join(_show(word) for word in allowed)}"
        case "required":
            missing = [name for name in rule if name not in instance]
            return f"lacks {', '.join(map(repr, missing))}; add it (null where the value is not known)"
        case "additionalProperties":
            known = schema.get("properties", {})
            extra = [name for name in instance if name not in known]
            named = ", ".join([*map(_show, extra[:10]), *(["…"] if len(extra) > 10 else [])])
            return f"has unknown {named}; known are {', '.join(known)}"
        case "type":
            kinds = _types(error) or (rule if isinstance(rule, list) else [rule])
            return f"{found} is not of type {' or '.join(kinds)}{_type_hint(instance, kinds, schema)}"
        case "pattern":
            return f"{found} does not have the required form: {schema.get('description') or rule}"
        case "minimum":
            return f"{found} is below the minimum {rule}"
        case "maximum":
            hint = "; accuracies and sparsities are fractions, not percentages" if rule == 1 else ""
            return f"{found} is above the maximum {rule}{hint}"
        case "maxLength":
            return f"has {len(instance):,} characters; at most {rule:,} are allowed"
        case "minLength":
            return "is empty"
        case "minItems":
            return "is empty; give at least one"
        case "maxItems" | "maxProperties":
            return f"has {len(instance)} members; at most {rule} are allowed"
        case "uniqueItems":
            return "names something twice; name each once"
    return error.message[:300]


def _stages(error: ValidationError) -> list[str]:
    """All allowed values when a ``const`` failed as the tag of an alternative."""
    parent = error.parent
    if parent is None or parent.validator != "oneOf" or not error.absolute_path:
        return []
    name = error.absolute_path[-1]
    alternatives: Any = parent.validator_value
    return [branch["properties"][name]["const"] for branch in alternatives if name in branch.get("properties", {})]


def _types(error: ValidationError) -> list[str]:
    """All allowed types when every alternative is of another type than the document's value."""
    parent = error.parent
    if parent is None or error.relative_path:
        return []
    rules: Any = parent.validator_value
    return list(dict.fromkeys(rule["type"] for rule in rules if isinstance(rule.get("type"), str)))


def _type_hint(instance: object, kinds: list[str], schema: dict[str, Any]) -> str:
    """Suggested fix of a value of the wrong type, such as a single term, a quoted number or a float."""
    if isinstance(instance, str) and "array" in kinds:
        unknown = ", or null where it is not specified" if "null" in kinds else ""
        return f"; several values are possible here, so write a list: […]{unknown}"
    if isinstance(instance, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?|true|false", instance):
        return "; write it without quotes" if {"integer", "number", "boolean"} & set(kinds) else ""
    if isinstance(instance, float) and instance.is_integer() and "integer" in kinds:
        return "; write a whole number, without a point or an exponent"
    if isinstance(instance, int | float) and "string" in kinds and "description" in schema:
        return f"; required: {schema['description']}"
    return ""


def _show(value: object) -> str:
    text = "null" if value is None else repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
