"""File formats field by field, from the JSON Schemas and the arrays of per-sample files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apsite.documents.schema import load_schema
from apsite.vocabulary import AttackName

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """One field of a document."""

    path: str  # such as `results.attacks[].robust_accuracy`: `[]` means each item of a list, `<name>` any name
    kind: str  # type in words, such as `text` or `list or null`
    required: str  # whether its object must have it: `yes`, `no`, or under which condition
    allowed: str  # allowed values, limits and sizes; empty where there is no limit
    meaning: str


_YES, _NO = "yes", "no"
_TAG = "stage"
_KINDS = {
    "string": "text", "number": "number", "integer": "whole number", "boolean": "true or false", "array": "list",
    "object": "object", "null": "null",
}  # fmt: skip


def fields(name: str) -> list[Field]:
    """Every field of ``"entry"`` or ``"record"`` documents, in the order of the schema."""
    schema = load_schema(name)
    return list(_properties(schema, schema, ""))


def _properties(schema: Schema, root: Schema, prefix: str) -> Iterator[Field]:
    for name, part in schema.get("properties", {}).items():
        yield from _field(part, root, f"{prefix}{name}", _YES if name in schema.get("required", ()) else _NO)
    other = schema.get("additionalProperties")
    if isinstance(other, dict):
        yield from _field(other, root, f"{prefix}<name>", _NO)
    for pattern in schema.get("patternProperties", {}).values():
        yield from _field(pattern, root, f"{prefix}<name>", _NO)


def _field(part: Schema, root: Schema, path: str, required: str) -> Iterator[Field]:
    resolved, forms = _resolve(part, root), _forms(part, root)
    kinds = dict.fromkeys(kind for form in forms for kind in _kinds(form))
    allowed = "; ".join(dict.fromkeys(text for form in forms if (text := _allowed(form, root))))
    meaning = part.get("description") or resolved.get("description") or ""
    yield Field(path, " or ".join(kinds), required, allowed, meaning)
    tags = [form.get("properties", {}).get(_TAG, {}).get("const") for form in forms]
    seen: dict[str, list[tuple[Field, str | None]]] = {}
    for form, tag in zip(forms, tags, strict=True):
        items = _resolve(form["items"], root) if "items" in form else None
        for inner in (
            *_properties(form, root, f"{path}."),
            *(_properties(items, root, f"{path}[].") if items and "properties" in items else ()),
        ):
            seen.setdefault(inner.path, []).append((inner, tag))
    every = sum(tag is not None for tag in tags)
    yield from (_merged(found, every) for found in seen.values())


def _merged(found: Sequence[tuple[Field, str | None]], every: int) -> Field:
    """A field of an object whose alternatives have a tag."""
    parts, tags = [part for part, _ in found], [tag for _, tag in found if tag is not None]
    required = parts[0].required
    if tags and len(tags) < every:
        required = f"if {_TAG} is {' or '.join(tags)}"
    allowed = " or ".join(dict.fromkeys(part.allowed for part in parts if part.allowed))
    meaning = " ".join(dict.fromkeys(part.meaning for part in parts))
    return Field(parts[0].path, parts[0].kind, required, allowed, meaning)


def _forms(part: Schema, root: Schema) -> list[Schema]:
    """The alternatives of `part`, those within alternatives too."""
    resolved = _resolve(part, root)
    inner = (*resolved.get("anyOf", ()), *resolved.get("oneOf", ()))
    return [form for one in inner for form in _forms(one, root)] or [resolved]


def _resolve(part: Schema, root: Schema) -> Schema:
    """`part`, or what its ``$ref`` names, with the texts of `part` before those of the definition."""
    reference = part.get("$ref")
    if reference is None:
        return part
    found: Any = root
    for name in str(reference).removeprefix("#/").split("/"):
        found = found[name]
    return {**found, **{key: value for key, value in part.items() if key != "$ref"}}


def _kinds(form: Schema) -> list[str]:
    if "const" in form:
        return ["text" if isinstance(form["const"], str) else "whole number"]
    given = form.get("type")
    if given is None:
        return ["null" if word is None else "text" for word in form.get("enum", ())]
    return [_KINDS[kind] for kind in (given if isinstance(given, list) else [given])]


def _allowed(form: Schema, root: Schema) -> str:
    """Limits of a value in words."""
    if "const" in form:
        return str(form["const"])
    if "title" in form:
        return str(form["title"])
    if "enum" in form:
        return ", ".join("null" if word is None else str(word) for word in form["enum"])
    parts = []
    low, high = form.get("minimum", form.get("exclusiveMinimum")), form.get("maximum", form.get("exclusiveMaximum"))
    if low is not None and high is not None:
        parts.append(f"{low} to {high}")
    elif low is not None:
        parts.append(f"more than {low}" if "exclusiveMinimum" in form else f"at least {low}")
    if "maxLength" in form:
        parts.append(f"at most {form['maxLength']:,} characters")
    if "maxItems" in form:
        parts.append(f"at most {form['maxItems']} items")
    items = _forms(form["items"], root) if "items" in form else []
    if "enum" in (items or [{}])[0]:
        parts.append(f"of {'; '.join(_allowed(item, root) for item in items)}")
    return "; ".join(parts)


@dataclass(frozen=True)
class SampleArray:
    """One array of a per-sample file: its name, element type, presence, and meaning."""

    name: str
    kind: str
    present: str
    meaning: str


SAMPLE_ARRAYS = (
    SampleArray("index", "int32", "always", "Position in the official order of the test set, ascending."),
    SampleArray("label", "int16", "always", "True class; -1 for all samples if it is unknown which samples they are."),
    SampleArray("clean_correct", "bool", "always", "Classified correctly without an attack."),
    SampleArray("aa_robust", "bool", "if AutoAttack ran", "Correct, and no attack of AutoAttack broke it."),
    SampleArray("distance", "float32", "if HO-FMN ran",
                "Smallest perturbation found, in input units: 0 if wrong without an attack, infinite if never broken."),
    *(
        SampleArray(attack.array, "float32", f"if {attack.label} ran", "Smallest perturbation found, as `distance`.")
        if attack.minimum_norm
        else SampleArray(attack.array, "bool", f"if {attack.label} ran", "Correct, and not broken by it.")
        for attack in AttackName
        if attack not in (AttackName.AUTOATTACK, AttackName.HOFMN)
    ),
    SampleArray("tuning", "bool", "if HO-FMN ran", "Used by the hyperparameter search."),
    SampleArray("robust_after_<attack>", "bool", "if AutoAttack ran",
                "Still robust after this attack and those before it."),
)  # fmt: skip
"""The arrays of a per-sample file, all of the same length."""
