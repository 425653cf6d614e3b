"""The Python interface as a page: public names, signatures and docstrings, read from the source without running it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import griffe
from markupsafe import Markup, escape

_NAME = re.compile(r"(?::[a-z:]+:)?(`{1,2})(?:~?)([^`]+)\1")
MODULES = (
    ("apsite", "The names that `import apsite` gives."),
    ("apsite.catalogue", "All entries and records of a data folder."),
    ("apsite.entries", "Taxonomy entries."),
    ("apsite.records", "Evaluation records."),
    ("apsite.samples", "Per-sample results."),
    ("apsite.metrics", "Numbers computed from per-sample results."),
    ("apsite.comparable", "Who is ahead: settings, rankings, ranks, leads and ties."),
    ("apsite.protocol", "Settings, presets and limits of the protocols."),
    ("apsite.results", "Numbers of a record, and warnings that follow from them."),
    ("apsite.vocabulary", "The closed sets of terms."),
)
"""Modules that programs may rely on, with what they are about."""


@dataclass(frozen=True)
class Parameter:
    """A parameter, attribute or exception of a docstring: name, type as written in the source, meaning."""

    name: str
    annotation: str
    meaning: str


@dataclass(frozen=True)
class Documented:
    """A public function, class, method or property."""

    path: str  # its dotted name, such as `apsite.catalogue.Catalogue.methods`
    name: str  # its own name, with that of its class in front
    kind: str  # `function`, `class`, `method` or `property`
    signature: str  # parameters and result as Python writes them
    paragraphs: tuple[str, ...]  # what the docstring says, without its sections and examples
    examples: tuple[str, ...]  # examples as in an interactive session
    parameters: tuple[Parameter, ...]
    attributes: tuple[Parameter, ...]
    returns: str  # what comes back; empty where the docstring does not say
    raises: tuple[Parameter, ...]
    members: tuple[Documented, ...]  # public methods and properties of a class


@dataclass(frozen=True)
class Module:
    """A module with its public names."""

    path: str
    about: str
    items: tuple[Documented, ...]

    @property
    def name(self) -> str:
        """Its own name, without that of the package."""
        return self.path.rpartition(".")[2]


@functools.cache
def modules() -> tuple[Module, ...]:
    """The public interface, module by module; nothing is imported, so torch is not required."""
    folder = Path(str(resources.files("apsite")))
    package = griffe.load(
        "apsite", search_paths=[folder.parent], try_relative_path=False, allow_inspection=False,
        docstring_parser="google",
    )  # fmt: skip
    return tuple(Module(path, about, tuple(_items(package, path))) for path, about in MODULES)


def inline(text: str) -> Markup:
    """Text of a docstring as HTML: names in backquotes, with or without a role, become code."""
    return Markup(_NAME.sub(r"<code>\2</code>", str(escape(text))))  # noqa: S704 - escaped before


def _items(package: Any, path: str) -> Iterator[Documented]:
    module = package if path == "apsite" else package[path.removeprefix("apsite.")]
    if path == "apsite":
        homes = _homes(module)
        for name in sorted(homes, key=str.lower):
            yield _documented(package[f"{homes[name].removeprefix('apsite.')}.{name}"], f"apsite.{name}", name)
        return
    for name, member in module.members.items():
        foreign = member.is_alias and not member.target_path.startswith(f"{path}.")
        if not name.startswith("_") and not foreign and (member.is_class or member.is_function):
            yield _documented(member, f"{path}.{name}", name)


def _homes(module: Any) -> dict[str, str]:
    """Modules of the names that the package gives, from the imports that it states for type checkers."""
    public = {name: str(target) for name, target in module.imports.items() if str(target).startswith("apsite.")}
    return {name: target.rpartition(".")[0] for name, target in public.items() if not name.startswith("_")}


def _documented(found: Any, path: str, name: str) -> Documented:
    member = found.final_target if found.is_alias else found  # what a package forwards from one of its modules
    sections: dict[str, list[Any]] = {}
    texts: list[str] = []
    for section in member.docstring.parsed if member.docstring else []:
        if section.kind.value == "text":
            texts += [part for part in section.value.split("\n\n") if part.strip()]
        else:
            items = section.value if isinstance(section.value, list) else [section.value]
            sections.setdefault(section.kind.value, []).extend(items)
    kind = "class" if member.is_class else "property" if _is_property(member) else "function"
    return Documented(
        path=path,
        name=name,
        kind=kind,
        signature=_signature(member, name) if kind == "function" else "",
        paragraphs=tuple(" ".join(part.split()) for part in texts if not part.startswith(">>>")),
        examples=tuple(part for part in texts if part.startswith(">>>")),
        parameters=tuple(_parameters(sections.get("parameters", ()))),
        attributes=tuple(_parameters(sections.get("attributes", ()))),
        returns=" ".join(" ".join(item.description.split()) for item in sections.get("returns", ())),
        raises=tuple(_parameters(sections.get("raises", ()))),
        members=tuple(_members(member, path, name)) if member.is_class else (),
    )


def _members(member: Any, path: str, name: str) -> Iterator[Documented]:
    for own, found in member.members.items():
        if own.startswith("_") or found.is_alias:
            continue
        if (found.is_function or _is_property(found)) and found.docstring is not None:
            yield _documented(found, f"{path}.{own}", f"{name}.{own}")


def _is_property(member: Any) -> bool:
    return bool({"property", "cached"} & set(member.labels))


def _parameters(items: Sequence[Any]) -> Iterator[Parameter]:
    for item in items:
        annotation = "" if item.annotation is None else str(item.annotation)
        yield Parameter(getattr(item, "name", annotation), annotation, " ".join(item.description.split()))


def _signature(member: Any, name: str) -> str:
    parts: list[str] = []
    stars = False
    for parameter in member.parameters:
        if parameter.name in ("self", "cls"):
            continue
        kind = parameter.kind.value
        if kind == "keyword-only" and not stars:
            parts.append("*")
            stars = True
        mark = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        stars = stars or kind == "variadic positional"
        text = f"{mark}{parameter.name}"
        if parameter.annotation is not None:
            text += f": {parameter.annotation}"
        if parameter.default is not None and not mark:
            text += f" = {parameter.default}" if parameter.annotation is not None else f"={parameter.default}"
        parts.append(text)
    whole = f"{name}({', '.join(parts)})"
    result = "" if member.returns is None else f" -> {member.returns}"
    if len(whole + result) > 88:
        whole = f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + ")"
    return whole + result
