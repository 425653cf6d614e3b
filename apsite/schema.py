"""The JSON Schemas of entries and records, and what they say about a document in this project's words."""

from __future__ import annotations

import functools
import json
from importlib import resources
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from apsite.errors import DocumentError

_SHOWN = 80


@functools.cache
def load_schema(name: str) -> dict[str, Any]:
    """Schema of ``"entry"`` or ``"record"`` documents (JSON Schema 2020-12)."""
    text = resources.files("apsite").joinpath(f"schemas/{name}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@functools.cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(load_schema(name))


def schema_problems(path: Path, name: str, document: dict[str, Any]) -> list[DocumentError]:
    """Everything in which `document` breaks the schema `name`, in order of place; empty if nothing.

    Args:
        path: File of the document, for the messages.
        name: ``"entry"`` or ``"record"``.
        document: Its content.
    """
    problems = []
    for error in _validator(name).iter_errors(document):
        inner = _innermost(error)
        problems.append(DocumentError(path, json_path(inner.absolute_path), _explain(inner)))
    unique = {(problem.field, problem.problem): problem for problem in problems}
    return sorted(unique.values(), key=lambda problem: problem.field)


def json_path(parts: Any) -> str:
    """Place in a document, such as ``results.autoattack.per_attack`` or ``specifics.structure[0]``."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _innermost(error: ValidationError) -> ValidationError:
    """The part of a failed alternative that tells the author most, instead of 'is not valid under any'."""
    while error.context:
        if error.validator == "oneOf" and (chosen := _stage_branch(error)):
            error = chosen
            continue
        inner = best_match(
            part for part in error.context if part.validator != "type" or len(error.context) == 1
        ) or best_match(error.context)
        if inner is None:  # pragma: no cover - best_match of a non-empty list is never None
            return error
        error = inner
    return error


def _stage_branch(error: ValidationError) -> ValidationError | None:
    """Problem within the pipeline alternative whose ``stage`` the document names."""
    stage = error.instance.get("stage") if isinstance(error.instance, dict) else None
    branches: dict[int, list[ValidationError]] = {}
    for part in error.context or ():
        branches.setdefault(int(part.schema_path[0]), []).append(part)
    for index, parts in branches.items():
        declared = error.validator_value[index].get("properties", {}).get("stage", {}).get("const")
        if declared is not None and declared == stage:
            return parts[0]
    stages = [branch.get("properties", {}).get("stage", {}).get("const") for branch in error.validator_value]
    if all(stages):
        return next((part for part in error.context or () if part.validator == "const"), None)
    return None


def _explain(error: ValidationError) -> str:
    """What was found and what is allowed, in one line."""
    found, rule = _show(error.instance), error.validator_value
    match error.validator:
        case "enum":
            return f"{found} is not one of {', '.join(_show(word) for word in rule)}"
        case "const":
            allowed = _stages(error) or [rule]
            return f"{found} is not {' or '.join(_show(word) for word in allowed)}"
        case "required":
            missing = [name for name in rule if name not in error.instance]
            return f"lacks {', '.join(map(repr, missing))}; add it (null where the value is not known)"
        case "additionalProperties":
            known = error.schema.get("properties", {})
            extra = [name for name in error.instance if name not in known]
            return f"has unknown {', '.join(_show(name) for name in extra)}; known are {', '.join(known)}"
        case "type":
            return f"{found} is not of type {' or '.join(rule) if isinstance(rule, list) else rule}"
        case "pattern":
            meaning = error.schema.get("description", "")
            return f"{found} does not have the form needed here: {meaning or rule}"
        case "minimum" | "maximum":
            hint = "; accuracies and sparsities are fractions, not percentages" if rule == 1 else ""
            return (
                f"{found} is {'below' if error.validator == 'minimum' else 'above'} the {error.validator} {rule}{hint}"
            )
        case "maxLength":
            return f"has {len(error.instance):,} characters; at most {rule:,} are allowed"
        case "minLength" | "minItems":
            return "is empty; give at least one" if error.validator == "minItems" else "is empty"
        case "maxItems" | "maxProperties":
            return f"has {len(error.instance)} members; at most {rule} are allowed"
        case "uniqueItems":
            return "names something twice; name each once"
        case _:
            return error.message[:300]


def _stages(error: ValidationError) -> list[str]:
    """All allowed values when a ``const`` failed as the tag of an alternative."""
    parent = error.parent
    if parent is None or parent.validator != "oneOf" or not error.absolute_path:
        return []
    name = error.absolute_path[-1]
    return [
        branch["properties"][name]["const"] for branch in parent.validator_value if name in branch.get("properties", {})
    ]


def _show(value: object) -> str:
    text = "null" if value is None else repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
