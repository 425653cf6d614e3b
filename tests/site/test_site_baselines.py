"""The page of the project's own baselines: figures by value, tests image by image, curves with their leaders."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apsite.catalogue import Catalogue, load_catalogue
from apsite.contribution.history import supersede
from apsite.samples import SampleResults, samples_bytes
from apsite.site.page import SiteFacts
from apsite.site.tables.criteria import GLOBAL, LAMP, LOCAL, Study, studies
from apsite.site.tables.criteria_beside import agreements, orders
from apsite.site.tables.series_costs import duration, read_costs
from apsite.vocabulary import Architecture
from tests.builders import (
    METHOD,
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


def found_studies(catalogue: Catalogue) -> list[Study]:
    """Studies of a catalogue."""
    facts = site_facts(catalogue)
    return studies(facts.catalogue, facts.judge, facts.curves)


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
    (study,) = found_studies(load_catalogue(root))
    found = {
        (one.first.record.method, one.second.record.method, one.pair.only_first, one.pair.only_second, one.outcome)
        for one in study.fields[0].pairs
    }
    assert found == {
        (LAMP, LOCAL, 12, 0, "LAMP ahead"), (LAMP, GLOBAL, 1, 0, "tied"), (GLOBAL, LOCAL, 12, 1, "LWM-Global ahead"),
    }  # fmt: skip
    assert study.highest is not None
    assert study.highest.separation.p_value == pytest.approx(3 * 2 / 2**12), "one of three tests"
    (field,) = study.fields
    assert [one.record.method for one in field.models] == [LAMP, GLOBAL, LOCAL]
    assert ([one.record.method for one in field.ties], len(field.separated)) == ([GLOBAL], 2)
    forth, back = field.tests[0][2], field.tests[2][0]
    assert forth is not None
    assert back is not None
    assert (back.pair, back.outcome) == (forth.pair.reversed, forth.outcome)


def test_the_survey_stands_beside_our_own_figures(root: Path) -> None:
    catalogue = load_catalogue(root)
    (line,) = agreements(catalogue, found_studies(catalogue)[0])
    assert line.survey_gain == pytest.approx(0.0694)
    assert line.own.pair.difference == pytest.approx(0.3)
    assert line.agrees


def test_curves_have_the_values_of_the_samples_and_a_bar_of_leaders(root: Path) -> None:
    """Up to 4/255 all are as robust, so the first leads; from there LAMP leads with the images that are 9/255 away."""
    (study,) = found_studies(load_catalogue(root))
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
    assert [(row[5], row[7], row[8], row[12]) for row in rows] == [
        ("50.00", "2.50", "66.67", "1 min 01 s"),
        ("47.50", "–", "–", "–"),
        ("20.00", "–", "–", "–"),
    ]
    assert [row[9:] for row in content.tables["paired-r8"][1:]] == [
        ["+2.50", "1", "tied"],
        ["+30.00", "0.0015", "LAMP ahead"],
        ["+27.50", "0.0068", "LWM-Global ahead"],
    ]
    assert [row[5:] for row in content.tables["criteria-r8-us-99"][1:]] == [
        ["+2.50 =", "+30.00"], ["", "+27.50"], ["", ""],
    ]  # fmt: skip
    assert "At 99 %, 2 criteria are tied; LWM is behind" in text
    assert "Of 3 pairs of criteria, 2 differ by more than chance" in text
    assert content.tables["table-8-r8"][1][1:] == [
        "ResNet18", "30.04", "36.98", "+6.94", "20.00", "50.00", "+30.00", "yes",
    ]  # fmt: skip


def test_before_and_after_fine_tuning_are_of_the_same_images(root: Path) -> None:
    """Of the first 30 images LAMP is robust on 20 after it; images that were not attacked before do not count."""
    (study,) = found_studies(load_catalogue(root))
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
    study = next(one for one in found_studies(catalogue) if one.architecture is Architecture.RESNET8)
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


def test_a_network_that_gave_all_images_one_class_is_not_counted(root: Path) -> None:
    """No attack changes its constant answer, so fine-tuning may well lower it."""
    before = {"n_samples": 30, "clean_accuracy": 0.8, "autoattack": 0.8}
    report = {
        f"{LAMP}_R8_CIFAR10_US_99": {"before": before},
        f"{LOCAL}_R8_CIFAR10_US_99": {"before": before | {"autoattack": 0.1}},
    }
    (root / "baselines/small/series.json").write_text(json.dumps({"models": report}), encoding="utf-8")
    (study,) = found_studies(load_catalogue(root))
    assert study.tuning is not None
    assert [one.record.method for one in study.tuning.all] == [LOCAL]
    assert [one.record.method for one in study.tuning.one_class] == [LAMP]
    assert "LAMP gave every image one class before it" in page_text(site_facts(load_catalogue(root)), "baselines.md")


def test_the_order_of_criteria_is_compared_with_that_of_methods(root: Path) -> None:
    """Ours: LWM 50.00 %, LIS 2.50 %. The survey's: LIS is ahead on one network and behind on the other."""
    ours = changed(entry_document("LIS_Doe2024Method", baseline=True), "specifics.criterion", "LIS")
    report = changed(entry_document("Scores_Doe2024Method"), "specifics.criterion", "LIS")
    magnitude = (
        changed(entry_document(key, baseline=True), "specifics.criterion", "LWM") for key in (LAMP, LOCAL, GLOBAL)
    )
    document = changed(own_document("LIS_Doe2024Method_R8_CIFAR10_US_99"), "protocol", "custom")
    document = changed(changed(document, "sparsity.declared", 0.99), "results.n_samples", N)
    document = changed(document, "results.attacks[autoattack].robust_accuracy", 1 / N)
    documents = [report, ours, document, *magnitude]
    for network, share in (("R18", 0.5), ("V16", 0.1)):
        documents.append(record_document(f"Scores_Doe2024Method_{network}_CIFAR10_US_99", robust=share))
        documents.append(record_document(f"{METHOD}_{network}_CIFAR10_US_99", robust=0.3))
    write_data(root, changed(entry_document(METHOD), "specifics.criterion", "LWM"), *documents)
    path = root / "evaluations/LIS_Doe2024Method/LIS_Doe2024Method_R8_CIFAR10_US_99.npz"
    path.write_bytes(samples_bytes(verdicts(range(1), range(10))))
    facts = site_facts(load_catalogue(root))
    (study,) = studies(facts.catalogue, facts.judge, facts.curves)
    found = {order.setting.architecture: order.alike for order in orders(facts.judge, study)}
    assert found == {Architecture.RESNET18: (0, 1), Architecture.VGG16: (1, 1)}


