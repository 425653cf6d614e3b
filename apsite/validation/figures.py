"""Figures of a record that cannot be true together, or that its protocol does not allow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from apsite.errors import DocumentError
from apsite.records import ROTATING, SEARCH_BATCH, CheckpointAudit, EvaluationRecord
from apsite.validation.dates import date_problems
from apsite.vocabulary import Attack, Protocol, ProvenanceKind, Structure

TOLERANCE = 1e-9
SURVEY = "Piras2024Adversarial"
"""Citation key of the survey, the only source of figures of protocol ``piras-2024``."""

APB_1_SETTINGS = {
    "search_trials": 32,
    "search_samples": 64,
    "search_steps": 100,
    "attack_steps": 200,
}
"""Settings that protocol ``apb-1`` fixes; a test holds them equal to what the evaluator does."""

SEARCH_SPACE = {
    "learning_rate": (8 / 255, 10.0),
    "momentum": (0.0, 0.9),
    "weight_decay": (0.01, 1.0),
    "dampening": (0.0, 0.2),
}
"""Bounds of the HO-FMN search of ``apb-1``; a test holds them equal to the evaluator's."""

WARN_BEYOND = 0.005
"""Difference of declared and measured sparsity above which a record must carry a warning."""
REFUSE_BEYOND = 0.02
"""Difference above which the checkpoint is not what the record says."""
LEAST_AGREEMENT = 0.99
"""Share of equal verdicts below which `apsite verify` does not agree."""


def plausibility_problems(path: Path, record: EvaluationRecord) -> list[DocumentError]:
    """Figures of a record that cannot be true together, and what it must have to be what it says it is."""
    problems = [
        *_order(path, record),
        *_counts(path, record),
        *_provenance(path, record),
        *date_problems(
            path,
            {
                "provenance.date": record.provenance.date,
                "verification.date": record.verification.date if record.verification else None,
                **{f"changes[{number}].date": change.date for number, change in enumerate(record.changes)},
            },
        ),
    ]
    if record.structure is None and record.granularity is not None:
        problems.append(DocumentError(path, "granularity", "a dense network has none; set it to null"))
    if record.granularity is not None and record.structure is not None:
        weights = record.granularity.value == "weight"
        if weights != (record.structure is Structure.UNSTRUCTURED):
            problems.append(
                DocumentError(
                    path,
                    "granularity",
                    f"{record.granularity.value!r} is not what {record.structure.value} pruning removes; "
                    + ("'weight' or null is" if record.structure is Structure.UNSTRUCTURED
                       else "'filter', 'channel', 'kernel' or null is"),
                )
            )  # fmt: skip
    if record.audit is not None:
        problems += _audit(path, record, record.audit)
    return problems


def _order(path: Path, record: EvaluationRecord) -> Iterator[DocumentError]:
    """Robust never above clean, joint never above either."""
    results = record.results
    robust = {
        f"{results.place('autoattack')}.robust_accuracy": results.aa_robust_accuracy,
        f"{results.place('hofmn')}.robust_accuracy": results.hofmn_robust_accuracy,
        "results.joint.robust_accuracy": results.joint_robust_accuracy,
    }
    # Figures over different samples need not be ordered; the per-sample file says whether they are right.
    comparable = list(robust.items())[:1] if record.leaves_out_tuning else list(robust.items())
    for field, value in comparable:
        if value is not None and results.clean_accuracy is not None and value > results.clean_accuracy + TOLERANCE:
            yield DocumentError(path, field, f"{value} exceeds the clean accuracy {results.clean_accuracy}")
    joint = robust["results.joint.robust_accuracy"]
    if joint is not None:
        for field, value in list(robust.items())[1 if record.leaves_out_tuning else 0 : 2]:
            if value is not None and joint > value + TOLERANCE:
                yield DocumentError(
                    path,
                    "results.joint.robust_accuracy",
                    f"{joint} exceeds {field} {value}; it counts samples robust under both",
                )
    if all(accuracy is None for accuracy in results.accuracies[:3]):
        yield DocumentError(path, "results", "holds no figure at all")


def _counts(path: Path, record: EvaluationRecord) -> Iterator[DocumentError]:
    """Counts of AutoAttack's attacks follow each other; no more samples than the test set has."""
    results, size = record.results, record.dataset.test_samples
    if results.n_samples is not None and results.n_samples > size:
        yield DocumentError(
            path, "results.n_samples", f"{results.n_samples} exceeds the test set of {size} images; recount"
        )
    left: int | None = None
    for attack in Attack:
        if attack not in results.stages:
            continue
        count, field = results.stages[attack], results.stage_place(attack)
        if count.broken + count.robust_after != count.attacked:
            yield DocumentError(
                path,
                f"{field}.attacked",
                f"{count.attacked} is not the sum of broken {count.broken} and robust_after {count.robust_after}",
            )
        if left is not None and count.attacked != left:
            yield DocumentError(
                path, f"{field}.attacked", f"{count.attacked} is not what the attack before left robust, {left}"
            )
        left = count.robust_after


