"""What in a record contradicts itself or its protocol, seen from the record alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from math import prod
from operator import attrgetter
from pathlib import Path

from apsite import protocol
from apsite.documents.references import load_references
from apsite.errors import DocumentError
from apsite.keys import YEARS_APART
from apsite.official_sets import PUBLISHED
from apsite.records import CheckpointAudit, EvaluationRecord, LayerAudit
from apsite.records.census import dense_network, difference
from apsite.records.patterns import declared_pattern, pattern_share, violations
from apsite.results import TOLERANCE, differs, matching_share, warnings_of, zero_shares
from apsite.validation.runs import hash_problem, run_problems
from apsite.validation.verification import verification_problems
from apsite.vocabulary import Attack, AttackName, Granularity, Protocol, ProvenanceKind, Structure

Found = Iterator[tuple[str, str]]
"""Problems as pairs of the place in the record and what is wrong there."""

_PARTS = (
    ("nonzero_parameters", "parameters"), ("weights", "parameters"), ("zero_weights", "weights"),
    ("effective_macs", "macs"), ("zero_filters", "filters"), ("zero_channels", "channels"),
)  # fmt: skip
"""Counts of an audit that are part of another count."""
_REQUIRED = (
    "samples", "settings", "data", "audit", "checkpoint.sha256", "sparsity.measured", "results.n_samples",
    "threat_model.norm", "threat_model.epsilon",
)  # fmt: skip
"""What every record of an own run has."""


def plausibility_problems(path: Path, record: EvaluationRecord) -> list[DocumentError]:
    """Contradictions within a record, and what it lacks to be what it says it is."""
    own = _published if record.provenance.kind is ProvenanceKind.PUBLISHED else _own_run
    dates = {
        "provenance.date": record.provenance.date,
        "verification.date": record.verification.date if record.verification else None,
        **{f"changes[{number}].date": change.date for number, change in enumerate(record.changes)},
    }
    rules = (_order, _counts, _granularity, _audit, verification_problems, _changes, own)
    return [*(DocumentError(path, *one) for rule in rules for one in rule(record)), *date_problems(path, dates)]


def date_problems(path: Path, days: Mapping[str, str | None]) -> list[DocumentError]:
    """Days, by their place in the document, that no calendar has or that are yet to come."""
    problems = []
    latest = datetime.now(UTC).date() + timedelta(days=1)  # somewhere on Earth it is tomorrow already
    for field, text in days.items():
        try:
            if text is not None and date.fromisoformat(text) > latest:
                wrong = f"{text!r} is in the future; give the day on which it happened"
                problems.append(DocumentError(path, field, wrong))
        except ValueError:
            problems.append(DocumentError(path, field, f"{text!r} is not a day of the calendar; write year-month-day"))
    return problems


def _changes(record: EvaluationRecord) -> Found:
    """A hash is that of a file, and nothing changes before it is there."""
    if wrong := hash_problem(record.checkpoint.sha256):
        yield "checkpoint.sha256", wrong
    for number, change in enumerate(record.changes):
        if change.date < record.provenance.date:
            yield f"changes[{number}].date", f"{change.date!r} is before provenance.date {record.provenance.date!r}"


def _order(record: EvaluationRecord) -> Found:
    """Robust accuracy is never above clean accuracy, joint never above that of one attack."""
    results, clean, joint = record.results, record.results.clean_accuracy, record.results.joint_robust_accuracy
    if clean is None and not results.attacks:
        yield "results", "holds no number at all; `apsite eval` writes them"
    joint_place = "results.joint.robust_accuracy"
    # Results over different samples need not be ordered; the per-sample file says whether they are right.
    apart = {AttackName.HOFMN} if record.leaves_out_tuning else set()
    for result in results.attacks:
        place, value = f"{results.place(result.attack)}.robust_accuracy", result.robust_accuracy
        if clean is not None and result.attack not in apart and value > clean + TOLERANCE:
            yield place, f"{value} exceeds the clean accuracy {clean}"
        same = result.attack in (apart or protocol.APB_1_ATTACKS)
        if same and joint is not None and joint > value + TOLERANCE:
            yield joint_place, f"{joint} exceeds {place} {value}; it counts samples robust under both"
    if clean is not None and joint is not None and not apart and joint > clean + TOLERANCE:
        yield joint_place, f"{joint} exceeds the clean accuracy {clean}"


def _counts(record: EvaluationRecord) -> Found:
    """Counts of AutoAttack's attacks follow each other; there are no more samples than the test set has."""
    results, size = record.results, record.dataset.test_samples
    if results.n_samples is not None and results.n_samples > size:
        yield "results.n_samples", f"{results.n_samples} exceeds the test set of {size} images; recount"
    left: int | None = None
    for attack in (attack for attack in Attack if attack in results.stages):
        count, place = results.stages[attack], f"{results.stage_place(attack)}.attacked"
        if count.broken + count.robust_after != count.attacked:
            wrong = f"is not the sum of broken {count.broken} and robust_after {count.robust_after}"
            yield place, f"{count.attacked} {wrong}"
        if left is not None and count.attacked != left:
            yield place, f"{count.attacked} is not what the attack before left robust, {left}"
        left = count.robust_after


