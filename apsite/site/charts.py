"""Charts as Vega-Lite specifications, checked against the schema when they are made.

Names of contributors stand in the data only, never in an expression. A specification is in the colours of the light
page; `usermeta` says which property of the page's style each colour stands for, and whoever draws it puts that in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import altair as alt

from apsite.site.palette import INK, LINE, MUTED, PAPER, TOKENS, SeriesStyle

Spec = dict[str, Any]
Datum = Mapping[str, Any]

_INK = alt.param(name="ink", value=INK)
_MUTED = alt.param(name="muted", value=MUTED)
_PAPER = alt.param(name="paper", value=PAPER)
_INK_COLOUR = cast(Any, alt.expr("ink"))
_MUTED_COLOUR = cast(Any, alt.expr("muted"))
_PERCENT = ".0%"
_BUDGET_LABEL = "datum.value == 0 ? '0' : format(datum.value * 255, 'd') + '/255'"
_LABEL_ROOM = 92
_AXIS_ROOM = 56
_STRIP = 20


def style_scales(styles: Mapping[str, SeriesStyle]) -> dict[str, Any]:
    """Encodings that give each label its colour, dash and shape, without a legend: labels stand at the lines."""
    names, looks = list(styles), list(styles.values())

    def scale(values: list[Any]) -> alt.Scale:
        return alt.Scale(domain=names, range=values)

    return {
        "color": alt.Color("label:N", scale=scale([look.colour for look in looks]), legend=None),
        "strokeDash": alt.StrokeDash("label:N", scale=scale([list(look.dash) for look in looks]), legend=None),
        "shape": alt.Shape("label:N", scale=scale([look.shape for look in looks]), legend=None),
    }


def sparsity_chart(rows: Sequence[Datum], styles: Mapping[str, SeriesStyle], start: Mapping[str, str]) -> Spec:
    """Robust accuracy against sparsity, a line a method, for one dataset, network and structure at a time.

    Args:
        rows: One a model: ``label``, ``dataset``, ``network``, ``structure``, ``sparsity`` (text), ``clean`` and
            ``robust`` (fractions), ``low`` and ``high`` (interval), ``end`` (whether it is the last of its line) and
            ``label_y`` (height of its label).
        styles: Look of each label.
        start: First values of the parameters `dataset`, `network` and `structure`.
    """
    shown = [alt.param(name=name, value=value) for name, value in start.items()]
    hover = alt.selection_point(name="hover", fields=["label"], on="pointerover", clear="pointerout", empty=False)
    scales = style_scales(styles)
    lit = alt.condition("!length(data('hover_store')) || hover.label == datum.label", alt.value(1.0), alt.value(0.18))
    base = rows_chart(rows).transform_filter(
        "datum.dataset == dataset && datum.network == network && datum.structure == structure"
    )
    x = alt.X(
        "sparsity:O",
        title="Sparsity",
        axis=alt.Axis(labelAngle=0, tickSize=0, labelPadding=8),
        scale=alt.Scale(padding=0.12),
    )
    y = alt.Y(
        "robust:Q",
        title="Robust accuracy (AutoAttack)",
        axis=alt.Axis(format=_PERCENT, tickCount=6),
        scale=alt.Scale(domain=[0, _ceiling(rows)]),
    )
    tooltip = [
        alt.Tooltip("label:N", title="Method"),
        alt.Tooltip("sparsity:O", title="Sparsity"),
        alt.Tooltip("robust:Q", title="Robust", format=".2%"),
        alt.Tooltip("low:Q", title="95 % from", format=".1%"),
        alt.Tooltip("high:Q", title="95 % to", format=".1%"),
        alt.Tooltip("clean:Q", title="Clean", format=".2%"),
    ]
    lines = base.mark_line(strokeWidth=2, clip=False).encode(
        x=x, y=y, color=scales["color"], strokeDash=scales["strokeDash"], opacity=lit
    )
    points = (
        base.mark_point(filled=True, size=64, opacity=1)
        .encode(x=x, y=y, color=scales["color"], shape=scales["shape"], opacity=lit, tooltip=tooltip)
        .add_params(hover)
    )
    names = (
        base.transform_filter("datum.end")
        .mark_text(align="left", dx=12, fontSize=12, clip=False)
        .encode(x=x, y=alt.Y("label_y:Q"), text="label:N", color=scales["color"], opacity=lit)
    )
    chart = alt.layer(lines, points, names).add_params(_INK, _MUTED, _PAPER, *shown)
    return finish(chart, 400, "Robust accuracy under AutoAttack against sparsity, a line for each method.", _LABEL_ROOM)


def curve_chart(
    steps: Sequence[Datum],
    grid: Sequence[Datum],
    points: Sequence[Datum],
    styles: Mapping[str, SeriesStyle],
    *,
    epsilon: float,
    limit: float,
) -> Spec:
    """Robust accuracy against the budget: step curves with their intervals, a mark at the benchmark's budget.

    Args:
        steps: Where curves step: ``label``, ``epsilon`` (input units), ``robust``, ``low``, ``high``.
        grid: The same fields on a common grid, for the readout.
        points: AutoAttack results: ``label``, ``epsilon``, ``robust``, ``low``, ``high``, ``attack``.
        styles: Look of each label.
        epsilon: Budget of the benchmark.
        limit: End of the axis.
    """
    scales = style_scales(styles)
    x = alt.X(
        "epsilon:Q",
        title="Perturbation budget ε (l∞)",
        scale=alt.Scale(domain=[0, limit], nice=False),
        axis=alt.Axis(
            values=[k / 255 for k in range(0, 17, 2)], labelExpr=_BUDGET_LABEL, grid=False, labelOverlap=True
        ),
    )
    y = alt.Y(
        "robust:Q", title="Robust accuracy", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=_PERCENT, tickCount=5)
    )
    readout = alt.selection_point(
        name="readout", fields=["epsilon"], nearest=True, on="pointermove", clear="pointerout", empty=False
    )
    curves = rows_chart(steps)
    band = curves.mark_area(interpolate="step-after", opacity=0.16).encode(
        x=x, y=alt.Y("low:Q"), y2="high:Q", color=scales["color"], detail="label:N"
    )
    line = curves.mark_line(interpolate="step-after", strokeWidth=2.2).encode(
        x=x, y=y, color=scales["color"], strokeDash=scales["strokeDash"]
    )
    budget = rows_chart([{"epsilon": epsilon, "text": f"ε = {epsilon * 255:.0f}/255"}])
    rule = budget.mark_rule(strokeDash=[3, 3], strokeWidth=1.5, color=_MUTED_COLOUR).encode(x=x)
    mark = budget.mark_text(align="left", dx=6, fontSize=12, color=_MUTED_COLOUR).encode(
        x=x, y=alt.value(8), text="text:N"
    )
    attacks = rows_chart(points)
    error = attacks.mark_rule(strokeWidth=1.5, color=_INK_COLOUR).encode(x=x, y=alt.Y("low:Q"), y2="high:Q")
    point = attacks.mark_point(filled=True, size=110, shape="diamond", opacity=1, color=_INK_COLOUR).encode(
        x=x,
        y=y,
        tooltip=[
            alt.Tooltip("label:N", title="Model"),
            alt.Tooltip("attack:N", title="Attack"),
            alt.Tooltip("robust:Q", title="Robust", format=".2%"),
            alt.Tooltip("low:Q", title="95 % from", format=".1%"),
            alt.Tooltip("high:Q", title="95 % to", format=".1%"),
        ],
    )
    sampled = rows_chart(grid)
    catcher = sampled.mark_point(opacity=0, size=1, aria=False).encode(x=x, y=y).add_params(readout)
    here = sampled.transform_filter(readout)
    cursor = here.mark_rule(aria=False, color=_INK_COLOUR, strokeWidth=1).encode(x=x)
    dot = here.mark_point(aria=False, filled=True, size=60, opacity=1).encode(x=x, y=y, color=scales["color"])
    value = here.mark_text(
        aria=False,
        align=cast(Any, alt.expr(f"datum.epsilon > {0.7 * limit} ? 'right' : 'left'")),
        dx=cast(Any, alt.expr(f"datum.epsilon > {0.7 * limit} ? -10 : 10")),
        dy=-10,
        fontSize=13,
        fontWeight=600,
        color=_INK_COLOUR,
    ).encode(x=x, y=y, text="text:N")
    layers = alt.layer(band, line, rule, mark, error, point, catcher, cursor, dot, value)
    return finish(
        layers.add_params(_INK, _MUTED, _PAPER), 420, "Robust accuracy against the perturbation budget, as step curves."
    )


def spread(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights moved as little as needed to keep `gap` between neighbours, in the given order, inside the bounds."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed = [min(max(heights[i], low), high) for i in order]
    for _ in range(200):
        moved = False
        for i in range(1, len(placed)):
            short = gap - (placed[i] - placed[i - 1])
            if short > 1e-9:
                placed[i - 1] -= short / 2
                placed[i] += short / 2
                moved = True
        placed = [min(max(value, low), high) for value in placed]
        if not moved:
            break
    result = [0.0] * len(heights)
    for position, i in enumerate(order):
        result[i] = placed[position]
    return result


def _ceiling(rows: Sequence[Datum]) -> float:
    """End of a robust accuracy axis: the next tenth above all rows, at least 0.5."""
    top = max((float(row["robust"]) for row in rows), default=0.5)
    return max(0.5, math.ceil(round(10 * top, 6)) / 10)


def strip_height(rows: Sequence[Datum], field: str) -> int:
    """Height in pixels of a chart with one strip for each value of a field."""
    return _AXIS_ROOM + _STRIP * len({row[field] for row in rows})


def rows_chart(rows: Sequence[Datum]) -> alt.Chart:
    """Chart of rows that stand in the specification itself."""
    return alt.Chart(cast(Any, {"values": list(map(dict, rows))}))


def finish(chart: alt.LayerChart | alt.FacetChart, height: int, description: str, right: int = 12) -> Spec:
    """Specification of a chart as wide as its place on the page, with room of `right` pixels beside it."""
    finished = (
        chart.properties(
            width="container",
            height=height,
            description=description,
            usermeta={"tokens": TOKENS},
            padding={"left": 4, "top": 8, "right": right, "bottom": 4},
        )
        .configure(background="transparent")
        .configure_view(stroke=None)
        .configure_text(color=INK)
        .configure_axis(
            labelColor=MUTED,
            titleColor=INK,
            gridColor=LINE,
            domainColor=LINE,
            tickColor=LINE,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight=500,
            titlePadding=10,
            gridOpacity=0.7,
        )
    )
    return cast(Spec, finished.to_dict())
