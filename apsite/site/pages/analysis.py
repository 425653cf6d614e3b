"""Studies beyond the ranking: the survey's Tables 2 and 7 to 10, computed from the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from apsite import numbers
from apsite.catalogue import Catalogue
from apsite.comparable import (
    LEVEL,
    Basis,
    Judge,
    Separation,
    Setting,
    assumed_samples,
    contender,
    judge_pairs,
    pair_test,
)
from apsite.entries import Entry
from apsite.metrics import TwoProportions
from apsite.records import EvaluationRecord
from apsite.site.charts.charts import Spec
from apsite.site.charts.palette import styles
from apsite.site.charts.study_charts import FIRST, OTHERS, SECOND, STEPS, strip_chart
from apsite.site.page import Page, SiteFacts
from apsite.site.tables import studies
from apsite.site.tables.methods import stage_order
from apsite.vocabulary import Architecture

Item = TypeVar("Item")

UNIFORM, LAYERED = "LWM_Han2015Learning", "LAMP_Lee2021Layer"
"""Keys of the two baselines that the survey compares."""

WHOLE, LARGEST = 60, 30
"""Rows up to which a table or a strip of points is whole, and how many of a longer one are shown."""

MISPRINTS = {
    ("FlyingBird_Chen2021Sparsity", Architecture.RESNET18, 0.95): 0.0332,
    ("RobustBird_Chen2021Sparsity", Architecture.VGG16, 0.90): 0.0574,
}
"""Differences that the survey's Table 9 misprints: as printed, by method, network and sparsity, all unstructured."""


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page; what has no data is empty, and its section is left out."""
    catalogue = facts.catalogue
    described = studies.audited(catalogue)
    audited, since = ([entry for entry in described if entry.in_survey is word] for word in (True, False))
    compared = [
        (entry, comparison)
        for entry in sorted(catalogue.methods(), key=stage_order)
        for comparison in studies.comparisons(catalogue, entry)
        if comparison.difference is not None
    ]
    compared.sort(key=lambda found: -(found[1].difference or 0.0))
    measured = [item.difference for _, item in compared if item.difference is not None]
    excess = judge_pairs([claim(item) for _, item in compared])
    pairs = sorted(studies.structure_pairs(catalogue), key=lambda pair: -pair.robust)
    models = [[contender(r, facts.judge.samples(r)) for r in (pair.unstructured, pair.structured)] for pair in pairs]
    by_structure, by_filters = (judge_pairs([pair_test(*two[::step]) for two in models]) for step in (1, -1))
    most_compared = largest(list(zip(compared, excess, strict=True)), lambda found: found[0][1].difference)
    most_pairs = largest(list(zip(pairs, by_structure, strict=True)), lambda found: found[0].robust)
    splits = studies.splits(catalogue)
    magnitude, starts = studies.magnitude(catalogue, UNIFORM, LAYERED), studies.starts(catalogue)
    most_starts = largest(starts, lambda start: start.change(90))
    imagenet, imagenet_ranked = imagenet_rows(catalogue), studies.imagenet(catalogue)
    charts: dict[str, Spec | None] = {
        "gaps": _strips(
            gap_rows([item for item, _ in most_compared]),
            {"measured": SECOND, "reported": FIRST},
            "Reported and measured robust accuracy.",
            True,
        ),
        "starts": _strips(
            start_rows(most_starts),
            dict(zip(("dense", "90 %", "95 %", "99 %"), STEPS, strict=True)),
            "Robust accuracy of dense networks and of the networks pruned from them.",
            True,
        ),
        "magnitude": _strips(
            magnitude_rows(catalogue, magnitude),
            {"method": OTHERS, "LWM": SECOND, "LAMP": FIRST},
            "Baselines among the methods, by network and sparsity.",
            False,
        ),
        "pairs": _strips(
            pair_rows([pair for pair, _ in most_pairs]),
            {"structured": SECOND, "unstructured": FIRST},
            "Robust accuracy of the same method at 90 %, pruned by weights and by structures.",
            True,
        ),
        "splits": _strips(
            split_rows(catalogue, splits),
            {"local": SECOND, "global": FIRST},
            "Robust accuracy of local and global methods, by setting.",
            False,
        ),
        "imagenet": _strips(
            imagenet, styles(row["kind"] for row in imagenet), "Robust accuracy on ImageNet, by sparsity.", True
        ),
    }
    return {
        "charts": charts,
        "most": {"compared": most_compared, "pairs": most_pairs, "starts": most_starts},
        "audited": audited,
        "described": described,
        "since": since,
        "checks_since": studies.checks(since),
        "checks": studies.checks(audited),
        "years": studies.years(audited),
        "compared": compared,
        "misprints": MISPRINTS,
        "mean_difference": sum(measured) / len(measured) if measured else None,
        "measured": len(measured),
        "own_differences": [item.difference for _, item in compared if item.measured],
        "excess": outcomes((found, item.difference or 0.0) for (_, item), found in zip(compared, excess, strict=True)),
        "starts": starts,
        "start_spread": start_spread(starts),
        "magnitude": magnitude,
        "gains": _ends([item.gain for item in magnitude if item.gain is not None]),
        "magnitude_below": _ends([len(item.below) for item in magnitude if item.layered is not None]),
        "pairs": pairs,
        "unstructured": outcomes((found, pair.robust) for pair, found in zip(pairs, by_structure, strict=True)),
        "structured": outcomes((found, -pair.robust) for pair, found in zip(pairs, by_filters, strict=True)),
        "more_accurate": sum(pair.clean is not None and pair.clean > 0 for pair in pairs),
        "splits": splits,
        "global_leads": outcomes(between(facts.judge, [(split.global_[0], split.local[0]) for split in splits])),
        "imagenet_leads": outcomes(
            between(facts.judge, [(records[0], records[1]) for _, records in imagenet_ranked if len(records) > 1])
        ),
        "global_means": sum(split.means[1] > split.means[0] for split in splits),
        "imagenet": imagenet_ranked,
        "thinned": thinned,
        "whole": WHOLE,
        "beyond": beyond,
        "setting_label": setting_label,
    }


def largest(rows: Sequence[Item], difference: Callable[[Item], float | None]) -> list[Item]:
    """All rows, or those with the largest differences either way if they are many, in the same order."""
    if len(rows) <= WHOLE:
        return list(rows)
    places = sorted(range(len(rows)), key=lambda place: -abs(difference(rows[place]) or 0.0))
    return [rows[place] for place in sorted(places[:LARGEST])]


def thinned(records: Sequence[EvaluationRecord]) -> list[EvaluationRecord]:
    """Points of a strip, most robust first: all of them, or evenly spread ones with both ends if they are many."""
    if len(records) <= WHOLE:
        return list(records)
    return [records[round(place * (len(records) - 1) / (LARGEST - 1))] for place in range(LARGEST)]


def between(
    judge: Judge, pairs: Iterable[tuple[EvaluationRecord, EvaluationRecord]]
) -> Iterator[tuple[Separation, float]]:
    """What separates the models of pairs from one setting, and by how much the first is more robust."""
    for first, second in pairs:
        separation = judge.between(first, second)
        if separation is not None:
            yield separation, studies.difference(first, second) or 0.0


def claim(item: studies.Remeasured) -> TwoProportions | None:
    """The test of what a paper reports against what was measured; ``None`` where that number of images is unknown.

    No paper says of how many images its number is, so it is taken to be of as many as were measured, and a measurement
    of others to be of the images that rank.
    """
    samples = assumed_samples(item.measured) if item.measured else item.reported.dataset.ranked_samples
    if samples is None or item.robust is None:
        return None
    reported, measured = (round(share * samples) for share in (item.reported.robust_accuracy, item.robust))
    return TwoProportions((reported, samples), (measured, samples))


def outcomes(found: Iterable[tuple[Separation, float]]) -> Counter[str]:
    """How many first models of pairs are more robust (``ahead``), and of these what is known of each pair.

    A pair counts under its term, or as ``unknown`` where a source does not state its number of images.
    """
    counts: Counter[str] = Counter()
    for separation, difference in found:
        if difference > 0:
            unknown = separation.basis is Basis.UNKNOWN
            counts.update(["ahead", "unknown" if unknown else separation.outcome.name.lower()])
    return counts


def beyond(found: Separation) -> str:
    """Whether the two models of a pair differ by more than chance, whichever is ahead, as tables say it."""
    test = found.test or found.proportions
    if test is None or found.p_value is None:
        return "–"
    return "yes" if found.p_value < LEVEL else "probably" if test.p_value < LEVEL else "not separable"


def setting_label(setting: Setting) -> str:
    """A setting in one line, such as ``CIFAR-10 ResNet18, unstructured 90 %``."""
    return f"{setting.dataset.label} {setting.architecture.label}, {setting.structure.value} {setting.percent} %"


def start_spread(starts: Sequence[studies.Start]) -> float:
    """Difference between the most and the least robust dense network of the first dataset and network."""
    first = [s.dense for s in starts if s.dense.key.dataset is starts[0].dense.dataset]
    robust = [r.robust_accuracy or 0.0 for r in first if r.architecture is starts[0].dense.architecture]
    return max(robust) - min(robust) if robust else 0.0


def gap_rows(compared: Sequence[tuple[Entry, studies.Remeasured]]) -> list[dict[str, Any]]:
    """Rows of the chart of reported against measured robust accuracy, two a comparison that has both."""
    rows = []
    for order, (entry, item) in enumerate(compared):
        paper = item.reported
        network = paper.architecture.code if paper.architecture.registered else paper.architecture.label
        structure = [paper.structure.code] if paper.structure else []
        share = [numbers.sparsity(paper.sparsity)] if paper.sparsity is not None else []
        strip = " ".join([entry.name, network, *structure, *share])
        if item.robust is not None:
            rows += [
                _row(strip, order, kind, entry, robust)
                | {"gap": numbers.signed_points(paper.robust_accuracy - item.robust)}
                for kind, robust in (("reported", paper.robust_accuracy), ("measured", item.robust))
            ]
    return rows


def start_rows(starts: Sequence[studies.Start]) -> list[dict[str, Any]]:
    """Rows of the chart of dense networks and what was pruned from them."""
    return [
        _row(_network(start.entry, start.dense), order, kind, start.entry, record.robust_accuracy)
        for order, start in enumerate(starts)
        for kind, record in [("dense", start.dense), *((f"{p} %", r) for p, r in start.pruned.items())]
        if record.robust_accuracy is not None and kind in ("dense", "90 %", "95 %", "99 %")
    ]


def magnitude_rows(catalogue: Catalogue, magnitude: Sequence[studies.Magnitude]) -> list[dict[str, Any]]:
    """Rows of the chart of baselines among the methods."""
    return [
        _row(_place(item.setting), order, kind, catalogue.entries[record.method], record.robust_accuracy)
        for order, item in enumerate(magnitude)
        for kind, record in [
            *(("method", one) for one in thinned(item.field)),
            ("LWM", item.uniform),
            ("LAMP", item.layered),
        ]
        if record is not None
    ]


def pair_rows(pairs: Sequence[studies.Pair]) -> list[dict[str, Any]]:
    """Rows of the chart of unstructured against structured pruning."""
    return [
        _row(_network(pair.entry, record), order, kind, pair.entry, record.robust_accuracy)
        | {"gap": numbers.signed_points(pair.robust)}
        for order, pair in enumerate(pairs)
        for kind, record in (("unstructured", pair.unstructured), ("structured", pair.structured))
    ]


def split_rows(catalogue: Catalogue, splits: Sequence[studies.Split]) -> list[dict[str, Any]]:
    """Rows of the chart of local against global pruning."""
    return [
        _row(_place(split.setting), order, kind, catalogue.entries[record.method], record.robust_accuracy)
        for order, split in enumerate(splits)
        for kind, records in (("local", split.local), ("global", split.global_))
        for record in thinned(records)
    ]


def imagenet_rows(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Rows of the chart of ImageNet models: one strip per sparsity, one kind per method."""
    return [
        _row(f"{record.architecture.label} {percent} %", order, entry.name, entry, record.robust_accuracy)
        for order, (percent, records) in enumerate(studies.imagenet(catalogue))
        for record in thinned(records)
        for entry in [catalogue.entries[record.method]]
    ]


def _network(entry: Entry, record: EvaluationRecord) -> str:
    return f"{entry.name} {record.dataset.label} {record.architecture.code}"


def _place(setting: Setting) -> str:
    return f"{setting.dataset.label} {setting.architecture.code} {setting.structure.code} {setting.percent} %"


def _row(strip: str, order: int, kind: str, entry: Entry, robust: float | None) -> dict[str, Any]:
    return {"strip": strip, "order": order, "kind": kind, "name": entry.name, "robust": robust}


def _strips(rows: list[dict[str, Any]], kinds: Mapping[str, Any], description: str, joined: bool) -> Spec | None:
    used = {row["kind"] for row in rows}
    shown = {name: look for name, look in kinds.items() if name in used}
    return strip_chart(rows, shown, description, joined=joined) if rows else None


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Smallest and greatest value; zeros where there are none."""
    return (min(values), max(values)) if values else (0, 0)


PAGE = Page(
    path="analysis.md",
    title="Analysis",
    description="How methods were evaluated, what was overestimated, and what pruning structure and locality change.",
    context=context,
    hide=("navigation",),
)