def test_another_seed_is_the_yardstick_of_chance(root: Path) -> None:
    """The same network again is robust on 2 images more; LAMP and local LWM differ by 12, LAMP and global LWM by 1."""
    for path in [*root.glob("evaluations/*/*_R8_*.json")]:
        document = json.loads(path.read_text(encoding="utf-8"))
        document["checkpoint"]["url"] = f"https://example.org/small/{path.stem}.safetensors"
        path.write_text(json.dumps(document), encoding="utf-8")
        if path.stem.startswith(LAMP):
            again = root / "baselines/small-seed2/evaluations" / LAMP / path.name
            again.parent.mkdir(parents=True)
            again.write_text(json.dumps(document), encoding="utf-8")
            again.with_suffix(".npz").write_bytes(samples_bytes(verdicts(range(22), range(10))))
    text = page_text(site_facts(load_catalogue(root)), "baselines.md")
    assert "Another seed of fine-tuning changes robust accuracy by up to 5.00 points" in text
    assert "At 99 %, 2 of 3 pairs of criteria differ by more." in text
    assert read_page(text).tables["seeds-r8"][1] == ["LAMP", "99 %", "40", "50.00", "55.00", "+5.00", "0.5"]


@pytest.fixture(scope="module")
def own(benchmark_facts: SiteFacts) -> Study:
    """The repository's series on the small network."""
    (study,) = studies(benchmark_facts.catalogue, benchmark_facts.judge, benchmark_facts.curves)
    return study


def test_the_repository_s_own_series_is_on_the_page(own: Study, benchmark_facts: SiteFacts) -> None:
    assert own.dense is not None
    assert own.series == "criteria"
    assert all(np.isin(own.sampled, one.samples.index).all() for one in own.models)
    assert len(own.sampled) == 1000
    drawn = [line.curve.record.model_key for drawing in own.drawings for line in drawing.lines]
    assert len(drawn) == len(set(drawn)) == sum(min(4, len(field.models)) for field in own.fields)
    assert set(drawn) <= {one.record.model_key for one in own.pruned}
    assert {one.record.model_key for one in own.models} <= {curve.record.model_key for curve in benchmark_facts.curves}


def test_what_is_missing_is_the_series_less_what_was_evaluated(own: Study, repository: Path) -> None:
    """Of a network that is to have the whole test set, also the run on it."""
    document = tomllib.loads((repository / "baselines/criteria.toml").read_text(encoding="utf-8"))
    networks = 1 + sum(len(table["sparsities"]) for table in document["criterion"])
    whole = {one.record.model_key for one in own.models if one.record.protocol.ranks}
    to_do = {one.record.model_key for one in own.models} & set(document["evaluation"]["whole"]) - whole
    assert whole <= set(document["evaluation"]["whole"])
    assert sum(map(len, own.missing.values())) == networks - len(own.models) + len(to_do)


def test_the_table_of_the_repository_s_series_has_the_figures_of_the_records(
    own: Study, benchmark_pages: dict[str, PageContent], repository: Path
) -> None:
    head, *rows = benchmark_pages["baselines.md"].tables["baselines-r8"]
    reported = json.loads((repository / "baselines/criteria/series.json").read_text(encoding="utf-8"))["models"]
    for cells, one in zip(rows, own.models, strict=True):
        row = dict(zip(head, cells, strict=True))
        path = repository / f"evaluations/{one.record.method}/{one.record.model_key}.json"
        document = json.loads(path.read_text(encoding="utf-8"))
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
            robust, index = arrays["aa_robust"], arrays["index"]
        results = document["results"]
        whole = results.get("whole_set") or results
        assert row["Clean"] == f"{100 * whole['clean_accuracy']:.2f}"
        assert (row["Images"], row["AutoAttack"].split("s")[0]) == (f"{len(index):,}", f"{100 * robust.mean():.2f}")
        (hofmn,) = (found["robust_accuracy"] for found in results["attacks"] if found["attack"] == "hofmn")
        assert row["HO-FMN"] == f"{100 * hofmn:.2f}"
        assert row["Weights left"] == f"{document['audit']['weights'] - document['audit']['zero_weights']:,}"
        before = reported[one.record.model_key].get("before")
        if before is not None:
            first = np.isin(index, own.sampled[: before["n_samples"]])
            assert row["Before fine-tuning"] == f"{100 * before['autoattack']:.2f}"
            assert row["After, same images"] == f"{100 * robust[first].mean():.2f}"


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (12.4, "12 s"), (61.2, "1 min 01 s"), (3720.0, "1 h 02 min")]
)
def test_times_are_spelt_as_people_say_them(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
