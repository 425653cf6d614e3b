"""The project's own baselines: naive criteria on one dense network, measured alike and compared image by image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsite import numbers
from apsite.catalogue import Catalogue
from apsite.documents.json_files import read_json
from apsite.entries import Entry
from apsite.errors import DocumentError
from apsite.intervals import Pair, pair_of, robust_bounds, samples_of
from apsite.metrics import robust_accuracy, robustness_curve
from apsite.records import EvaluationRecord
from apsite.samples import Samples
from apsite.site.page import Page, SiteFacts
from apsite.vocabulary import Architecture, Dataset, Structure

LOCAL, GLOBAL, LAMP = "LWM_Han2015Learning", "LWM-Global_Han2015Learning", "LAMP_Lee2021Layer"
_PAIRS = ((LAMP, LOCAL), (LAMP, GLOBAL), (GLOBAL, LOCAL))
_LIMIT = 16 / 255
WIDTH, HEIGHT = 520, 300
"""View box of a drawing of curves."""
_LEFT, _RIGHT, _TOP, _BOTTOM, _BAR = 38, 118, 12, 52, 14


@dataclass(frozen=True)
class Cost:
    """What a baseline took, and how it fared without fine-tuning; ``None`` where the series does not say.

    Attributes:
        training: Seconds of fine-tuning, for a dense network of training.
        device: Where that was.
        before: AutoAttack accuracy before fine-tuning, a fraction.
        before_images: On how many of the first test images that was.
        size: Bytes of the stored checkpoint.
    """

    training: float | None = None
    device: str | None = None
    before: float | None = None
    before_images: int | None = None
    size: int | None = None


@dataclass(frozen=True)
class Baseline:
    """One evaluated baseline."""

    record: EvaluationRecord
    entry: Entry
    samples: Samples
    cost: Cost

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
        same = robust[self.samples.index < count]
        return float(same.mean()) if count and len(same) == count else None


@dataclass(frozen=True)
class Tuning:
    """What fine-tuning did to pruned networks that were attacked before it and after it on the same images.

    Attributes:
        better: Those that are more robust after it.
        others: Those that are not.
    """

    better: tuple[Baseline, ...]
    others: tuple[Baseline, ...]

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
    pair: Pair

    @property
    def verdict(self) -> str:
        """Who is ahead, in words."""
        if not self.pair.separates:
            return "tied"
        return f"{(self.first if self.pair.difference > 0 else self.second).entry.name} ahead"


@dataclass(frozen=True)
class Line:
    """A curve as a path, with its label."""

    baseline: Baseline
    label: str
    path: str
    label_y: float
    number: int
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Lead:
    """A stretch of budgets over which one model is the most robust: ends in the drawing and as text."""

    start: float
    end: float
    number: int
    text: str


@dataclass(frozen=True)
class Drawing:
    """Curves of the baselines at one structure and sparsity, with the bar of leaders below."""

    title: str
    lines: tuple[Line, ...]
    leads: tuple[Lead, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    budget: float
    bar: float


@dataclass(frozen=True)
class Study:
    """All baselines of one dataset and network.

    Attributes:
        dataset: Dataset.
        architecture: Network.
        dense: The dense network; ``None`` where it was not evaluated.
        pruned: The pruned ones, in the order of the catalogue.
        tests: Criteria against each other.
        drawings: Curves, one drawing a structure and sparsity.
    """

    dataset: Dataset
    architecture: Architecture
    dense: Baseline | None
    pruned: tuple[Baseline, ...]
    tests: tuple[Test, ...]
    drawings: tuple[Drawing, ...]

    @property
    def widest(self) -> float:
        """Width of the widest 95 % interval of a robust accuracy, a fraction; 0 where there is none."""
        found = [robust_bounds(one.record) for one in self.pruned]
        return max((bounds[1] - bounds[0] for bounds in found if bounds is not None), default=0.0)

    @property
    def tuning(self) -> Tuning | None:
        """What fine-tuning did; ``None`` where no network was attacked before it."""
        known = [one for one in self.pruned if one.after is not None]
        better = tuple(one for one in known if (one.after or 0.0) > (one.cost.before or 0.0))
        return Tuning(better, tuple(one for one in known if one not in better)) if known else None

    @property
    def highest(self) -> Test | None:
        """LAMP against local LWM at the highest sparsity."""
        wanted = [test for test in self.tests if (test.first.record.method, test.second.record.method) == (LAMP, LOCAL)]
        return max(wanted, key=lambda test: test.first.record.key.percent or 0, default=None)


@dataclass(frozen=True)
class Agreement:
    """A line of the survey's Table 8 beside our own figures on another network, at one sparsity; fractions."""

    percent: int
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
    found = studies(facts.catalogue)
    return {
        "studies": found,
        "agreements": [agreements(facts.catalogue, study) for study in found],
        "view": (WIDTH, HEIGHT),
        "duration": duration,
    }


