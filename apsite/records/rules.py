"""What can be wrong with a record taken alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apsite.documents.changes import change_problems
from apsite.documents.schema import schema_problems
from apsite.errors import DocumentError
from apsite.keys import ModelKey
from apsite.records.record import CURVES, HISTORY
from apsite.records.versions import upgraded
from apsite.vocabulary import OTHER, AttackName, Protocol, ProvenanceKind, epsilon_value

Found = Iterator[tuple[str, str]]
"""Problems as pairs of the place in the record and what is wrong there."""

FIXED_SIZE = ("stages",)
"""Results that only attacks at a given perturbation size have."""
MINIMUM_NORM = ("parameters", "median_distance", "not_found", "search", "steps")
"""Results that only minimum-norm attacks have."""


def record_problems(path: Path, document: dict[str, Any]) -> list[DocumentError]:
    """Problems of a single record: schema, ε, changes, and path and terms against the model key."""
    document = upgraded(document)
    problems = schema_problems(path, "record", document)
    if not problems:
        problems = [DocumentError(path, *found) for rule in (_attacks, _epsilon, _own_set) for found in rule(document)]
        problems += change_problems(path, document)
    return problems + [DocumentError(path, *found) for found in _identity(path, document)]


def _attacks(document: dict[str, Any]) -> Found:
    """Attacks that are listed twice, or have results that such an attack does not give."""
    attacks = document["results"]["attacks"]
    yield from _listed_twice("results.attacks", attacks)
    for index, result in enumerate(attacks):
        place, attack = f"results.attacks[{index}]", AttackName(result["attack"])
        yield from _listed_twice(f"{place}.stages", result.get("stages", []))
        for field in FIXED_SIZE if attack.minimum_norm else MINIMUM_NORM:
            if field in result:
                yield f"{place}.{field}", f"is not a result of {attack.label}; remove it"


def _listed_twice(place: str, items: list[dict[str, Any]]) -> Found:
    names = [item["attack"] for item in items]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"{place}[{index}].attack", f"{name!r} is listed twice; keep one"


def _epsilon(document: dict[str, Any]) -> Found:
    """An ε that has the form of a fraction but is not in (0, 1]."""
    epsilon = document["threat_model"]["epsilon"]
    if epsilon is not None:
        try:
            epsilon_value(epsilon)
        except ValueError as error:
            yield "threat_model.epsilon", str(error)


def _own_set(document: dict[str, Any]) -> Found:
    """A dataset that is not registered is described, and nothing but the record says at which ε it was attacked."""
    own, whole = document["dataset"].startswith(OTHER), _member(document, "data", "whole")
    if own and whole is None:
        yield "data.whole", f"is missing; {document['dataset']} is not registered, so describe its images and classes"
    if own and whole is not None:
        if whole["shape"][0] != 3:
            yield ("data.whole.shape", f"{whole['shape']} is not [3, height, width]; `apsite eval` writes it")
        if not sum(whole["class_counts"]):
            yield "data.whole.class_counts", "counts no image; `apsite eval` writes it"
    if not own and whole is not None:
        yield "data.whole", f"describes {document['dataset']}, which is registered; remove it"
    if own and document["threat_model"]["epsilon"] is None:
        yield "threat_model.epsilon", f"is missing; {document['dataset']} has no ε of its own"


def _identity(path: Path, document: dict[str, Any]) -> Found:
    """Path and terms that contradict the model key."""
    text, method, version = document.get("model_key"), document.get("method"), _version(document)
    if not isinstance(text, str):
        return
    replaced = path.parent.name == HISTORY
    stem, stated = path.stem.rpartition(".")[::2] if replaced else (path.stem, "")
    if stem != text:
        yield "model_key", f"{text!r} does not match the file name {path.name!r}; rename one"
    if replaced and stated != str(version):
        wrong = f"make this version {version} of the record, not {stated!r} as the file name says"
        yield "changes", f"{wrong}; files in history/ keep the content that they had"
    imported = path.parent.name == CURVES
    if imported:
        for place, allowed in (("protocol", Protocol.CUSTOM), ("provenance.kind", ProvenanceKind.PUBLISHED)):
            if (found := _member(document, *place.split("."))) != allowed:
                yield place, f"{found!r} is not {allowed.value!r}; {CURVES}/ holds imported distance files only"
    folder = path.parent.parent if replaced or imported else path.parent
    if folder.name != method:
        wrong = f"{method!r} does not match the folder {folder.name!r}"
        yield "method", f"{wrong}; move the files of this method into a folder of its name"
    try:
        key = ModelKey.parse(text)
    except ValueError as error:
        yield "model_key", str(error)
        return
    for name in ("method", "dataset", "architecture", "structure"):
        if document.get(name) != getattr(key, name):
            term = getattr(key, name) and str(getattr(key, name))
            yield name, f"{document.get(name)!r} contradicts the model key, which says {term!r}"
    declared = _member(document, "sparsity", "declared")
    if isinstance(declared, int | float) and abs(declared - key.sparsity) > 1e-9:
        yield "sparsity.declared", f"{declared} contradicts the model key, which says {key.sparsity}"


def _member(document: dict[str, Any], *names: str) -> Any:
    """Value at a place of a document that need not have passed its schema; ``None`` where there is none."""
    found: Any = document
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _version(document: dict[str, Any]) -> int:
    """Version of a record that need not have passed its schema."""
    changes = document.get("changes")
    replaced = _member(changes[0], "version") if isinstance(changes, list) and changes else None
    return replaced + 1 if isinstance(replaced, int) else 1
