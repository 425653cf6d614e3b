"""The taxonomy as tables, counts and words. Pure functions of entries and the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from apsite.catalogue import Catalogue
from apsite.entries import Entry, Step
from apsite.references import Reference
from apsite.site import figures
from apsite.site.results import stage_order
from apsite.vocabulary import Criterion, Granularity, Locality, Objective, Schedule, Stage, Structure

NOT_SPECIFIED = "n.s."

STAGE_TITLES = {stage: stage.heading for stage in Stage}
STEP_TITLES = {
    "pretraining": "Pretraining",
    "finetuning": "Finetuning",
    "pruning": "Pruning step",
    "training": "Training step",
}
_STAGE_STEPS = {
    Stage.AFTER: ("pretraining", "finetuning"),
    Stage.BEFORE: ("pruning", "training"),
    Stage.DURING: ("training",),
}
STAGE_MEANINGS = {stage: stage.meaning for stage in Stage}
_CRITERION_SHORT = {
    Criterion.LWM: "Weight magnitude",
    Criterion.SOLWM: "Solver, magnitude",
    Criterion.RELWM: "Regularized, magnitude",
    Criterion.LIS: "Importance score",
    Criterion.HGM: "Gradient magnitude",
    Criterion.BCS: "Bayesian sampling",
}


@dataclass(frozen=True)
class TaxonomyTable:
    """One of the three tables of the taxonomy: methods of one pipeline stage."""

    stage: Stage
    title: str
    meaning: str
    steps: tuple[str, ...]
    has_schedule: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Definition:
    """An abbreviation with its meaning and the paper that defines it; `reference` is ``None`` where none is needed."""

    term: str
    title: str
    meaning: str
    reference: Reference | None


@dataclass(frozen=True)
class Count:
    """How many methods share a trait."""

    term: str
    title: str
    count: int


def tables(catalogue: Catalogue) -> list[TaxonomyTable]:
    """The A, B and D tables."""
    return [
        TaxonomyTable(
            stage,
            STAGE_TITLES[stage],
            STAGE_MEANINGS[stage],
            _STAGE_STEPS[stage],
            stage is not Stage.DURING,
            tuple(sorted(catalogue.methods(stage), key=stage_order)),
        )
        for stage in Stage
    ]


def objectives_text(step: Step) -> str:
    """Objectives of a step as the tables abbreviate them."""
    if step.objectives is None:
        return NOT_SPECIFIED
    return " + ".join(objective.value for objective in step.objectives) or "none"


def codes(words: Sequence[Structure | Locality | Schedule] | None) -> str:
    """Codes of words with commas between, in the order of the survey; n.s. where they are not specified."""
    if words is None:
        return NOT_SPECIFIED
    return ", ".join(sorted((word.code for word in words), key=["S", "US", "L", "G", "1S", "IT"].index))


def legend(references: dict[str, Reference]) -> dict[str, list[Definition]]:
    """Every abbreviation of the tables, by heading, with its citation."""
    survey = references.get("Piras2024Adversarial")
    return {
        "Training objectives": [
            Definition(word.value, word.label, "", references.get(word.citation) if word.citation is not None else None)
            for word in Objective
        ],
        "Criteria": [
            Definition(
                word.value,
                word.label,
                word.meaning,
                references.get("Han2015Learning") if word is Criterion.LWM else survey,
            )
            for word in Criterion
        ],
        "Structure, locality and schedule": [
            Definition("US", "Unstructured", Structure.UNSTRUCTURED.meaning, survey),
            Definition("S", "Structured", Structure.STRUCTURED.meaning, survey),
            Definition("L", "Local", Locality.LOCAL.meaning, survey),
            Definition("G", "Global", Locality.GLOBAL.meaning, survey),
            Definition("1S", "One-shot", Schedule.ONE_SHOT.meaning, survey),
            Definition("IT", "Iterative", Schedule.ITERATIVE.meaning, survey),
            Definition("n.s.", "Not specified", "The paper of the method does not say.", survey),
        ],
    }


def counts(catalogue: Catalogue) -> dict[str, list[Count]]:
    """How many methods of the taxonomy have each trait; a method may have several of a kind."""
    methods = catalogue.methods()
    return {
        "Pipeline": [
            Count(
                stage.code,
                f"{stage.value.capitalize()} training",
                sum(entry.pipeline.stage is stage for entry in methods),
            )
            for stage in Stage
        ],
        "Structure": [
            Count(word.code, word.value.capitalize(), sum(word in entry.specifics.structure for entry in methods))
            for word in Structure
        ],
        "Locality": [
            *(
                Count(
                    word.code,
                    word.value.capitalize(),
                    sum(word in (entry.specifics.locality or ()) for entry in methods),
                )
                for word in Locality
            ),
            Count(NOT_SPECIFIED, "Not specified", sum(entry.specifics.locality is None for entry in methods)),
        ],
        "Criterion": [
            Count(word.value, _CRITERION_SHORT[word], sum(entry.specifics.criterion is word for entry in methods))
            for word in Criterion
        ],
    }


def traits(entry: Entry) -> dict[str, str]:
    """Words by which the pages' facets find a method, space-separated, by facet."""

    def joined(words: Sequence[StrEnum] | None) -> str:
        return " ".join(word.value for word in words) if words else "unspecified"

    return {
        "pipeline": entry.pipeline.stage.value,
        "criterion": entry.specifics.criterion.value,
        "locality": joined(entry.specifics.locality),
        "prunes": joined(entry.specifics.structure),
    }


def sentence(entry: Entry) -> str:
    """The taxonomy entry in words."""
    specifics = entry.specifics
    kinds = figures.words([word.value for word in specifics.structure])
    units = [f"{word.value}s" for word in specifics.granularity or () if word is not Granularity.WEIGHT]
    where = {
        (): "with a sparsity per layer that its paper does not specify",
        (Locality.LOCAL,): "to the same sparsity in every layer (local)",
        (Locality.GLOBAL,): "to one sparsity over the whole network (global)",
    }.get(tuple(specifics.locality or ()), "either per layer (local) or over the whole network (global)")
    schedules: dict[tuple[Schedule, ...] | None, str] = {
        None: "" if entry.pipeline.stage is Stage.DURING else ", on a schedule that its paper does not specify",
        (Schedule.ONE_SHOT,): ", in one shot",
        (Schedule.ITERATIVE,): ", iteratively",
    }
    schedule = schedules.get(entry.pipeline.schedule, ", in one shot or iteratively")
    when = {
        Stage.AFTER: "prunes a trained network and finetunes it",
        Stage.BEFORE: "searches for a sparse network first and trains that",
        Stage.DURING: "prunes while it trains",
    }[entry.pipeline.stage]
    what = f"{kinds} pruning" + (f" of {figures.words(units)}" if units else "")
    criterion = f"{specifics.criterion.label.lower()} ({specifics.criterion.value})"
    return f"{entry.name} {when}{schedule}. It does {what}, {where}, and selects what to remove by {criterion}."


def step_sentence(step: Step) -> str:
    """Objectives of a step in words."""
    if step.objectives is None:
        return "not specified in the paper"
    return "; ".join(f"{objective.label} ({objective.value})" for objective in step.objectives) or "no such step"


def objective_citations(step: Step, references: dict[str, Reference]) -> list[tuple[Objective, Reference | None]]:
    """Objectives of a step, each with the paper that defines it."""
    return [
        (objective, references.get(objective.citation) if objective.citation else None)
        for objective in step.objectives or ()
    ]