def _provenance(path: Path, record: EvaluationRecord) -> Iterator[DocumentError]:
    kind = record.provenance.kind
    if kind is ProvenanceKind.PUBLISHED:
        yield from _published(path, record)
    else:
        yield from _own_run(path, record)
    verification = record.verification
    if kind is ProvenanceKind.VERIFIED:
        if verification is None:
            yield DocumentError(path, "verification", "is missing; `apsite verify` writes it")
        elif verification.agreement < LEAST_AGREEMENT - TOLERANCE:
            yield DocumentError(
                path,
                "verification.agreement",
                f"{verification.agreement} is below {LEAST_AGREEMENT}; such a re-run does not verify a record",
            )
    elif verification is not None:
        yield DocumentError(
            path, "provenance.kind", f"{kind.value!r} contradicts the field verification; remove it or say 'verified'"
        )
    if verification is not None and verification.samples > (record.results.n_samples or verification.samples):
        yield DocumentError(
            path,
            "verification.samples",
            f"{verification.samples} exceeds the {record.results.n_samples} samples of the record",
        )
    if verification is not None and verification.date < record.provenance.date:
        yield DocumentError(
            path, "verification.date", f"{verification.date!r} is before the run itself, {record.provenance.date!r}"
        )


def _published(path: Path, record: EvaluationRecord) -> Iterator[DocumentError]:
    """What a figure from a paper may claim."""
    if record.protocol is Protocol.APB_1:
        yield DocumentError(
            path, "protocol", "a published figure was not obtained by apb-1; use 'piras-2024' or 'custom'"
        )
    if record.protocol is Protocol.SURVEY:
        if record.provenance.source != SURVEY:
            yield DocumentError(
                path,
                "protocol",
                f"'piras-2024' is for the figures of {SURVEY}, not of {record.provenance.source}; use 'custom'",
            )
        if record.threat_model.epsilon not in (None, record.dataset.epsilon):
            yield DocumentError(
                path,
                "threat_model.epsilon",
                f"piras-2024 needs {record.dataset.epsilon} or null, not {record.threat_model.epsilon}; use 'custom'",
            )


def _own_run(path: Path, record: EvaluationRecord) -> Iterator[DocumentError]:
    """What a submitted or verified record must have beyond a published figure."""
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
            yield DocumentError(path, field, "is missing; records of own runs are written by `apsite eval`")
    if record.protocol is Protocol.SURVEY:
        yield DocumentError(path, "protocol", "'piras-2024' is for the survey's published figures only")
    if record.protocol is Protocol.APB_1:
        yield from _apb_1(path, record)


def _apb_1(path: Path, record: EvaluationRecord) -> Iterator[DocumentError]:
    """What a run must be to rank: nothing reduced, and no warning left out."""
    if record.threat_model.epsilon not in (None, record.dataset.epsilon):
        yield DocumentError(
            path, "threat_model.epsilon", f"apb-1 needs {record.dataset.epsilon}, not {record.threat_model.epsilon}"
        )
    if record.results.n_samples not in (None, record.dataset.test_samples):
        yield DocumentError(
            path,
            "results.n_samples",
            f"{record.results.n_samples} is not the whole test set of {record.dataset.test_samples}; "
            "such a run has protocol 'custom'",
        )
    for name in ("autoattack", "hofmn"):
        if getattr(record.results, name) is None:
            yield DocumentError(path, record.results.place(name), "is missing; apb-1 has both attacks")
    settings = record.settings or {}
    for name, needed in APB_1_SETTINGS.items():
        if record.settings is not None and settings.get(name) != needed:
            yield DocumentError(
                path,
                f"settings.{name}",
                f"{settings.get(name)!r} is not apb-1's {needed}; a run with other settings has protocol 'custom'",
            )
    if settings.get(SEARCH_BATCH) == ROTATING:
        yield DocumentError(
            path, f"settings.{SEARCH_BATCH}", f"{ROTATING!r} is not apb-1's; such a run has protocol 'custom'"
        )
    if None not in (settings.get("epsilon"), record.threat_model.epsilon) and (
        settings["epsilon"] != record.threat_model.epsilon
    ):
        yield DocumentError(
            path, "settings.epsilon", f"{settings['epsilon']!r} is not threat_model.epsilon; run `apsite eval` again"
        )
    yield from _search(path, record)
    present = {warning.code for warning in record.warnings}
    for code, reason in _needed_warnings(record):
        if code not in present:
            yield DocumentError(
                path, "warnings", f"lacks {code!r}, which follows from {reason}; a record keeps its warnings"
            )


