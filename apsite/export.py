"""The catalogue for other programs: one table with a row per record, or RobustBench's model information."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from apsite.catalogue import COLUMNS, FRACTIONS, Catalogue, rows
from apsite.numbers import percent
from apsite.records import EvaluationRecord
from apsite.vocabulary import ProvenanceKind


def to_csv(catalogue: Catalogue) -> str:
    """The table as CSV with a header line; unknown values are empty fields."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows(catalogue):
        fractions = {name: float(row[name]) for name in FRACTIONS if row[name] is not None}
        writer.writerow(row | fractions)
    return text.getvalue()


def to_json_rows(catalogue: Catalogue) -> str:
    """The table as a JSON array of objects; unknown values are ``null``."""
    return json.dumps(rows(catalogue), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def robustbench(catalogue: Catalogue) -> dict[str, dict[str, Any]]:
    """Every record by model key, with the fields of RobustBench's ``model_info`` files; ``None`` where unknown.

    Accuracies are percentages with two decimals, as text, and `eps` is the exact text, such as ``"8/255"``. `reported`
    is the robust accuracy under AutoAttack that the method's own paper reports for this setting. `additional_data` is
    unknown, for a record does not say with which of a method's objectives its network was trained. `unreliable` is
    ``True`` for own runs with a warning that robustness may be overestimated.

    Source: Croce et al., *RobustBench: a standardized adversarial robustness benchmark*, NeurIPS 2021.
    """
    return {record.model_key: _robustbench(catalogue, record) for record in catalogue.records.values()}


def to_robustbench(catalogue: Catalogue) -> str:
    """:func:`robustbench` as JSON."""
    return json.dumps(robustbench(catalogue), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


_OVERESTIMATED = ("non-deterministic", "softmax-output", "dead-gradients", "square-gains", "fab-gains")
"""Codes of warnings that robustness may be overestimated."""


def _robustbench(catalogue: Catalogue, record: EvaluationRecord) -> dict[str, Any]:
    entry, results = catalogue.entries[record.method], record.results
    own = record.provenance.kind is not ProvenanceKind.PUBLISHED
    reported = [
        one.robust_accuracy
        for one in entry.reported
        if (one.dataset, one.architecture, one.structure) == (record.dataset, record.architecture, record.structure)
        and abs(one.sparsity - record.sparsity.declared) < 1e-9
        and one.attack.lower() in ("autoattack", "aa")
    ]
    pruned = (
        f"{record.sparsity.declared:.0%} {record.structure.value} sparsity"
        if record.structure
        else "not pruned (dense)"
    )
    return {
        "link": entry.paper.url,
        "name": entry.paper.title,
        "authors": ", ".join(entry.paper.authors),
        "additional_data": None,
        "number_forward_passes": 1 if own else None,
        "dataset": record.dataset.value,
        "venue": f"{entry.paper.venue} {entry.paper.year}",
        "architecture": record.architecture.label,
        "eps": record.threat_model.epsilon,
        "clean_acc": _percent(results.clean_accuracy),
        "reported": _percent(reported[0]) if len(reported) == 1 else None,
        "autoattack_acc": _percent(record.robust_accuracy),
        "footnote": f"{entry.name}: {pruned}. {record.provenance.kind.value.capitalize()}: {record.provenance.source}.",
        "unreliable": any(warning.code in _OVERESTIMATED for warning in record.warnings) if own else None,
    }


def _percent(share: float | None) -> str | None:
    """A fraction as RobustBench writes it, such as ``"57.14"``."""
    return None if share is None else percent(share)