def _granularity(record: EvaluationRecord) -> Found:
    """The unit is one that the structure removes."""
    unit, structure = record.granularity, record.structure
    if unit is None:
        return
    if structure is None:
        yield "granularity", "a dense network has none; set it to null"
    elif unit.structure not in (structure, None):
        allowed = ", ".join(repr(word.value) for word in Granularity if word.structure is structure)
        yield "granularity", f"{unit.value!r} is not what {structure.value} pruning removes; {allowed} or null is"


def _published(record: EvaluationRecord) -> Found:
    """What a result from a paper may claim."""
    epsilon, needed, source = record.threat_model.epsilon, record.dataset.epsilon, record.provenance.source
    cited, year = load_references().get(source), int(record.provenance.date[:4])
    if year < (first := max(PUBLISHED.get(record.dataset, 0), cited.year - YEARS_APART if cited else 0)):
        yield (
            "provenance.date",
            f"{record.provenance.date!r} is before {first}, when {record.dataset.label} or the paper appeared",
        )
    if record.protocol is Protocol.APB_1:
        yield "protocol", "a published result was not obtained by apb-1; use 'piras-2024' or 'custom'"
    if record.protocol is Protocol.SURVEY:
        if source != (survey := protocol.SURVEY_CITATION):
            yield "protocol", f"'piras-2024' is for results of {survey}, not of {source}; use 'custom'"
        if epsilon not in (None, needed):
            yield "threat_model.epsilon", f"piras-2024 requires {needed} or null, not {epsilon}; use 'custom'"


def _own_run(record: EvaluationRecord) -> Found:
    """What a submitted or verified record must have beyond a published result."""
    for place in _REQUIRED:
        if attrgetter(place)(record) is None:
            yield place, "is missing; `apsite eval` writes the record of a run"
    yield from run_problems(record)
    if record.provenance.date < protocol.SURVEY_DATE:
        yield (
            "provenance.date",
            f"{record.provenance.date!r} is before {protocol.SURVEY_DATE}, when the protocol appeared",
        )
    if record.protocol is Protocol.SURVEY:
        yield "protocol", "'piras-2024' is for the survey's published results only; use 'apb-1' or 'custom'"
    if record.protocol is Protocol.APB_1:
        yield from _apb_1(record)


def _apb_1(record: EvaluationRecord) -> Found:
    """What a run must be to rank: nothing reduced or changed, and no warning left out."""
    epsilon, settings = record.threat_model.epsilon, record.settings
    if not record.dataset.registered:
        yield "protocol", f"apb-1 is for registered datasets; a run on {record.dataset.value} has protocol 'custom'"
    n, size = record.results.n_samples, record.dataset.ranked_samples
    if epsilon not in (None, record.dataset.epsilon):
        yield "threat_model.epsilon", f"apb-1 requires {record.dataset.epsilon}, not {epsilon}"
    if n not in (None, size):
        yield "results.n_samples", f"{n} are not the {size} images that rank; such a run has protocol 'custom'"
    for attack in protocol.APB_1_ATTACKS:
        if record.results.of(attack) is None:
            yield record.results.place(attack), "is missing; apb-1 has both attacks"
    if settings is not None:
        checked = record.results.autoattack is not None and record.results.autoattack.checked
        for name, value in protocol.departures(settings, checked=checked).items():
            reason = "a run with other settings has protocol 'custom'"
            yield f"settings.{name}", f"{value!r} is not apb-1's {protocol.RANKING[name]!r}; {reason}"
        if None not in (settings.get("epsilon"), epsilon) and settings["epsilon"] != epsilon:
            yield "settings.epsilon", f"{settings['epsilon']!r} is not threat_model.epsilon; run `apsite eval` again"
    yield from _hofmn(record)
    present = {warning.code for warning in record.warnings}
    for warning in warnings_of(record):
        if warning.code not in present:
            reason = warning.message.rstrip(".")
            yield "warnings", f"lacks {warning.code!r}, which follows from the record ({reason}); add it again"


