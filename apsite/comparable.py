"""Which models are more robust, and by how much: settings, rankings, ranks, leads and ties.

The one judge of who is ahead, by the rules of the protocol page: a model *leads* another by a paired test where both
have per-sample results, else by a test of two proportions. Two models are *tied* where neither leads. Nothing of this
is stored.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from apsite.entries import Entry
from apsite.errors import DocumentError
from apsite.metrics import PairedTest, TwoProportions, holm, wilson_interval
from apsite.protocol import departures
from apsite.records import EvaluationRecord
from apsite.samples import SampleResults, read_samples
from apsite.vocabulary import Architecture, Dataset, Protocol, Structure, epsilon_text

Bounds = tuple[float, float]
LEVEL = 0.05
"""A model leads another where the adjusted p-value of their test is below this, and probably where only its own is."""
DOUBTFUL_SAMPLES = {(Protocol.SURVEY, Dataset.SVHN): 10_000}
"""How many samples intervals and tests assume where a source leaves two numbers open: the smaller one.

The survey states that it attacked the whole test set of SVHN, 26,032 images; the code in its repository takes 10,000.
"""


class JudgedData(Interface):
    """Entries and records that belong together, as a :class:`apsite.catalogue.Catalogue` has them."""

    @property
    def root(self) -> Path:
        """Folder of the data."""

    @property
    def entries(self) -> Mapping[str, Entry]:
        """By method key."""

    @property
    def records(self) -> Mapping[str, EvaluationRecord]:
        """Current results, by model key."""

    def samples_path(self, record: EvaluationRecord) -> Path | None:
        """Per-sample file of a current record."""


@dataclass(frozen=True, order=True)
class Setting:
    """What models must share to be compared. Settings sort as tables list them.

    `percent` is the declared sparsity, `epsilon` the text of ε; the benchmark's ε of the dataset if empty.
    """

    dataset: Dataset
    architecture: Architecture
    structure: Structure
    percent: float
    epsilon: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", epsilon_text(self.epsilon or self.dataset.epsilon))


def setting_of(record: EvaluationRecord) -> Setting | None:
    """Setting of a record; ``None`` for dense networks."""
    key = record.key
    if key.structure is None or key.percent is None:
        return None
    return Setting(key.dataset, key.architecture, key.structure, key.percent, record.epsilon)


def rankable(record: EvaluationRecord) -> bool:
    """Whether a record may be ranked.

    That is, a pruned network of a registered family at a sparsity that the benchmark compares, attacked with AutoAttack
    under a protocol that ranks, and not retracted.
    """
    evaluated = record.structure is not None and record.robust_accuracy is not None
    return evaluated and not unranked(record)


def unranked(record: EvaluationRecord) -> list[str]:
    """Labels that say what keeps a record from ranking; empty where it may rank, or is only dense or not attacked."""
    key, found = record.key, []
    if record.retracted is not None:
        found.append("retracted")
    other = record.epsilon != record.dataset.epsilon
    if other:
        found.append(f"ε = {record.epsilon}")
    if not record.protocol.ranks and not ((other or not key.dataset.registered) and _whole(record)):
        found.append("reduced run")
    if not key.dataset.registered:
        found.append("other dataset")
    if not key.architecture.registered:
        found.append("other network")
    if key.structure is not None and not key.compared:
        pattern = record.audit.pattern if record.audit else None
        found.append(
            f"{pattern}, measured" if pattern else "other sparsity" if key.structure.sparsities else key.structure.value
        )
    return found


def _whole(record: EvaluationRecord) -> bool:
    """Whether nothing of the protocol but ε is known to be changed."""
    changed = record.settings is not None and departures(record.settings)
    return not changed and record.results.n_samples in (None, record.dataset.ranked_samples)


def ranking(records: Iterable[EvaluationRecord]) -> list[EvaluationRecord]:
    """Rankable records, highest AutoAttack robust accuracy first, then clean accuracy, then key."""
    return sorted(filter(rankable, records), key=_most_robust_first)


def _most_robust_first(record: EvaluationRecord) -> tuple[float, float, str]:
    return -(record.robust_accuracy or 0.0), -(record.results.clean_accuracy or 0.0), record.model_key


def by_setting(catalogue: JudgedData, *, baselines: bool = False) -> dict[Setting, list[EvaluationRecord]]:
    """Rankings of all settings in which a model ranks, in the order of tables; of methods, or also of `baselines`."""
    groups: dict[Setting, list[EvaluationRecord]] = {}
    for record in ranking(catalogue.records.values()):
        setting = setting_of(record)
        if setting and (baselines or not catalogue.entries[record.method].baseline):
            groups.setdefault(setting, []).append(record)
    return dict(sorted(groups.items()))


def leaders(records: Iterable[EvaluationRecord], count: int) -> set[str]:
    """Model keys of the `count` most robust rankable records, and of those that equal the last of them.

    The survey sets in bold the top three for unstructured and the top one for structured pruning, by AutoAttack.
    """
    ranked = [(record.model_key, record.robust_accuracy or 0.0) for record in ranking(records)]
    threshold = ranked[count - 1][1] if count < len(ranked) else 0.0
    return {key for key, share in ranked if share >= threshold}


def leader_count(structure: Structure) -> int:
    """How many leaders the survey's tables mark: three for unstructured, one for structured pruning."""
    return 3 if structure is Structure.UNSTRUCTURED else 1


