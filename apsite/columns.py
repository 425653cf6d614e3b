"""The columns of ``apsite export`` and of data frames, one row per column: name, type, value and meaning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apsite.comparable import Judge, JudgedData
from apsite.entries import Entry
from apsite.records import EvaluationRecord
from apsite.records.census import DenseCounts, dense_counts
from apsite.vocabulary import ProvenanceKind

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class _Model:
    """What the columns of one record are taken from; `rank` is ``None`` where it has none, `dense` where unknown."""

    entry: Entry
    record: EvaluationRecord
    rank: int | None
    dense: DenseCounts | None


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: Its name, a public contract.
        dtype: Type in a data frame; ``str`` for text.
        meaning: What it holds, for readers, in Markdown.
        value: Its value for a model; ``None`` where unknown.
    """

    name: str
    dtype: str
    meaning: str
    value: Callable[[_Model], Any]


_TEXT, _FRACTION, _COUNT, _FLAG = "str", "float64", "Int64", "bool"
_DENSE = "before pruning; for published results those of the registered layout, empty for networks of no family"
_LEFT = "as counted on the evaluated network; empty for published results"

# A new column goes to the end: programs may read columns by position.
# fmt: off
COLUMNS = (
    Column("model_key", _TEXT, "identity of the model", lambda model: model.record.model_key),
    Column("method", _TEXT, "key of its method", lambda model: model.record.method),
    Column("name", _TEXT, "name of the method", lambda model: model.entry.name),
    Column("pipeline", _TEXT, "when the method prunes: `after`, `before` or `during` training",
           lambda model: model.entry.pipeline.stage.value),
    Column("dataset", _TEXT, "dataset of the evaluation", lambda model: model.record.dataset.value),
    Column("architecture", _TEXT, "network that was pruned; `other:NAME` if it is of no registered family",
           lambda model: model.record.architecture.value),
    Column("structure", _TEXT, "what pruning removed; empty for a dense network",
           lambda model: model.record.structure.value if model.record.structure else None),
    Column("sparsity", _FRACTION, "declared sparsity; 0 for a dense network",
           lambda model: model.record.sparsity.declared),
    Column("clean_accuracy", _FRACTION, "share of the whole test set classified correctly without an attack, or of the "
           "attacked samples where a record has no more", lambda model: model.record.results.overall_clean_accuracy),
    Column("aa_robust_accuracy", _FRACTION, "share that AutoAttack did not break",
           lambda model: model.record.results.aa_robust_accuracy),
    Column("hofmn_robust_accuracy", _FRACTION,
           "share whose smallest adversarial perturbation found by HO-FMN exceeds ε",
           lambda model: model.record.results.hofmn_robust_accuracy),
    Column("joint_robust_accuracy", _FRACTION, "share robust under both",
           lambda model: model.record.results.joint_robust_accuracy),
    Column("n_samples", _COUNT, "samples behind the numbers", lambda model: model.record.results.n_samples),
    Column("provenance", _TEXT, "`published`, `submitted` or `verified`",
           lambda model: model.record.provenance.kind.value),
    Column("source", _TEXT, "the paper, or who ran the evaluation", lambda model: model.record.provenance.source),
    Column("protocol", _TEXT, "protocol of the evaluation: `apb-1`, `piras-2024` or `custom`",
           lambda model: model.record.protocol.value),
    Column("epsilon", _TEXT, "perturbation size ε as an exact fraction, such as `8/255`; empty if the source is silent",
           lambda model: model.record.threat_model.epsilon),
    Column("ranked", _FLAG, "whether the model has a rank; reduced runs, dense networks and baselines have none",
           lambda model: model.rank is not None),
    Column("rank", _COUNT, "one more than the number of models of a setting that lead it, or that of a more robust one",
           lambda model: model.rank),
    Column("verified", _FLAG, "whether a maintainer confirmed the result by running a random part of it again",
           lambda model: model.record.provenance.kind is ProvenanceKind.VERIFIED),
    Column("measured_sparsity", _FRACTION, "sparsity measured on the checkpoint; empty for published results",
           lambda model: model.record.sparsity.measured),
    Column("parameters", _COUNT, f"parameters {_DENSE}", lambda model: model.dense and model.dense.parameters),
    Column("nonzero_parameters", _COUNT, f"parameters that are not zero, {_LEFT}",
           lambda model: model.record.audit and model.record.audit.nonzero_parameters),
    Column("macs", _COUNT, f"multiply-accumulates for one image {_DENSE}",
           lambda model: model.dense and model.dense.macs),
    Column("effective_macs", _COUNT, f"multiply-accumulates with a weight that is not zero, {_LEFT}",
           lambda model: model.record.audit and model.record.audit.effective_macs),
)
# fmt: on


def rows(data: JudgedData, judge: Judge | None = None) -> list[dict[str, Any]]:
    """One mapping per record from the names of :data:`COLUMNS` to values; ``None`` where a value is unknown.

    `judge` is that of the data, if there is one already.
    """
    ranks = (judge or Judge(data)).ranks
    models = (
        _Model(data.entries[record.method], record, ranks.get(record.model_key), dense_counts(record))
        for record in data.records.values()
    )
    return [{column.name: column.value(model) for column in COLUMNS} for model in models]


def to_frame(data: JudgedData) -> pd.DataFrame:
    """:func:`rows` as a data frame."""
    import pandas as pd

    frame = pd.DataFrame(rows(data), columns=[column.name for column in COLUMNS])
    return frame.astype({column.name: column.dtype for column in COLUMNS if column.dtype != _TEXT})
