"""How tables order, name and filter methods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from apsite.catalogue import Catalogue
from apsite.entries import Entry
from apsite.vocabulary import Criterion, Locality, Stage, Structure

UNSPECIFIED = "unspecified"
SURVEYED = {True: "in", False: "since"}
"""Words by which the tables are filtered to the survey's methods and to those added since."""
STEP_TITLES = {
    "pretraining": "Pretraining",
    "finetuning": "Finetuning",
    "pruning": "Pruning step",
    "training": "Training step",
}


def stage_order(entry: Entry) -> tuple[Stage, int, str]:
    """Order of methods in tables, as the survey has it: pipeline stage, then year, then name."""
    return entry.pipeline.stage, entry.paper.year, entry.name.lower()


def in_order(catalogue: Catalogue) -> list[Entry]:
    """All entries as tables list them, baselines last."""
    return sorted(catalogue.entries.values(), key=lambda entry: (entry.baseline, stage_order(entry)))


def labels(entries: Iterable[Entry]) -> dict[str, str]:
    """Names for charts by method key: the name where only one method has it, else the key."""
    listed = list(entries)
    names = [entry.name for entry in listed]
    return {entry.key: entry.name if names.count(entry.name) == 1 else entry.key for entry in listed}


def traits(entry: Entry) -> dict[str, str]:
    """Values by which the pages' facets find a method, space-separated, by facet."""

    def joined(words: Sequence[StrEnum] | None) -> str:
        return " ".join(word.value for word in words) if words else UNSPECIFIED

    criterion = entry.specifics.criterion
    return {
        "pipeline": entry.pipeline.stage.value,
        "criterion": criterion.value if criterion and criterion.registered else "",
        "locality": joined(entry.specifics.locality),
        "prunes": joined(entry.specifics.structure),
        "survey": SURVEYED[entry.in_survey],
    }


def facets() -> dict[str, list[tuple[str, str]]]:
    """Facets of the method tables: pairs of value and title."""
    return {
        "pipeline": [(s.value, f"{s.code} · {s.value} training") for s in Stage],
        "prunes": [(s.value, s.value) for s in Structure],
        "locality": [*((w.value, w.value) for w in Locality), (UNSPECIFIED, "not specified")],
        "criterion": [(c.value, c.value) for c in Criterion],
        "survey": [(SURVEYED[True], "in the survey"), (SURVEYED[False], "since the survey")],
    }


@dataclass(frozen=True)
class Listed:
    """A method in the index, with the values by which the filters find it."""

    entry: Entry
    objectives: tuple[str, ...]  # those of all steps of the pipeline, each once
    results: int  # evaluated models
    traits: dict[str, str]  # space-separated values by filter


def listing(entry: Entry, results: int) -> Listed:
    """A method as the index lists it."""
    found = [word for step in entry.pipeline.steps for word in step.objectives or ()]
    objectives = dict.fromkeys(found)
    have = {"code": entry.code_url is not None, "checkpoints": bool(entry.checkpoints), "results": results > 0}
    own = traits(entry)
    return Listed(
        entry,
        tuple(word.words for word in objectives),
        results,
        {
            **{name: own[name] for name in ("pipeline", "prunes", "locality", "criterion")},
            "objective": " ".join(word.value for word in objectives if word.registered),
            "available": " ".join(name for name, is_there in have.items() if is_there),
            "year": str(entry.paper.year),
        },
    )


def choices(listed: list[Listed]) -> dict[str, list[tuple[str, str]]]:
    """Filters of the index: only values that some method has."""
    titles = facets()
    there: dict[str, set[str]] = {}
    for one in listed:
        for name, words in one.traits.items():
            there.setdefault(name, set()).update(words.split())
    plain = {
        "objective": sorted(there.get("objective", ())),
        "available": ["code", "checkpoints", "results"],
        "year": sorted(there.get("year", ())),
    }
    offered = {name: titles[name] for name in ("pipeline", "prunes", "locality", "criterion")}
    offered |= {name: [(value, value) for value in values] for name, values in plain.items()}
    return {name: [one for one in values if one[0] in there.get(name, ())] for name, values in offered.items()}
