"""Small drawings of method pages by their geometry, and the history of a method."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from apsite.catalogue import load_catalogue
from apsite.comparable import Judge, by_setting
from apsite.metrics import robust_accuracy
from apsite.samples import read_samples
from apsite.site.charts import panels
from apsite.site.charts.curves import LIMIT
from apsite.site.pages import methods
from tests.builders import METHOD, MODEL, RIVAL, entry_document, record_document


def height(panel, share):
    """Where a share stands in a panel, from the panel's own axis."""
    zero, top = panel.frame.up[0], panel.frame.up[-1]
    return zero[0] + (top[0] - zero[0]) * share / (float(top[1]) / 100)


def test_panels_hold_every_ranked_model(benchmark_data):
    for method in ("HARP_Zhao2023Holistic", "MAD_Lee2022Masking", "LAMP_Lee2021Layer"):
        own = [r for r in benchmark_data.records_of(method) if r.structure is not None and r.protocol.ranks]
        drawn = panels.panels(benchmark_data, method, panels.Fields(by_setting(benchmark_data, baselines=True)))
        assert sum(len(panel.dots) for panel in drawn) == len(own)
        for panel in drawn:
            shares = [
                record.robust_accuracy
                for record in own
                if panel.title == f"{record.dataset.label} {record.architecture.label}, {record.structure.value}"
            ]
            for dot, share in zip(panel.dots, shares, strict=True):
                assert dot.y == pytest.approx(height(panel, share), abs=0.2)
                assert dot.high <= dot.y <= dot.low


def test_a_gap_is_not_bridged(data_folder):
    root = data_folder(
        entry_document(),
        entry_document(RIVAL),
        *(record_document(f"{METHOD}_R18_CIFAR10_US_{p}", robust=0.4) for p in (90, 99)),
        *(record_document(f"{RIVAL}_R18_CIFAR10_US_{p}", robust=0.3) for p in (90, 95, 99)),
    )
    catalogue = load_catalogue(root)
    (panel,) = panels.panels(catalogue, METHOD, panels.Fields(by_setting(catalogue, baselines=True)))
    assert "L" not in panel.own
    assert panel.own.count("h0") == 2
    assert panel.others.count("L") == 2
    assert [text for _, text in panel.frame.across] == ["90 %", "95 %", "99 %"]
    assert "40.0 % at 90 %, 40.0 % at 99 % sparsity, among 1 others" in panel.description


def test_methods_without_results_have_no_panels(benchmark_data):
    assert panels.panels(benchmark_data, "DNR_Kundu2020Tunable", panels.Fields(by_setting(benchmark_data))) == []


def test_curve_panels_are_exact_steps(tiny_facts):
    (panel,) = panels.curve_panels(tiny_facts.curves)
    (line,) = panel.lines
    record = line.curve.record
    distances = read_samples(tiny_facts.catalogue.root / "evaluations" / record.path.with_suffix(".npz")).distance
    zero, full = panel.frame.up[0][0], panel.frame.up[-1][0]
    left, right = panel.frame.across[0][0], panel.frame.across[-1][0]
    assert panel.epsilon[1] == "8/255"
    steps = re.findall(r"H([\d.]+)V([\d.]+)", line.path)
    assert len(steps) >= 3
    for x, y in steps:
        budget = LIMIT * (float(x) - left) / (right - left)
        share = (float(y) - zero) / (full - zero)
        near = [robust_accuracy(distances, max(0.0, budget + off)) for off in (-LIMIT / 2000, LIMIT / 2000)]
        assert min(near) - 0.005 <= share <= max(near) + 0.005
    assert np.isclose(float(line.path[1:].split(" ")[0]), left)


def test_rivals_lead_where_a_method_ranks(benchmark_data, benchmark_pages):
    def rivals(key: str) -> list[str]:
        models = methods.standings(Judge(benchmark_data), benchmark_data.records_of(key))
        return [entry.name for entry in methods.rivals(benchmark_data, key, models)]

    names = rivals("HARP_Zhao2023Holistic")
    assert set(names) == {"TwinRep", "FlyingBird"}
    assert rivals("DNR_Kundu2020Tunable") == []
    links = benchmark_pages["methods/HARP_Zhao2023Holistic.md"].links
    (link,) = [link for link in links if "compare.html?" in link]
    assert link.count("m=") == 3
    own = benchmark_pages["methods/LAMP_Lee2021Layer.md"].links
    sampled = [r.model_key for r in benchmark_data.records_of("LAMP_Lee2021Layer") if r.samples is not None]
    assert any(all(f"m={key}" in link for key in sampled) for link in own if "curves.html?" in link)


def test_history_tells_what_happened(data_folder):
    first, second = record_document(robust=0.4), record_document(robust=0.38)
    second["changes"] = [
        {"date": "2025-03-01", "kind": "supersedes", "reason": "A longer attack.", "version": 1},
        {"date": "2025-04-01", "kind": "disputed", "reason": "Not reproduced.", "url": "https://example.org/1"},
        {"date": "2025-04-01", "kind": "settled", "reason": "Reproduced after all."},
    ]
    changes = [{"date": "2025-02-01", "kind": "corrected", "reason": "The venue."}]
    root = data_folder(entry_document(changes=changes), second)
    old = root / "evaluations" / METHOD / "history" / f"{MODEL}.1.json"
    old.parent.mkdir(parents=True)
    old.write_text(json.dumps(first), encoding="utf-8")
    catalogue = load_catalogue(root)
    events = methods.history(catalogue, catalogue.entries[METHOD])
    assert [(e.date, e.subject, e.kind) for e in events] == [
        ("2025-04-01", MODEL, "Dispute settled"),
        ("2025-04-01", MODEL, "Disputed"),
        ("2025-03-01", MODEL, "Replaced an older version"),
        ("2025-02-01", "entry", "Corrected"),
    ]
    assert events[2].file == f"evaluations/{METHOD}/history/{MODEL}.1.json"
    assert events[1].url == "https://example.org/1"
