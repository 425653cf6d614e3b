"""The page of the project's own baselines: figures by value, tests image by image, curves with their leaders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apsite.catalogue import Catalogue, load_catalogue
from apsite.contribution.history import supersede
from apsite.samples import SampleResults, samples_bytes
from apsite.site.page import SiteFacts
from apsite.site.pages.baselines import GLOBAL, LAMP, LOCAL, Study, agreements, duration, read_costs, studies
from apsite.vocabulary import Architecture
from tests.builders import (
    audit_document,
    changed,
    entry_document,
    measured,
    own_document,
    record_document,
    samples,
    write_data,
)
from tests.site.conftest import page_text, site_facts
from tests.site.html_tables import PageContent, read_page

N = 40


def verdicts(robust: range, far: range) -> SampleResults:
    """Forty images, all correct; robust under AutoAttack in one range, 9/255 instead of 4/255 away in another."""
    index = np.arange(N, dtype=np.int32)
    distance = np.where(np.isin(index, list(far)), 9 / 255, 4 / 255).astype(np.float32)
    label = np.zeros(N, np.int16)
    return SampleResults(
        index, label, np.ones(N, np.bool_), np.isin(index, list(robust)), distance, np.zeros(N, np.bool_)
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """LAMP and local LWM at 99 % on a ResNet8, a line of Table 8, and what the series cost."""
    documents: list[dict[str, Any]] = []
    for method, robust in ((LAMP, 20), (LOCAL, 8), (GLOBAL, 19)):
        document = own_document(f"{method}_R8_CIFAR10_US_99")
        document = changed(changed(document, "protocol", "custom"), "sparsity.declared", 0.99)
        document = changed(document, "results.attacks[autoattack].robust_accuracy", robust / N)
        documents += [entry_document(method, baseline=True), changed(document, "results.n_samples", N)]
    for method, robust_accuracy in ((LOCAL, 0.3004), (LAMP, 0.3698)):
        documents.append(record_document(f"{method}_R18_CIFAR10_US_99", robust=robust_accuracy))
    root = write_data(tmp_path / "data", *documents)
    for method, robust in ((LAMP, range(20)), (LOCAL, range(8)), (GLOBAL, range(1, 20))):
        path = root / f"evaluations/{method}/{method}_R8_CIFAR10_US_99.npz"
        path.write_bytes(samples_bytes(verdicts(robust, range(30) if method == LAMP else range(10))))
    report = {
        f"{LAMP}_R8_CIFAR10_US_99": {
            "finetuning": {"seconds": 61.2, "device": "cpu"}, "half": {"size": 63_000},
            "before": {"n_samples": 30, "autoattack": 0.025},
        },
        f"{LOCAL}_R8_CIFAR10_US_99": {"finetuning": {"seconds": "fast"}, "before": None},
    }  # fmt: skip
    (root / "baselines/small").mkdir(parents=True)
    (root / "baselines/small/series.json").write_text(json.dumps({"models": report}), encoding="utf-8")
    return root


def test_criteria_are_compared_image_by_image(root: Path) -> None:
    """LAMP is robust on 12 images more than local LWM, which is no chance; on one more than global LWM, which is."""
    (study,) = studies(site_facts(load_catalogue(root)))
    found = {
        (one.first.record.method, one.second.record.method, one.pair.only_first, one.pair.only_second, one.outcome)
        for one in study.tests
    }
    assert found == {
        (LAMP, LOCAL, 12, 0, "LAMP ahead"), (LAMP, GLOBAL, 1, 0, "tied"), (GLOBAL, LOCAL, 12, 1, "LWM-Global ahead"),
    }  # fmt: skip
    assert study.highest is not None
    assert study.highest.separation.p_value == pytest.approx(3 * 2 / 2**12), "one of three tests"


def test_the_survey_stands_beside_our_own_figures(root: Path) -> None:
    catalogue = load_catalogue(root)
    (line,) = agreements(catalogue, studies(site_facts(catalogue))[0])
    assert line.survey_gain == pytest.approx(0.0694)
    assert line.own.pair.difference == pytest.approx(0.3)
    assert line.agrees


def test_curves_have_the_values_of_the_samples_and_a_bar_of_leaders(root: Path) -> None:
    """Up to 4/255 all are as robust, so the first leads; from there LAMP leads with the images that are 9/255 away."""
    (study,) = studies(site_facts(load_catalogue(root)))
    (drawing,) = study.drawings
    counts = {line.curve.record.method: line.steps.table for line in drawing.lines}
    assert counts[LAMP][3] == counts[LOCAL][3] == N
    assert (counts[LAMP][4], counts[LOCAL][4], counts[LAMP][9]) == (30, 10, 0)
    assert drawing.lines[0].curve.record.method == LAMP
    assert [(lead.number, lead.text, lead.tied) for lead in drawing.leads] == [
        (0, "LAMP from 0/255 to 16/255", False),
    ]  # fmt: skip
    assert (drawing.leads[0].start, drawing.leads[0].end) == (drawing.frame.left, drawing.frame.right)


def test_costs_come_from_the_report_of_the_series(root: Path) -> None:
    costs = read_costs(root)
    lamp, local = costs[f"{LAMP}_R8_CIFAR10_US_99"], costs[f"{LOCAL}_R8_CIFAR10_US_99"]
    assert (lamp.training, lamp.device, lamp.before, lamp.size) == (61.2, "cpu", 0.025, 63_000)
    assert (local.training, local.before) == (None, None)
    report = {f"{LAMP}_R8_CIFAR10_US_99": {"finetuning": {"seconds": 5.0}}}
    (root / "baselines/other").mkdir()
    (root / "baselines/other/series.json").write_text(json.dumps({"models": report}), encoding="utf-8")
    records = load_catalogue(root).records
    for folder, seconds in (("small", 61.2), ("other", 5.0)):
        record = records[f"{LAMP}_R8_CIFAR10_US_99"]
        checkpoint = replace(record.checkpoint, url=f"https://example.org/{folder}/model.safetensors")
        found = read_costs(root, {record.model_key: replace(record, checkpoint=checkpoint)})
        assert found[record.model_key].training == seconds
    (root / "baselines/other/series.json").unlink()
    (root / "baselines/small/series.json").write_text("{", encoding="utf-8")
    assert read_costs(root) == {}
    assert read_costs(root / "nowhere") == {}


def test_the_page_says_who_is_ahead_by_how_much(root: Path) -> None:
    text = page_text(site_facts(load_catalogue(root)), "baselines.md")
    assert "LAMP is robust on <b>20/40</b> images" in text
    assert "on <b>8/40</b>: LAMP is more robust (McNemar p = 0.0015)" in text
    content = read_page(text)
    _, *rows = content.tables["baselines-r8"]
    assert [(row[4], row[6], row[7], row[10]) for row in rows] == [
        ("50.00", "2.50", "66.67", "1 min 01 s"),
        ("47.50", "–", "–", "–"),
        ("20.00", "–", "–", "–"),
    ]
    assert [row[8:] for row in content.tables["paired-r8"][1:]] == [
        ["+30.00", "0.0015", "LAMP ahead"],
        ["+2.50", "1", "tied"],
        ["+27.50", "0.0068", "LWM-Global ahead"],
    ]
    assert content.tables["table-8-r8"][1][1:] == [
        "ResNet18", "30.04", "36.98", "+6.94", "20.00", "50.00", "+30.00", "yes",
    ]  # fmt: skip


def test_before_and_after_fine_tuning_are_of_the_same_images(root: Path) -> None:
    """Of the first 30 images LAMP is robust on 20 after it; images that were not attacked before do not count."""
    (study,) = studies(site_facts(load_catalogue(root)))
    assert study.tuning is not None
    assert [one.record.method for one in study.tuning.better] == [LAMP]
    assert (study.tuning.images, study.tuning.before, study.tuning.after) == (30, (0.025, 0.025), (20 / 30, 20 / 30))
    text = page_text(site_facts(load_catalogue(root)), "baselines.md")
    assert (
        "Fine-tuning made all <b>1</b> pruned networks more robust: on the first 30 of these images, robust accuracy "
        "under AutoAttack is 2.50 % before it and 66.67 % after it."
    ) in text


def test_where_fine_tuning_did_not_help_the_page_says_so(root: Path) -> None:
    """By name; fewer images than were attacked before are no comparison."""
    report = {
        f"{LAMP}_R8_CIFAR10_US_99": {"before": {"n_samples": 30, "autoattack": 0.7}},
        f"{LOCAL}_R8_CIFAR10_US_99": {"before": {"n_samples": 8, "autoattack": 0.5}},
        f"{GLOBAL}_R8_CIFAR10_US_99": {"before": {"n_samples": N + 1, "autoattack": 0.1}},
    }
    (root / "baselines/small/series.json").write_text(json.dumps({"models": report}), encoding="utf-8")
    text = page_text(site_facts(load_catalogue(root)), "baselines.md")
    assert (
        "Fine-tuning made <b>1</b> of 2 pruned networks more robust, but <b>not</b> LAMP at 99 %: on the first 30 "
        "of these images, robust accuracy under AutoAttack is 50.00 % to 70.00 % before it and 66.67 % to 100.00 % "
        "after it."
    ) in text


def test_a_figure_of_the_survey_that_was_replaced_still_stands_beside_ours(root: Path) -> None:
    """An own run on the survey's network takes the place of its figure, which moves to the history."""
    document = own_document(f"{LAMP}_R18_CIFAR10_US_99")
    document["audit"] = audit = audit_document(document["model_key"], 0.99)
    document["sparsity"] = {"declared": 0.99, "measured": measured(audit)}
    new = root.parent / f"new/{LAMP}/{LAMP}_R18_CIFAR10_US_99.json"
    new.parent.mkdir(parents=True)
    new.write_text(json.dumps(document), encoding="utf-8")
    new.with_suffix(".npz").write_bytes(samples_bytes(samples()))
    supersede(root, new, "Evaluated again by this project.", by="the apsite maintainers")
    catalogue = load_catalogue(root)
    study = next(one for one in studies(site_facts(catalogue)) if one.architecture is Architecture.RESNET8)
    (line,) = agreements(catalogue, study)
    assert line.survey[1].robust_accuracy == 0.3698