def interval_of(share: float | None, n_samples: int | None) -> Bounds | None:
    """Wilson 95 % interval of a share of `n_samples`; ``None`` where either is unknown.

    >>> low, high = interval_of(0.454, 10_000)
    >>> round(low, 4), round(high, 4)
    (0.4443, 0.4638)
    """
    if share is None or n_samples is None:
        return None
    return wilson_interval(round(share * n_samples), n_samples)


def assumed_samples(record: EvaluationRecord) -> int | None:
    """How many samples intervals and tests take the numbers of a record to be of; ``None`` where unknown."""
    stated = record.results.n_samples
    return stated and min(stated, DOUBTFUL_SAMPLES.get((record.protocol, record.dataset), stated))


def doubtful(record: EvaluationRecord) -> bool:
    """Whether intervals and tests assume fewer samples than the record states."""
    return assumed_samples(record) != record.results.n_samples


def robust_bounds(record: EvaluationRecord) -> Bounds | None:
    """Wilson 95 % interval of the AutoAttack robust accuracy of a record."""
    return interval_of(record.robust_accuracy, assumed_samples(record))


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
        a, b, labels, same = (
            a[left],
            b[right],
            (one.label[left], two.label[right]),
            2 * len(common) >= min(len(one), len(two)),
        )
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


@dataclass(frozen=True)
class Standings:
    """Models compared with each other, most robust first, and what separates each from those further down.

    `separations` is by two model keys, the more robust model first.
    """

    models: tuple[Contender, ...]
    separations: Mapping[tuple[str, str], Separation]

    @cached_property
    def ranks(self) -> dict[str, int]:
        """Rank by model key: one more than the number of models that lead it, and that of a less robust one at most.

        Without the second condition, a model could rank above a more robust one that is known more exactly.
        """
        ahead = dict.fromkeys((model.key for model in self.models), 1)
        for (_, below), found in self.separations.items():
            ahead[below] += found.separated
        ranks: dict[str, int] = {}
        rank = 1
        for _, equals in itertools.groupby(self.models, lambda model: model.share):
            keys = [model.key for model in equals]
            rank = max([rank, *(ahead[key] for key in keys)])
            ranks |= dict.fromkeys(keys, rank)
        return ranks

    @cached_property
    def lead(self) -> Lead | None:
        """The leader and those that are tied with it; ``None`` if there is no model."""
        if not self.models:
            return None
        first, *others = self.models
        over = self.separations[first.key, others[0].key] if others else None
        return Lead(
            first.record,
            interval_of(first.share, first.n_samples),
            others[0].record if others else None,
            first.share - others[0].share if others else 0.0,
            over,
            tuple(other.record for other in others if self.ranks[other.key] == 1),
            frozenset(self.separations[first.key, other.key].basis for other in others),
        )

    def between(self, first: str, second: str) -> Separation:
        """Separation of two models by their keys, with its test in the order asked for."""
        if (first, second) in self.separations:
            return self.separations[first, second]
        return self.separations[second, first].reversed


