"""Numbers counted from per-sample results, and the warnings that follow, by known answers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apsite.catalogue import load_catalogue
from apsite.protocol import PUBLISHED_BEST
from apsite.records import (
    AttackCount,
    AttackResult,
    EvaluationRecord,
    JointResult,
    Results,
    SearchResult,
    ThreatModel,
    record_from_json,
)
from apsite.results import results_of, warnings_of
from apsite.samples import SampleResults
from apsite.vocabulary import Attack, AttackName, Dataset, ProvenanceKind
from tests.builders import MODEL, audit_document, changed, own_document

N = 1000


def eight_samples() -> SampleResults:
    """Eight samples, of which the search took the first four."""
    clean = np.array([1, 1, 1, 1, 1, 1, 0, 0], bool)
    robust = np.array([1, 1, 1, 1, 1, 0, 0, 0], bool)
    distance = np.array([0.5, 0.5, 0.5, 0.01, 0.01, 0.5, 0, 0], np.float32)
    return SampleResults(np.arange(8, dtype=np.int32), np.zeros(8, np.int16), clean, robust, distance, np.arange(8) < 4)


def test_results_are_counted_over_every_sample_or_without_those_of_the_search() -> None:
    """AutoAttack always counts all; HO-FMN and the joint result may leave out what the search took."""
    results = results_of(eight_samples(), 8 / 255, without_tuning=True)
    assert results.autoattack is not None
    assert results.autoattack.robust_accuracy == 5 / 8
    assert results.joint == JointResult(0, {AttackName.AUTOATTACK: 1, AttackName.HOFMN: 1})
    assert results.hofmn is not None
    assert (results.hofmn.robust_accuracy, results.hofmn.not_found) == (1 / 4, 0)
    assert results.hofmn.median_distance == pytest.approx((0.01 + 0.5) / 2)
    whole = results_of(eight_samples(), 8 / 255).joint
    assert whole == JointResult(3 / 8, {AttackName.AUTOATTACK: 1, AttackName.HOFMN: 2})
    unknown = results_of(eight_samples(), None)
    assert (unknown.n_samples, unknown.clean_accuracy, unknown.hofmn, unknown.joint) == (8, 6 / 8, None, None)
    assert results_of(replace(eight_samples(), tuning=np.ones(8, bool)), 0.1, without_tuning=True).hofmn is None


def record(results: Results, **fields: Any) -> EvaluationRecord:
    """Record without any reason for a warning but its results and `fields`."""
    document = changed(own_document(), "settings.search_samples", 64)
    return replace(record_from_json(document), results=results, **fields)


def results(hofmn: float = 0.5, only_hofmn: int = 0, fab: int = 0, square: int = 0, **search: Any) -> Results:
    """Results of 1,000 samples, half of them robust under AutoAttack."""
    stages = tuple(AttackCount(*count) for count in (
        (Attack.FAB_T, 600, fab, 600 - fab), (Attack.SQUARE, 600, square, 600 - square)
    ))  # fmt: skip
    found = SearchResult(**{"trials": 4, "samples": 64, "steps": 9, "best_median": 0.1, "at_bound": (), **search})
    attacks = AttackResult(AttackName.AUTOATTACK, 0.5, stages), AttackResult(AttackName.HOFMN, hofmn, search=found)
    return Results(N, 0.9, attacks, JointResult(0.4, {AttackName.HOFMN: only_hofmn}))


@pytest.mark.parametrize(("found", "code", "message"), [
    (results(fab=3), "fab-gains", "FAB-T broke 3 of 1000 samples that the attacks before it left robust"),
    (results(square=3), "square-gains", "Square broke 3 of 1000 samples that the attacks before it left robust"),
    (results(hofmn=0.551), "hofmn-weak", "HO-FMN leaves 5.1 points more samples robust than AutoAttack"),
    (results(only_hofmn=1), "autoattack-incomplete", "HO-FMN broke 1 of 1000 samples that AutoAttack left robust"),
    (results(at_bound=("weight_decay",)), "search-at-bound", "at a bound of the search space: weight decay"),
    (results(samples=63), "few-search-samples", "Only 63 correctly classified samples"),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_a_warning_follows_from_the_results(found: Results, code: str, message: str) -> None:
    (warning,) = warnings_of(record(found))
    assert warning.code == code
    assert message in warning.message


def test_results_at_the_limits_need_no_warning() -> None:
    assert warnings_of(record(results(fab=2, square=2, hofmn=0.55))) == []


def test_a_warning_compares_results_of_the_same_samples() -> None:
    """Where HO-FMN leaves out the samples of the search, AutoAttack is compared on the others."""
    settings = {"search_batch": "rotating", "search_samples": 64}
    found = replace(results(hofmn=0.8, trials=4, samples=64), joint=JointResult(0.7, {AttackName.HOFMN: 50}))
    codes = {warning.code: warning.message for warning in warnings_of(record(found, settings=settings))}
    assert codes.keys() == {"autoattack-incomplete"}  # 0.8 against 0.7 + 50 / 744
    assert "50 of 744 samples" in codes["autoattack-incomplete"]


def test_warnings_of_the_checkpoint_and_the_data() -> None:
    document = changed(changed(own_document(), "data.known", False), "checkpoint.unsafe_load", True)
    document = changed(document, "checkpoint.factory_sha256", "c" * 64)
    document = changed(document, "audit", audit_document(MODEL, 0.9051))
    document = changed(document, "results.attacks[hofmn].search.at_bound", [])
    document = changed(document, "results.joint.broken_only_by.hofmn", 0)
    whole = record_from_json(document)
    few = replace(whole, results=replace(whole.results, n_samples=10_000))
    assert [warning.code for warning in warnings_of(few)] == [
        "sparsity-differs",
        "unknown-data",
        "own-network",
        "unsafe-load",
    ]
    assert "Declared sparsity is 90.00%, but 90.51% of the weights are removed." in warnings_of(few)[0].message


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"clean": 0.12}, "at-chance", "Clean accuracy is 12.00%; always naming one class would reach 10.00%"),
        ({"clean": 1.0, "autoattack": 1.0}, "autoattack-broke-little", "AutoAttack broke 0 of 1000 correctly"),
        ({"clean": 0.44, "autoattack": 0.42}, "autoattack-broke-little", "AutoAttack broke 20 of 440 correctly"),
        ({"clean": 0.95, "autoattack": 0.65}, "above-published", "65.00% is far above .* CIFAR-10, 49.48%"),
    ],
)
def test_results_that_are_hardly_true_are_warned_of(changes: dict[str, float], code: str, words: str) -> None:
    values = {"clean": 0.8, "autoattack": 0.4} | changes
    found = Results(N, values["clean"], (AttackResult(AttackName.AUTOATTACK, values["autoattack"]),))
    messages = {warning.code: warning.message for warning in warnings_of(record(found))}
    assert re.search(words, messages[code])
    small = record(found, threat_model=ThreatModel("linf", "1/255"))
    assert {warning.code for warning in warnings_of(small)} <= {"at-chance"}


def test_saturated_cross_entropy_and_distances_that_were_not_found_are_warned_of() -> None:
    """APGD-CE alone breaks nothing where softmax saturates; HO-FMN finds an example for nearly every network."""
    stages = (AttackCount(Attack.APGD_CE, 800, 0, 800), AttackCount(Attack.APGD_T, 800, 400, 400))
    results = Results(N, 0.8, (
        AttackResult(AttackName.AUTOATTACK, 0.4, stages), AttackResult(AttackName.HOFMN, 0.42, not_found=400)
    ))  # fmt: skip
    messages = {warning.code: warning.message for warning in warnings_of(record(results))}
    assert "APGD-CE broke none of 800 samples, and the attacks after it 400" in messages["apgd-ce-broke-nothing"]
    assert "for 400 samples, at least half" in messages["hofmn-found-little"]


def test_no_published_result_is_implausible_and_the_best_ones_are_known() -> None:
    records = [
        one for one in load_catalogue(Path()).records.values() if one.provenance.kind is ProvenanceKind.PUBLISHED
    ]
    best: dict[Dataset, float] = {}
    for one in records:
        best[one.dataset] = max(best.get(one.dataset, 0.0), one.robust_accuracy or 0.0)
        assert not {"at-chance", "above-published", "autoattack-broke-little"} & {it.code for it in warnings_of(one)}
    assert best == PUBLISHED_BEST