def _hofmn(record: EvaluationRecord) -> Found:
    """HO-FMN was configured and run as apb-1 says."""
    hofmn, at = record.results.hofmn, record.results.place(AttackName.HOFMN)
    if hofmn is None:
        return
    stated = {f"{at}.steps": (hofmn.steps, "attack_steps")}
    if hofmn.search is not None:
        stated[f"{at}.search.trials"] = hofmn.search.trials, "search_trials"
        stated[f"{at}.search.steps"] = hofmn.search.steps, "search_steps"
    for place, (value, setting) in stated.items():
        if value != protocol.RANKING[setting]:
            yield place, f"{value} is not apb-1's {protocol.RANKING[setting]}"
    for name, parameter in hofmn.parameters.items():
        low, high = protocol.SEARCH_SPACE[name]
        if not low - 1e-6 <= parameter <= high + 1e-6:
            yield f"{at}.parameters.{name}", f"{parameter} is outside apb-1's search, {low:g} to {high:g}"


def _audit(record: EvaluationRecord) -> Found:
    """Counts of the audit: parts within wholes, layers that add up, and the sparsity that follows."""
    audit, declared, measured = record.audit, record.sparsity.declared, record.sparsity.measured
    if audit is None:
        return
    for part, count, whole, total in _exceeding(audit):
        yield f"audit.{part}", f"{count} exceeds audit.{whole} {total}"
    for number, layer in enumerate(audit.layers):
        for part, count, whole, total in _exceeding(layer):
            yield f"audit.layers[{number}].{part}", f"{count} exceeds {whole} {total} of this layer"
        for name, wrong in _layer(layer):
            yield f"audit.layers[{number}].{name}", wrong
    yield from _sums(audit)
    yield from _pattern(record, audit)
    share = zero_shares(audit, None, dense_network(record))["weights"]
    if measured is not None and differs(measured, share):
        yield "sparsity.measured", f"{measured} contradicts the zero weights of the audit, {share} of the dense network"
    basis, matched = audit.sparsity_basis or "weights", matching_share(record)
    if basis != "weights" and record.structure not in (Structure.STRUCTURED, None):
        yield "audit.sparsity_basis", f"{basis!r} is not of {record.structure} pruning; 'weights' is"
    if matched is None and record.structure is not None:
        yield (
            "audit.sparsity_basis",
            f"nothing in the audit says how many {basis} were removed; evaluate the model again",
        )
    if record.structure is None and share > protocol.SPARSITY_LIMIT:
        yield "sparsity.measured", f"{share:.4f} of the weights are removed, but the model key says that it is dense"
    if record.architecture.registered and dense_network(record) is None:
        why = difference(audit.layers, audit.macs, record.architecture, record.dataset)
        yield (
            "audit.layers",
            f"are not those of a {record.architecture.label}: {why}; evaluate what the checkpoint holds",
        )
    if matched is not None and differs(matched, declared, limit := protocol.sparsity_tolerance(declared)[1]):
        apart = f"more than {limit * 100:g} points from the measured share of removed {basis}, {matched:.4f}"
        yield "sparsity.declared", f"{declared} is {apart}; evaluate the pruned checkpoint, or declare its sparsity"


