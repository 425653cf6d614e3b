"""Figures and warnings computed from per-sample results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apsite.evaluation.attacks.search import Trial, at_bounds, best_of
from apsite.metrics import median_distance, robust_flags
from apsite.protocol import Settings
from apsite.records import (
    AttackCount,
    AutoAttackResult,
    EvaluationWarning,
    HofmnResult,
    JointResult,
    Results,
    SearchResult,
)
from apsite.samples import Samples
from apsite.vocabulary import Attack, Dataset

GAIN = 0.002
"""Share of samples that a later attack may break after APGD before it is worth a warning (AutoAttack's own limit)."""

WEAK = 0.05
"""Points by which HO-FMN may stay above AutoAttack before its curve is called weak."""


def results_of(samples: Samples, trials: Sequence[Trial], settings: Settings, dataset: Dataset) -> Results:
    """All figures of a record, counted from the samples."""
    n = len(samples)
    epsilon = settings.epsilon_value(dataset)
    autoattack, hofmn, joint = None, None, None
    if samples.aa_robust is not None:
        autoattack = AutoAttackResult(int(samples.aa_robust.sum()) / n, _per_attack(samples))
    if samples.distance is not None:
        counted = samples.without_tuning() if settings.left_out else samples
        assert counted.distance is not None
        m, robust = len(counted), robust_flags(counted.distance, epsilon)
        best = best_of(trials) if trials else None
        search = None
        if best is not None and samples.tuning is not None:
            search = SearchResult(
                trials=len(trials),
                samples=settings.search_samples if settings.left_out else int(samples.tuning.sum()),
                steps=settings.search_steps,
                best_median=best.objective,
                at_bound=at_bounds(best.parameters),
            )
        hofmn = HofmnResult(
            robust_accuracy=int(robust.sum()) / m,
            parameters=best.parameters.as_dict() if best else {},
            median_distance=median_distance(counted.distance),
            not_found=int(np.isinf(counted.distance).sum()),
            search=search,
            steps=settings.attack_steps,
        )
        if counted.aa_robust is not None:
            joint = JointResult(
                robust_accuracy=int((counted.aa_robust & robust).sum()) / m,
                broken_only_by_autoattack=int((~counted.aa_robust & robust).sum()),
                broken_only_by_hofmn=int((counted.aa_robust & ~robust).sum()),
            )
    return Results(n, int(samples.clean_correct.sum()) / n, autoattack, hofmn, joint)


def _per_attack(samples: Samples) -> dict[Attack, AttackCount]:
    counts, before = {}, int(samples.clean_correct.sum())
    for attack, flags in samples.robust_after.items():
        after = int(flags.sum())
        counts[attack] = AttackCount(attacked=before, broken=before - after, robust_after=after)
        before = after
    return counts


def warnings_of(results: Results, settings: Settings) -> list[EvaluationWarning]:
    """What the figures say about the reliability of the evaluation itself."""
    n = results.n_samples or 1
    found: list[EvaluationWarning] = []

    def warn(code: str, message: str) -> None:
        found.append(EvaluationWarning(code, message))

    for attack, meaning in (
        (Attack.FAB_T, "APGD may have stopped in poor optima"),
        (Attack.SQUARE, "gradients may be masked, so the robust accuracy may be overestimated"),
    ):
        if attack in results.stages and results.stages[attack].broken / n > GAIN:
            broken = results.stages[attack].broken
            warn(
                f"{attack.value.split('-')[0]}-gains",
                f"{attack.label} broke {broken} of {n} samples that the attacks before it left robust: {meaning}.",
            )
    m = n - settings.left_out
    autoattack, hofmn, joint = results.accuracies[1:]
    only_hofmn = results.broken_only_by("hofmn")
    if autoattack is not None and hofmn is not None:
        if settings.left_out and joint is not None:  # AutoAttack on the samples behind the figure of HO-FMN
            autoattack = joint + (only_hofmn or 0) / m
        gap = hofmn - autoattack
        if gap > WEAK:
            warn(
                "hofmn-weak",
                f"HO-FMN leaves {gap * 100:.1f} points more samples robust than AutoAttack: "
                "its curve is too optimistic.",
            )
    if only_hofmn:
        warn(
            "autoattack-incomplete",
            f"HO-FMN broke {only_hofmn} of {m} samples that AutoAttack left robust: "
            "the joint figure is the better estimate.",
        )
    search = results.search
    if search is not None:
        if search.at_bound:
            names = ", ".join(name.replace("_", " ") for name in search.at_bound)
            warn("search-at-bound", f"The best configuration lies at a bound of the search space: {names}.")
        if search.samples < settings.search_samples:
            warn(
                "few-search-samples",
                f"Only {search.samples} correctly classified samples were there for the search; "
                f"{settings.search_samples} are usual.",
            )
    return found
