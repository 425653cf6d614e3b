"""The page of the taxonomy: methods by pipeline stage, counts of their traits, and a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from apsite.catalogue import Catalogue
from apsite.documents.references import SURVEY, Reference
from apsite.entries import Entry, Step
from apsite.site.page import Page, SiteFacts
from apsite.site.tables.methods import STEP_TITLES, UNSPECIFIED, stage_order, traits
from apsite.vocabulary import Criterion, Locality, Objective, Schedule, Stage, Structure

NOT_SPECIFIED = "n.s."
OTHER_CRITERION = "other"
_MADRY = "Madry2018Towards"

_CRITERION_SHORT = {
    Criterion.LWM: "Weight magnitude",
    Criterion.SOLWM: "Solver, magnitude",
    Criterion.RELWM: "Regularized, magnitude",
    Criterion.LIS: "Importance score",
    Criterion.HGM: "Gradient magnitude",
    Criterion.BCS: "Bayesian sampling",
}


@dataclass(frozen=True)
class Definition:
    """An abbreviation with its meaning and the paper that defines it; `reference` is ``None`` for common terms."""

    term: str
    title: str
    meaning: str
    reference: Reference | None


@dataclass(frozen=True)
class Count:
    """How many methods share a trait; `facet` is the name and word by which the tables are filtered to them."""

    term: str
    title: str
    count: int  # methods of the survey
    since: int  # methods that were added since
    facet: tuple[str, str]


@dataclass(frozen=True)
class CrossRow:
    """Methods with a criterion, by pipeline stage in the order of the vocabulary."""

    title: str  # the criterion, or that its paper has a term of its own or none
    methods: tuple[tuple[Entry, ...], ...]


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page."""
    catalogue = facts.catalogue
    surveyed = sum(entry.in_survey for entry in catalogue.methods())
    return {
        "tables": {stage: sorted(catalogue.methods(stage), key=stage_order) for stage in Stage},
        "step_titles": {
            stage: [STEP_TITLES[step.name] for step in entries[0].pipeline.steps] if entries else []
            for stage in Stage
            for entries in [catalogue.methods(stage)]
        },
        "legend": legend(facts.references),
        "counts": counts(catalogue),
        "cross": cross(catalogue),
        "timeline": timeline(catalogue),
        "surveyed": surveyed,
        "since": len(catalogue.methods()) - surveyed,
        "objectives_text": objectives_text,
        "codes": codes,
    }


def objectives_text(step: Step) -> str:
    """Objectives of a step as the tables abbreviate them."""
    if step.objectives is None:
        return NOT_SPECIFIED
    return " + ".join(objective.words for objective in step.objectives) or "none"


def codes(words: Sequence[Structure | Locality | Schedule] | None) -> str:
    """Codes of words with commas between, in the order of the survey; n.s. where they are not specified."""
    if words is None:
        return NOT_SPECIFIED
    return ", ".join(sorted((word.code for word in words), key=["S", "US", "SS", "L", "G", "1S", "IT"].index))


def legend(references: Mapping[str, Reference]) -> dict[str, list[Definition]]:
    """Every abbreviation of the tables of this site, by heading, with its citation."""
    survey = references.get(SURVEY)

    def defined(term: str, title: str, meaning: str, key: str) -> Definition:
        return Definition(term, title, meaning, references.get(key))

    return {
        "Training objectives": [
            defined("AT", "Adversarial training", "Trains on adversarial examples of the current network.", _MADRY),
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
                for word in (*sorted(Structure, key=attrgetter("code")), *Locality, *Schedule)
            ),
            Definition(NOT_SPECIFIED, "Not specified", "The paper of the method does not say.", survey),
        ],
        "Attacks": [
            defined("AA", "AutoAttack", "Four attacks without parameters, one after another.", "Croce2020Reliable"),
            defined("PGD", "Projected gradient descent", "Gradient steps, kept inside the ε-ball.", _MADRY),
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
        found = [entry for entry in methods if word in traits(entry)[facet].split()]
        surveyed = sum(entry.in_survey for entry in found)
        return Count(term, title, surveyed, len(found) - surveyed, (facet, word))

    return {
        "Pipeline": [count(s.code, f"{s.value.capitalize()} training", "pipeline", s.value) for s in Stage],
        "Structure": [count(word.code, word.value.capitalize(), "prunes", word.value) for word in Structure],
        "Locality": [
            *(count(word.code, word.value.capitalize(), "locality", word.value) for word in Locality),
            count(NOT_SPECIFIED, "Not specified", "locality", UNSPECIFIED),
        ],
        "Criterion": [
            count(word.value, _CRITERION_SHORT.get(word, word.label), "criterion", word.value) for word in Criterion
        ],
    }


def cross(catalogue: Catalogue) -> list[CrossRow]:
    """Methods of the taxonomy by criterion and stage; criteria that no method has are left out."""
    titles = (*(word.value for word in Criterion), OTHER_CRITERION, NOT_SPECIFIED)
    found: dict[str, list[Entry]] = {title: [] for title in titles}
    for entry in sorted(catalogue.methods(), key=stage_order):
        criterion = entry.specifics.criterion
        title = NOT_SPECIFIED if criterion is None else criterion.value if criterion.registered else OTHER_CRITERION
        found[title].append(entry)
    return [
        CrossRow(title, tuple(tuple(entry for entry in among if entry.pipeline.stage is stage) for stage in Stage))
        for title, among in found.items()
        if among
    ]


def timeline(catalogue: Catalogue) -> list[tuple[int, list[Entry]]]:
    """Methods of the taxonomy by year of publication."""
    ordered = sorted(catalogue.methods(), key=lambda entry: (entry.paper.year, stage_order(entry)))
    return [(year, list(among)) for year, among in groupby(ordered, lambda entry: entry.paper.year)]


PAGE = Page(
    path="taxonomy.md",
    title="Taxonomy",
    description="Adversarial pruning methods by when and how they prune.",
    context=context,
)
