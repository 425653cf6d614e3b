"""What the benchmarks compare, on so few images that it takes seconds; times are not looked at."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from apsite.evaluation.attacks.fast import fab
from apsite.evaluation.checkpoints.loading import load_network
from apsite.evaluation.runs.demonstration import network_path
from apsite.evaluation.testsets.datasets import embedded_images
from apsite.protocol import Precision, Settings
from apsite.vocabulary import Attack
from benchmarks.__main__ import main
from benchmarks.attacks import autoattack_rows, correct_part, hofmn_row
from benchmarks.cases import demonstration, saturated
from benchmarks.curve_gaps import curve_rows
from benchmarks.dropped_rows import dropped_rows_row
from benchmarks.gpu import whole_protocol_rows
from benchmarks.minimum_norms import excess
from benchmarks.page_weights import page_weights
from benchmarks.precision import emulated, recorded_row, rounded
from benchmarks.report import write_page, write_results
from benchmarks.timing import CommandTime, Row

CPU = torch.device("cpu")
ROOT = Path(__file__).parent.parent


def test_both_sides_run_the_whole_protocol():
    network = load_network(network_path(), architecture="resnet8")
    settings = Settings(trials=1, search_samples=2, search_steps=2, attack_steps=2).on("cpu")
    budget = (10, 2, 5)
    exact, quick = whole_protocol_rows("short", network, embedded_images().first(8), settings, CPU, budget)
    for row in (exact, quick):
        assert row.facts["robust_ours"] == row.facts["robust_theirs"] > 0
        assert set(row.facts["seconds_by_phase"]) >= {"apgd-ce", "square", "hofmn"}
        assert len(row.ours) == len(row.theirs) == 1
    assert (exact.facts["precision"], quick.facts["precision"]) == ("float32", "tf32")
    assert exact.theirs == quick.theirs


def test_fab_is_compared_with_itself_without_its_rule(monkeypatch):
    monkeypatch.setattr(fab, "STEPS", 40)
    case = demonstration(3)
    plain, masked = (dropped_rows_row(one, CPU, 1).facts for one in (case, saturated(case)))
    assert plain["rows"] == 9 * plain["samples"] >= plain["dropped_rows"] > 0 == masked["dropped_rows"]
    assert plain["broken"] == plain["changed"] == masked["changed"] == 0
    assert plain["passes_ratio"] > 1 == masked["passes_ratio"]
    assert 0 <= plain["way"] < 0.5


def found(**arrays: list[float]) -> dict[str, np.ndarray]:
    """Arrays of a per-sample file."""
    return {name: np.array(values, np.float32 if name == "distance" else np.bool_) for name, values in arrays.items()}


def test_the_curve_is_too_high_by_what_autoattack_breaks():
    """At 8/255 the record itself says what is broken; at the other ε AutoAttack does, and nothing comes back."""
    case = replace(demonstration(6), budget=(10, 2, 5))
    rows = curve_rows(case, found(
        clean_correct=[1, 1, 1, 1, 0, 0], distance=[1, 1, 1, 5.5 / 255, 0, 0], aa_robust=[0, 1, 1, 0, 0, 0]
    ))  # fmt: skip
    gaps = {row.size: row.facts for row in rows}
    assert [gap["hofmn"] for gap in gaps.values()] == [4, 4, 3, 3, 3, 3]
    assert all(gap["images"] == 6 and gap["gap"] == gap["broken"] / 6 for gap in gaps.values())
    assert gaps[8]["broken"] - gaps[6]["broken"] in (0, 1)
    assert 1 <= gaps[8]["broken"] <= gaps[12]["broken"] <= gaps[16]["broken"] == 3


def test_bfloat16_is_compared_with_a_record(tmp_path):
    """The record calls all correct images robust, so what the search breaks is robust in float32 only."""
    case = replace(demonstration(6), budget=(10, 2, 5))
    correct = correct_part(case, CPU).index
    flags = np.isin(np.arange(6), correct).tolist()
    stages = {f"robust_after_{attack.value.replace('-', '_')}": flags for attack in Attack}
    facts = recorded_row(case, found(clean_correct=flags, **stages), tmp_path).facts
    left = list(facts["robust_after"].values())
    assert facts["correct"] == len(correct) > left[0] == max(left)
    assert (facts["only_here"], facts["only_float32"]) == (0, len(correct) - left[-1])


def test_distances_are_compared_with_the_smallest_of_all():
    """Median and 90th percentile of the relative excess; what lies within 0.1 % counts as equal."""
    best = np.full(11, 0.5, np.float32)
    above = excess(best * (1 + np.arange(11, dtype=np.float32) / 100), best)
    assert above["median"] == pytest.approx(0.05, abs=1e-6)
    assert above["high"] == pytest.approx(0.09, abs=1e-6)
    assert above["closest"] == 1


def test_rows_for_a_gpu_say_what_they_need():
    result = CliRunner().invoke(main, ["--rows", "gpu", "--no-write"])
    assert result.exit_code == 2
    assert "the rows 'gpu' need --checkpoint" in result.output


def test_rows_of_the_curve_say_what_they_need():
    result = CliRunner().invoke(main, ["--rows", "curve", "--no-write"])
    assert result.exit_code == 2
    assert "need --data-dir" in result.output


def test_unknown_rows_are_named():
    result = CliRunner().invoke(main, ["--rows", "demo,fast", "--no-write"])
    assert result.exit_code == 2
    assert "demo, hofmn, filters" in result.output


def test_a_ratio_is_that_of_the_medians():
    row = Row("hofmn", "x", "attack", [1.0, 2.0, 4.0], [2.0, 8.0, 6.0], "other")
    assert row.ratio == pytest.approx(3.0)
    assert row.ratios == [2.0, 4.0, 1.5]


def timed(network: str, ours: float, **facts: object) -> Row:
    """A row of AutoAttack whose other side took three seconds."""
    return Row("autoattack", network, "AutoAttack", [ours], [3.0], "pyautoattack", facts)


def test_results_are_replaced_row_by_row(tmp_path):
    path, page = tmp_path / "machine.json", tmp_path / "page.md"
    for ours in (2.0, 1.0):
        write_results(path, [timed("a", ours), timed("b", 1.0)], "a machine", 2)
    rows = json.loads(path.read_text())["rows"]
    assert [(row["name"], row["ratio"]) for row in rows] == [("a: AutoAttack", 3.0), ("b: AutoAttack", 3.0)]
    write_page(page, [path])
    assert "| a | AutoAttack | 3.00 | one run | – | 1.0 | 3.0 |" in page.read_text()


def test_a_row_names_the_ratio_of_another_day(tmp_path):
    """Also when it is measured a second time that day."""
    path, page = tmp_path / "machine.json", tmp_path / "page.md"
    write_results(path, [timed("a", 2.0)], "a machine", 1)
    path.write_text(path.read_text().replace(json.loads(path.read_text())["rows"][0]["date"], "2026-01-31"))
    for ours in (1.5, 1.0):
        write_results(path, [timed("a", ours)], "a machine", 1)
    write_page(page, [path])
    assert "| a | AutoAttack | 3.00 | one run | 1.50 (2026-01-31) | 1.0 | 3.0 |" in page.read_text()


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BF16])
def test_pyautoattack_runs_in_a_process_of_its_own(precision):
    """Both sides of a row end with the robust images of their attacks, whose numbers of queries are the same."""
    case = replace(demonstration(4), budget=(10, 2, 5), precision=precision)
    total, *attacks = autoattack_rows(case, 1, parity=True)
    assert total.facts["correct"] >= total.facts["robust_ours"] == total.facts["robust_theirs"] > 0
    assert [row.work for row in attacks] == [attack.label for attack in Attack]
    assert all(len(row.ours) == len(row.theirs) == 1 for row in (total, *attacks))


def test_the_distances_of_both_sides_are_compared():
    row = hofmn_row(demonstration(4), steps=10, repetitions=2)
    assert 0 < row.facts["median_ours"] <= 1.1 * row.facts["median_theirs"]
    assert len(row.ours) == len(row.theirs) == 2


def test_the_page_says_after_which_attack_results_differ(tmp_path):
    """Parity is a fact of its own, beside the ratios; what was not compared is not called equal."""
    path, page = tmp_path / "machine.json", tmp_path / "page.md"
    flags = {"apgd-ce": True, "apgd-t": False, "fab-t": True, "square": False}
    counts = {"correct": 9, "robust_ours": 4, "robust_theirs": 5}
    rows = [
        timed("same", 1.0, **counts, flags_equal_in_exact_mode=dict.fromkeys(flags, True)),
        timed("other", 1.0, **counts, flags_equal_in_exact_mode=flags),
        timed("alone", 1.0, **counts),
    ]
    write_results(path, rows, "a machine", 2)
    write_page(page, [path])
    text = page.read_text().partition("### Results")[2]
    assert "| same | 9 | 4 | 5 | yes | – | – |" in text
    assert "| other | 9 | 4 | 5 | not after apgd-t, square | – | – |" in text
    assert "| alone | 9 | 4 | 5 | not compared | – | – |" in text


def test_times_of_commands_have_a_table_of_their_own(tmp_path):
    path, page = tmp_path / "machine.json", tmp_path / "page.md"
    write_results(path, [CommandTime("validate", 5_000, 12.34, 11.0, 432.0)], "a machine", 2)
    write_page(page, [path])
    assert "| `apsite validate` | 5,000 | 12.3 | 11.0 | 432 |" in page.read_text()
    assert "### AutoAttack" not in page.read_text()


def test_pages_are_weighed_with_all_that_they_load(tmp_path):
    """A font of the style sheet counts, an image within it and a link do not; shared files count on each page."""
    files = {
        "assets/font.woff2": b"f" * 50, "assets/site.css": b"@font-face{src:url(font.woff2)} a{background:url(data:x)}",
        "assets/bundle.js": b"b" * 900, "assets/late.js": b"l" * 70, "data/curves/settings/one.json": b"[]",
        "data/curves/settings/two.json": b"[1, 2]",
        "index.html": b'<link rel="stylesheet" href="assets/site.css"><a href="assets/bundle.js">script</a>',
        "methods/one.html": b'<link rel="stylesheet" href="../assets/site.css"><link rel="next" href="../index.html">',
        "curves.html": b'<div class="ap-chart" data-bundle="assets/bundle.js"></div><script data-src="assets/late.js">',
    }  # fmt: skip
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    size = {name: len(gzip.compress(content)) for name, content in files.items()}
    shared = size["assets/font.woff2"] + size["assets/site.css"]
    found = page_weights(tmp_path, 7)
    heaviest = max(("index.html", "methods/one.html"), key=lambda name: size[name])
    assert (found.pages, found.plain_page, found.plain) == (3, heaviest, shared + size[heaviest])
    scripts = size["assets/bundle.js"] + size["assets/late.js"]
    live = size["curves.html"] + scripts + size["data/curves/settings/two.json"]
    assert (found.chart_page, found.chart) == ("curves.html", live)
    write_results(tmp_path / "machine.json", [found], "a machine", 2)
    write_page(tmp_path / "page.md", [tmp_path / "machine.json"])
    assert f"| 7 | 3 | `{heaviest}` |" in (tmp_path / "page.md").read_text()


def test_the_committed_page_is_that_of_the_committed_results(tmp_path):
    write_page(tmp_path / "page.md", sorted((ROOT / "benchmarks" / "results").glob("*.json")))
    assert (tmp_path / "page.md").read_text() == (ROOT / "docs" / "benchmarks.md").read_text()


def test_emulated_tf32_rounds_the_factors_of_products_alone():
    """1 + 2**-11 is not a number of TF32, a sum of exact products is; gradients are products, too."""
    values = torch.tensor([[1 + 2**-10, 1 + 2**-11, 1 + 2**-12]])
    assert rounded(values).tolist() == [[1 + 2**-10, 1 + 2**-10, 1.0]]
    x, weight = torch.full((1, 1, 1, 1), 1 + 2**-12, requires_grad=True), torch.full((1, 1, 1, 1), 3 + 2**-12)
    with emulated(Precision.TF32):
        product = torch.nn.functional.conv2d(x, weight)
        (gradient,) = torch.autograd.grad(product.sum(), x)
        total = x + weight
    assert (product.item(), gradient.item(), total.item()) == (3.0, 3.0, 4 + 2**-11)
    with emulated(Precision.FLOAT32):
        assert torch.nn.functional.conv2d(x, weight).item() > 3.0
