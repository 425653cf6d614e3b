"""The one judge of who is ahead, by the rules of the protocol page.

A model *leads* another by a paired test where both have per-sample results, else by a test of two proportions. Two
models are *tied* where neither leads.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from apsite.comparable.settings import (
    Bounds,
    JudgedData,
    Setting,
    assumed_samples,
    by_setting,
    interval_of,
    most_robust_first,
    setting_of,
)
from apsite.errors import DocumentError
from apsite.metrics import PairedTest, TwoProportions, holm, mcnemar_p_values
from apsite.records import EvaluationRecord
from apsite.samples import SampleResults, read_samples

LEVEL = 0.05
"""A model leads another where the adjusted p-value of their test is below this, and probably where only its own is."""


@dataclass(frozen=True)
class Contender:
    """How robust one model is at one perturbation size.

    Attributes:
        share: Robust accuracy, a fraction, of `n_samples`; ``None`` where their number is unknown.
        samples: Which samples these are, where the model has per-sample results.
        robust: Whether the model is robust on each of `samples`; ``None`` where unknown.
    """

    record: EvaluationRecord
    share: float
    n_samples: int | None
    samples: SampleResults | None = None
    robust: NDArray[np.bool_] | None = None

    @property
    def key(self) -> str:
        """Model key."""
        return self.record.model_key


def contender(record: EvaluationRecord, samples: SampleResults | None = None) -> Contender:
    """A model under AutoAttack."""
    robust = samples.aa_robust if samples else None
    return Contender(record, record.robust_accuracy or 0.0, assumed_samples(record), samples, robust)


def paired_test(first: Contender, second: Contender) -> PairedTest | None:
    """Results of two models on the images that both have; ``None`` if they cannot be paired.

    They cannot where one has no per-sample results, where a file does not say which images it is about, where fewer
    than half of the images of the smaller run are in both, or where an image has two labels or the same images two
    hashes, so that they are not the same.
    """
    one, two, a, b = first.samples, second.samples, first.robust, second.robust
    if one is None or two is None or a is None or b is None or not (one.indexed and two.indexed):
        return None
    if np.array_equal(one.index, two.index):
        labels = one.label, two.label
        same = len({model.record.data.sha256 for model in (first, second) if model.record.data}) < 2
    else:
        common, left, right = np.intersect1d(one.index, two.index, assume_unique=True, return_indices=True)
        a, b, labels = a[left], b[right], (one.label[left], two.label[right])
        same = 2 * len(common) >= min(len(one), len(two))
    if not same or first.record.dataset != second.record.dataset or not np.array_equal(*labels):
        return None
    return PairedTest(len(a), *(int(np.count_nonzero(flags)) for flags in (a, b, a & ~b, b & ~a)))


class Basis(StrEnum):
    """What decides whether a model leads another."""

    PAIRED = "paired test"
    PROPORTIONS = "two-proportion test"
    UNKNOWN = "number of samples unknown"


class Outcome(StrEnum):
    """What is known of a model and a less robust one, in the terms of pages."""

    LEADS = "leads"
    PROBABLY = "probably leads"
    NOT_SEPARABLE = "not separable"


@dataclass(frozen=True)
class Separation:
    """Whether a model leads a less robust one, and what decided that.

    `p_value` is the adjusted one. `test` is the paired test, `proportions` the other; at most one of the two is there.
    """

    outcome: Outcome
    basis: Basis
    p_value: float | None = None
    test: PairedTest | None = None
    proportions: TwoProportions | None = None

    @property
    def separated(self) -> bool:
        """Whether the one leads the other; else they are tied."""
        return self.outcome is Outcome.LEADS

    @property
    def bounds(self) -> Bounds | None:
        """Newcombe's 95 % interval of the difference; ``None`` where the models were not compared by it."""
        return self.proportions.bounds if self.proportions else None

    @property
    def reversed(self) -> Separation:
        """The same with the two models exchanged in its test."""
        return replace(
            self, test=self.test and self.test.reversed, proportions=self.proportions and self.proportions.reversed
        )


@dataclass(frozen=True)
class Lead:
    """Who leads a group of models, and by how much.

    Attributes:
        record: The leader: highest robust accuracy, with `bounds` of its 95 % interval where known.
        runner_up: The next model; ``None`` if there is no other.
        margin: Robust accuracy of the leader minus that of the runner-up, a fraction; 0 if there is no other.
        over: What is known of the leader and the runner-up; ``None`` if there is no other.
        tied: Other models of the first rank, most robust first; `bases` are what decided.
    """

    record: EvaluationRecord
    bounds: Bounds | None
    runner_up: EvaluationRecord | None
    margin: float
    over: Separation | None
    tied: tuple[EvaluationRecord, ...]
    bases: frozenset[Basis]

    @property
    def separated(self) -> bool:
        """Whether the leader leads the runner-up, so that chance does not explain its margin."""
        return self.over is not None and self.over.separated