def _search(path: Path, record: EvaluationRecord) -> Iterator[DocumentError]:
    hofmn, place = record.results.hofmn, record.results.place("hofmn")
    if hofmn is None:
        return
    if hofmn.steps != APB_1_SETTINGS["attack_steps"]:
        yield DocumentError(path, f"{place}.steps", f"{hofmn.steps} is not apb-1's {APB_1_SETTINGS['attack_steps']}")
    if hofmn.search is not None:
        for name, needed in (("trials", 32), ("steps", 100)):
            if getattr(hofmn.search, name) != needed:
                yield DocumentError(
                    path, f"{place}.search.{name}", f"{getattr(hofmn.search, name)} is not apb-1's {needed}"
                )
    for name, value in hofmn.parameters.items():
        low, high = SEARCH_SPACE[name]
        if not low - 1e-6 <= value <= high + 1e-6:
            yield DocumentError(
                path,
                f"{place}.parameters.{name}",
                f"{value} is outside apb-1's search, {low:g} to {high:g}",
            )


def _needed_warnings(record: EvaluationRecord) -> Iterator[tuple[str, str]]:
    """Codes of warnings that the record's own fields call for, and which field."""
    results = record.results
    if results.broken_only_by("hofmn"):
        yield "autoattack-incomplete", results.only_place("hofmn")
    if results.search is not None and results.search.at_bound:
        yield "search-at-bound", f"{results.place('hofmn')}.search.at_bound"
    if record.checkpoint.unsafe_load:
        yield "unsafe-load", "checkpoint.unsafe_load"
    if record.data is not None and not record.data.known:
        yield "unknown-data", "data.known"
    share = matching_share(record)
    if share is not None and abs(share - record.sparsity.declared) > WARN_BEYOND + TOLERANCE:
        yield "sparsity-differs", "sparsity.declared and audit"


def matching_share(record: EvaluationRecord) -> float | None:
    """Share of zero weights, filters or channels that the audit says matches the declared sparsity."""
    audit = record.audit
    if audit is None or record.structure is None:
        return None
    pairs = {
        "weights": (audit.zero_weights, audit.weights),
        "filters": (audit.zero_filters, audit.filters),
        "channels": (audit.zero_channels or 0, audit.channels or 0),
    }
    zero, total = pairs[audit.sparsity_basis or "weights"]
    return zero / total if total else 0.0


def _audit(path: Path, record: EvaluationRecord, audit: CheckpointAudit) -> Iterator[DocumentError]:
    """Counts of the audit: parts within wholes, layers that add up, and the sparsity that follows."""
    for part, whole in (
        ("nonzero_parameters", "parameters"), ("weights", "parameters"), ("zero_weights", "weights"),
        ("effective_macs", "macs"), ("zero_filters", "filters"), ("zero_channels", "channels"),
    ):  # fmt: skip
        counted, total = getattr(audit, part), getattr(audit, whole)
        if counted is not None and total is not None and counted > total:
            yield DocumentError(path, f"audit.{part}", f"{counted} exceeds audit.{whole} {total}")
    for number, layer in enumerate(audit.layers):
        for part, whole in (
            ("zero_weights", "weights"), ("zero_filters", "filters"), ("zero_channels", "channels"),
        ):  # fmt: skip
            counted, total = getattr(layer, part), getattr(layer, whole)
            if counted is not None and total is not None and counted > total:
                yield DocumentError(
                    path, f"audit.layers[{number}].{part}", f"{counted} exceeds {whole} {total} of this layer"
                )
    for name in ("weights", "zero_weights"):
        total = sum(getattr(layer, name) for layer in audit.layers)
        if total != getattr(audit, name):
            yield DocumentError(
                path, f"audit.{name}", f"{getattr(audit, name)} is not the sum over audit.layers, {total}"
            )
    measured = record.sparsity.measured
    share = audit.zero_weights / audit.weights if audit.weights else 0.0
    if measured is not None and abs(measured - share) > TOLERANCE:
        yield DocumentError(
            path, "sparsity.measured", f"{measured} contradicts audit.zero_weights over audit.weights, {share}"
        )
    if audit.sparsity_basis not in (None, "weights") and record.structure is Structure.UNSTRUCTURED:
        yield DocumentError(
            path,
            "audit.sparsity_basis",
            f"{audit.sparsity_basis!r} is not of unstructured pruning; 'weights' is",
        )
    matched = matching_share(record)
    if matched is not None and abs(matched - record.sparsity.declared) > REFUSE_BEYOND + TOLERANCE:
        basis = audit.sparsity_basis or "weights"
        yield DocumentError(
            path,
            "sparsity.declared",
            f"{record.sparsity.declared} is more than {REFUSE_BEYOND * 100:g} points from the measured share of zero "
            f"{basis}, {matched:.4f}; evaluate the pruned checkpoint, or declare its sparsity",
        )
