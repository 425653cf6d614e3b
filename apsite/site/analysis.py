"""What the benchmark's figures say beyond the ranking: the survey's Tables 2 and 7 to 10, computed from the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apsite.catalogue import Catalogue
from apsite.entries import Entry
from apsite.records import EvaluationRecord
from apsite.site import figures, methods, results
from apsite.site.charts import gap_chart
from apsite.vocabulary import Architecture, Dataset, Structure


@dataclass(frozen=True)
class Pair:
    """Two models of one method at 90 % sparsity that differ in structure."""

    entry: Entry
    unstructured: EvaluationRecord
    structured: EvaluationRecord

    @property
    def difference(self) -> float:
        """Robust accuracy of the unstructured model minus that of the structured one, a fraction."""
        return (self.unstructured.robust_accuracy or 0.0) - (self.structured.robust_accuracy or 0.0)


@dataclass(frozen=True)
class Grid:
    """Records in rows and columns; a cell is ``None`` where there is no record."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, tuple[EvaluationRecord | None, ...]], ...]


def context(catalogue: Catalogue, labels: Mapping[str, str]) -> dict[str, Any]:
    """Names for the analysis page."""
    audited = sorted((e for e in catalogue.methods() if e.audit is not None), key=results.stage_order)
    compared = [
        (entry, comparison)
        for entry in sorted(catalogue.methods(), key=results.stage_order)
        for comparison in methods.comparisons(catalogue, entry)
    ]
    differences = [c.difference for _, c in compared if c.difference is not None]
    pairs = structure_pairs(catalogue)
    return {
        "audited": audited,
        "tally": {
            "autoattack": sum(e.audit.autoattack is True for e in audited if e.audit),
            "curve": sum(e.audit.robustness_curve is True for e in audited if e.audit),
            "short": sum(e.audit.pgd_over_10_iterations is False for e in audited if e.audit),
            "silent": sum(e.audit.pgd_over_10_iterations is None for e in audited if e.audit),
        },
        "compared": compared,
        "gaps": gap_chart(gap_rows(compared)) if differences else None,
        "mean_difference": sum(differences) / len(differences) if differences else None,
        "positive": sum(value > 0 for value in differences),
        "dense_grid": dense_grid(catalogue),
        "naive_grid": naive_grid(catalogue),
        "pairs": pairs,
        "unstructured_wins": sum(pair.difference > 0 for pair in pairs),
        "labels": labels,
        **imagenet_context(catalogue),
    }


def gap_rows(compared: Sequence[tuple[Entry, methods.Comparison]]) -> list[dict[str, Any]]:
    """Rows of the chart of reported against measured robust accuracy, one a comparison that has both."""
    return [
        {
            "model": f"{entry.name} {item.reported.architecture.label} {item.reported.structure.code} "
            f"{figures.sparsity(item.reported.sparsity)}",
            "order": order,
            "reported": item.reported.robust_accuracy,
            "measured": item.measured.robust_accuracy,
        }
        for order, (entry, item) in enumerate(compared)
        if item.measured is not None
    ]


def dense_grid(catalogue: Catalogue) -> Grid:
    """Dense pretrained networks (survey, Table 7): methods by dataset and network."""
    columns = [(dataset, network) for dataset in results.DATASETS for network in results.NETWORKS]
    found = {(r.method, r.dataset, r.architecture): r for r in results.dense(catalogue)}
    keys = {method for method, dataset, network in found if (dataset, network) in columns}
    return Grid(
        tuple(f"{dataset.label} {network.label}" for dataset, network in columns),
        tuple(
            (entry, tuple(found.get((entry.key, *column)) for column in columns))
            for entry in sorted((catalogue.entries[key] for key in keys), key=results.stage_order)
        ),
    )


def naive_grid(catalogue: Catalogue) -> Grid:
    """Naive criteria (survey, Table 8): criteria by network and sparsity, on CIFAR-10."""
    columns = [
        (network, round(100 * sparsity))
        for network in results.NETWORKS
        for sparsity in Structure.UNSTRUCTURED.sparsities
    ]
    found = {
        (r.method, r.architecture, r.key.percent): r
        for r in results.baselines(catalogue)
        if r.dataset is Dataset.CIFAR10 and r.structure is Structure.UNSTRUCTURED
    }
    keys = {method for method, _, _ in found}
    return Grid(
        tuple(f"{network.label} {percent} %" for network, percent in columns),
        tuple(
            (entry, tuple(found.get((entry.key, *column)) for column in columns))
            for entry in sorted((catalogue.entries[key] for key in keys), key=results.stage_order)
        ),
    )


def structure_pairs(catalogue: Catalogue) -> list[Pair]:
    """Models of the same method, dataset and network at 90 %, pruned both ways."""
    found = {
        (r.method, r.dataset, r.architecture, r.structure): r
        for r in catalogue.records.values()
        if r.key.percent == 90 and r.protocol.ranks and r.robust_accuracy is not None
    }
    return [
        Pair(catalogue.entries[method], record, found[method, dataset, network, Structure.STRUCTURED])
        for (method, dataset, network, structure), record in found.items()
        if structure is Structure.UNSTRUCTURED and (method, dataset, network, Structure.STRUCTURED) in found
    ]


def imagenet_context(catalogue: Catalogue) -> dict[str, Any]:
    """ImageNet results (survey, Table 10) as a leaderboard; ``imagenet`` is ``None`` where there are none."""
    percents = tuple(round(100 * sparsity) for sparsity in Structure.UNSTRUCTURED.sparsities)
    board = results.leaderboard(catalogue, Dataset.IMAGENET, Structure.UNSTRUCTURED, (Architecture.RESNET50,), percents)
    return {"imagenet": board if board.rows else None}