@dataclass(frozen=True, eq=False)
class Standings:
    """Models compared with each other, most robust first, and what separates each from those further down.

    Attributes:
        models: The models.
        bases: What decided, as an index into :class:`Basis`, by the places of two models, the more robust one first.
        differences: Robust accuracy of the one minus that of the other, a fraction, where a test decided.
        p_values: P-values of the tests, not adjusted.
        adjusted: The same by Holm's method, for all pairs that are compared in the same way.
    """

    models: tuple[Contender, ...]
    bases: NDArray[np.int8]
    differences: NDArray[np.float64]
    p_values: NDArray[np.float64]
    adjusted: NDArray[np.float64]

    @cached_property
    def places(self) -> dict[str, int]:
        """Place in `models` by model key."""
        return {model.key: place for place, model in enumerate(self.models)}

    @cached_property
    def probable(self) -> NDArray[np.bool_]:
        """Whether a model leads another by their test alone, by their places."""
        return np.triu((self.differences > 0) & (self.p_values < LEVEL), 1)

    @cached_property
    def leads(self) -> NDArray[np.bool_]:
        """Whether a model leads another, by their places."""
        return self.probable & (self.adjusted < LEVEL)

    @cached_property
    def ranks(self) -> dict[str, int]:
        """Rank by model key: one more than the number of models that lead it, and that of a less robust one at most.

        Without the second condition, a model could rank above a more robust one that is known more exactly.
        """
        ahead = 1 + self.leads.sum(axis=0)
        ranks: dict[str, int] = {}
        rank = 1
        for _, equals in itertools.groupby(self.models, lambda model: model.share):
            keys = [model.key for model in equals]
            rank = max([rank, *(int(ahead[self.places[key]]) for key in keys)])
            ranks |= dict.fromkeys(keys, rank)
        return ranks

    @cached_property
    def lead(self) -> Lead | None:
        """The leader and those that are tied with it; ``None`` if there is no model."""
        if not self.models:
            return None
        first, *others = self.models
        return Lead(
            first.record,
            interval_of(first.share, first.n_samples),
            others[0].record if others else None,
            first.share - others[0].share if others else 0.0,
            self.between(first.key, others[0].key) if others else None,
            tuple(other.record for other in others if self.ranks[other.key] == 1),
            frozenset(_BASES[basis] for basis in set(self.bases[0, 1:].tolist())),
        )

    @property
    def compared(self) -> Counter[Basis]:
        """How many pairs of models were compared in which way."""
        return Counter(_BASES[basis] for basis in self.bases[np.triu_indices(len(self.models), 1)].tolist())

    def tied(self, key: str, *, by: Basis | None = None) -> list[EvaluationRecord]:
        """Models that are tied with a model, most robust first, or only those that were compared in one way."""
        place = self.places[key]
        found = ~(self.leads[place] | self.leads[:, place])
        if by is not None:
            found &= np.concatenate([self.bases[:place, place], self.bases[place, place:]]) == _BASES.index(by)
        found[place] = False
        return [self.models[other].record for other in np.flatnonzero(found)]

    def between(self, first: str, second: str) -> Separation:
        """Separation of two models by their keys, with its test in the order asked for."""
        upper, lower = sorted((self.places[first], self.places[second]))
        one, two, basis = self.models[upper], self.models[lower], _BASES[self.bases[upper, lower]]
        if basis is Basis.UNKNOWN:
            return Separation(Outcome.NOT_SEPARABLE, basis)
        outcome = Outcome.PROBABLY if self.probable[upper, lower] else Outcome.NOT_SEPARABLE
        if self.leads[upper, lower]:
            outcome = Outcome.LEADS
        found = Separation(
            outcome,
            basis,
            float(self.adjusted[upper, lower]),
            paired_test(one, two) if basis is Basis.PAIRED else None,
            two_proportions(one, two) if basis is Basis.PROPORTIONS else None,
        )
        return found if one.key == first else found.reversed


_BASES = tuple(Basis)


