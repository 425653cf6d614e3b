"""The catalogue for other programs: one table with a row per record, or RobustBench's model information."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from apsite.catalogue import Catalogue
from apsite.records import EvaluationRecord
from apsite.vocabulary import ProvenanceKind

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "model_key", "method", "name", "pipeline", "dataset", "architecture", "structure", "sparsity", "clean_accuracy",
    "aa_robust_accuracy", "hofmn_robust_accuracy", "joint_robust_accuracy", "n_samples", "provenance", "source",
)  # fmt: skip
_FRACTIONS = tuple(name for name in COLUMNS if name == "sparsity" or name.endswith("_accuracy"))


def rows(catalogue: Catalogue) -> list[dict[str, Any]]:
    """One mapping per record with the names of :data:`COLUMNS`; ``None`` where a value is unknown."""
    return [_row(catalogue, record) for record in catalogue.records.values()]


def _row(catalogue: Catalogue, record: EvaluationRecord) -> dict[str, Any]:
    entry, results = catalogue.entries[record.method], record.results
    values = (
        record.model_key,
        record.method,
        entry.name,
        entry.pipeline.stage.value,
        record.dataset.value,
        record.architecture.value,
        record.structure.value if record.structure else None,
        record.sparsity.declared,
        results.clean_accuracy,
        results.autoattack.robust_accuracy if results.autoattack else None,
        results.hofmn.robust_accuracy if results.hofmn else None,
        results.joint.robust_accuracy if results.joint else None,
        results.n_samples,
        record.provenance.kind.value,
        record.provenance.source,
    )
    return dict(zip(COLUMNS, values, strict=True))


def to_frame(catalogue: Catalogue) -> pd.DataFrame:
    """The table as a data frame: fractions are floats, ``NaN`` where unknown; ``n_samples`` is a nullable integer."""
    import pandas as pd

    frame = pd.DataFrame(rows(catalogue), columns=list(COLUMNS))
    return frame.astype({"n_samples": "Int64", **dict.fromkeys(_FRACTIONS, "float64")})


def to_csv(catalogue: Catalogue) -> str:
    """The table as CSV with a header line; unknown values are empty fields."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows(catalogue):
        fractions = {name: float(row[name]) for name in _FRACTIONS if row[name] is not None}
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
    return None if share is None else f"{share * 100:.2f}"
