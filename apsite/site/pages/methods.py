"""One page for each method: what it is, how it fares, and where to get it."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from apsite import numbers
from apsite.catalogue import Catalogue
from apsite.comparable import Judge, setting_of
from apsite.documents.changes import open_dispute
from apsite.documents.references import Reference
from apsite.entries import Entry, Step
from apsite.keys import ModelKey
from apsite.records import EvaluationRecord
from apsite.records.census import DenseCounts, dense_counts
from apsite.records.measured import MeasuredCheckpoint
from apsite.site.charts import panels
from apsite.site.news import verification_text
from apsite.site.page import Page, SiteFacts
from apsite.site.tables import methods, studies
from apsite.site.writer import plain_title
from apsite.vocabulary import Granularity, Locality, Objective, Schedule, Stage


@dataclass(frozen=True)
class Standing:
    """A model against its field; all but `record` are ``None`` where it does not rank."""

    record: EvaluationRecord
    rank: int | None
    field: int | None  # models that rank in its setting, itself included
    best: EvaluationRecord | None  # the most robust of them
    median: float | None  # median robust accuracy of the field


@dataclass(frozen=True)
class Event:
    """One line of a method's history."""

    date: str  # ISO day
    subject: str  # what it is about: `entry`, or a model key
    kind: str  # what happened, in words
    reason: str  # why; empty where nothing more is to be said
    url: str | None  # where it was discussed, or `None`
    file: str | None  # path of the file as it was, below `data/`; `None` if that is the current one


def standings(judge: Judge, records: Iterable[EvaluationRecord]) -> list[Standing]:
    """Records of a method, each with its rank among the models of the same setting."""
    found = []
    for record in records:
        setting = setting_of(record)
        among = judge.settings.get(setting) if setting else None
        rank = among.ranks.get(record.model_key) if among else None
        if among is None or rank is None:
            found.append(Standing(record, None, None, None, None))
            continue
        median = statistics.median(model.share for model in among.models)
        found.append(Standing(record, rank, len(among.models), among.models[0].record, median))
    return found


def sizes(records: Iterable[EvaluationRecord]) -> list[tuple[str, DenseCounts]]:
    """Networks and their sizes before pruning, each once; a network that differs between datasets names its own."""
    networks: dict[str, dict[DenseCounts, list[str]]] = {}
    for record in records:
        counts = dense_counts(record)
        if counts is not None:
            datasets = networks.setdefault(record.architecture.label, {}).setdefault(counts, [])
            datasets += [record.dataset.label] * (record.dataset.label not in datasets)
    return [
        (f"{network} ({', '.join(datasets)})" if len(found) > 1 else network, counts)
        for network, found in networks.items()
        for counts, datasets in found.items()
    ]


def settings_text(records: Iterable[EvaluationRecord]) -> str:
    """Where the models of a method were evaluated, such as ``CIFAR-10 with ResNet18 (R18); SVHN with VGG16 (V16)``."""
    networks: dict[str, dict[str, None]] = {}
    for record in records:
        network = record.architecture
        named = f"{network.label} ({network.code})" if network.registered else network.label
        networks.setdefault(record.dataset.label, {})[named] = None
    return "; ".join(f"{dataset} with {numbers.words(list(found))}" for dataset, found in networks.items())


def rivals(catalogue: Catalogue, method: str, models: Sequence[Standing]) -> list[Entry]:
    """Methods that lead the settings in which a method ranks (`models`), most often first, at most five."""
    leading = Counter(model.best.method for model in models if model.best is not None and model.best.method != method)
    return [catalogue.entries[key] for key, _ in leading.most_common(5)]


def history(catalogue: Catalogue, entry: Entry) -> list[Event]:
    """What happened to the entry and the records of a method since they were first published, newest first."""
    events = [Event(change.date, "entry", change.kind.label, change.text, change.url, None) for change in entry.changes]
    retracted = (record for record in catalogue.retracted.values() if record.method == entry.key)
    for key in sorted({record.model_key for record in (*catalogue.records_of(entry.key), *retracted)}):
        *replaced, _ = versions = catalogue.versions(key)
        older = {record.version: f"evaluations/{record.history_path.as_posix()}" for record in replaced}
        for record in versions:
            events += [
                Event(change.date, key, change.kind.label, change.text, change.url, older.get(change.version or 0))
                for change in record.changes
            ]
            if found := record.verification:
                events.append(
                    Event(found.date, key, "Verified", verification_text(found), None, older.get(record.version))
                )
    # Reversed after sorting, so that of two events of one day the later one is first too.
    return sorted(events, key=lambda event: (event.date, event.subject))[::-1]


def audit_sentence(entry: Entry) -> str:
    """How the paper of a method evaluated it, in words; empty where nothing is known."""
    audit = entry.audit
    if audit is None:
        return ""
    attacks = [*(["AutoAttack"] if audit.autoattack else []), *(["PGD"] if audit.pgd else []), *audit.others]
    tested = f"Its paper tested it with {numbers.words(attacks)}" if attacks else "Its paper names no attack"
    length = {
        True: ", with more than ten iterations of PGD",
        False: ", with at most ten iterations of PGD",
        None: ", and does not say how many iterations of PGD it ran" if audit.pgd else "",
    }[audit.pgd_over_10_iterations]
    budgets = {True: ", at several ε", False: ", at one ε", None: ", and does not say at how many ε"}[
        audit.robustness_curve
    ]
    weak = "" if audit.autoattack is not False else " Without AutoAttack, robustness may be overestimated."
    return f"{tested}{length}{budgets}.{weak}"


