"""Plans: passes against those of real runs, times from timed passes, and the hours that the docs estimate."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apsite.catalogue import Catalogue
from apsite.evaluation.attacks.fast.engine import COST
from apsite.evaluation.runs.planning import LIKELY, Plan, Speed, estimated_plan, most_passes
from apsite.evaluation.runs.worker import LANES
from apsite.protocol import Precision, Settings
from apsite.records.census import censuses
from apsite.vocabulary import Architecture, Attack, AttackName, Dataset


def test_passes_are_those_of_a_run_that_breaks_nothing() -> None:
    """By hand: 32 trials of 100 steps on 64 samples, and a final pass each."""
    settings = Settings(attacks=(AttackName.HOFMN,), attack_steps=200)
    found = most_passes(settings, COST, {AttackName.HOFMN: 10}, search=True)
    assert found["hofmn-search"] == 32 * 101 * 64
    assert most_passes(settings, COST, {AttackName.HOFMN: 10}, search=False)["hofmn-search"] == 0
    attacked = most_passes(Settings(), COST, {AttackName.AUTOATTACK: 3}, search=True)
    assert attacked == {"apgd-ce": 303, "apgd-t": 2730, "fab-t": 5400, "square": 15003}
    checked = most_passes(Settings(precision=Precision.TF32), COST, {AttackName.AUTOATTACK: 1000}, search=True)
    assert checked["float-check"] == 300 * (101 + 910)


def test_no_committed_run_took_more_than_its_plan(benchmark_data: Catalogue) -> None:
    own = [record for record in benchmark_data.records.values() if record.passes and record.settings]
    assert len(own) >= 13
    for record in own:
        assert record.passes is not None
        assert record.settings is not None
        settings = Settings.from_scalars(record.settings)
        correct = round((record.results.clean_accuracy or 0) * (record.results.n_samples or 0))
        correct = (-(-correct // LANES) + 1) * LANES  # HO-FMN fills up the batches of each part of a run
        most = most_passes(settings, COST, dict.fromkeys(settings.attacks, correct), search=True)
        for phase, passes in record.passes.items():
            if phase != "clean":  # results are confirmed by a few passes more
                assert passes.forward + passes.backward <= 1.01 * most[phase] + correct, (record.model_key, phase)


def test_half_of_the_samples_are_taken_to_stay_robust() -> None:
    plan = Plan(100, 80, {"clean": 100, "apgd-ce": 1000, "square": 1000, "hofmn": 1000}, Speed(1.0, 3.0), 2, 0)
    assert plan.at_most("clean") == plan.likely("clean") == 50
    assert plan.at_most("square") == 500
    assert plan.likely("square") == 500 * LIKELY
    assert plan.likely("apgd-ce") == pytest.approx(plan.at_most("apgd-ce") * 0.6)
    assert plan.at_most("hofmn") == plan.likely("hofmn") == pytest.approx(500 * (0.99 * 3 + 0.01))
    assert plan.total(plan.at_most) > plan.total(plan.likely)


def test_the_page_on_clusters_has_the_hours_that_the_arithmetic_gives(repository: Path) -> None:
    (census, *_) = censuses(Architecture.RESNET18, Dataset.CIFAR10)
    page = (repository / "docs" / "cluster.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+), (float32|tf32) \| ([0-9.]+) \| ([0-9.]+) \| ([0-9.]+) \|$", page, re.MULTILINE)
    assert len(rows) >= 5
    for device, precision, teraflops, likely, most in rows:
        settings = Settings(precision=Precision(precision))
        plan = estimated_plan(census.macs, float(teraflops) * 1e12, settings=settings)
        hours = [12 * plan.total(of) / 3600 for of in (plan.likely, plan.at_most)]
        assert [likely, most] == [f"{one:.1f}" if one < 100 else f"{one:.0f}" for one in hours], device


def test_square_is_the_largest_part_of_an_estimate() -> None:
    plan = estimated_plan(10**9, 1e13)
    assert max(plan.passes, key=plan.likely) == Attack.SQUARE
