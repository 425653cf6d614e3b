"""Versions of the record format: documents of an older one in the form of the newest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VERSION = 2
"""Version of the format that is written."""


def upgraded(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a record in the newest version; one that is no older version is returned as it is.

    The document need not have passed a schema: what has not the form of its version stays, for the schema to report.
    """
    version, results = document.get("schema_version"), document.get("results")
    if type(version) is not int or version != 1:
        return dict(document)
    if isinstance(results, dict) and "attacks" not in results:
        results = _attacks_as_list(results)
    return {**document, "schema_version": VERSION, "results": results}


def _attacks_as_list(results: dict[str, Any]) -> dict[str, Any]:
    """Results of version 1, which had a field for each attack and a mapping of AutoAttack's stages."""
    rest = {name: value for name, value in results.items() if name not in ("autoattack", "hofmn", "joint")}
    attacks = [_attack(name, results[name]) for name in ("autoattack", "hofmn") if results.get(name) is not None]
    joint = results.get("joint")
    if isinstance(joint, dict):
        only = "broken_only_by_"
        counts = {name.removeprefix(only): value for name, value in joint.items() if name.startswith(only)}
        joint = {name: value for name, value in joint.items() if not name.startswith(only)}
        joint |= {"broken_only_by": counts} if counts else {}
    return {**rest, "attacks": attacks, **({} if joint is None else {"joint": joint})}


def _attack(name: str, result: Any) -> Any:
    if not isinstance(result, dict):
        return result
    stages = result.get("per_attack")
    if isinstance(stages, dict):
        stages = [{"attack": stage, **count} if isinstance(count, dict) else count for stage, count in stages.items()]
    fields = {"attack": name, **result, "stages": stages}
    return {key: value for key, value in fields.items() if key != "per_attack" and value not in (None, {}, [])}
