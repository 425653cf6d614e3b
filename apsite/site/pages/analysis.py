"""Studies beyond the ranking: the survey's Tables 2 and 7 to 10, computed from the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from apsite import numbers
from apsite.catalogue import Catalogue
from apsite.comparable import Basis, Judge, Setting
from apsite.entries import Entry
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
    pairs = sorted(studies.structure_pairs(catalogue), key=lambda pair: -pair.robust)
    most_compared = largest(compared, lambda found: found[1].difference)
    most_pairs = largest(pairs, lambda pair: pair.robust)
    splits = studies.splits(catalogue)
    magnitude, starts = studies.magnitude(catalogue, UNIFORM, LAYERED), studies.starts(catalogue)
    most_starts = largest(starts, lambda start: start.change(90))
    imagenet, imagenet_ranked = imagenet_rows(catalogue), studies.imagenet(catalogue)
    charts: dict[str, Spec | None] = {
        "gaps": _strips(
            gap_rows(most_compared),
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
            pair_rows(most_pairs),
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
        "positive": sum(value > 0 for value in measured),
        "starts": starts,
        "start_spread": start_spread(starts),
        "magnitude": magnitude,
        "gains": _ends([item.gain for item in magnitude if item.gain is not None]),
        "magnitude_below": _ends([len(item.below) for item in magnitude if item.layered is not None]),
        "pairs": pairs,
        "wins": {
            "robust": sum(pair.robust > 0 for pair in pairs),
            "clean": sum(pair.clean is not None and pair.clean > 0 for pair in pairs),
        },
        "splits": splits,
        "global_leads": outcomes([(split.global_[0], split.local[0]) for split in splits], facts.judge),
        "imagenet_leads": outcomes(
            [(records[0], records[1]) for _, records in imagenet_ranked if len(records) > 1], facts.judge
        ),
        "global_means": sum(split.means[1] > split.means[0] for split in splits),
        "imagenet": imagenet_ranked,
        "thinned": thinned,
        "whole": WHOLE,
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


def outcomes(pairs: Sequence[tuple[EvaluationRecord, EvaluationRecord]], judge: Judge) -> Counter[str]:
    """How many first models of pairs are more robust (``ahead``), and of these what is known of each pair.

    A pair counts under its term, or as ``unknown`` where a source does not state its number of images.
    """
    found: Counter[str] = Counter()
    for first, second in pairs:
        separation = judge.between(first, second)
        if separation is not None and (first.robust_accuracy or 0) > (second.robust_accuracy or 0):
            unknown = separation.basis is Basis.UNKNOWN
            found.update(["ahead", "unknown" if unknown else separation.outcome.name.lower()])
    return found


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