def _pattern(record: EvaluationRecord, audit: CheckpointAudit) -> Found:
    """A semi-structured network states its N:M pattern, and its layers follow it as they say."""
    try:
        pattern = declared_pattern(record.structure, audit.pattern)
    except ValueError as error:
        yield "audit.pattern", f"{error}; `apsite eval --pattern` writes it"
        return
    if pattern is None:
        return
    for number, layer in enumerate(audit.layers):
        broken, groups = layer.broken_groups, pattern.groups(layer)
        wrong = None
        if (broken is None) != (groups is None) or (broken or 0) > (groups or 0):
            wrong = f"{broken} is not a count of {groups or 'no'} groups of {pattern.group} input channels"
        elif broken is not None and groups is not None:
            least, most = (groups - broken) * pattern.zeros, groups * pattern.group - broken * (pattern.kept + 1)
            if not least <= layer.zero_weights <= most:
                wrong = f"{broken} of {groups} groups contradicts {layer.zero_weights} zeros of this layer"
        if wrong:
            yield f"audit.layers[{number}].broken_groups", f"{wrong}; run `apsite eval` again"
    if found := violations(audit):
        yield "audit.pattern", f"{pattern} is not what {found[0].name} follows; evaluate a network that does"
    if not (share := pattern_share(audit)):
        yield "audit.pattern", f"{pattern} is followed by no layer; evaluate a network that does"
    if audit.pattern_share is None or differs(audit.pattern_share, share):
        yield "audit.pattern_share", f"{audit.pattern_share} contradicts audit.layers, which give {share}"


def _sums(audit: CheckpointAudit) -> Found:
    """Totals are those of the layers, and weights that are not zero are parameters that are not, used at least once."""
    whole, computing = audit.layers, [layer for layer in audit.layers if layer.kind != "other"]
    convolutions = [layer for layer in whole if layer.kernel]
    for name in ("weights", "zero_weights", "filters", "zero_filters", "channels", "zero_channels"):
        layers = whole if "weights" in name else convolutions
        counts, count = [getattr(layer, name) for layer in layers], getattr(audit, name)
        if counts and None not in (count, *counts) and count != sum(counts):
            yield f"audit.{name}", f"{count} is not the sum over audit.layers, {sum(counts)}"
    least, most = audit.weights - audit.zero_weights, audit.parameters - audit.zero_weights
    if not least <= audit.nonzero_parameters <= most:
        counted = f"{audit.parameters} parameters and {audit.zero_weights} zeros in {audit.weights} weights"
        yield "audit.nonzero_parameters", f"{audit.nonzero_parameters} is not from {least} to {most}, as {counted} give"
    used = sum(layer.weights - layer.zero_weights for layer in computing)
    if audit.effective_macs < used or audit.macs < 1:
        yield (
            "audit.effective_macs",
            f"{audit.effective_macs} is less than one for each of {used} weights that are not zero",
        )


def _layer(layer: LayerAudit) -> Found:
    """Zeros of a layer are those of its filters, channels and kernels, and perhaps more."""
    for part, whole in (("zero_filters", layer.filters), ("zero_channels", layer.channels)):
        if getattr(layer, part) and whole is None:
            yield part, f"{getattr(layer, part)} is stated without {part.removeprefix('zero_')}; state both or none"
    filters, channels = layer.filters, layer.channels
    if not filters or not channels:
        return
    area = layer.weights // (filters * channels)
    if layer.kind not in (None, "other") and layer.weights != filters * channels * prod(layer.kernel or ()):
        yield "weights", f"{layer.weights} is not filters {filters} times channels {channels} times the kernel"
    zero_filters, zero_channels = layer.zero_filters or 0, layer.zero_channels or 0
    least = area * (zero_filters * channels + zero_channels * filters - zero_filters * zero_channels)
    zeros = {"zero_weights": layer.zero_weights, "removed_weights": layer.removed_weights}
    for name, count in zeros.items():
        if count is not None and count < max(least, area * (layer.zero_kernels or 0)):
            yield name, f"{count} is less than the zero filters, channels and kernels of this layer have"
    if layer.removed_weights is not None:
        most = min(layer.zero_weights, least + area * (layer.zero_kernels or 0))
        if layer.removed_weights > most:
            yield "removed_weights", f"{layer.removed_weights} is more than the {most} that are zero in this way"


def _exceeding(counts: CheckpointAudit | LayerAudit) -> Iterator[tuple[str, int, str, int]]:
    """Parts that are larger than their whole: part, its count, whole, its count."""
    for part, whole in _PARTS:
        count, total = getattr(counts, part, None), getattr(counts, whole, None)
        if count is not None and total is not None and count > total:
            yield part, count, whole, total