def studies(catalogue: Catalogue) -> list[Study]:
    """Baselines that this project has evaluated itself, by dataset and network."""
    costs = read_costs(catalogue.root)
    groups: dict[tuple[Dataset, Architecture], list[Baseline]] = {}
    for record in catalogue.records.values():
        entry = catalogue.entries.get(record.method)
        samples = samples_of(catalogue, record) if entry is not None and entry.baseline else None
        if entry is not None and samples is not None and samples.aa_robust is not None:
            cost = costs.get(record.model_key, Cost())
            groups.setdefault((record.dataset, record.architecture), []).append(Baseline(record, entry, samples, cost))
    return [_study(*key, baselines) for key, baselines in groups.items()]


def _study(dataset: Dataset, architecture: Architecture, baselines: Sequence[Baseline]) -> Study:
    pruned = tuple(one for one in baselines if one.record.structure is not None)
    tests = []
    for first, second in itertools.product(pruned, pruned):
        if (first.record.method, second.record.method) in _PAIRS and _cell(first) == _cell(second):
            pair = pair_of(first.samples, second.samples)
            if pair is not None:
                tests.append(Test(first, second, pair))
    order = {pair: number for number, pair in enumerate(_PAIRS)}
    tests.sort(key=lambda test: (order[test.first.record.method, test.second.record.method], *_cell(test.first)))
    drawings = [
        _drawing(group) for group in _drawn_together([one for one in pruned if one.samples.distance is not None])
    ]
    return Study(
        dataset, architecture, next((one for one in baselines if one.record.structure is None), None), pruned,
        tuple(tests), tuple(drawings),
    )  # fmt: skip


def _drawn_together(pruned: Sequence[Baseline]) -> list[list[Baseline]]:
    """Criteria at one sparsity; where a structure has one criterion alone, its sparsities."""
    groups: dict[tuple[Structure, int], list[Baseline]] = {}
    for one in sorted(pruned, key=_cell):
        structure, percent = _cell(one)
        alone = len({other.record.method for other in pruned if other.record.structure is one.record.structure}) == 1
        groups.setdefault((structure, 0 if alone else percent), []).append(one)
    return list(groups.values())


def _cell(one: Baseline) -> tuple[Structure, int]:
    """Structure and sparsity, in the order of tables."""
    assert one.record.structure is not None
    return one.record.structure, one.record.key.percent or 0


def agreements(catalogue: Catalogue, study: Study) -> list[Agreement]:
    """Lines of the survey's Table 8 for which the study has both criteria at the same sparsity.

    They stay when an own run has taken the place of the survey's figure, which is then in the history.
    """
    found = []
    for test in study.tests:
        if (test.first.record.method, test.second.record.method) != (LAMP, LOCAL):
            continue
        percent = test.first.record.key.percent or 0
        for network in Architecture:
            local, lamp = (
                _printed(catalogue, f"{method}_{network.code}_{study.dataset.code}_US_{percent}")
                for method in (LOCAL, LAMP)
            )
            if local is not None and lamp is not None:
                found.append(Agreement(percent, (local, lamp), test))
    return found


