"""The catalogue as one table: a row per record, fractions, empty where unknown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from apsite.catalogue import Catalogue
from apsite.records import EvaluationRecord

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
    return str(to_frame(catalogue).to_csv(index=False, lineterminator="\n"))


def to_json_rows(catalogue: Catalogue) -> str:
    """The table as a JSON array of objects; unknown values are ``null``."""
    return json.dumps(rows(catalogue), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
