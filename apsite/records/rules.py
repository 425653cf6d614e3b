"""What can be wrong with a record taken alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apsite.documents.changes import change_problems
from apsite.documents.schema import schema_problems
from apsite.errors import DocumentError
from apsite.keys import ModelKey
from apsite.records.record import HISTORY
from apsite.records.versions import upgraded
from apsite.vocabulary import AttackName, epsilon_value

FIXED_SIZE = ("stages",)
"""Results that only attacks at a given perturbation size have."""
MINIMUM_NORM = ("parameters", "median_distance", "not_found", "search", "steps")
"""Results that only minimum-norm attacks have."""


def record_problems(path: Path, document: dict[str, Any]) -> list[DocumentError]:
    """Problems of a single record: schema, ε, changes, and path and terms against the model key."""
    document = upgraded(document)
    problems = schema_problems(path, "record", document)
    problems += _attack_problems(path, document)
    problems += _epsilon_problems(path, document)
    problems += change_problems(path, document)
    text = document.get("model_key")
    if not isinstance(text, str):
        return problems
    replaced = path.parent.name == HISTORY
    stem, version = path.stem.rpartition(".")[::2] if replaced else (path.stem, "")
    if stem != text:
        problems.append(
            DocumentError(path, "model_key", f"{text!r} does not match the file name {path.name!r}; rename one")
        )
    if replaced and version != str(_version(document)):
        problems.append(
            DocumentError(
                path,
                "changes",
                f"make this version {_version(document)} of the record, not {version!r} as the file name says; "
                "files in history/ keep the content that they had",
            )
        )
    folder = path.parent.parent if replaced else path.parent
    if folder.name != document.get("method"):
        problems.append(
            DocumentError(
                path,
                "method",
                f"{document.get('method')!r} does not match the folder {folder.name!r}; move the files of this method "
                "into a folder of its name",
            )
        )
    try:
        key = ModelKey.parse(text)
    except ValueError as error:
        problems.append(DocumentError(path, "model_key", str(error)))
        return problems
    expected: dict[str, object] = {
        "method": key.method,
        "dataset": key.dataset.value,
        "architecture": key.architecture.value,
        "structure": key.structure.value if key.structure else None,
    }
    for name, value in expected.items():
        if document.get(name) != value:
            problems.append(
                DocumentError(path, name, f"{document.get(name)!r} contradicts the model key, which says {value!r}")
            )
    sparsity = document.get("sparsity")
    declared = sparsity.get("declared") if isinstance(sparsity, dict) else None
    if isinstance(declared, int | float) and abs(declared - key.sparsity) > 1e-9:
        problems.append(
            DocumentError(path, "sparsity.declared", f"{declared} contradicts the model key, which says {key.sparsity}")
        )
    return problems


def _version(document: dict[str, Any]) -> int:
    """Version of a record that need not have passed its schema."""
    changes = document.get("changes")
    first = changes[0] if isinstance(changes, list) and changes else None
    replaced = first.get("version") if isinstance(first, dict) else None
    return replaced + 1 if isinstance(replaced, int) else 1


def _attack_problems(path: Path, document: dict[str, Any]) -> Iterator[DocumentError]:
    """Attacks that are listed twice, or have results that such an attack does not give."""
    results = document.get("results")
    attacks = results.get("attacks") if isinstance(results, dict) else None
    yield from _listed_twice(path, "results.attacks", attacks)
    for index, result in enumerate(attacks if isinstance(attacks, list) else ()):
        place, name = f"results.attacks[{index}]", result.get("attack") if isinstance(result, dict) else None
        if name in tuple(AttackName):
            yield from _listed_twice(path, f"{place}.stages", result.get("stages"))
            for field in FIXED_SIZE if AttackName(name).minimum_norm else MINIMUM_NORM:
                if field in result:
                    yield DocumentError(
                        path, f"{place}.{field}", f"is not a result of {AttackName(name).label}; remove it"
                    )


def _listed_twice(path: Path, place: str, items: Any) -> Iterator[DocumentError]:
    names = [item.get("attack") for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    for index, name in enumerate(names):
        if name in names[:index]:
            yield DocumentError(path, f"{place}[{index}].attack", f"{name!r} is listed twice; keep one")


def _epsilon_problems(path: Path, document: dict[str, Any]) -> list[DocumentError]:
    """Problem of an ε that has the form of a fraction but is not in (0, 1]."""
    threat_model = document.get("threat_model")
    epsilon = threat_model.get("epsilon") if isinstance(threat_model, dict) else None
    if not isinstance(epsilon, str) or "/" not in epsilon:
        return []
    try:
        epsilon_value(epsilon)
    except ValueError as error:
        return [DocumentError(path, "threat_model.epsilon", str(error))]
    return []
