"""The project's baselines: simple criteria on one dense network, compared image by image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from apsite import numbers
from apsite.catalogue import Catalogue
from apsite.comparable import Judge, Separation, robust_bounds, setting_of
from apsite.documents.json_files import read_json
from apsite.entries import Entry
from apsite.errors import DocumentError
from apsite.metrics import PairedTest
from apsite.records import EvaluationRecord
from apsite.samples import SampleResults
from apsite.site.charts.curves import Curve
from apsite.site.charts.panels import StepDrawing, step_drawing
from apsite.site.page import Page, SiteFacts
from apsite.vocabulary import Architecture, Dataset

LOCAL, GLOBAL, LAMP = "LWM_Han2015Learning", "LWM-Global_Han2015Learning", "LAMP_Lee2021Layer"
_PAIRS = ((LAMP, LOCAL), (LAMP, GLOBAL), (GLOBAL, LOCAL))


@dataclass(frozen=True)
class Cost:
    """What a baseline took, and how it fared without fine-tuning; ``None`` where the series does not say."""

    training: float | None = None  # seconds of fine-tuning, for a dense network of training
    device: str | None = None  # where that was
    before: float | None = None  # AutoAttack accuracy before fine-tuning, a fraction
    before_images: int | None = None  # on how many of the first test images that was
    size: int | None = None  # bytes of the stored checkpoint


@dataclass(frozen=True)
class Baseline:
    """One evaluated baseline."""

    record: EvaluationRecord
    entry: Entry
    samples: SampleResults
    cost: Cost
    curve: Curve | None

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
        return float(robust[:count].mean()) if 0 < count <= len(robust) else None


@dataclass(frozen=True)
class Tuning:
    """What fine-tuning did to pruned networks that were attacked before it and after it on the same images."""

    better: tuple[Baseline, ...]  # those that are more robust after it
    others: tuple[Baseline, ...]  # those that are not

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
class Study:
    """All baselines of one dataset and network that were evaluated on the same images."""

    dataset: Dataset
    architecture: Architecture
    split: str  # which images those are
    dense: Baseline | None  # `None` where it was not evaluated
    pruned: tuple[Baseline, ...]  # in the order of the catalogue
    tests: tuple[Test, ...]  # criteria against each other
    drawings: tuple[StepDrawing, ...]  # curves, one drawing a structure and sparsity

    @property
    def models(self) -> tuple[Baseline, ...]:
        """All of them, the dense one first."""
        return (*((self.dense,) if self.dense else ()), *self.pruned)

    @property
    def place(self) -> str:
        """Fragment of its section."""
        code = self.architecture.code.lower()
        return code if self.split.startswith("first") else f"{code}-{len(self.models[0].samples)}"

    @property
    def widest(self) -> float:
        """Width of the widest 95 % interval of a robust accuracy, a fraction; 0 where there is none."""
        found = [robust_bounds(one.record) for one in self.models]
        return max((bounds[1] - bounds[0] for bounds in found if bounds is not None), default=0.0)

    @property
    def tuning(self) -> Tuning | None:
        """What fine-tuning did; ``None`` where no network was attacked before it."""
        known = [one for one in self.pruned if one.after is not None]
        better = tuple(one for one in known if (one.after or 0.0) > (one.cost.before or 0.0))
        return Tuning(better, tuple(one for one in known if one not in better)) if known else None

    @property
    def gains(self) -> list[Test]:
        """LAMP against local LWM."""
        return [test for test in self.tests if (test.first.record.method, test.second.record.method) == (LAMP, LOCAL)]

    @property
    def highest(self) -> Test | None:
        """LAMP against local LWM at the highest sparsity."""
        return max(self.gains, key=lambda test: test.first.record.key.percent or 0, default=None)


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


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page."""
    found = studies(facts)
    return {
        "studies": found,
        "agreements": [agreements(facts.catalogue, study) for study in found],
        "duration": duration,
    }