def judge(models: Iterable[Contender]) -> Standings:
    """Ranks, lead and ties of models of one setting at one perturbation size.

    Two models with results on the same samples are compared sample by sample, by McNemar's exact test. Others are
    compared by Newcombe's interval of the difference of two proportions. P-values are adjusted by Holm's method for all
    pairs that are compared in the same way. Where a number of samples is unknown, no lead is. Of equally robust models,
    the one given first is first.
    """
    ordered = tuple(sorted(models, key=lambda model: -model.share))
    size = (len(ordered), len(ordered))
    bases = np.full(size, _BASES.index(Basis.UNKNOWN), np.int8)
    differences, p_values, adjusted = np.zeros(size), np.ones(size), np.ones(size)
    apart = np.triu(np.ones(size, np.bool_), 1)
    for places in _same_images(ordered):
        pairs = np.ix_(places, places)
        differences[pairs], p_values[pairs] = _paired(np.stack([np.asarray(ordered[place].robust) for place in places]))
        bases[pairs], apart[pairs] = _BASES.index(Basis.PAIRED), False
    for upper, lower in np.argwhere(apart):
        one, two = ordered[upper], ordered[lower]
        test: PairedTest | TwoProportions | None = paired_test(one, two)
        basis = Basis.PROPORTIONS if test is None else Basis.PAIRED
        if test is None and (test := two_proportions(one, two)) is None:
            continue
        bases[upper, lower] = _BASES.index(basis)
        differences[upper, lower], p_values[upper, lower] = test.difference, test.p_value
    for basis in (Basis.PAIRED, Basis.PROPORTIONS):
        alike = np.triu(bases == _BASES.index(basis), 1)
        adjusted[alike] = holm(p_values[alike])
    return Standings(ordered, bases, differences, p_values, adjusted)


def _same_images(models: Sequence[Contender]) -> list[list[int]]:
    """Places of models that were evaluated on the very same images, in groups of two and more."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for place, model in enumerate(models):
        if model.samples is not None and model.robust is not None and model.samples.indexed:
            data = model.record.data
            images = model.samples.index.tobytes(), model.samples.label.tobytes(), data.sha256 if data else None
            groups.setdefault((model.record.dataset, *images), []).append(place)
    return [places for places in groups.values() if len(places) > 1]


def _paired(robust: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Differences and p-values of all pairs of models on the same images; `robust` has a row of each model."""
    flags = robust.astype(np.float32)  # of which products are quick, and counts exact up to 2^24
    counts, both = robust.sum(axis=1), (flags @ flags.T).astype(np.int64)
    upper, lower = np.triu_indices(len(flags), 1)
    p_values = np.ones(both.shape)
    p_values[upper, lower] = mcnemar_p_values(counts[upper] - both[upper, lower], counts[lower] - both[upper, lower])
    return (counts[:, None] - counts) / robust.shape[1], p_values


def two_proportions(first: Contender, second: Contender) -> TwoProportions | None:
    """The two models as shares of different samples; ``None`` where the number of one is unknown."""
    if first.n_samples is None or second.n_samples is None:
        return None
    high, low = round(first.share * first.n_samples), round(second.share * second.n_samples)
    return TwoProportions((high, first.n_samples), (low, second.n_samples))


