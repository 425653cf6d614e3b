"""What the benchmarks compare, on so few images that it takes seconds; times are not looked at."""

import json

import pytest
import torch
from click.testing import CliRunner

from apsite.evaluation.datasets import embedded_images
from apsite.evaluation.demonstration import network_path
from apsite.evaluation.loading import load_network
from apsite.evaluation.settings import Settings
from benchmarks.__main__ import main
from benchmarks.gpu import whole_protocol_row
from benchmarks.report import write_page, write_results
from benchmarks.timing import Row

CPU = torch.device("cpu")


def test_both_sides_run_the_whole_protocol():
    """On a CPU, with short attacks: every part of the row for GPUs, and as many robust images on both sides."""
    network = load_network(network_path(), architecture="resnet8")
    settings = Settings(trials=1, search_samples=2, search_steps=2, attack_steps=2).on("cpu")
    row = whole_protocol_row("short", network, embedded_images().first(8), settings, CPU, budget=(10, 2, 5))
    assert row.facts["robust_ours"] == row.facts["robust_theirs"] > 0
    assert len(row.ours) == len(row.theirs) == 1


def test_rows_for_a_gpu_say_what_they_need():
    """Without a checkpoint, or without a GPU."""
    result = CliRunner().invoke(main, ["--rows", "gpu", "--no-write"])
    assert result.exit_code == 2
    assert "the rows 'gpu' need --checkpoint" in result.output


def test_unknown_rows_are_named():
    """With those that there are."""
    result = CliRunner().invoke(main, ["--rows", "demo,fast", "--no-write"])
    assert result.exit_code == 2
    assert "demo, hofmn, filters" in result.output


def test_a_ratio_is_that_of_the_medians():
    """And the single ratios show the spread."""
    row = Row("x", [1.0, 2.0, 4.0], [2.0, 8.0, 6.0], "other")
    assert row.ratio == pytest.approx(3.0)
    assert row.ratios == [2.0, 4.0, 1.5]


def test_results_are_replaced_row_by_row(tmp_path):
    """A row that is measured again replaces its older figure, and the page shows it."""
    path, page = tmp_path / "machine.json", tmp_path / "page.md"
    for ours in (2.0, 1.0):
        write_results(path, [Row("a", [ours], [3.0], "other"), Row("b", [1.0], [1.0], "other")], "a machine", 2)
    rows = json.loads(path.read_text())["rows"]
    assert [(row["name"], row["ratio"]) for row in rows] == [("a", 3.0), ("b", 1.0)]
    write_page(page, [path])
    assert "| a | other | 3.00 |" in page.read_text()