def test_a_difference_that_is_not_significant_is_no_lead(root: Path) -> None:
    path = root / f"evaluations/{LAMP}/{LAMP}_R8_CIFAR10_US_99.npz"
    path.write_bytes(samples_bytes(verdicts(range(6), range(10))))
    text = page_text(site_facts(load_catalogue(root)), "baselines.md")
    assert "on <b>8/40</b>: no significant difference (McNemar p = " in text


def test_without_baselines_the_page_says_how_to_make_them(tiny_facts: Any) -> None:
    assert "This project has not evaluated a baseline yet" in page_text(tiny_facts, "baselines.md")


def test_a_method_page_shows_the_baselines_of_its_settings(root: Path) -> None:
    _, *rows = read_page(page_text(site_facts(load_catalogue(root)), f"methods/{LAMP}.md")).tables["beside-baselines"]
    assert [row[2:] for row in rows] == [
        ["36.98", "30.04", "+6.94", "–", "–"],
        ["50.00", "47.50", "+2.50", "40", "1 (tied)"],
        ["50.00", "20.00", "+30.00", "40", "0.0015"],
    ]


@pytest.fixture(scope="module")
def own(benchmark_facts: SiteFacts) -> Study:
    """The repository's first series on the small network."""
    (study,) = (one for one in studies(benchmark_facts) if one.place == "r8")
    return study