class Judge:
    """Ranks, leads and ties in a catalogue; each setting is computed once, at its first use.

    `samples` are per-sample results by model key, if loaded already; the others are read at their first use.

    In a checkout of the benchmark's repository:

    >>> from apsite.catalogue import load_catalogue
    >>> from apsite.vocabulary import Architecture, Dataset, Structure
    >>> setting = Setting(Dataset.CIFAR10, Architecture.RESNET18, Structure.UNSTRUCTURED, 99)
    >>> lead = Judge(load_catalogue()).settings[setting].lead
    >>> lead.record.method, round(100 * lead.margin, 2), lead.separated
    ('HARP_Zhao2023Holistic', 3.48, True)
    """

    def __init__(self, catalogue: JudgedData, samples: Mapping[str, SampleResults] | None = None) -> None:
        self.catalogue = catalogue
        self._samples: dict[str, SampleResults | None] = dict(samples or {})
        self._every_standing: dict[Setting, Standings] = {}

    def samples(self, record: EvaluationRecord) -> SampleResults | None:
        """Per-sample results of a record; ``None`` without a file, or one that `apsite validate` would refuse."""
        if record.model_key not in self._samples:
            self._samples[record.model_key] = None
            if (path := self.catalogue.samples_path(record)) is not None:
                with contextlib.suppress(DocumentError):
                    self._samples[record.model_key] = read_samples(path)
        return self._samples[record.model_key]

    @cached_property
    def settings(self) -> dict[Setting, Standings]:
        """The methods' models that rank, by setting, in the order of tables."""
        return {setting: self.standings(records) for setting, records in by_setting(self.catalogue).items()}

    @cached_property
    def ranks(self) -> dict[str, int]:
        """Rank of every method's model that ranks, by model key."""
        return {key: rank for standings in self.settings.values() for key, rank in standings.ranks.items()}

    def standings(self, records: Iterable[EvaluationRecord]) -> Standings:
        """Models of one setting, judged by AutoAttack."""
        return judge(contender(record, self.samples(record)) for record in records)

    def _mixed(self, setting: Setting) -> Standings:
        """Methods, baselines and reduced runs of one setting."""
        if setting not in self._every_standing:
            self._every_standing[setting] = self.standings(self._every.get(setting, ()))
        return self._every_standing[setting]

    @cached_property
    def _every(self) -> dict[Setting | None, list[EvaluationRecord]]:
        """Methods, baselines and reduced runs that AutoAttack evaluated, by setting."""
        groups: dict[Setting | None, list[EvaluationRecord]] = {}
        for record in sorted(self.catalogue.records.values(), key=most_robust_first):
            if record.robust_accuracy is not None:
                groups.setdefault(setting_of(record), []).append(record)
        return groups

    def between(self, first: EvaluationRecord, second: EvaluationRecord) -> Separation | None:
        """Separation of two models of one setting; ``None`` if they cannot be compared.

        Methods that rank are compared as on the leaderboard. Where a baseline or a reduced run is one of the two, the
        p-values are adjusted for all models of the setting. A model that ranks and a reduced run cannot be compared
        without images in common.
        """
        setting, keys = setting_of(first), {first.model_key, second.model_key}
        if setting is None or setting != setting_of(second):
            return None
        ranked = self.settings.get(setting)
        if ranked is not None and ranked.places.keys() >= keys:
            return ranked.between(first.model_key, second.model_key)
        mixed = self._mixed(setting)
        found = mixed.between(first.model_key, second.model_key) if mixed.places.keys() >= keys else None
        alike = first.protocol.ranks == second.protocol.ranks
        return found if found is not None and (alike or found.basis is Basis.PAIRED) else None

    def tied(self, record: EvaluationRecord) -> list[EvaluationRecord]:
        """Models that can be compared with a model, as in :meth:`between`, and are tied with it."""
        setting, key = setting_of(record), record.model_key
        if setting is None:
            return []
        ranked = self.settings.get(setting)
        known = ranked.places if ranked is not None and key in ranked.places else {}
        found = ranked.tied(key) if ranked is not None and known else []
        if all(other.model_key in known for other in self._every.get(setting, ())):
            return found
        mixed = self._mixed(setting)
        if key not in mixed.places:
            return found
        pairs = {other.model_key for other in mixed.tied(key, by=Basis.PAIRED)}
        return found + [
            other
            for other in mixed.tied(key)
            if other.model_key not in known
            and (other.protocol.ranks == record.protocol.ranks or other.model_key in pairs)
        ]

    def baselines(self, record: EvaluationRecord) -> list[tuple[EvaluationRecord, Separation | None]]:
        """Other baselines in the setting of a model, most robust first, each with what separates the two."""
        setting = setting_of(record)
        return [
            (other, self.between(record, other))
            for other in self._every.get(setting, ())
            if setting and self.catalogue.entries[other.method].baseline and other.method != record.method
        ]


@dataclass(frozen=True)
class Stretch:
    """A range of ε, in input units, over which one model leads, anywhere or nowhere `separated` from the runner-up."""

    record: EvaluationRecord
    start: float
    end: float
    separated: bool


def leads_along(models_at: Callable[[float], Sequence[Contender]], epsilons: Sequence[float]) -> list[Stretch]:
    """Who leads at ascending perturbation sizes, joined into stretches.

    Where models are equally robust, the one that led before keeps the lead, else the first of them has it.

    `models_at` gives the models at a perturbation size, always in the same order; the last of `epsilons` ends the last
    stretch.
    """
    stretches: list[Stretch] = []
    for start, end in itertools.pairwise(epsilons):
        leader = stretches[-1].record if stretches else None
        models = models_at(start)
        first = [model for model in models if model.record is leader]
        lead = judge([*first, *(model for model in models if model.record is not leader)]).lead
        if lead is None:
            return []
        if lead.record is leader:
            last = stretches[-1]
            stretches[-1] = replace(last, end=end, separated=last.separated or lead.separated)
        else:
            stretches.append(Stretch(lead.record, start, end, lead.separated))
    return stretches