def judge(models: Iterable[Contender]) -> Standings:
    """Ranks, lead and ties of models of one setting at one perturbation size.

    Two models with results on the same samples are compared sample by sample, by McNemar's exact test. Others are
    compared by Newcombe's interval of the difference of two proportions. P-values are adjusted by Holm's method for all
    pairs that are compared in the same way. Where a number of samples is unknown, no lead is. Of equally robust models,
    the one given first is first.
    """
    ordered = tuple(sorted(models, key=lambda model: -model.share))
    found: dict[tuple[str, str], Separation] = {}
    paired: dict[tuple[str, str], PairedTest] = {}
    others: dict[tuple[str, str], TwoProportions] = {}
    for upper, lower in itertools.combinations(ordered, 2):
        pair, test = (upper.key, lower.key), paired_test(upper, lower)
        if test is not None:
            paired[pair] = test
        elif upper.n_samples is None or lower.n_samples is None:
            found[pair] = Separation(Outcome.NOT_SEPARABLE, Basis.UNKNOWN)
        else:
            high, low = round(upper.share * upper.n_samples), round(lower.share * lower.n_samples)
            others[pair] = TwoProportions((high, upper.n_samples), (low, lower.n_samples))
    for pair, p_value in _adjusted(paired).items():
        found[pair] = Separation(_outcome(paired[pair], p_value), Basis.PAIRED, p_value, paired[pair])
    for pair, p_value in _adjusted(others).items():
        outcome = _outcome(others[pair], p_value)
        found[pair] = Separation(outcome, Basis.PROPORTIONS, p_value, proportions=others[pair])
    return Standings(ordered, found)


def _adjusted(tests: Mapping[tuple[str, str], PairedTest | TwoProportions]) -> dict[tuple[str, str], float]:
    """P-values of tests, adjusted for all of them."""
    return dict(zip(tests, holm([test.p_value for test in tests.values()]), strict=True))


def _outcome(test: PairedTest | TwoProportions, p_value: float) -> Outcome:
    """What a test says of two models, given its adjusted p-value."""
    if test.difference <= 0 or test.p_value >= LEVEL:
        return Outcome.NOT_SEPARABLE
    return Outcome.LEADS if p_value < LEVEL else Outcome.PROBABLY


class Judge:
    """Ranks, leads and ties in a catalogue; each setting is computed once, at its first use.

    `samples` are per-sample results by model key, if loaded already; the others are read at their first use.

    In a checkout of the benchmark's repository:

    >>> from apsite.catalogue import load_catalogue
    >>> setting = Setting(Dataset.CIFAR10, Architecture.RESNET18, Structure.UNSTRUCTURED, 99)
    >>> lead = Judge(load_catalogue()).settings[setting].lead
    >>> lead.record.method, round(100 * lead.margin, 2), lead.separated
    ('HARP_Zhao2023Holistic', 3.48, True)
    """

    def __init__(self, catalogue: JudgedData, samples: Mapping[str, SampleResults] | None = None) -> None:
        self.catalogue = catalogue
        self._samples: dict[str, SampleResults | None] = dict(samples or {})
        self._mixed: dict[Setting, Standings] = {}

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

    @cached_property
    def _every(self) -> dict[Setting | None, list[EvaluationRecord]]:
        """Methods, baselines and reduced runs that AutoAttack evaluated, by setting."""
        groups: dict[Setting | None, list[EvaluationRecord]] = {}
        for record in sorted(self.catalogue.records.values(), key=_most_robust_first):
            if record.robust_accuracy is not None:
                groups.setdefault(setting_of(record), []).append(record)
        return groups

    def between(self, first: EvaluationRecord, second: EvaluationRecord) -> Separation | None:
        """Separation of two models of one setting; ``None`` if they cannot be compared.

        Methods that rank are compared as on the leaderboard. Where a baseline or a reduced run is one of the two, the
        p-values are adjusted for all models of the setting. A model that ranks and a reduced run cannot be compared
        without images in common.
        """
        setting, keys = setting_of(first), (first.model_key, second.model_key)
        if setting is None or setting != setting_of(second):
            return None
        ranked = self.settings.get(setting)
        if ranked is not None and ranked.ranks.keys() >= set(keys):
            return ranked.between(*keys)
        if setting not in self._mixed:
            self._mixed[setting] = self.standings(self._every.get(setting, ()))
        mixed = self._mixed[setting]
        found = mixed.between(*keys) if mixed.ranks.keys() >= set(keys) else None
        alike = first.protocol.ranks == second.protocol.ranks
        return found if found is not None and (alike or found.basis is Basis.PAIRED) else None

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
