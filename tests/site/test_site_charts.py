"""Charts by their fields and marks, curves by their values."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsite.catalogue import load_catalogue
from apsite.comparable import interval_of
from apsite.metrics import robust_accuracy
from apsite.site.charts.charts import robustness_chart
from apsite.site.charts.curves import EPSILONS, SPAN, load_curves, steps_of
from apsite.site.charts.curves import write_curves as write_curve_files
from apsite.site.pages import curves as robustness
from apsite.site.tables.methods import labels
from tests.builders import MODEL, entry_document, own_document, write_data
from tests.site.synthetic import CURVES, synthetic_samples, write_curves, write_synthetic


def marks(spec):
    """Mark types of the layers, in order."""
    return [layer["mark"]["type"] for layer in spec["layer"]]


def test_robustness_chart_fields_and_marks(tiny_facts):
    chosen = robustness.first_setting(
        robustness.settings(tiny_facts.catalogue, tiny_facts.curves, tiny_facts.labels)
    ).first
    data = robustness.chart_data(chosen)
    spec = robustness_chart(data, span=SPAN, top=robustness.top(chosen))
    assert marks(spec) == [
        "area", "line", "rule", "text", "rule", "point", "rule", "text", "rule", "text", "rect", "text", "rule",
    ]  # fmt: skip
    line = spec["layer"][1]
    assert (line["mark"]["interpolate"], line["mark"]["clip"]) == ("step-after", True)
    assert [layer["data"]["name"] for layer in spec["layer"][:11]] == [
        "bands", "curves", "budgets", "budgets", "points", "points", "names", "names", "labels", "labels", "leaders",
    ]  # fmt: skip
    (budget,) = spec["datasets"]["budgets"]
    assert budget == {"budget": pytest.approx(8), "text": "ε = 8/255"}
    (attack,) = spec["datasets"]["points"]
    assert attack["robust"] == chosen[0].record.robust_accuracy
    assert not attack["alone"]
    assert {parameter["name"] for parameter in spec["params"]} >= {"x_from", "x_to", "y_from", "y_to", "cursor"}
    curve = chosen[0].curve
    drawn = [(row["budget"], row["robust"]) for row in spec["datasets"]["curves"]]
    assert drawn[:-1] == [(b, c / 8) for b, c in zip(curve.joint.budgets, curve.joint.counts, strict=True)]
    assert drawn[-1] == (SPAN, drawn[-2][1])
    for row in spec["datasets"]["bands"]:
        assert (row["low"], row["high"]) == interval_of(curve.joint.at(row["budget"]) / 8, 8)


def test_models_known_from_papers_are_two_points(benchmark_facts):
    offered = robustness.settings(benchmark_facts.catalogue, [], benchmark_facts.labels)
    (setting,) = (one for one in offered if one.identity == "R18_CIFAR10_US_90")
    model = next(m for m in setting.models if m.label == "HARP")
    clean, attack = robustness.known_points(model)
    assert (clean["what"], clean["budget"], clean["robust"]) == ("clean", 0, model.record.results.clean_accuracy)
    assert (attack["budget"], attack["robust"]) == (pytest.approx(8), model.record.robust_accuracy)
    assert attack["low"] < attack["robust"] < attack["high"]
    assert "alone" not in clean
    data = robustness.chart_data([model])
    assert [row["label"] for row in data["names"]] == ["HARP"], "named beside its diamond: it has no line"
    assert (data["curves"], data["bands"], data["leaders"], data["labels"]) == ([], [], [], [])
    assert robustness.leader_sentence([]) == "The bar below the curves compares two curves or more."
    assert setting.caution == "", "what draws no curve needs no caution about curves"


def test_a_leader_is_named_only_where_its_interval_is_above_all_others(tmp_path, benchmark_data):
    root = write_data(tmp_path, *(entry_document(key.rpartition("_R8_")[0]) for key in CURVES))
    write_curves(root)
    catalogue = load_catalogue(root)
    (setting,) = robustness.settings(catalogue, load_curves(catalogue), labels(catalogue.entries.values()))
    chosen = setting.first
    shares = [model.record.robust_accuracy for model in chosen]
    assert len(chosen) == robustness.FIRST
    assert shares == sorted(shares, reverse=True)
    data = robustness.chart_data(chosen)
    assert len({(row["colour"], tuple(row["dash"])) for row in data["curves"]}) == robustness.FIRST
    segments = data["leaders"]
    assert (segments[0]["from"], segments[-1]["to"]) == (0, SPAN)
    assert all(a["to"] == b["from"] and a["label"] != b["label"] for a, b in itertools.pairwise(segments))
    named = {row["label"] for row in segments}
    assert robustness.NOBODY in named
    assert len(named) > 1
    for tenth, epsilon in enumerate(EPSILONS[:-1]):
        ends = sorted((interval_of(m.curve.best.at(tenth / 10) / 2000, 2000), m.label) for m in chosen)
        leader = ends[-1][1] if all(high < ends[-1][0][0] for (_, high), _ in ends[:-1]) else robustness.NOBODY
        (row,) = (row for row in segments if row["from"] <= tenth / 10 < row["to"])
        assert row["label"] == leader, epsilon
    sentence = robustness.leader_sentence(segments)
    assert all(label in sentence for label in named - {robustness.NOBODY})
    assert "no model over" in sentence
    assert robustness.leader_sentence([{"label": robustness.NOBODY, "from": 0, "to": 16}]).startswith("At no ε")


def test_reduced_runs_on_a_small_network_carry_a_caution(benchmark_facts):
    offered = robustness.settings(benchmark_facts.catalogue, benchmark_facts.curves, benchmark_facts.labels)
    setting = robustness.first_setting(offered)
    assert "are from runs that do not rank, on at most 1,000 of 10,000 test images. ResNet8 is a small network" in (
        setting.caution
    )
    assert "The 95 % intervals are up to " in setting.caution
    assert setting.title == "CIFAR-10 ResNet8, unstructured, 95 %"
    assert setting.command == (
        "apsite eval CHECKPOINT --method METHOD --dataset cifar10 --arch resnet8 "
        "--structure unstructured --sparsity 0.95"
    )


def test_settings_are_files_of_their_own(benchmark_facts, tmp_path):
    """A file holds one setting, and all files every model that has a result."""
    robustness.write_settings(tmp_path, benchmark_facts)
    found = {}
    for path in (tmp_path / "data/curves/settings").glob("*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        for method, model in document["models"].items():
            assert model["key"] == f"{method}_{path.stem}"
            found[model["key"]] = model["robust"]
        rows = list(csv.DictReader(io.StringIO(path.with_suffix(".csv").read_text(encoding="utf-8"))))
        assert [row["model_key"] for row in rows] == [model["key"] for model in document["models"].values()]
    records = benchmark_facts.catalogue.records
    assert found == {k: r.robust_accuracy for k, r in records.items() if r.robust_accuracy is not None}


def test_curve_is_exact(tiny_facts):
    curve = tiny_facts.curves[0]
    scale = 255 / 256
    assert curve.hofmn.budgets == pytest.approx((0, 2 * scale, 4 * scale, 10 * scale, 12 * scale), abs=1e-5)
    assert curve.hofmn.counts == (6, 5, 3, 2, 1)
    assert curve.hofmn.table == (6, 6, 5, 5, 3, 3, 3, 3, 3, 3, 2, 2, 1, 1, 1, 1, 1)
    joint = curve.joint
    assert joint is not None
    assert joint.at(8) / 8 == curve.record.results.joint.robust_accuracy
    assert curve.hofmn.at(8) / 8 == curve.record.results.hofmn.robust_accuracy
    assert joint.at(7) == curve.hofmn.at(7)
    assert (joint.at(7.9), joint.at(8.1)) == (3, 2)
    assert load_curves(tiny_facts.catalogue) == [curve]


@given(st.integers(1, 30_000), st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_drawn_curve_stays_within_a_tenth_of_a_point(size, seed):
    rng = np.random.default_rng(seed)
    distance = rng.gamma(2, 4 / 255, size).astype(np.float32)
    distance[rng.random(size) < 0.2] = 0
    distance[rng.random(size) < 0.1] = np.float32(8 / 255)
    steps = steps_of(distance)
    assert len(steps.budgets) <= max(501, 1 + min(size, 1001))
    beside = np.array(steps.budgets) + 1.05e-4  # steps are rounded to 1e-5: never at one, always halfway
    for budget in np.concatenate([np.linspace(0, SPAN, 97), beside]).clip(0, SPAN):
        drawn = steps.counts[int(np.searchsorted(steps.budgets, budget, side="right")) - 1]
        assert abs(drawn - round(robust_accuracy(distance, budget / 255) * size)) <= 0.001 * size
    assert steps.exact == tuple(round(robust_accuracy(distance, epsilon) * size) for epsilon in EPSILONS)


def test_curve_file_is_small_and_says_the_same(tmp_path):
    samples = synthetic_samples(1, size=10_000)
    root = write_data(tmp_path, entry_document())
    write_synthetic(root, MODEL, samples)
    (curve,) = load_curves(load_catalogue(root))
    write_curve_files(tmp_path, [curve])
    content = (tmp_path / "data/curves" / f"{MODEL}.json").read_bytes()
    assert len(gzip.compress(content)) <= 2048
    document = json.loads(content)
    for name in ("hofmn", "joint"):
        steps, packed = getattr(curve, name), document[name]
        assert tuple(itertools.accumulate(packed["counts"])) == steps.counts
        assert [b / 10_000 for b in itertools.accumulate(packed["budgets"])] == pytest.approx(steps.budgets, abs=2e-4)
        assert tuple(itertools.accumulate(packed["exact"])) == steps.exact


def test_paper_protocol_leaves_out_the_samples_of_the_search(tmp_path):
    """A record that counts only samples outside the search has a curve over those, equal to its figures."""
    document = own_document(MODEL)
    document["settings"]["search_batch"] = "rotating"
    document["results"]["attacks"][1]["robust_accuracy"] = 1 / 6
    document["results"]["joint"]["robust_accuracy"] = 0.0
    catalogue = load_catalogue(write_data(tmp_path, entry_document(), document))
    (curve,) = load_curves(catalogue)
    assert curve.n_samples == 6
    assert curve.hofmn.at(8) == 1