def test_the_repository_s_own_series_is_on_the_page(own: Study, benchmark_facts: SiteFacts) -> None:
    together = [one for one in studies(benchmark_facts) if one.architecture is Architecture.RESNET8]
    models = [one for study in together for one in study.models]
    assert sum(study.dense is not None for study in together) == 1
    assert len(models) >= 13
    assert all(len({tuple(one.samples.index) for one in study.models}) == 1 for study in together)
    drawn = [line.curve.record.model_key for drawing in own.drawings for line in drawing.lines]
    assert sorted(drawn) == sorted(one.record.model_key for one in own.pruned)
    on_curves = {curve.record.model_key for curve in benchmark_facts.curves}
    assert {one.record.model_key for one in models} <= on_curves


def test_the_table_of_the_repository_s_series_has_the_figures_of_the_records(
    own: Study, benchmark_pages: dict[str, PageContent], repository: Path
) -> None:
    _, *rows = benchmark_pages["baselines.md"].tables["baselines-r8"]
    reported = json.loads((repository / "baselines/resnet8/series.json").read_text(encoding="utf-8"))["models"]
    for row, one in zip(rows, own.models, strict=True):
        path = repository / f"evaluations/{one.record.method}/{one.record.model_key}.json"
        document = json.loads(path.read_text(encoding="utf-8"))
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
            robust = arrays["aa_robust"]
        assert row[3] == f"{100 * document['results']['clean_accuracy']:.2f}"
        assert row[4] == f"{100 * robust.mean():.2f}"
        (hofmn,) = (one["robust_accuracy"] for one in document["results"]["attacks"] if one["attack"] == "hofmn")
        assert row[8] == f"{100 * hofmn:.2f}"
        assert row[9] == f"{document['audit']['weights'] - document['audit']['zero_weights']:,}"
        before = reported[one.record.model_key].get("before")
        if before is not None:
            assert row[6] == f"{100 * before['autoattack']:.2f}"
            assert row[7] == f"{100 * robust[: before['n_samples']].mean():.2f}"
            assert robust[: before["n_samples"]].mean() > before["autoattack"], one.record.model_key


def test_the_survey_is_ahead_in_every_line_as_the_page_says(own: Study, benchmark_data: Catalogue) -> None:
    lines = agreements(benchmark_data, own)
    assert [line.percent for line in lines] == [90, 90, 95, 95, 99, 99]
    assert all(line.survey_gain > 0 for line in lines)


def test_the_findings_of_the_repository_s_series_follow_from_its_samples(
    own: Study, benchmark_facts: SiteFacts
) -> None:
    text = page_text(benchmark_facts, "baselines.md")
    assert own.tuning is not None
    assert not own.tuning.others
    assert len(own.tuning.better) == len(own.pruned)
    assert f"Fine-tuning made all <b>{len(own.pruned)}</b> pruned networks more robust" in text
    at_99 = {one.record.method: one.samples.aa_robust for one in own.pruned if one.record.key.percent == 99}
    lamp, local = at_99[LAMP], at_99[LOCAL]
    assert lamp is not None
    assert local is not None
    assert f"At 99 % sparsity, LAMP is robust on <b>{lamp.sum()}/{len(lamp)}</b> images" in text
    assert f"on <b>{local.sum()}/{len(lamp)}</b>: no significant difference (McNemar p = " in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (12.4, "12 s"), (61.2, "1 min 01 s"), (3720.0, "1 h 02 min")]
)
def test_times_are_spelt_as_people_say_them(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
