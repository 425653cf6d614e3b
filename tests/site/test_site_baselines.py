"""The page of the project's own baselines: figures by value, tests image by image, curves with their leaders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apsite.catalogue import Catalogue, load_catalogue
from apsite.samples import Samples, samples_bytes
from apsite.site.baselines import GLOBAL, LAMP, LOCAL, agreements, duration, read_costs, studies
from apsite.site.content import all_pages
from tests.builders import changed, entry_document, own_document, record_document, write_data
from tests.site.conftest import site_facts
from tests.site.html_tables import read_page

N = 40


def verdicts(robust: range, far: range) -> Samples:
    """Forty images, all correct; robust under AutoAttack in one range, 9/255 instead of 4/255 away in another."""
    index = np.arange(N, dtype=np.int32)
    distance = np.where(np.isin(index, list(far)), 9 / 255, 4 / 255).astype(np.float32)
    label = np.zeros(N, np.int16)
    return Samples(index, label, np.ones(N, np.bool_), np.isin(index, list(robust)), distance, np.zeros(N, np.bool_))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """LAMP and local LWM at 99 % on a ResNet8, a line of Table 8, and what the series cost."""
    documents: list[dict[str, Any]] = []
    for method, robust in ((LAMP, 20), (LOCAL, 8), (GLOBAL, 19)):
        document = own_document(f"{method}_R8_CIFAR10_US_99")
        document = changed(changed(document, "protocol", "custom"), "sparsity.declared", 0.99)
        document = changed(document, "results.autoattack.robust_accuracy", robust / N)
        documents += [entry_document(method, baseline=True), changed(document, "results.n_samples", N)]
    for method, robust_accuracy in ((LOCAL, 0.3004), (LAMP, 0.3698)):
        documents.append(record_document(f"{method}_R18_CIFAR10_US_99", robust=robust_accuracy))
    root = write_data(tmp_path / "data", *documents)
    for method, robust in ((LAMP, range(20)), (LOCAL, range(8)), (GLOBAL, range(1, 20))):
        path = root / f"evaluations/{method}/{method}_R8_CIFAR10_US_99.npz"
        path.write_bytes(samples_bytes(verdicts(robust, range(30) if method == LAMP else range(10))))
    report = {
        f"{LAMP}_R8_CIFAR10_US_99": {
            "finetuning": {"seconds": 61.2, "device": "cpu"}, "half": {"size": 63_000}, "before": {"autoattack": 0.025},
        },
        f"{LOCAL}_R8_CIFAR10_US_99": {"finetuning": {"seconds": "fast"}, "before": None},
    }  # fmt: skip
    (root / "baselines/small").mkdir(parents=True)
    (root / "baselines/small/series.json").write_text(json.dumps({"models": report}), encoding="utf-8")
    return root


def test_criteria_are_compared_image_by_image(root: Path) -> None:
    """LAMP is robust on 12 images more than local LWM, which is no chance; on one more than global LWM, which is."""
    (study,) = studies(load_catalogue(root))
    found = {
        (test.first.record.method, test.second.record.method): (
            test.pair.only_first,
            test.pair.only_second,
            test.verdict,
        )
        for test in study.tests
    }
    assert found == {
        (LAMP, LOCAL): (12, 0, "LAMP ahead"),
        (LAMP, GLOBAL): (1, 0, "tied"),
        (GLOBAL, LOCAL): (12, 1, "LWM-Global ahead"),
    }
    assert study.highest is not None
    assert study.highest.pair.p_value == pytest.approx(2 / 2**12)


def test_the_survey_stands_beside_our_own_figures(root: Path) -> None:
    """The gains of LAMP at the same sparsity, and whether they have the same sign."""
    catalogue = load_catalogue(root)
    (line,) = agreements(catalogue, studies(catalogue)[0])
    assert line.survey_gain == pytest.approx(0.0694)
    assert line.own.pair.difference == pytest.approx(0.3)
    assert line.agrees


def test_curves_have_the_figures_of_the_samples_and_a_bar_of_leaders(root: Path) -> None:
    """Up to 4/255 all are as robust; from there to 9/255 LAMP leads with 30 of 40 images."""
    (study,) = studies(load_catalogue(root))
    (drawing,) = study.drawings
    shares = {line.baseline.record.method: line.shares for line in drawing.lines}
    assert shares[LAMP][3] == shares[LOCAL][3] == 1.0
    assert (shares[LAMP][4], shares[LOCAL][4], shares[LAMP][9]) == (0.75, 0.25, 0.0)
    first = drawing.lines[0].baseline.record.method
    assert first == LAMP
    assert {lead.number for lead in drawing.leads} == {0}


def test_costs_come_from_the_report_of_the_series(root: Path) -> None:
    """Values of another kind and damaged files tell nothing; nothing is guessed."""
    costs = read_costs(root)
    lamp, local = costs[f"{LAMP}_R8_CIFAR10_US_99"], costs[f"{LOCAL}_R8_CIFAR10_US_99"]
    assert (lamp.training, lamp.device, lamp.before, lamp.size) == (61.2, "cpu", 0.025, 63_000)
    assert (local.training, local.before) == (None, None)
    (root / "baselines/small/series.json").write_text("{", encoding="utf-8")
    assert read_costs(root) == {}
    assert read_costs(root / "nowhere") == {}


def test_the_page_says_who_is_ahead_by_how_much(root: Path) -> None:
    """The sentence at the top, the table of costs and the paired tests."""
    page = next(one for one in all_pages(site_facts(load_catalogue(root))) if one.path == "baselines.md")
    assert "LAMP is robust on <b>20</b>" in page.text
    assert "LAMP is at least as robust, by +30.00 points" in page.text
    content = read_page(page.text)
    _, *rows = content.tables["baselines-r8"]
    assert [(row[4], row[6], row[9]) for row in rows] == [
        ("50.00", "2.50", "1 min 01 s"),
        ("47.50", "–", "–"),
        ("20.00", "–", "–"),
    ]
    assert [row[8:] for row in content.tables["paired-r8"][1:]] == [
        ["+30.00", "0.00049", "LAMP ahead"],
        ["+2.50", "1", "tied"],
        ["+27.50", "0.0034", "LWM-Global ahead"],
    ]
    assert content.tables["table-8-r8"][1][1:] == [
        "ResNet18", "30.04", "36.98", "+6.94", "20.00", "50.00", "+30.00", "yes",
    ]  # fmt: skip


def test_when_lamp_is_behind_the_page_says_so(root: Path) -> None:
    """Plainly, with the difference."""
    path = root / f"evaluations/{LAMP}/{LAMP}_R8_CIFAR10_US_99.npz"
    path.write_bytes(samples_bytes(verdicts(range(6), range(10))))
    page = next(one for one in all_pages(site_facts(load_catalogue(root))) if one.path == "baselines.md")
    assert "LAMP was <b>not</b> the more robust one, by \N{MINUS SIGN}5.00 points" in page.text


def test_without_baselines_the_page_says_how_to_make_them(tiny_facts: Any) -> None:
    """And no table is empty."""
    page = next(one for one in all_pages(tiny_facts) if one.path == "baselines.md")
    assert "No baseline has been evaluated by this project yet" in page.text


def test_a_method_page_shows_the_baselines_of_its_settings(root: Path) -> None:
    """With the paired test where the images are the same."""
    page = next(one for one in all_pages(site_facts(load_catalogue(root))) if one.path == f"methods/{LAMP}.md")
    _, *rows = read_page(page.text).tables["beside-baselines"]
    assert [row[2:] for row in rows] == [
        ["36.98", "30.04", "+6.94", "–", "–"],
        ["50.00", "47.50", "+2.50", "40", "1 (tied)"],
        ["50.00", "20.00", "+30.00", "40", "0.00049"],
    ]


def test_the_repository_s_own_series_is_on_the_page(benchmark_data: Catalogue) -> None:
    """Twelve pruned networks and the dense one, all on the same images."""
    found = [study for study in studies(benchmark_data) if study.architecture.value == "resnet8"]
    assert len(found) == 1


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (12.4, "12 s"), (61.2, "1 min 01 s"), (3720.0, "1 h 02 min")]
)
def test_times_are_spelt_as_people_say_them(seconds: float | None, text: str) -> None:
    """Seconds, minutes or hours."""
    assert duration(seconds) == text
