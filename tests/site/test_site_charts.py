"""Charts by their fields and marks, curves by their values."""

from __future__ import annotations

import numpy as np
import pytest

from apsite.metrics import robust_accuracy
from apsite.samples import Samples
from apsite.site.charts import sparsity_chart
from apsite.site.content import curve_figure, sparsity_rows
from apsite.site.curves import LIMIT, curve_of, load_curves


def values(spec, layer):
    """Rows behind a layer, which stand in the specification itself."""
    data = spec["layer"][layer].get("data", spec.get("data"))
    return data["values"] if "values" in data else spec["datasets"][data["name"]]


def marks(spec):
    """Mark types of the layers, in order."""
    return [layer["mark"]["type"] for layer in spec["layer"]]


def test_sparsity_chart_has_a_row_for_each_model_that_ranks(benchmark_facts):
    """The data of the chart equals the records: pruned, attacked, of a protocol that ranks."""
    rows = sparsity_rows(benchmark_facts)
    expected = {
        key: record.robust_accuracy
        for key, record in benchmark_facts.catalogue.records.items()
        if record.protocol.ranks and record.structure and record.robust_accuracy is not None
    }
    assert {row["model_key"]: row["robust"] for row in rows} == expected
    lines = {(r["label"], r["dataset"], r["network"], r["structure"]) for r in rows}
    assert sum(row["end"] for row in rows) == len(lines)


def test_sparsity_chart_fields_and_marks(benchmark_facts):
    """Lines, points and labels over sparsity, told apart by colour, dash and shape."""
    rows = sparsity_rows(benchmark_facts)
    start = {name: rows[0][name] for name in ("dataset", "network", "structure")}
    spec = sparsity_chart(rows, benchmark_facts.method_styles, start)
    assert marks(spec) == ["line", "point", "text"]
    line, point, label = (layer["encoding"] for layer in spec["layer"])
    assert (line["x"]["field"], line["y"]["field"], line["strokeDash"]["field"]) == ("sparsity", "robust", "label")
    assert point["shape"]["field"] == label["text"]["field"] == "label"
    assert {p["name"] for p in spec["params"]} >= {"dataset", "network", "structure", "hover", "ink"}
    assert spec["description"]


def test_names_stay_out_of_expressions(benchmark_facts):
    """Contributed names are data: no filter or condition holds one."""
    rows = sparsity_rows(benchmark_facts)
    hostile = [{**row, "label": "x' || alert(1) || '"} for row in rows]
    spec = sparsity_chart(hostile, benchmark_facts.method_styles, {"dataset": "a", "network": "b", "structure": "c"})
    for layer in spec["layer"]:
        assert "alert" not in str(layer.get("transform")) + str(layer["encoding"]) + str(layer["mark"])


def test_curve_chart_draws_steps_band_budget_and_attack(tiny_facts):
    """A step curve with its interval, the rule at 8/255, AutoAttack as a point, and a readout."""
    curve = tiny_facts.curves[0]
    spec = curve_figure(tiny_facts, curve)
    assert marks(spec)[:6] == ["area", "line", "rule", "text", "rule", "point"]
    line = spec["layer"][1]
    assert line["mark"]["interpolate"] == "step-after"
    assert [(v["epsilon"], v["robust"]) for v in values(spec, 1)] == [
        (p.epsilon, p.robust_accuracy) for p in curve.steps
    ]
    (budget,) = values(spec, 2)
    assert budget["epsilon"] == pytest.approx(8 / 255)
    (attack,) = values(spec, 5)
    assert attack["robust"] == curve.record.robust_accuracy


def test_curve_is_exact(tiny_facts):
    """Steps, table and area follow from the distances; the curve starts at the clean accuracy."""
    curve = tiny_facts.curves[0]
    assert curve.steps[0].epsilon == 0
    assert curve.steps[0].robust_accuracy == pytest.approx(curve.record.results.clean_accuracy)
    assert [p.epsilon for p in curve.table] == pytest.approx([k / 255 for k in range(17)])
    assert all(p.bounds[0] <= p.robust_accuracy <= p.bounds[1] for p in curve.steps)
    assert load_curves(tiny_facts.catalogue) == [curve]


def test_thinned_curve_stays_within_a_tenth_of_a_point(tiny_facts):
    """Ten thousand samples give at most two thousand steps, none further off than 0.1 point."""
    rng = np.random.default_rng(0)
    size = 10_000
    distance = rng.gamma(2, 4 / 255, size).astype(np.float32)
    samples = Samples(np.arange(size, dtype=np.int32), np.zeros(size, np.int16), np.ones(size, bool), distance=distance)
    curve = curve_of(tiny_facts.curves[0].record, samples)
    assert curve is not None
    assert len(curve.steps) < 2100
    steps = np.array([point.epsilon for point in curve.steps])
    for budget in np.linspace(0, LIMIT, 333):
        drawn = curve.steps[int(np.searchsorted(steps, budget, side="right")) - 1].robust_accuracy
        assert abs(drawn - robust_accuracy(distance, float(budget))) <= 0.001
