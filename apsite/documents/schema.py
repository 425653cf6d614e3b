"""The JSON Schemas of entries and records, and messages for documents that break them."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator, FormatChecker, validators
from jsonschema.exceptions import ValidationError

from apsite import keys, vocabulary
from apsite.documents import texts
from apsite.errors import DocumentError

_SHOWN = 80
_LISTED = 5
"""Unknown fields that a message names."""
MAX_PROBLEMS, MAX_ITEM_PROBLEMS = 50, 20
"""Problems of one document, and of one list in it, that are reported; a hostile one has as many as characters."""


@functools.cache
def load_schema(name: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of ``"entry"`` or ``"record"`` documents, with the terms of the vocabulary.

    The files name an enum of :mod:`apsite.vocabulary` as ``x-values`` where its terms are allowed, and a pattern of
    :mod:`apsite.keys` as ``x-pattern``; here they become ``enum`` and ``pattern``, and an open set of terms an
    ``anyOf`` of both. What can be said of a ``format`` of :mod:`apsite.documents.texts` by a pattern is added for other
    programs.
    """
    text = resources.files("apsite.documents").joinpath(f"schemas/{name}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text, object_pairs_hook=_filled)
    return schema


def _filled(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for pair in pairs:
        match pair:
            case "x-values", str(enum):
                schema |= _values(getattr(vocabulary, enum))
            case "x-pattern", str(pattern):
                schema["pattern"] = f"^{getattr(keys, pattern).pattern}$"
            case "format", str(format_) if format_ in texts.PATTERNS:
                schema |= {"format": format_, "pattern": texts.PATTERNS[format_]}
            case name, value:
                schema[name] = value
    return schema


def _values(terms: type[vocabulary.Term]) -> dict[str, Any]:
    """Rule of a set of terms; an open one takes other terms too, as lines of text."""
    listed = {"enum": [term.value for term in terms]}
    if not issubclass(terms, vocabulary.OpenTerm):
        return listed
    form, meaning = f"^{terms.other_form()}$", terms.other_meaning()
    return {"anyOf": [listed, {"type": "string", "pattern": form, "format": "line", "title": meaning}]}


@functools.cache
def _validator(name: str) -> Any:
    formats = FormatChecker(())
    for format_ in texts.FORMATS:
        formats.checks(format_, ValueError)(functools.partial(_well_formed, format_))
    keywords = {"pattern": _pattern, "items": _items, "uniqueItems": _unique}
    whole = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    strict = validators.extend(Draft202012Validator, keywords, type_checker=whole)  # type: ignore[no-untyped-call]
    return strict(load_schema(name), format_checker=formats)


@functools.cache
def _decider(name: str) -> jsonschema_rs.Draft202012Validator:
    formats = {one: lambda text, one=one: not texts.format_problem(one, text) for one in texts.FORMATS}
    return jsonschema_rs.Draft202012Validator(
        _with_whole(load_schema(name)), formats=formats, validate_formats=True, keywords={"x-whole": _Whole}
    )


def _with_whole(node: Any) -> Any:
    """A schema that also refuses floats, such as 2023.0 or 1e300, where JSON Schema would take them for integers."""
    if isinstance(node, list):
        return [_with_whole(part) for part in node]
    if not isinstance(node, dict):
        return node
    made = {name: _with_whole(part) for name, part in node.items()}
    return made | {"x-whole": True} if "integer" in node.get("type", ()) else made


class _Whole:
    """The keyword ``x-whole`` of :func:`_with_whole`."""

    def __init__(self, *_: object) -> None: ...

    def validate(self, instance: object) -> None:
        if isinstance(instance, float):
            raise ValueError("is not a whole number")


def _well_formed(format_: str, text: object) -> bool:
    """True, or the problem of a text as an error, which is how its message gets into the report."""
    if isinstance(text, str) and (found := texts.format_problem(format_, text)):
        raise ValueError(found)
    return True


def _pattern(validator: Any, pattern: str, instance: object, schema: dict[str, Any]) -> Iterator[ValidationError]:
    """``pattern`` as JSON Schema means it: ``$`` is the end of the text; Python's also stops before a last newline."""
    if texts.PATTERNS.get(schema.get("format", "")) == pattern:
        return  # the format says it better
    if validator.is_type(instance, "string") and not re.search(re.sub(r"\$$", r"\\Z", pattern), str(instance)):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _items(validator: Any, rule: Any, instance: Any, schema: dict[str, Any]) -> Iterator[ValidationError]:
    """``items``: the first problems of a list, and none of one that is too long, which ``maxItems`` says already."""
    if not isinstance(instance, list) or len(instance) <= schema.get("maxItems", len(instance)):
        yield from islice(
            Draft202012Validator.VALIDATORS["items"](validator, rule, instance, schema), MAX_ITEM_PROBLEMS
        )


def _unique(_: Any, unique: bool, instance: Any, schema: dict[str, Any]) -> Iterator[ValidationError]:
    """``uniqueItems`` in one pass, also of items that cannot be sorted."""
    fits = isinstance(instance, list) and len(instance) <= schema.get("maxItems", len(instance))
    if unique and fits and len({json.dumps(item, sort_keys=True) for item in instance}) < len(instance):
        yield ValidationError("has items twice")


def schema_problems(path: Path, name: str, document: dict[str, Any]) -> list[DocumentError]:
    """Problems of `document` under the schema `name`, in order of place; empty if it is valid."""
    # One library decides, a hundred times faster; the other one has what the messages need. A test holds them equal.
    decider = _decider(name)
    if decider.is_valid(document):
        return []
    problems = [
        DocumentError(path, json_path(part.absolute_path), _explain(part))
        for error in islice(_validator(name).iter_errors(document), MAX_PROBLEMS)
        for part in islice(_parts(error), MAX_PROBLEMS)
    ] or [
        DocumentError(path, json_path(error.instance_path), error.message[:300])
        for error in islice(decider.iter_errors(document), MAX_PROBLEMS)
    ]
    unique = {(problem.field, problem.problem): problem for problem in problems}
    return sorted(unique.values(), key=lambda problem: problem.field)[:MAX_PROBLEMS]


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
            return f"{found} is not one of {', '.join(_show(word) for word in rule)}{_other(error)}"
        case "const":
            allowed = _stages(error) or [rule]
            return f"{found} is not {' or '.join(_show(word) for word in allowed)}"
        case "required":
            missing = [name for name in rule if name not in instance]
            return f"lacks {', '.join(map(repr, missing))}; add it (null where the value is not known)"
        case "additionalProperties":
            known = schema.get("properties", {})
            extra = [name for name in instance if name not in known]
            more = f" and {len(extra) - _LISTED:,} more" if len(extra) > _LISTED else ""
            return f"has unknown {', '.join(map(_show, extra[:_LISTED]))}{more}; known are {', '.join(known)}"
        case "type":
            kinds = _types(error) or (rule if isinstance(rule, list) else [rule])
            return f"{found} is not of type {' or '.join(kinds)}{_type_hint(instance, kinds, schema)}"
        case "pattern":
            return f"{found} does not have the required form: {schema.get('description') or rule}"
        case "format":
            return f"{found} {error.cause}"
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
            return f"has {len(instance):,} members; at most {rule} are allowed"
        case "uniqueItems":
            return "names something twice; name each once"
    return error.message[:300]


def _other(error: ValidationError) -> str:
    """How an open set of terms takes another one, as the end of a sentence."""
    alternatives: Any = error.parent.validator_value if error.parent and error.parent.validator == "anyOf" else ()
    other = next((one["title"] for one in alternatives if "title" in one), None)
    return f", or {other}" if other else ""


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
    if isinstance(instance, float) and "integer" in kinds:
        return "; write a whole number, without a point or an exponent"
    if isinstance(instance, int | float) and "string" in kinds and "description" in schema:
        return f"; required: {schema['description']}"
    return ""


def _show(value: object) -> str:
    text = "null" if value is None else repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
