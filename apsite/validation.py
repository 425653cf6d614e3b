"""The one gate for data: every problem of a data folder, in one run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apsite.catalogue import Catalogue, scan
from apsite.errors import DocumentError
from apsite.metrics import median_distance, robust_flags
from apsite.records import HISTORY, EvaluationRecord
from apsite.samples import Samples, read_samples
from apsite.vocabulary import Attack, Protocol, ProvenanceKind, epsilon_value

_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Report:
    """Outcome of a validation: what was read and everything that is wrong."""

    entries: int
    records: int
    sample_files: int
    problems: tuple[DocumentError, ...]


def validate(root: Path) -> Report:
    """Check every file below ``entries/`` and ``evaluations/`` of `root`.

    Raises:
        ApsiteError: If `root` has no data at all.
    """
    catalogue, problems = scan(root)
    problems += _stray_files(root)
    checked = 0
    every = catalogue.every_record()
    for path, record in every:
        problems += plausibility_problems(path, record)
        sample_problems, present = samples_problems(path, record)
        problems += sample_problems
        checked += present
    return Report(len(catalogue.entries), len(every), checked, tuple(_ordered(problems)))


def plausibility_problems(path: Path, record: EvaluationRecord) -> list[DocumentError]:
    """Figures of a record that cannot be true together."""
    results, problems = record.results, []

    def refuse(field: str, problem: str) -> None:
        problems.append(DocumentError(path, field, problem))

    robust = {
        f"results.{name}.robust_accuracy": None if result is None else result.robust_accuracy
        for name, result in (("autoattack", results.autoattack), ("hofmn", results.hofmn), ("joint", results.joint))
    }
    # Figures over different samples need not be ordered; the per-sample file says whether they are right.
    comparable = list(robust.items())[:1] if record.leaves_out_tuning else list(robust.items())
    for field, value in comparable:
        if value is not None and results.clean_accuracy is not None and value > results.clean_accuracy + _TOLERANCE:
            refuse(field, f"{value} exceeds the clean accuracy {results.clean_accuracy}")
    joint = robust["results.joint.robust_accuracy"]
    if joint is not None:
        for field, value in list(robust.items())[1 if record.leaves_out_tuning else 0 : 2]:
            if value is not None and joint > value + _TOLERANCE:
                refuse(
                    "results.joint.robust_accuracy",
                    f"{joint} exceeds {field} {value}; it counts samples robust under both",
                )
    if results.autoattack is None and results.hofmn is None and results.clean_accuracy is None:
        refuse("results", "holds no figure at all")
    if (record.granularity is None) != (record.structure is None) and record.structure is None:
        refuse("granularity", "a dense network has none; set it to null")
    if record.provenance.kind is ProvenanceKind.PUBLISHED:
        if record.protocol is Protocol.APB_1:
            refuse("protocol", "a published figure was not obtained by apb-1; use 'piras-2024' or 'custom'")
    else:
        problems += _own_run_problems(path, record)
    return problems


def _own_run_problems(path: Path, record: EvaluationRecord) -> list[DocumentError]:
    """What a submitted or verified record must have beyond a published figure."""
    problems = []
    required = {
        "samples": record.samples,
        "settings": record.settings,
        "data": record.data,
        "audit": record.audit,
        "checkpoint.sha256": record.checkpoint.sha256,
        "sparsity.measured": record.sparsity.measured,
        "results.n_samples": record.results.n_samples,
        "threat_model.norm": record.threat_model.norm,
        "threat_model.epsilon": record.threat_model.epsilon,
    }
    for field, value in required.items():
        if value is None:
            problems.append(DocumentError(path, field, "is missing; records of own runs are written by `apsite eval`"))
    if record.protocol is Protocol.SURVEY:
        problems.append(DocumentError(path, "protocol", "'piras-2024' is for the survey's published figures only"))
    if record.protocol is Protocol.APB_1:
        if record.threat_model.epsilon not in (None, record.dataset.epsilon):
            problems.append(
                DocumentError(
                    path,
                    "threat_model.epsilon",
                    f"apb-1 needs {record.dataset.epsilon}, not {record.threat_model.epsilon}",
                )
            )
        if record.results.n_samples not in (None, record.dataset.test_samples):
            problems.append(
                DocumentError(
                    path,
                    "results.n_samples",
                    f"{record.results.n_samples} is not the whole test set of {record.dataset.test_samples}; "
                    "such a run has protocol 'custom'",
                )
            )
        problems += [
            DocumentError(path, f"results.{name}", "is missing; apb-1 has both attacks")
            for name in ("autoattack", "hofmn")
            if getattr(record.results, name) is None
        ]
    if record.provenance.kind is ProvenanceKind.VERIFIED and record.verification is None:
        problems.append(DocumentError(path, "verification", "is missing; `apsite verify` writes it"))
    return problems


def samples_problems(path: Path, record: EvaluationRecord) -> tuple[list[DocumentError], bool]:
    """Differences between a record and its per-sample file, and whether there is one."""
    samples_path = path.with_suffix(".npz")
    if record.samples is None:
        if samples_path.exists():
            return [
                DocumentError(samples_path, "", "no record refers to it; remove it or run `apsite eval` again")
            ], False
        return [], False
    # A record in history/ keeps its content, so it names the file as it was called when the record was current.
    name = f"{record.model_key}.npz"
    if record.samples.file != name:
        return [DocumentError(path, "samples.file", f"{record.samples.file!r} must be {name!r}")], False
    try:
        samples = read_samples(samples_path)
    except DocumentError as error:
        return [error], False
    problems = _unbacked(path, record, samples)
    actual = hashlib.sha256(samples_path.read_bytes()).hexdigest()
    if actual != record.samples.sha256:
        problems.append(DocumentError(path, "samples.sha256", f"does not match the file, whose SHA-256 is {actual}"))
    for field, stated, counted in recounted(record, samples):
        if stated != counted and (stated is None or counted is None or abs(stated - counted) > _TOLERANCE):
            problems.append(
                DocumentError(path, field, f"{stated} contradicts the per-sample file, which gives {counted}")
            )
    if not samples.indexed and record.provenance.kind is not ProvenanceKind.PUBLISHED:
        problems.append(DocumentError(samples_path, "label", "is -1, unknown; an own run knows its samples"))
    if samples.index[-1] >= record.dataset.test_samples:
        problems.append(
            DocumentError(
                samples_path,
                "index",
                f"{samples.index[-1]} is outside the test set of {record.dataset.test_samples} images",
            )
        )
    return problems, True


def _unbacked(path: Path, record: EvaluationRecord, samples: Samples) -> list[DocumentError]:
    """Figures of a record for which its per-sample file has no verdicts."""
    results = record.results
    needed = {
        "results.autoattack": (results.autoattack, samples.aa_robust, "aa_robust"),
        "results.hofmn": (results.hofmn, samples.distance, "distance"),
        "results.joint": (results.joint, None if samples.aa_robust is None else samples.distance, "both of them"),
    }
    problems = [
        DocumentError(path, field, f"is stated, but the per-sample file lacks {name}; write both with `apsite eval`")
        for field, (stated, verdicts, name) in needed.items()
        if stated is not None and verdicts is None
    ]
    for attack in results.autoattack.per_attack if results.autoattack else ():
        if attack not in samples.robust_after:
            field = f"results.autoattack.per_attack.{attack.value}"
            problems.append(
                DocumentError(path, field, "is stated, but the per-sample file has no flags of this attack")
            )
    return problems


def recounted(record: EvaluationRecord, samples: Samples) -> list[tuple[str, float | None, float | None]]:
    """Figures of a record beside the same figures counted from its samples: field, stated, counted."""
    results = record.results
    n = len(samples)
    # Where it is unknown which samples they are, a distance of 0 need not be a clean error; see Samples.indexed.
    clean = int(samples.clean_correct.sum()) / n if samples.indexed else None
    rows: list[tuple[str, float | None, float | None]] = [
        ("results.n_samples", results.n_samples, n),
        ("results.clean_accuracy", results.clean_accuracy, clean),
    ]
    robust_aa = samples.aa_robust
    if robust_aa is not None:
        stated = results.autoattack.robust_accuracy if results.autoattack else None
        rows.append(("results.autoattack.robust_accuracy", stated, int(robust_aa.sum()) / n))
        counts = results.autoattack.per_attack if results.autoattack else {}
        before = int(samples.clean_correct.sum())
        for attack in Attack:
            if attack in samples.robust_after:
                after = int(samples.robust_after[attack].sum())
                field, count = f"results.autoattack.per_attack.{attack.value}", counts.get(attack)
                rows.append((f"{field}.attacked", count.attacked if count else None, before))
                rows.append((f"{field}.broken", count.broken if count else None, before - after))
                rows.append((f"{field}.robust_after", count.robust_after if count else None, after))
                before = after
    return rows + _recounted_hofmn(record, samples.without_tuning() if record.leaves_out_tuning else samples)


def _recounted_hofmn(record: EvaluationRecord, samples: Samples) -> list[tuple[str, float | None, float | None]]:
    """The same for HO-FMN and the joint figures, of exactly the samples behind them."""
    results, n = record.results, len(samples)
    robust_aa, robust_fmn = samples.aa_robust, None
    rows: list[tuple[str, float | None, float | None]] = []
    if n and samples.distance is not None and record.threat_model.epsilon is not None:
        robust_fmn = robust_flags(samples.distance, epsilon_value(record.threat_model.epsilon))
        stated = results.hofmn.robust_accuracy if results.hofmn else None
        rows.append(("results.hofmn.robust_accuracy", stated, int(robust_fmn.sum()) / n))
        rows.append(
            (
                "results.hofmn.not_found",
                results.hofmn.not_found if results.hofmn else None,
                int(np.isinf(samples.distance).sum()) if samples.indexed else None,
            )
        )
        rows.append(
            (
                "results.hofmn.median_distance",
                results.hofmn.median_distance if results.hofmn else None,
                median_distance(samples.distance),
            )
        )
    if robust_aa is not None and robust_fmn is not None:
        joint = results.joint
        rows += [
            (
                "results.joint.robust_accuracy",
                joint.robust_accuracy if joint else None,
                int((robust_aa & robust_fmn).sum()) / n,
            ),
            (
                "results.joint.broken_only_by_autoattack",
                joint.broken_only_by_autoattack if joint else None,
                int((~robust_aa & robust_fmn).sum()),
            ),
            (
                "results.joint.broken_only_by_hofmn",
                joint.broken_only_by_hofmn if joint else None,
                int((robust_aa & ~robust_fmn).sum()),
            ),
        ]
    return rows


def _stray_files(root: Path) -> list[DocumentError]:
    """Files that are no entry, no record and no per-sample file, and links."""
    problems = []
    for folder, depth, suffixes in (("entries", 1, {".json"}), ("evaluations", 2, {".json", ".npz"})):
        base = root / folder
        for path in sorted(base.rglob("*")) if base.is_dir() else ():
            level = len(path.relative_to(base).parts) - (depth > 1 and path.parent.name == HISTORY)
            if path.is_symlink():
                problems.append(DocumentError(path, "", "is a symbolic link; links are not allowed here"))
            elif path.is_file() and (level != depth or path.suffix not in suffixes):
                shape = "<method key>.json" if depth == 1 else "<method key>/<model key>.json or .npz"
                problems.append(DocumentError(path, "", f"does not belong here; {folder}/ holds {shape} only"))
            elif path.is_file() and path.suffix == ".npz" and not path.with_suffix(".json").exists():
                problems.append(
                    DocumentError(path, "", "has no record beside it; add the .json that `apsite eval` wrote")
                )
    return problems


def _ordered(problems: list[DocumentError]) -> list[DocumentError]:
    unique = {(str(problem.path), problem.field, problem.problem): problem for problem in problems}
    return [unique[key] for key in sorted(unique)]


__all__ = ["Catalogue", "Report", "plausibility_problems", "recounted", "samples_problems", "validate"]
