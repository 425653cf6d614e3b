"""Records against their per-sample files: every figure counted again, hashes, and the range of the samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apsite.errors import DocumentError
from apsite.metrics import median_distance, robust_flags
from apsite.records import EvaluationRecord
from apsite.samples import Samples, read_samples_and_hash
from apsite.vocabulary import Attack, ProvenanceKind, epsilon_value

_TOLERANCE = 1e-9


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
        samples, actual = read_samples_and_hash(samples_path)
    except DocumentError as error:
        return [error], False
    problems = _unbacked(path, record, samples)
    if actual != record.samples.sha256:
        problems.append(DocumentError(path, "samples.sha256", f"does not match the file, whose SHA-256 is {actual}"))
    for field, stated, counted in recounted(record, samples):
        if stated != counted and (stated is None or counted is None or abs(stated - counted) > _TOLERANCE):
            problems.append(
                DocumentError(path, field, f"{stated} contradicts the per-sample file, which gives {counted}")
            )
    if not samples.indexed and record.provenance.kind is not ProvenanceKind.PUBLISHED:
        problems.append(DocumentError(samples_path, "label", "is -1, unknown; an own run knows its samples"))
    problems += _range_problems(samples_path, record, samples)
    return problems, True


def _range_problems(path: Path, record: EvaluationRecord, samples: Samples) -> list[DocumentError]:
    """Samples and classes that the test set does not have."""
    dataset, counts = record.dataset, record.dataset.class_counts
    problems = []
    if samples.index[-1] >= dataset.test_samples:
        problems.append(
            DocumentError(
                path, "index", f"{samples.index[-1]} is outside the test set of {dataset.test_samples} images"
            )
        )
    if not samples.indexed:
        return problems
    if samples.label.max() >= len(counts):
        problems.append(
            DocumentError(
                path, "label", f"{samples.label.max()} is no class of {dataset.label}, which has 0 to {len(counts) - 1}"
            )
        )
        return problems
    found = np.bincount(samples.label, minlength=len(counts))
    for label in np.flatnonzero(found > np.array(counts)):
        problems.append(
            DocumentError(
                path,
                "label",
                f"{found[label]} samples are of class {label}, but the test set has {counts[label]}; "
                "the labels are not those of the official files",
            )
        )
        break
    return problems


def _unbacked(path: Path, record: EvaluationRecord, samples: Samples) -> list[DocumentError]:
    """Figures of a record for which its per-sample file has no verdicts."""
    results = record.results
    needed = {
        results.place("autoattack"): (results.autoattack, samples.aa_robust, "aa_robust"),
        results.place("hofmn"): (results.hofmn, samples.distance, "distance"),
        "results.joint": (results.joint, None if samples.aa_robust is None else samples.distance, "both of them"),
    }
    problems = [
        DocumentError(path, field, f"is stated, but the per-sample file lacks {name}; write both with `apsite eval`")
        for field, (stated, verdicts, name) in needed.items()
        if stated is not None and verdicts is None
    ]
    return problems + [
        DocumentError(
            path, results.stage_place(attack), "is stated, but the per-sample file has no flags of this attack"
        )
        for attack in results.stages
        if attack not in samples.robust_after
    ]


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
        place = f"{results.place('autoattack')}.robust_accuracy"
        rows.append((place, results.aa_robust_accuracy, int(robust_aa.sum()) / n))
        before = int(samples.clean_correct.sum())
        for attack in Attack:
            if attack in samples.robust_after:
                after = int(samples.robust_after[attack].sum())
                field, count = results.stage_place(attack), results.stages.get(attack)
                rows.append((f"{field}.attacked", count.attacked if count else None, before))
                rows.append((f"{field}.broken", count.broken if count else None, before - after))
                rows.append((f"{field}.robust_after", count.robust_after if count else None, after))
                before = after
    return rows + _recounted_hofmn(record, samples.without_tuning() if record.leaves_out_tuning else samples)


def _recounted_hofmn(record: EvaluationRecord, samples: Samples) -> list[tuple[str, float | None, float | None]]:
    """The same for HO-FMN and the joint figures, of exactly the samples behind them."""
    results, n, place = record.results, len(samples), record.results.place("hofmn")
    robust_aa, robust_fmn = samples.aa_robust, None
    rows: list[tuple[str, float | None, float | None]] = []
    if n and samples.distance is not None and record.threat_model.epsilon is not None:
        robust_fmn = robust_flags(samples.distance, epsilon_value(record.threat_model.epsilon))
        rows.append((f"{place}.robust_accuracy", results.hofmn_robust_accuracy, int(robust_fmn.sum()) / n))
        rows.append(
            (
                f"{place}.not_found",
                results.hofmn.not_found if results.hofmn else None,
                int(np.isinf(samples.distance).sum()) if samples.indexed else None,
            )
        )
        rows.append(
            (
                f"{place}.median_distance",
                results.hofmn.median_distance if results.hofmn else None,
                median_distance(samples.distance),
            )
        )
    search = results.search
    if samples.tuning is not None and search is not None and not record.leaves_out_tuning:
        rows.append((f"{place}.search.samples", search.samples, int(samples.tuning.sum())))
    if robust_aa is not None and robust_fmn is not None:
        only = {"autoattack": ~robust_aa & robust_fmn, "hofmn": robust_aa & ~robust_fmn}
        joint = int((robust_aa & robust_fmn).sum()) / n
        rows.append(("results.joint.robust_accuracy", results.joint_robust_accuracy, joint))
        rows += [(results.only_place(name), results.broken_only_by(name), int(f.sum())) for name, f in only.items()]
    return rows