def studies(facts: SiteFacts) -> list[Study]:
    """Baselines that this project has evaluated itself, by dataset, network and images, those of most images first.

    Networks that were attacked on other images are not compared: some images are easier than others.
    """
    catalogue, costs = facts.catalogue, read_costs(facts.catalogue.root, facts.catalogue.records)
    curves = {curve.record.model_key: curve for curve in facts.curves if not curve.imported}
    groups: dict[tuple[Dataset, Architecture, str], list[Baseline]] = {}
    for key, record in catalogue.records.items():
        entry, samples = catalogue.entries[record.method], facts.judge.samples(record)
        if entry.baseline and samples is not None and samples.aa_robust is not None:
            found = Baseline(record, entry, samples, costs.get(key, Cost()), curves.get(key))
            split = record.data.split if record.data else f"{len(samples)} test samples"
            groups.setdefault((record.dataset, record.architecture, split), []).append(found)
    found_studies = [_study(facts.judge, *key, baselines) for key, baselines in groups.items()]
    return sorted(found_studies, key=lambda study: -len(study.models[0].samples))


def _study(
    judge: Judge, dataset: Dataset, architecture: Architecture, split: str, baselines: Sequence[Baseline]
) -> Study:
    pruned = tuple(one for one in baselines if one.record.structure is not None)
    models = {(one.record.method, setting_of(one.record)): one for one in pruned}
    tests = []
    for first_method, second_method in _PAIRS:
        for setting in sorted(filter(None, {setting for _, setting in models})):
            first, second = models.get((first_method, setting)), models.get((second_method, setting))
            found = judge.between(first.record, second.record) if first and second else None
            if first and second and found and found.test:
                tests.append(Test(first, second, found, found.test))
    dense = next((one for one in baselines if one.record.structure is None), None)
    return Study(dataset, architecture, split, dense, pruned, tuple(tests), tuple(_drawings(pruned)))


def _drawings(pruned: Sequence[Baseline]) -> Iterator[StepDrawing]:
    """Criteria at one sparsity; where a structure has one criterion alone, its sparsities."""
    criteria = {(one.record.structure, one.record.method) for one in pruned}
    groups: dict[str, dict[str, Curve]] = {}
    for one in sorted(pruned, key=lambda one: (one.record.structure or "", one.record.key.percent or 0)):
        title, percent, label = str(one.record.structure).capitalize(), f"{one.record.key.percent} %", one.entry.name
        alone = sum(structure is one.record.structure for structure, _ in criteria) == 1
        title, label = (title, f"{label} {percent}") if alone else (f"{title}, {percent}", label)
        if one.curve is not None:
            groups.setdefault(title, {})[label] = one.curve
    for title, curves in groups.items():
        yield step_drawing(title, curves, compared=True)


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


def read_costs(root: Path, records: Mapping[str, EvaluationRecord] | None = None) -> dict[str, Cost]:
    """Costs by model key that the series below ``baselines`` report; damaged reports are ignored.

    Of a model that several series have made, they are those of the series whose folder is in the URL of its checkpoint.
    """
    costs: dict[str, Cost] = {}
    for path in sorted((root / "baselines").glob("*/series.json")):
        try:
            models = read_json(path).get("models")
        except DocumentError:
            continue
        for key, value in models.items() if isinstance(models, dict) else ():
            record = (records or {}).get(key)
            evaluated = record is not None and f"/{path.parent.name}/" in (record.checkpoint.url or "")
            if isinstance(value, dict) and (evaluated or key not in costs):
                costs[key] = _cost(value)
    return costs


def _cost(model: Mapping[str, Any]) -> Cost:
    def part(name: str) -> Mapping[str, Any]:
        value = model.get(name)
        return value if isinstance(value, dict) else {}

    def number(value: object) -> float | None:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    training = part("finetuning") or part("training")
    size, device, images = number(part("half").get("size")), training.get("device"), part("before").get("n_samples")
    return Cost(
        training=number(training.get("seconds")),
        device=device if isinstance(device, str) else None,
        before=number(part("before").get("autoattack")),
        before_images=images if isinstance(images, int) and not isinstance(images, bool) else None,
        size=None if size is None else int(size),
    )


def duration(seconds: float | None) -> str:
    """Time span as people say it; a dash where it is not known."""
    if seconds is None:
        return numbers.MISSING
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


PAGE = Page(
    path="baselines.md",
    title="Baselines",
    description="Simple pruning criteria, fine-tuned and evaluated alike on one dense network, compared by image.",
    context=context,
)
