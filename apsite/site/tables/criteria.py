"""The study of criteria: networks pruned from one dense network, of which only the criterion differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsite.catalogue import Catalogue
from apsite.comparable import Bounds, Judge, Separation, Setting, interval_of, robust_bounds, setting_of
from apsite.entries import Entry
from apsite.keys import ModelKey
from apsite.metrics import PairedTest
from apsite.records import EvaluationRecord
from apsite.samples import SampleResults
from apsite.site.charts.curves import Curve
from apsite.site.charts.panels import LOOKS, StepDrawing, step_drawing
from apsite.site.tables.heatmap import Strip
from apsite.site.tables.series_costs import Cost, planned, read_costs
from apsite.vocabulary import Architecture, Dataset, Structure, epsilon_value

LOCAL, GLOBAL, LAMP = "LWM_Han2015Learning", "LWM-Global_Han2015Learning", "LAMP_Lee2021Layer"


@dataclass(frozen=True)
class Baseline:
    """One evaluated baseline."""

    record: EvaluationRecord
    entry: Entry
    samples: SampleResults
    cost: Cost
    curve: Curve | None
    sampled: NDArray[np.int32]  # the images that all models of the study have, in the order of the runs

    @property
    def on_sampled(self) -> float:
        """Robust accuracy under AutoAttack on these images, a fraction."""
        robust = self.samples.aa_robust
        return 0.0 if robust is None else float(robust[np.isin(self.samples.index, self.sampled)].mean())

    @property
    def bounds_on_sampled(self) -> Bounds:
        """Its 95 % interval."""
        return interval_of(self.on_sampled, len(self.sampled)) or (0.0, 1.0)

    @property
    def hofmn_on_sampled(self) -> float | None:
        """Robust accuracy under HO-FMN on these images; ``None`` where it was not run."""
        distance = self.samples.distance
        if distance is None:
            return None
        robust = distance > np.float32(epsilon_value(self.record.epsilon))
        return float(robust[np.isin(self.samples.index, self.sampled)].mean())

    @property
    def evaluation(self) -> float | None:
        """Seconds of the evaluation; ``None`` where the record does not say."""
        return sum(self.record.seconds.values()) if self.record.seconds else None

    @property
    def after(self) -> float | None:
        """AutoAttack accuracy on the images on which it was measured before fine-tuning; ``None`` without those."""
        count, robust = self.cost.before_images, self.samples.aa_robust
        if self.cost.before is None or count is None or robust is None:
            return None
        first = np.isin(self.samples.index, self.sampled[:count])
        return float(robust[first].mean()) if 0 < count <= len(robust) else None

    @property
    def one_class(self) -> bool:
        """Whether it gave all images one class before fine-tuning, so that no attack could change those of it."""
        return self.cost.before is not None and self.cost.before == self.cost.clean_before


@dataclass(frozen=True)
class Tuning:
    """What fine-tuning did to pruned networks that were attacked before it and after it on the same images."""

    better: tuple[Baseline, ...]  # those that are more robust after it
    others: tuple[Baseline, ...]  # those that are not
    one_class: tuple[Baseline, ...] = ()  # those that gave all images one class before it, which are not counted

    @property
    def all(self) -> tuple[Baseline, ...]:
        """Both."""
        return *self.better, *self.others

    @property
    def images(self) -> int:
        """On how many of the first images they were attacked, at most."""
        return max(one.cost.before_images or 0 for one in self.all)

    @property
    def before(self) -> tuple[float, float]:
        """Lowest and highest accuracy before."""
        found = [one.cost.before or 0.0 for one in self.all]
        return min(found), max(found)

    @property
    def after(self) -> tuple[float, float]:
        """Lowest and highest accuracy after."""
        found = [one.after or 0.0 for one in self.all]
        return min(found), max(found)


@dataclass(frozen=True)
class Test:
    """Two criteria at one sparsity on the same images."""

    first: Baseline
    second: Baseline
    separation: Separation
    pair: PairedTest

    @property
    def outcome(self) -> str:
        """Who is ahead, in words."""
        if not self.separation.separated:
            return "tied"
        return f"{(self.first if self.pair.difference > 0 else self.second).entry.name} ahead"


@dataclass(frozen=True)
class Field:
    """All criteria at one sparsity of one structure, most robust first, and what separates any two of them."""

    structure: Structure
    percent: float
    models: tuple[Baseline, ...]
    tests: tuple[tuple[Test | None, ...], ...]  # by the places of two models; `None` for a model with itself

    @property
    def title(self) -> str:
        """Such as ``Unstructured, 95 %``."""
        return f"{self.structure.value.capitalize()}, {self.percent} %"

    @property
    def place(self) -> str:
        """Part of the identities of its tables."""
        return f"{self.structure.code.lower()}-{self.percent}".replace(".", "p")

    @property
    def strips(self) -> list[Strip]:
        """Robust accuracy of each model with its 95 % interval, on strips from the lowest to the highest end of all."""
        found = [(one.bounds_on_sampled, one.on_sampled) for one in self.models]
        low, high = min(bounds[0] for bounds, _ in found), max(bounds[1] for bounds, _ in found)
        return [
            Strip(*(round(100 * (value - low) / (high - low), 1) for value in (bounds[0], share, bounds[1])))
            for bounds, share in found
        ]

    @property
    def pairs(self) -> list[Test]:
        """Every pair once, the more robust model first."""
        return [test for row, tests in enumerate(self.tests) for test in tests[row:] if test is not None]

    @property
    def separated(self) -> list[Test]:
        """Pairs that differ by more than chance."""
        return [test for test in self.pairs if test.separation.separated]

    @property
    def ties(self) -> list[Baseline]:
        """Criteria that are tied with the first."""
        tests = self.tests[0] if self.tests else ()
        return [test.second for test in tests if test is not None and not test.separation.separated]

    @property
    def learned(self) -> list[Baseline]:
        """Those whose criterion is learned in epochs of its own, which the others do not have."""
        return [one for one in self.models if one.cost.search is not None]


@dataclass(frozen=True)
class Study:
    """Networks that were pruned from one dense network, and evaluated on the same images or more.

    Attributes:
        series: Name of the series that made them, which is the folder of their checkpoints.
        sampled: The images that all of them have, by position in the test set.
        dense: The dense network; ``None`` where it was not evaluated.
        pruned: In the order of the catalogue.
        fields: By structure and sparsity.
        drawings: Curves, one drawing a structure and sparsity.
        missing: Titles of structures and sparsities with the methods that the series has and that were not evaluated.
    """

    dataset: Dataset
    architecture: Architecture
    series: str
    sampled: NDArray[np.int32]
    dense: Baseline | None
    pruned: tuple[Baseline, ...]
    fields: tuple[Field, ...]
    drawings: tuple[StepDrawing, ...]
    missing: Mapping[str, Sequence[str]]

    @property
    def models(self) -> tuple[Baseline, ...]:
        """All of them, the dense one first."""
        return (*((self.dense,) if self.dense else ()), *self.pruned)

    @property
    def place(self) -> str:
        """Fragment of its section."""
        return self.architecture.code.lower()

    @property
    def main(self) -> Field | None:
        """The field of most criteria, the first of these."""
        return max(self.fields, key=lambda field: len(field.models), default=None)

    @property
    def widest(self) -> float:
        """Width of the widest 95 % interval of a robust accuracy, a fraction; 0 where there is none."""
        found = [robust_bounds(one.record) for one in self.models]
        return max((bounds[1] - bounds[0] for bounds in found if bounds is not None), default=0.0)

    @property
    def complete(self) -> list[Baseline]:
        """Models that were attacked on more images than all models have."""
        return [one for one in self.models if len(one.samples) > len(self.sampled)]

    @property
    def tuning(self) -> Tuning | None:
        """What fine-tuning did; ``None`` where no network was attacked before it."""
        known = [one for one in self.pruned if one.after is not None]
        counted = [one for one in known if not one.one_class]
        better = tuple(one for one in counted if (one.after or 0.0) > (one.cost.before or 0.0))
        others = tuple(one for one in counted if one not in better)
        return Tuning(better, others, tuple(one for one in known if one.one_class)) if counted else None

    @property
    def gains(self) -> list[Test]:
        """LAMP against local LWM, by sparsity."""
        return [
            test
            for field in self.fields
            for tests in field.tests
            for test in tests
            if test is not None and (test.first.record.method, test.second.record.method) == (LAMP, LOCAL)
        ]

    @property
    def highest(self) -> Test | None:
        """LAMP against local LWM at the highest sparsity."""
        return max(self.gains, key=lambda test: test.first.record.key.percent or 0, default=None)


def studies(catalogue: Catalogue, judge: Judge, drawn: Sequence[Curve]) -> list[Study]:
    """The series of this project's own networks, one of each dataset and network: that with the most images.

    Networks of other series were pruned from another dense network, and are not compared with these.
    """
    costs = read_costs(catalogue.root, catalogue.records)
    curves = {curve.record.model_key: curve for curve in drawn if not curve.imported}
    groups: dict[tuple[Dataset, Architecture], dict[str, list[tuple[EvaluationRecord, SampleResults]]]] = {}
    for record in catalogue.records.values():
        samples = judge.samples(record)
        if catalogue.entries[record.method].baseline and samples is not None and samples.aa_robust is not None:
            series = (record.checkpoint.url or "").rpartition("/")[0].rpartition("/")[2]
            groups.setdefault((record.dataset, record.architecture), {}).setdefault(series, []).append(
                (record, samples)
            )
    found = []
    for (dataset, architecture), by_series in groups.items():
        series = max(by_series, key=lambda name: (min(len(samples) for _, samples in by_series[name]), name))
        runs = by_series[series]
        sampled = min((samples.index for _, samples in runs), key=len)
        sampled = sampled[np.all([np.isin(sampled, samples.index) for _, samples in runs], axis=0)]
        baselines = [
            Baseline(
                record, catalogue.entries[record.method], samples, costs.get(record.model_key, Cost()),
                curves.get(record.model_key), sampled,
            )
            for record, samples in runs
        ]  # fmt: skip
        found.append(_study(catalogue, judge, dataset, architecture, series, sampled, baselines))
    return found


def _study(
    catalogue: Catalogue,
    judge: Judge,
    dataset: Dataset,
    architecture: Architecture,
    series: str,
    sampled: NDArray[np.int32],
    baselines: Sequence[Baseline],
) -> Study:
    pruned = tuple(one for one in baselines if one.record.structure is not None)
    settings: dict[Setting, list[Baseline]] = {}
    for one in pruned:
        if setting := setting_of(one.record):
            settings.setdefault(setting, []).append(one)
    fields = []
    for setting, models in sorted(settings.items()):
        ordered = sorted(models, key=lambda one: -one.on_sampled)
        tests = tuple(tuple(_test(judge, first, second) for second in ordered) for first in ordered)
        fields.append(Field(setting.structure, setting.percent, tuple(ordered), tests))
    dense = next((one for one in baselines if one.record.structure is None), None)
    missing = _missing(catalogue, series, baselines)
    return Study(
        dataset, architecture, series, sampled, dense, pruned, tuple(fields), tuple(_drawings(pruned)), missing
    )  # fmt: skip


def _test(judge: Judge, first: Baseline, second: Baseline) -> Test | None:
    found = None if first is second else judge.between(first.record, second.record)
    return Test(first, second, found, found.test) if found is not None and found.test is not None else None


def _missing(catalogue: Catalogue, series: str, baselines: Sequence[Baseline]) -> dict[str, list[str]]:
    """Methods whose networks a series plans and that were not evaluated, or not on as many images, by what is missing.

    Empty for a series whose report has no plan.
    """
    done = {one.record.model_key: len(one.samples) for one in baselines}
    found: dict[str, list[str]] = {}
    for text, count in planned(catalogue.root, series).items():
        key = ModelKey.parse(text)
        name = catalogue.resolve(key.method).name
        setting = f"{key.structure.value} {key.percent} %" if key.structure else "dense"
        wanted = key.dataset.ranked_samples if count is None else count
        if text not in done:
            found.setdefault(setting, []).append(name)
        elif done[text] < wanted:
            found.setdefault(f"{setting}, all {wanted:,} images", []).append(name)
    return found


def _drawings(pruned: Sequence[Baseline]) -> Iterator[StepDrawing]:
    """Criteria at one sparsity, of many the most robust and the least; of a criterion that is alone its sparsities."""
    criteria = {(one.record.structure, one.record.method) for one in pruned}
    groups: dict[str, dict[str, Curve]] = {}
    for one in sorted(pruned, key=lambda one: (one.record.structure or "", one.record.key.percent or 0)):
        title, percent, label = str(one.record.structure).capitalize(), f"{one.record.key.percent} %", one.entry.name
        alone = sum(structure is one.record.structure for structure, _ in criteria) == 1
        title, label = (title, f"{label} {percent}") if alone else (f"{title}, {percent}", label)
        if one.curve is not None:
            groups.setdefault(title, {})[label] = one.curve
    for title, curves in groups.items():
        ordered = sorted(curves.items(), key=lambda item: -(item[1].record.robust_accuracy or 0.0))
        few = curves if len(curves) <= LOOKS else dict([*ordered[: LOOKS - 1], ordered[-1]])
        yield step_drawing(title, few, compared=True)
