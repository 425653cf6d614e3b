"""The numbers of a record counted from its per-sample results, and the warnings that follow from them.

The evaluator writes what is computed here, and `apsite validate` computes it again from the files of a submission.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod

import numpy as np

from apsite.metrics import binomial_bound, median_distance
from apsite.protocol import APB_1_ATTACKS, PUBLISHED_BEST, SCREENED, SCREENED_BROKEN, sparsity_tolerance
from apsite.records import (
    AttackCount,
    AttackResult,
    CheckpointAudit,
    EvaluationRecord,
    EvaluationWarning,
    JointResult,
    Results,
)
from apsite.records.census import Census, dense_network
from apsite.samples import SampleResults
from apsite.vocabulary import Attack, AttackName, Structure, epsilon_value

TOLERANCE = 1e-9
"""Difference of two fractions that is rounding."""

CHANCE = 1.25
"""Clean accuracy, as a multiple of what naming the most frequent class reaches, up to which a network is at chance."""

FAR_ABOVE = 0.15
"""Robust accuracy above the best published one for its dataset that is worth a warning."""

BARELY = 0.05
"""Share of the attacked samples that is nearly nothing. Published networks lose 17 % of theirs or more."""

GAIN = 0.002
"""Share of samples that a later attack may break after APGD before it is worth a warning (AutoAttack's own limit)."""

WEAK = 0.05
"""Difference by which HO-FMN may exceed AutoAttack's robust accuracy before its curve is called too optimistic."""


def results_of(samples: SampleResults, epsilon: float | None, *, without_tuning: bool = False) -> Results:
    """Every number of a record that its per-sample results determine.

    The search and the parameters of HO-FMN are not among them.

    Args:
        samples: Per-sample results. Where it is unknown which samples they are (see
            :attr:`apsite.samples.SampleResults.indexed`), a distance of 0 need not be a clean error, so clean accuracy
            and the number of samples that were never broken are ``None``.
        epsilon: Perturbation size in input units; ``None`` where it is unknown, and nothing is counted for
            minimum-norm attacks.
        without_tuning: Whether HO-FMN and joint results leave out the samples that the search took.

    >>> import numpy as np
    >>> samples = SampleResults(
    ...     index=np.arange(4, dtype=np.int32),
    ...     label=np.zeros(4, dtype=np.int16),
    ...     clean_correct=np.array([True, True, True, False]),
    ...     distance=np.array([0.05, 0.01, np.inf, 0.0], dtype=np.float32),
    ... )
    >>> results = results_of(samples, 8 / 255)
    >>> results.clean_accuracy, results.hofmn.robust_accuracy, results.hofmn.not_found
    (0.75, 0.5, 1)
    """
    attacks, untuned = [], samples.without_tuning() if without_tuning else samples
    for attack in AttackName:
        part = untuned if attack is AttackName.HOFMN else samples
        array, robust = part.of(attack), part.robust(attack, epsilon)
        if array is None or robust is None:
            continue
        result = AttackResult(attack, int(robust.sum()) / len(part))
        if attack is AttackName.AUTOATTACK:
            result = replace(result, stages=tuple(_stages(part)))
        elif attack.minimum_norm:
            not_found = int(np.isinf(array).sum()) if samples.indexed else None
            result = replace(result, median_distance=median_distance(array), not_found=not_found)
        attacks.append(result)
    n = len(samples)
    clean = int(samples.clean_correct.sum()) / n if samples.indexed else None
    return Results(n, clean, tuple(attacks), _joint(untuned, epsilon))


def _joint(samples: SampleResults, epsilon: float | None) -> JointResult | None:
    """Results of the attacks of ``apb-1`` together; ``None`` unless each of them was run."""
    flags = {attack: samples.robust(attack, epsilon) for attack in APB_1_ATTACKS}
    robust = {attack: array for attack, array in flags.items() if array is not None}
    if len(robust) < len(flags):
        return None
    survived = np.sum(list(robust.values()), axis=0)
    return JointResult(
        int((survived == len(robust)).sum()) / len(samples),
        {attack: int((~array & (survived == len(robust) - 1)).sum()) for attack, array in robust.items()},
    )


def _stages(samples: SampleResults) -> Iterator[AttackCount]:
    """Counts of AutoAttack's attacks, each of which attacks what the one before left robust."""
    before = int(samples.clean_correct.sum())
    for attack in Attack:
        if attack in samples.robust_after:
            after = int(samples.robust_after[attack].sum())
            yield AttackCount(attack, attacked=before, broken=before - after, robust_after=after)
            before = after


def numbers(results: Results) -> dict[str, float | None]:
    """Numbers of :func:`results_of` by their place in a record; attacks without a result are left out.

    >>> numbers(Results(8, 0.75, (AttackResult(AttackName.AUTOATTACK, 0.5),)))
    {'results.n_samples': 8, 'results.clean_accuracy': 0.75, 'results.attacks[autoattack].robust_accuracy': 0.5}
    """
    found = {f"results.{name}": getattr(results, name) for name in ("n_samples", "clean_accuracy")}
    for result in results.attacks:
        place = Results.place(result.attack)
        names = ("robust_accuracy", *(("not_found", "median_distance") if result.attack.minimum_norm else ()))
        found |= {f"{place}.{name}": getattr(result, name) for name in names}
        for count in result.stages:
            for name in ("attacked", "broken", "robust_after"):
                found[f"{place}.stages[{count.attack.value}].{name}"] = getattr(count, name)
    if results.joint is not None:
        found["results.joint.robust_accuracy"] = results.joint.robust_accuracy
        for attack in AttackName:
            found[f"results.joint.broken_only_by.{attack.value}"] = results.broken_only_by(attack)
    return found


def zero_shares(audit: CheckpointAudit, structure: Structure | None, dense: Census | None = None) -> dict[str, float]:
    """Shares of a dense network that were removed and may match a declared sparsity.

    Of its weights; for structured pruning, where single zeros decide nothing, of the weights of removed filters,
    channels and kernels, and of these units themselves. `dense` is the network that a narrower one was cut from;
    without it the audited network itself is the dense one. Units that a record does not state are left out.
    """
    if structure is not Structure.STRUCTURED:
        left = {"weights": (audit.weights - audit.zero_weights, audit.weights)}
    else:
        removed = [layer.removed_weights for layer in audit.layers if layer.removed_weights is not None]
        stated = len(removed) == len(audit.layers)
        zeros = {"filters": audit.zero_filters, "channels": audit.zero_channels}
        totals = {name: getattr(audit, name) or 0 for name in zeros}
        left = {"weights": (audit.weights - sum(removed), audit.weights)} if stated else {}
        left |= {name: (totals[name] - zero, totals[name]) for name, zero in zeros.items() if zero is not None}
        if stated:
            kernels = sum(
                (one.filters or 0) * (one.channels or 0) for one in audit.layers if prod(one.kernel or ()) > 1
            )
            left["kernels"] = kernels - sum(layer.zero_kernels or 0 for layer in audit.layers), kernels
    whole = {unit: dense.count(unit) if dense else total for unit, (_, total) in left.items()}
    return {unit: 1 - kept / whole[unit] if whole[unit] else 0.0 for unit, (kept, _) in left.items()}


def matching_share(record: EvaluationRecord) -> float | None:
    """Share that the audit compares with the declared sparsity; ``None`` if the network is dense or it is not known."""
    if record.audit is None or record.structure is None:
        return None
    shares = zero_shares(record.audit, record.structure, dense_network(record))
    return shares.get(record.audit.sparsity_basis or "weights")


def differs(one: float, other: float, limit: float = 0.0) -> bool:
    """Whether two fractions differ by more than a limit, rounding aside.

    >>> differs(0.9, 0.1 + 0.8), differs(0.905, 0.9, 0.005), differs(0.906, 0.9, 0.005)
    (False, False, True)
    """
    return abs(one - other) > limit + TOLERANCE


def sparsity_warning(shares: Mapping[str, float], declared: float) -> EvaluationWarning:
    """Warning that the declared sparsity is not what was measured."""
    listed = ", ".join(f"{share:.2%} of the {unit}" for unit, share in shares.items())
    return EvaluationWarning("sparsity-differs", f"Declared sparsity is {declared:.2%}, but {listed} are removed.")


def warnings_of(record: EvaluationRecord) -> list[EvaluationWarning]:
    """Every warning that follows from the numbers of a record itself.

    What only a run can see, such as a network that is not deterministic, is not among them.
    """
    return [EvaluationWarning(code, message) for code, message in _warnings(record)]


def _implausible(record: EvaluationRecord) -> Iterator[tuple[str, str]]:
    """Codes and messages of results that are hardly those of a network that works and was attacked in earnest."""
    results, dataset = record.results, record.dataset
    clean, robust, hofmn = results.clean_accuracy, results.aa_robust_accuracy, results.hofmn
    chance = max(dataset.class_counts) / dataset.test_samples
    if clean is not None and clean <= CHANCE * chance + TOLERANCE:
        yield (
            "at-chance",
            (
                f"Clean accuracy is {clean:.2%}; always naming one class would reach {chance:.2%}. "
                "Inputs, order of the classes or weights may be wrong."
            ),
        )
    epsilon = record.threat_model.epsilon
    if epsilon is None or epsilon_value(epsilon) >= epsilon_value(dataset.epsilon):
        best = PUBLISHED_BEST.get(dataset)
        if robust is not None and best is not None and robust > best + FAR_ABOVE + TOLERANCE:
            yield (
                "above-published",
                (
                    f"Robust accuracy of {robust:.2%} is far above the best published one for {dataset.label}, "
                    f"{best:.2%}: the network may know the test set, or mislead attacks."
                ),
            )
        correct = round((clean or 0) * (results.n_samples or 0))
        broken = correct - round((robust or 0) * (results.n_samples or 0))
        if robust is not None and correct and broken <= BARELY * correct:
            yield (
                "autoattack-broke-little",
                (
                    f"AutoAttack broke {broken} of {correct} correctly classified samples, and 17 % or more "
                    "of those of every published network: gradients may mislead it."
                ),
            )
    if (first := results.stages.get(Attack.APGD_CE)) is not None and not first.broken:
        later = sum(count.broken for count in results.stages.values())
        if later > BARELY * first.attacked:
            yield (
                "apgd-ce-broke-nothing",
                (
                    f"APGD-CE broke none of {first.attacked} samples, and the attacks after it {later}: "
                    "the cross-entropy may saturate."
                ),
            )
    if hofmn is not None and hofmn.not_found and hofmn.median_distance is None:
        yield (
            "hofmn-found-little",
            (
                f"HO-FMN found no adversarial example at any distance for {hofmn.not_found} samples, at least half of "
                "those that are classified correctly: gradients may mislead it."
            ),
        )


def _warnings(record: EvaluationRecord) -> Iterator[tuple[str, str]]:
    """Codes and messages."""
    yield from _implausible(record)
    results = record.results
    if results.autoattack is not None and len(record.stages) < len(Attack):
        ran = " and ".join(one.label for one in record.stages)
        most = f"{binomial_bound(SCREENED_BROKEN, SCREENED):.1%} of such survivors, with 95 % confidence"
        known = f"{SCREENED_BROKEN} of {SCREENED:,} survivors"
        yield (
            "screened",
            f"Of AutoAttack, only {ran} ran. In our own runs, the others broke {known}, "
            f"so they break at most {most}; more where gradients are masked.",
        )
    n, m, stages = results.n_samples, record.hofmn_samples or 1, results.stages
    for attack, meaning in (
        (Attack.FAB_T, "APGD may have stopped in poor optima"),
        (Attack.SQUARE, "gradients may be masked, so the robust accuracy may be overestimated"),
    ):
        if n and attack in stages and stages[attack].broken / n > GAIN:
            broke = f"{attack.label} broke {stages[attack].broken} of {n} samples"
            yield f"{attack.value.split('-')[0]}-gains", f"{broke} that the attacks before it left robust: {meaning}."
    autoattack, hofmn, joint = results.accuracies[1:]
    only_hofmn = results.broken_only_by(AttackName.HOFMN) or 0
    if autoattack is not None and hofmn is not None:
        if record.leaves_out_tuning and joint is not None:  # AutoAttack on the samples behind HO-FMN's result
            autoattack = joint + only_hofmn / m
        if hofmn - autoattack > WEAK + TOLERANCE:
            more = f"{(hofmn - autoattack) * 100:.1f} points more samples robust than AutoAttack"
            yield "hofmn-weak", f"HO-FMN leaves {more}: its curve is too optimistic."
    if only_hofmn:
        broke = f"HO-FMN broke {only_hofmn} of {m} samples that AutoAttack left robust"
        yield "autoattack-incomplete", f"{broke}: the joint result is the better estimate."
    if (search := results.search) is not None:
        if search.at_bound:
            names = ", ".join(name.replace("_", " ") for name in search.at_bound)
            yield "search-at-bound", f"The best configuration lies at a bound of the search space: {names}."
        usual = (record.settings or {}).get("search_samples")
        if isinstance(usual, int) and search.samples < usual:
            few = f"Only {search.samples} correctly classified samples were there for the search"
            yield "few-search-samples", f"{few}; {usual} are usual."
    share, structure = matching_share(record), record.structure
    warns, _ = sparsity_tolerance(record.sparsity.declared)
    if share is not None and record.audit and structure and differs(share, record.sparsity.declared, warns):
        shares = zero_shares(record.audit, structure, dense_network(record))
        warning = sparsity_warning(shares, record.sparsity.declared)
        yield warning.code, warning.message
    if record.data is not None and not record.data.known:
        label, own = record.dataset.label, "is a test set of the author's own, of which only a hash is recorded."
        official = f"The images are not the official test set of {label} as far as its hash is known."
        yield "unknown-data", official if record.dataset.registered else f"{label} {own}"
    checkpoint = record.checkpoint
    if checkpoint.factory_sha256 is not None:
        code = f"{checkpoint.layout} (SHA-256 {checkpoint.factory_sha256 or 'unknown'})"
        yield "own-network", f"The network was built by the author's own code, {code}, not by a registered layout."
    if checkpoint.unsafe_load:
        yield "unsafe-load", "The checkpoint was loaded with unrestricted pickle, which executes code in the file."
