"""The study of criteria beside other evidence: other seeds, the survey's Table 8, the order of its methods."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

from apsite.catalogue import Catalogue
from apsite.comparable import Judge, Setting, contender, paired_test
from apsite.metrics import PairedTest
from apsite.records import EvaluationRecord, read_record
from apsite.samples import read_samples
from apsite.site.tables.criteria import LAMP, LOCAL, Baseline, Study, Test
from apsite.vocabulary import Architecture, Criterion


@dataclass(frozen=True)
class Reseeded:
    """A network that was fine-tuned again with another seed, against the first one, on the images that both have."""

    first: Baseline
    again: EvaluationRecord
    pair: PairedTest

    @property
    def change(self) -> float:
        """Robust accuracy with the other seed minus that with the first, a fraction."""
        return -self.pair.difference


@dataclass(frozen=True)
class Agreement:
    """A line of the survey's Table 8 and our results on another network, at one sparsity; fractions."""

    percent: float
    survey: tuple[EvaluationRecord, EvaluationRecord]
    own: Test

    @property
    def survey_gain(self) -> float:
        """What LAMP gains in the survey."""
        local, lamp = self.survey
        return (lamp.robust_accuracy or 0.0) - (local.robust_accuracy or 0.0)

    @property
    def agrees(self) -> bool:
        """Whether the differences have the same sign; whether ours is significant is another question."""
        return self.survey_gain * self.own.pair.difference > 0


@dataclass(frozen=True)
class Order:
    """Criteria of our field and the survey's methods of one setting, by criterion: the order of the two.

    Attributes:
        setting: Setting of the survey.
        rows: For each criterion its best network of ours and its best method of the survey, ours from the most robust.
    """

    setting: Setting
    rows: tuple[tuple[Criterion, Baseline, EvaluationRecord], ...]

    @property
    def alike(self) -> tuple[int, int]:
        """How many pairs of criteria have the same order in both, of how many that differ in both."""
        agree = [
            (first[1].on_sampled - second[1].on_sampled)
            * ((first[2].robust_accuracy or 0.0) - (second[2].robust_accuracy or 0.0))
            for first, second in itertools.combinations(self.rows, 2)
        ]
        return sum(one > 0 for one in agree), sum(one != 0 for one in agree)


def reseeded(root: Path, study: Study) -> list[Reseeded]:
    """Networks of the series with other seeds, whose records lie in their own folders below ``baselines``.

    Their model keys are those of the first seed, so they are no records of the benchmark.
    """
    found = []
    known = {one.record.model_key: one for one in study.pruned}
    for path in sorted((root / "baselines").glob(f"{study.series}-seed*/evaluations/*/*.json")) if study.series else []:
        record, samples = read_record(path), read_samples(path.with_suffix(".npz"))
        first = known.get(record.model_key)
        if first is not None:
            pair = paired_test(contender(first.record, first.samples), contender(record, samples))
            if pair is not None:
                found.append(Reseeded(first, record, pair))
    return found


def orders(judge: Judge, study: Study) -> list[Order]:
    """The survey's best method of each criterion beside ours, in the settings of the survey at our sparsities."""
    found = []
    for field in study.fields:
        ours: dict[Criterion, Baseline] = {}
        for one in field.models:
            if one.entry.specifics.criterion is not None:
                ours.setdefault(one.entry.specifics.criterion, one)
        for setting, standings in judge.settings.items():
            if (setting.dataset, setting.structure, setting.percent) != (study.dataset, field.structure, field.percent):
                continue
            theirs: dict[Criterion, EvaluationRecord] = {}
            for model in standings.models:
                criterion = judge.catalogue.entries[model.record.method].specifics.criterion
                if criterion is not None:
                    theirs.setdefault(criterion, model.record)
            rows = tuple((criterion, one, theirs[criterion]) for criterion, one in ours.items() if criterion in theirs)
            if len(rows) > 1:
                found.append(Order(setting, rows))
    return found


def agreements(catalogue: Catalogue, study: Study) -> list[Agreement]:
    """Lines of the survey's Table 8 for which the study has both criteria at the same sparsity.

    They stay when our own run has replaced the survey's result, which is then in the history.
    """
    found = []
    for test in study.gains:
        key = test.first.record.key
        for network in Architecture:
            models = (replace(key, method=method, architecture=network) for method in (LOCAL, LAMP))
            local, lamp = (_printed(catalogue, str(model)) for model in models)
            if local is not None and lamp is not None:
                found.append(Agreement(key.percent or 0, (local, lamp), test))
    return found


def _printed(catalogue: Catalogue, model_key: str) -> EvaluationRecord | None:
    """The survey's result of a model, current or replaced."""
    published = [one for one in catalogue.versions(model_key) if one.provenance.location and one.retracted is None]
    return published[-1] if published else None
