"""The catalogue for other programs: one table, RobustBench's model information, or all data in one archive."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from apsite.catalogue import Catalogue
from apsite.columns import COLUMNS, rows
from apsite.comparable import Judge
from apsite.documents.json_files import atomic_file, to_json
from apsite.numbers import percent
from apsite.records import EvaluationRecord
from apsite.vocabulary import ProvenanceKind

_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that the format knows: the archive must not depend on when it is made
_MODE = 0o100644 << 16
_BESIDE = ("LICENSE-DATA", "CITATION.cff")


def to_csv(catalogue: Catalogue) -> str:
    """The table as CSV with a header line; unknown values are empty fields."""
    return _csv(rows(catalogue))


def _csv(table: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [column.name for column in COLUMNS], lineterminator="\n")
    writer.writeheader()
    fractions = [column.name for column in COLUMNS if column.dtype == "float64"]
    for row in table:
        writer.writerow(row | {name: float(row[name]) for name in fractions if row[name] is not None})
    return text.getvalue()


def to_json_rows(catalogue: Catalogue) -> str:
    """The table as a JSON array of objects; unknown values are ``null``."""
    return to_json(rows(catalogue))


def tables(catalogue: Catalogue, judge: Judge | None = None) -> dict[str, str]:
    """:func:`to_csv` and :func:`to_json_rows` as ``apsite.csv`` and ``apsite.json``; `judge` as in :func:`rows`."""
    table = rows(catalogue, judge)
    return {"apsite.csv": _csv(table), "apsite.json": to_json(table)}


def robustbench(catalogue: Catalogue) -> dict[str, dict[str, Any]]:
    """Every record by model key, with the fields of RobustBench's ``model_info`` files; ``None`` where unknown.

    Accuracies are percentages with two decimals, as text, and `eps` is the exact text, such as ``"8/255"``. `reported`
    is the robust accuracy under AutoAttack that the method's own paper reports for this setting. `additional_data` is
    unknown, for a record does not say with which of a method's objectives its network was trained. `unreliable` is
    ``True`` for runs with a warning that robustness may be overestimated.

    Source: Croce et al., *RobustBench: a standardized adversarial robustness benchmark*, NeurIPS 2021.
    """
    return {record.model_key: _robustbench(catalogue, record) for record in catalogue.records.values()}


def to_robustbench(catalogue: Catalogue) -> str:
    """:func:`robustbench` as JSON."""
    return to_json(robustbench(catalogue))


_OVERESTIMATED = ("non-deterministic", "softmax-output", "dead-gradients", "square-gains", "fab-gains")
"""Codes of warnings that robustness may be overestimated."""


def _robustbench(catalogue: Catalogue, record: EvaluationRecord) -> dict[str, Any]:
    entry, results = catalogue.entries[record.method], record.results
    own = record.provenance.kind is not ProvenanceKind.PUBLISHED
    reported = [
        one.robust_accuracy
        for one in entry.reported
        if (one.dataset, one.architecture, one.structure) == (record.dataset, record.architecture, record.structure)
        and one.by is None
        and one.sparsity is not None
        and abs(one.sparsity - record.sparsity.declared) < 1e-9
        and one.attack.lower() in ("autoattack", "aa")
    ]
    share = f"{record.sparsity.declared:.0%}"
    pruned = f"{share} {record.structure.value} sparsity" if record.structure else "not pruned (dense)"
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


def snapshot_bytes(catalogue: Catalogue, made: Mapping[str, str] | None = None) -> bytes:
    """A ZIP archive of the data folder of a catalogue: the same bytes for the same data.

    It holds ``entries/``, ``evaluations/``, all results as ``apsite.csv`` and ``apsite.json``, licence and citation
    where the folder has them, and ``SHA256SUMS`` over all of that. `made` are its :func:`tables`, if they are there.
    """
    root = catalogue.root
    files = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for folder in ("entries", "evaluations")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    files |= {name: (root / name).read_bytes() for name in _BESIDE if (root / name).is_file()}
    files |= {name: text.encode() for name, text in (made or tables(catalogue)).items()}
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted({**files, "SHA256SUMS": sums.encode()}.items()):
            item = zipfile.ZipInfo(name, _TIME)
            item.compress_type, item.external_attr, item.create_system = zipfile.ZIP_DEFLATED, _MODE, 3
            archive.writestr(item, content)
    return stream.getvalue()


def addresses(catalogue: Catalogue) -> list[str]:
    """Every URL in entries and records, each once, in the order of the catalogue."""
    found: list[str | None] = []
    for entry in catalogue.entries.values():
        found += [entry.paper.url, entry.code_url, *(checkpoint.url for checkpoint in entry.checkpoints)]
        sources = (*entry.sources.values(), *(result.source or "" for result in entry.reported))
        found += [word.rstrip(",;") for text in sources for word in text.split() if word.startswith("https://")]
    found += [record.checkpoint.url for record in catalogue.records.values()]
    return list(dict.fromkeys(filter(None, found)))


def write_snapshot(catalogue: Catalogue, output: Path, made: Mapping[str, str] | None = None) -> str:
    """Write the archive of :func:`snapshot_bytes` and return its SHA-256."""
    content = snapshot_bytes(catalogue, made)
    with atomic_file(output) as temporary:
        temporary.write_bytes(content)
    return hashlib.sha256(content).hexdigest()
