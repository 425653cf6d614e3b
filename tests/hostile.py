"""Hostile text in every field of entries and records that takes text; the fields are found by walking the schemas."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from apsite.documents.schema import load_schema
from apsite.validation.gate import validate
from tests.builders import Document, entry_document, own_document, write_data, write_document

TEXTS = {
    "Script": "<script>window.hostile=1;alert(1)</script><b data-injected>x</b>",
    "Handler": "\"'><img src=x onerror=alert(1) data-injected>",
    "Link": "[a](javascript:alert(1)) <a href=javascript:alert(1) data-injected>b</a>",
    "Template": "{{ 7 * 7 }}{% raw %}${7*7}",
    "Table": "| a | b |\n|---|---|\n\n# head {: onclick=alert(1) }",
    "Pipes": "| a | b | <i data-injected>c</i> |",
    "Closing": "</title></script></textarea><script>alert(1)</script><!--",
    "Marks": "\u200f\u061cabc\u200e",
    "Override": "\u202eabc\u2066",
    "Long": "W" * 10_000,
    "Address": "javascript:alert(1)//https://example.org/",
}
"""What is tried, by the name of the method that carries it."""
MOVED = ("samples", "url")
"""A field that the examples lack, since it takes the place of the file beside a record, but that is tried too."""
FREE_NAME = "host"
"""Name of a value in an object that takes any names."""


@dataclass(frozen=True)
class Place:
    """A field that takes text.

    Attributes:
        schema: ``entry`` or ``record``.
        parts: Names and list positions that lead to it.
        limit: Longest text that the schema allows, ``None`` where it names no length.
        number: Makes the text of this field recognisable.
    """

    schema: str
    parts: tuple[str | int, ...]
    limit: int | None
    number: int

    @property
    def field(self) -> str:
        """The place as messages name it, such as ``paper.authors[0]``."""
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.parts).removeprefix(".")

    def text(self, hostile: str) -> str:
        """Hostile text for this place; addresses are left as they are, as their beginning is what matters."""
        marked = hostile if hostile == TEXTS["Address"] else f"f{self.number:02}{hostile}"
        return f"@article{{Doe2024Small, title = {{{marked}}}}}" if self.parts[-1] == "bibtex" else marked

    def shortened(self, hostile: str) -> str:
        """The same, no longer than the schema allows."""
        text = self.text(hostile)
        if self.limit is None or len(text) <= self.limit:
            return text
        return f"{text[: self.limit - 2]}}}}}" if self.parts[-1] == "bibtex" else text[: self.limit]


@cache
def places() -> tuple[Place, ...]:
    """Every field of both schemas that takes text and is not a closed list of words."""
    found = [
        (name, *place) for name in ("entry", "record") for place in _walk(load_schema(name), load_schema(name), ())
    ]
    # Who decided on a replacement is a field of that change alone, and the examples are of other changes.
    # An N:M pattern is two numbers, in records of semi-structured models alone, and the example is of another.
    # A whole test set is described for sets that are not registered alone, and the example is of another.
    absent = ("changes", 0, "by"), ("audit", "pattern")
    unique = {
        (name, parts): limit for name, parts, limit in found if parts not in absent and parts[:2] != ("data", "whole")
    }
    return tuple(Place(*key, limit, number) for number, (key, limit) in enumerate(unique.items()))


def _walk(node: Any, root: Any, parts: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], int | None]]:
    if "$ref" in node:
        node = root["$defs"][node["$ref"].rpartition("/")[2]]
    for alternatives in ("anyOf", "oneOf", "allOf"):
        for alternative in node.get(alternatives, ()):
            yield from _walk(alternative, root, parts)
    types = node.get("type", [])
    # Another term of an open set, which has a title, begins with "other: "; the entry below has one.
    if "string" in ([types] if isinstance(types, str) else types) and not {"enum", "const", "title"} & set(node):
        yield parts, node.get("maxLength")
    for name, child in node.get("properties", {}).items():
        yield from _walk(child, root, (*parts, name))
    if isinstance(node.get("items"), dict):
        yield from _walk(node["items"], root, (*parts, 0))
    if isinstance(node.get("additionalProperties"), dict):
        free = "paper" if parts[-1:] == ("sources",) else FREE_NAME
        yield from _walk(node["additionalProperties"], root, (*parts, free))


def documents(name: str, folder: Path) -> tuple[list[Document], dict[Place, str]]:
    """Entry and record of a method that carry one of `TEXTS` wherever `apsite validate` lets it pass.

    What is refused is tried again at the length that is allowed, and then left as it was.

    Args:
        name: Name in `TEXTS`.
        folder: Empty folder for data to be validated.

    Returns:
        The documents, and the text that stands in each field that took it.
    """
    key = f"{name}_Doe2024Small"
    entry = entry_document(key, aliases=[f"Other{name}_Doe2024Small"])
    entry["code"] = {"url": "https://example.org/code"}
    entry["checkpoints"][0] |= {"file_format": ".pt", "notes": "A remark."}
    change = {"date": "2026-01-03", "kind": "corrected", "reason": "A reason.", "url": "https://example.org/1"}
    entry["changes"] = [change]
    entry |= {"auxiliary_loss": "a loss", "host_methods": ["HYDRA"], "source_data": "ImageNet"}
    entry["specifics"]["criterion"] = "other: <b>bold</b> & {{ braces }}"
    entry["reported"][0] |= {"by": "others", "source": "a table"}
    entry["sources"] |= dict.fromkeys(("auxiliary_loss", "host_methods", "source_data"), "a paper")
    record = own_document(f"{key}_R18_CIFAR10_US_90")
    record["provenance"]["location"] = "a place"
    record["changes"] = [{**change, "kind": "disputed"}]
    record["checkpoint"]["factory_sha256"] = hashlib.sha256(b"code").hexdigest()
    for free in ("settings", "environment"):
        record[free][FREE_NAME] = "a word"
    base = {"entry": entry, "record": record}
    assert not _problems(folder, base, base), "the documents are right before they are spoilt"
    chosen = {place: place.text(TEXTS[name]) for place in places()}
    for place in _refused(folder, base, chosen):
        chosen[place] = place.shortened(TEXTS[name])
    while refused := _refused(folder, base, chosen):  # some rules ask only once the others are satisfied
        for place in refused:
            del chosen[place]
    spoilt = _spoilt(base, chosen)
    assert not (left := _problems(folder, base, spoilt)), left
    return list(spoilt.values()), chosen


def _spoilt(base: dict[str, Document], chosen: dict[Place, str]) -> dict[str, Document]:
    """The documents with the chosen texts in their places."""
    result = copy.deepcopy(base)
    for place, text in chosen.items():
        target: Any = result[place.schema]
        for part in place.parts[:-1]:
            target = target[part]
        known = place.parts == MOVED or place.parts[-1] in target
        assert known if isinstance(target, dict) else target, f"no example of {place.field}"
        target[place.parts[-1]] = text
    return result


def _refused(root: Path, base: dict[str, Document], chosen: dict[Place, str]) -> list[Place]:
    """Places whose text validation refuses, each with a message that names the place."""
    wrong = _problems(root, base, _spoilt(base, chosen))
    return [place for place in chosen if (place.schema, place.field) in wrong]


def _problems(root: Path, base: dict[str, Document], pair: dict[str, Document]) -> dict[tuple[str, str], str]:
    """What `apsite validate` says of the documents, where those of `base` lie, by kind of file and field."""
    write_data(root, base["record"])
    method, model = base["entry"]["key"], base["record"]["model_key"]
    write_document(root / "entries" / f"{method}.json", pair["entry"])
    write_document(root / "evaluations" / method / f"{model}.json", pair["record"])
    return {
        ("entry" if problem.path.parent.name == "entries" else "record", problem.field): problem.problem
        for problem in validate(root).problems
    }