def _printed(catalogue: Catalogue, model_key: str) -> EvaluationRecord | None:
    """The survey's own figure of a model, current or replaced."""
    published = [one for one in catalogue.versions(model_key) if one.provenance.location and one.retracted is None]
    return published[-1] if published else None


def read_costs(root: Path) -> dict[str, Cost]:
    """Costs by model key that the series below ``baselines`` report; a report that is damaged tells nothing."""
    costs: dict[str, Cost] = {}
    for path in sorted((root / "baselines").glob("*/series.json")):
        try:
            models = read_json(path).get("models")
        except DocumentError:
            continue
        if isinstance(models, dict):
            costs |= {key: _cost(value) for key, value in models.items() if isinstance(value, dict)}
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


def _drawing(baselines: Sequence[Baseline]) -> Drawing:
    record = baselines[0].record
    assert record.structure is not None
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def x(budget: float) -> float:
        return round(_LEFT + width * budget / _LIMIT, 1)

    def y(share: float) -> float:
        return round(_TOP + height * (1 - share), 1)

    percents = {one.record.key.percent for one in baselines}
    title = f"{record.structure.value}, {record.key.percent} %" if len(percents) == 1 else record.structure.value
    lines = []
    for number, one in enumerate(baselines):
        label = one.entry.name if len(percents) == 1 else f"{one.entry.name} {one.record.key.percent} %"
        assert one.samples.distance is not None
        budgets, shares = robustness_curve(one.samples.distance)
        steps = [(float(a), float(b)) for a, b in zip(budgets, shares, strict=True) if a <= _LIMIT]
        path = f"M{x(0)} {y(steps[0][1])}" + "".join(f"H{x(a)}V{y(b)}" for a, b in steps[1:]) + f"H{x(_LIMIT)}"
        table = tuple(robust_accuracy(one.samples.distance, k / 255) for k in range(17))
        lines.append(Line(one, label, path, y(steps[-1][1]), number % 4, table))
    placed = sorted(lines, key=lambda line: line.label_y)
    moved, last = {}, -100.0
    for line in placed:
        last = max(line.label_y + 4, last + 17)
        moved[line.number] = last
    overflow = max(0.0, last - (HEIGHT - _BOTTOM + 4))
    lines = [
        Line(one.baseline, one.label, one.path, round(moved[one.number] - overflow, 1), one.number, one.shares)
        for one in lines
    ]
    return Drawing(
        title=title,
        lines=tuple(lines),
        leads=tuple(_leads(lines, x)),
        across=tuple((x(k / 255), f"{k}/255" if k else "0") for k in range(0, 17, 4)),
        up=tuple((y(tenth / 10), f"{10 * tenth} %") for tenth in range(0, 11, 2)),
        budget=x(8 / 255),
        bar=HEIGHT - _BOTTOM + _BAR,
    )


def _leads(lines: Sequence[Line], x: Any) -> Iterator[Lead]:
    """Who is the most robust at each quarter of 1/255, joined into stretches; ties go to the first line."""
    grid = [k / 255 / 4 for k in range(65)]
    best = []
    for budget in grid:
        shares = [robust_accuracy(line.baseline.samples.distance, budget) for line in lines]  # type: ignore[arg-type]
        best.append(shares.index(max(shares)))
    for index, group in itertools.groupby(range(len(grid)), key=lambda k: best[k]):
        found = list(group)
        start, end = grid[found[0]], grid[min(found[-1] + 1, len(grid) - 1)]
        text = f"{lines[index].label} from {255 * start:g}/255 to {255 * end:g}/255"
        yield Lead(x(start), x(end), lines[index].number, text)


def duration(seconds: float | None) -> str:
    """Time span as people say it; a dash where it is not known."""
    if seconds is None:
        return numbers.MISSING
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )


PAGE = Page(
    path="baselines.md",
    title="Baselines",
    description="Simple pruning criteria, fine-tuned and evaluated alike on one dense network, compared by image.",
    context=context,
)