def sentence(entry: Entry) -> str:
    """The taxonomy entry in words."""
    specifics = entry.specifics
    kinds = numbers.words([word.value for word in specifics.structure])
    units = [
        f"{word.words.replace('-', ' ')}s" for word in specifics.granularity or () if word is not Granularity.WEIGHT
    ]
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
    criterion = "a criterion that its paper does not specify"
    if specifics.criterion is not None:
        short = f" ({specifics.criterion.value})" if specifics.criterion.registered else ""
        criterion = f"{specifics.criterion.label.lower() if short else specifics.criterion.label}{short}"
    return f"{entry.name} {when}{schedule}. It does {what}, {where}, and selects what to remove by {criterion}."


def step_sentence(step: Step) -> str:
    """Objectives of a step in words."""
    if step.objectives is None:
        return "not specified in the paper"
    known = (f"{one.label} ({one.value})" if one.registered else one.label for one in step.objectives)
    return "; ".join(known) or "no such step"


def extras(entry: Entry) -> list[tuple[str, str]]:
    """What few methods have, by title."""
    said = {
        "Auxiliary loss": entry.auxiliary_loss,
        "Extends": ", ".join(entry.host_methods),
        "Other data": entry.source_data,
        "Other compression": ", ".join(word.value.replace("-", " ") for word in entry.other_compression),
    }
    return [(title, words) for title, words in said.items() if words]


def objective_citations(step: Step, references: dict[str, Reference]) -> list[tuple[Objective, Reference | None]]:
    """Objectives of a step, each with the paper that defines it."""
    return [
        (objective, references.get(objective.citation) if objective.citation else None)
        for objective in step.objectives or ()
    ]


def context(facts: SiteFacts, key: str) -> dict[str, Any]:
    """Names for the page of one method."""
    catalogue, entry = facts.catalogue, facts.catalogue.entries[key]
    own = [curve for curve in facts.curves if curve.record.method == key]
    records = catalogue.records_of(key)
    found = standings(facts.judge, records)
    return {
        "entry": entry,
        "sentence": sentence(entry),
        "verification_text": verification_text,
        "steps": [
            (methods.STEP_TITLES[step.name], step_sentence(step), objective_citations(step, facts.references))
            for step in entry.pipeline.steps
        ],
        "extras": extras(entry),
        "standings": found,
        "settings": settings_text(records),
        "sizes": sizes(records),
        "ranked": any(item.rank is not None for item in found),
        "comparisons": studies.comparisons(catalogue, entry),
        "by_others": [one for one in entry.reported if one.by is not None],
        "beside": [
            (record, *found)
            for record in records
            if record.robust_accuracy is not None
            for found in facts.judge.baselines(record)
        ],
        "curves": own,
        "panels": panels.panels(catalogue, key, facts.fields),
        "curve_panels": panels.curve_panels(own),
        "rivals": rivals(catalogue, key, found),
        "measured": {
            one.url: (catalogue.measured[one.url], measurement(catalogue.measured[one.url]))
            for one in entry.checkpoints
            if one.url in catalogue.measured
        },
        "audit_sentence": audit_sentence(entry),
        "disputed": open_dispute(entry.changes),
        "history": history(catalogue, entry),
        "retracted": [record for record in catalogue.retracted.values() if record.method == key],
        "has_curves": any(record.results.hofmn_robust_accuracy is not None for record in records),
    }


def measurement(found: MeasuredCheckpoint) -> str:
    """Declared and measured sparsity of a published checkpoint in words, such as ``declared 90 %, measured …``."""
    if found.model_key is None or found.measured is None:
        return "only the file is known" if found.sha256 and not found.problem else "not measured"
    key = ModelKey.parse(found.model_key)
    declared = (
        f"declared {numbers.sparsity(key.sparsity)}, {key.structure.value}" if key.structure else "declared dense"
    )
    units = {"weights": "weights", "removed_weights": "weights, in whole filters, channels or kernels"}
    others = [
        f"{numbers.percent(share)} % of the {name}"
        for name, share in found.shares.items()
        if name in ("filters", "channels", "kernels") and name != found.basis and share
    ]
    also = f"; {numbers.words(others)}" if others else ""
    return (
        f"{declared}; measured {numbers.percent(found.measured)} % of the {units.get(found.basis, found.basis)}{also}"
    )


def members(facts: SiteFacts) -> dict[str, str]:
    """Title of each method's page, by its key."""
    return {e.key: plain_title(e.name, e.key.partition("_")[0]) for e in methods.in_order(facts.catalogue)}


PAGE = Page(
    path="methods/{name}.md",
    title="Methods",
    description="The adversarial pruning method {title}: taxonomy, results, checkpoints and citation.",
    context=context,
    template="method.md.j2",
    members=members,
    hide=("toc",),
    boost=4,
)


def index(facts: SiteFacts) -> dict[str, Any]:
    """Names for the index of methods."""
    counts = Counter(record.method for record in facts.catalogue.records.values())
    listed = [methods.listing(entry, counts[entry.key]) for entry in methods.in_order(facts.catalogue)]
    return {"listed": listed, "choices": methods.choices(listed)}


INDEX_PAGE = Page(
    path="methods.md",
    title="All methods",
    description="Every adversarial pruning method, to filter by pipeline, structure, criterion, objective and results.",
    context=index,
)
