"""The taxonomy as tables, counts and words. Pure functions of entries and the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from apsite import numbers
from apsite.catalogue import Catalogue
from apsite.documents.references import Reference
from apsite.entries import Entry, Step
from apsite.site.pages.results import stage_order
from apsite.site.pages.survey import CITATION
from apsite.site.writer import Page, PageWriter
from apsite.vocabulary import Criterion, Granularity, Locality, Objective, Schedule, Stage, Structure

NOT_SPECIFIED = "n.s."
_UNSPECIFIED = "unspecified"
_MADRY = "Madry2018Towards"

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
    """How many methods share a trait; `facet` is the name and word by which the tables are filtered to them."""

    term: str
    title: str
    count: int
    facet: tuple[str, str]


@dataclass(frozen=True)
class CrossRow:
    """How many methods with a criterion there are of each stage, in the order of the vocabulary."""

    criterion: Criterion
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """Methods with the criterion."""
        return sum(self.counts)


def page(writer: PageWriter, catalogue: Catalogue, references: Mapping[str, Reference]) -> Page:
    """The page of the taxonomy."""
    return writer.page(
        "taxonomy.md.j2",
        "taxonomy.md",
        "Taxonomy",
        "Adversarial pruning methods by when and how they prune.",
        hide=("navigation", "toc"),
        tables=tables(catalogue),
        step_titles=STEP_TITLES,
        stages=list(Stage),
        legend=legend(references),
        counts=counts(catalogue),
        cross=cross(catalogue),
        total=len(catalogue.methods()),
        objectives_text=objectives_text,
        codes=codes,
    )


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


def legend(references: Mapping[str, Reference]) -> dict[str, list[Definition]]:
    """Every abbreviation of the tables of this site, by heading, with its citation."""
    survey = references.get(CITATION)

    def defined(term: str, title: str, meaning: str, key: str) -> Definition:
        return Definition(term, title, meaning, references.get(key))

    return {
        "Training objectives": [
            defined("AT", "Adversarial training", "Trains on adversarial examples made on the spot.", _MADRY),
            *(Definition(word.value, word.label, "", references.get(word.citation or "")) for word in Objective),
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
        "Pipeline, structure, locality and schedule": [
            *(Definition(stage.code, stage.heading, stage.meaning, survey) for stage in Stage),
            *(
                Definition(word.code, word.value.capitalize(), word.meaning, survey)
                for word in (*reversed(Structure), *Locality, *Schedule)
            ),
            Definition(NOT_SPECIFIED, "Not specified", "The paper of the method does not say.", survey),
        ],
        "Attacks": [
            defined("AA", "AutoAttack", "Four attacks without parameters, one after another.", "Croce2020Reliable"),
            defined("PGD", "Projected gradient descent", "Gradient steps, kept inside the budget.", _MADRY),
            defined("FGSM", "Fast gradient sign method", "One gradient step.", "Goodfellow2015Explaining"),
            defined("CW", "Carlini and Wagner", "Minimizes perturbation and margin together.", "Carlini2017Towards"),
            defined("ZOO", "Zeroth order optimization", "Estimates gradients from outputs alone.", "Chen2017Zoo"),
            defined("DeepFool", "DeepFool", "Steps to the nearest linearized boundary.", "MoosaviDezfooli2016Deepfool"),
            defined("BB", "Brendel and Bethge", "Walks along the decision boundary.", "Brendel2019Accurate"),
            defined("FMN", "Fast minimum-norm", "Searches the smallest perturbation that fools.", "Pintor2021Fast"),
            defined("HO-FMN", "Hyperparameter-optimized FMN", "FMN tuned for each network.", "Mura2024HoFmn"),
        ],
    }


def counts(catalogue: Catalogue) -> dict[str, list[Count]]:
    """How many methods of the taxonomy have each trait; a method may have several of a kind."""
    methods = catalogue.methods()

    def count(term: str, title: str, facet: str, word: str) -> Count:
        return Count(term, title, sum(word in traits(entry)[facet].split() for entry in methods), (facet, word))

    return {
        "Pipeline": [count(s.code, f"{s.value.capitalize()} training", "pipeline", s.value) for s in Stage],
        "Structure": [count(word.code, word.value.capitalize(), "prunes", word.value) for word in Structure],
        "Locality": [
            *(count(word.code, word.value.capitalize(), "locality", word.value) for word in Locality),
            count(NOT_SPECIFIED, "Not specified", "locality", _UNSPECIFIED),
        ],
        "Criterion": [count(word.value, _CRITERION_SHORT[word], "criterion", word.value) for word in Criterion],
    }


def cross(catalogue: Catalogue) -> list[CrossRow]:
    """Criteria by stage, of the methods of the taxonomy."""
    return [
        CrossRow(
            word, tuple(sum(entry.specifics.criterion is word for entry in catalogue.methods(stage)) for stage in Stage)
        )
        for word in Criterion
    ]


def traits(entry: Entry) -> dict[str, str]:
    """Words by which the pages' facets find a method, space-separated, by facet."""

    def joined(words: Sequence[StrEnum] | None) -> str:
        return " ".join(word.value for word in words) if words else _UNSPECIFIED

    return {
        "pipeline": entry.pipeline.stage.value,
        "criterion": entry.specifics.criterion.value,
        "locality": joined(entry.specifics.locality),
        "prunes": joined(entry.specifics.structure),
    }


def sentence(entry: Entry) -> str:
    """The taxonomy entry in words."""
    specifics = entry.specifics
    kinds = numbers.words([word.value for word in specifics.structure])
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
    what = f"{kinds} pruning" + (f" of {numbers.words(units)}" if units else "")
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
