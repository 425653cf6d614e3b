"""How tables order, name and filter methods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
