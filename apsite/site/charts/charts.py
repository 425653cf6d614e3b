"""Charts as Vega-Lite specifications, checked against the schema when they are made.

Contributed names are in the data only, never in an expression. A specification is in the colours of the light
page; `usermeta` says which property of the page's style each colour means, which the drawing code inserts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import altair as alt

from apsite.site.charts.palette import INK, LINE, MUTED, PAPER, TOKENS

Spec = dict[str, Any]
Datum = Mapping[str, Any]

_INK = alt.param(name="ink", value=INK)
_MUTED = alt.param(name="muted", value=MUTED)
_PAPER = alt.param(name="paper", value=PAPER)
_INK_COLOUR = cast(Any, alt.expr("ink"))
_MUTED_COLOUR = cast(Any, alt.expr("muted"))
_PAPER_COLOUR = cast(Any, alt.expr("paper"))
_BUDGET_LABEL = "datum.value == 0 ? '0' : format(datum.value, '~r') + '/255'"
_LABEL_FITS = "width * (datum.end - datum.start) / (x_to - x_from) > 6.5 * length(datum.label) + 6"
"""Whether the part of the leader bar has room for the name of its model."""
_FORMATS = {"robust": ".2%", "clean": ".2%", "low": ".1%", "high": ".1%", "count": "d"}
"""How tooltips write the fields that are numbers."""
_NAME_ROOM = 118
_BAR = 16
_CURVES_WIDTH = 760
"""Pixels, about the space of the chart on a screen of 1,280."""
_AXIS_ROOM = 56
_STRIP = 20


def tooltips(**titles: str) -> list[alt.Tooltip]:
    """Lines of a tooltip: the title of each field that it shows."""
    return [
        alt.Tooltip(f"{name}:Q", title=title, format=_FORMATS[name])
        if name in _FORMATS
        else alt.Tooltip(f"{name}:N", title=title)
        for name, title in titles.items()
    ]


def robustness_chart(data: Mapping[str, Sequence[Datum]], *, span: float, top: float) -> Spec:
    """Robust accuracy against ε: step curves, points of single attacks, and below them who leads where.

    The page changes what is shown by replacing the data, and moves about by the parameters `x_from`, `x_to`, `y_from`
    and `y_to` (what is in view) and `cursor` (the ε to read; negative for none).

    Args:
        data: Rows by name; ε is in 255ths, shares in [0, 1], every row has the `colour` of its model.
            ``bands``: ``series``, ``budget``, ``low``, ``high`` of a shaded interval.
            ``curves``: ``series``, ``budget``, ``robust``, ``dash``, ``width``, where each curve steps.
            ``points``: ``label``, ``what``, ``budget``, ``robust``, ``low``, ``high``, ``shape``.
            ``names``: ``label``, ``budget``, ``robust`` and ``height`` of the names of models that have no curve.
            ``leaders``: ``label``, ``from``, ``to``.
            ``labels``: ``label``, ``height`` of its place at the right edge, and ``end`` of its curve there.
            ``budgets``: ``budget`` and ``text`` of the benchmark's ε.
        span: End of the axis of ε, in 255ths.
        top: End of the axis of shares.
    """
    starts = {"x_from": 0, "x_to": span, "y_from": 0, "y_to": top, "cursor": -1}
    view = [alt.param(name=name, value=value) for name, value in starts.items()]
    x = alt.X(
        "budget:Q", title="Perturbation size ε (l∞)",
        scale=alt.Scale(domain=[alt.ExprRef("x_from"), alt.ExprRef("x_to")], nice=False, zero=False),
        axis=alt.Axis(labelExpr=_BUDGET_LABEL, grid=False, offset=_BAR + 6, tickCount=8, labelOverlap=True),
    )  # fmt: skip
    y = alt.Y(
        "robust:Q", title="Robust accuracy", axis=alt.Axis(format="~%", tickCount=6),
        scale=alt.Scale(domain=[alt.ExprRef("y_from"), alt.ExprRef("y_to")], nice=False, zero=False),
    )  # fmt: skip
    colour, in_view = alt.Color("colour:N", scale=None), "datum.budget >= x_from && datum.budget <= x_to"

    def rows(name: str) -> alt.Chart:
        return alt.Chart(alt.NamedData(name=name))

    beside: dict[str, Any] = {"align": "left", "fontSize": 12}
    dash, width = alt.StrokeDash("dash:N", scale=None), alt.StrokeWidth("width:Q", scale=None)
    tooltip = tooltips(label="Model", what="Measured", robust="Accuracy", low="95 % from", high="95 % to")
    bands = rows("bands").mark_area(opacity=0.13, clip=True, aria=False)
    bands = bands.encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour, detail="series:N")
    lines = rows("curves").mark_line(interpolate="step-after", clip=True)
    lines = lines.encode(x=x, y=y, color=colour, detail="series:N", strokeDash=dash, strokeWidth=width)
    rule = rows("budgets").mark_rule(strokeDash=[3, 3], strokeWidth=1.5, color=_MUTED_COLOUR, clip=True).encode(x=x)
    name = rows("budgets").transform_filter(in_view).mark_text(dx=6, color=_MUTED_COLOUR, **beside)
    name = name.encode(x=x, y=alt.value(8), text="text:N")
    errors = rows("points").mark_rule(strokeWidth=1.5, clip=True)
    errors = errors.encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour)
    points = rows("points").mark_point(filled=True, size=90, opacity=1, clip=True)
    points = points.encode(x=x, y=y, color=colour, shape=alt.Shape("shape:N", scale=None), tooltip=tooltip)
    alone = rows("names").transform_filter(in_view)
    links = alone.mark_rule(strokeWidth=1, xOffset=7, x2Offset=19, aria=False)
    links = links.encode(x=x, x2="budget:Q", y=y, y2="height:Q", color=colour)
    alone = alone.mark_text(dx=22, **beside).encode(x=x, y="height:Q", text="label:N", color=colour)
    leaders = rows("labels").mark_rule(strokeWidth=1, aria=False)
    leaders = leaders.encode(
        x=alt.value(alt.expr("width + 2")), x2=alt.value(alt.expr("width + 12")),
        y=alt.Y("end:Q"), y2="height:Q", color=colour,
    )  # fmt: skip
    names = rows("labels").mark_text(dx=15, **beside)
    names = names.encode(x=alt.value(alt.expr("width")), y=alt.Y("height:Q"), text="label:N", color=colour)
    leading = (
        rows("leaders")
        .transform_calculate(start="max(datum.from, x_from)", end="min(datum.to, x_to)")
        .transform_filter("datum.start < datum.end")
    )
    bar = leading.mark_rect(y=alt.expr("height + 4"), y2=alt.expr(f"height + {4 + _BAR}"), opacity=1).encode(
        x=alt.X("start:Q"), x2="end:Q", color=colour, tooltip=tooltips(label="Above all others")
    )
    bar_names = (
        leading.transform_filter(_LABEL_FITS)
        .transform_calculate(middle="(datum.start + datum.end) / 2")
        .mark_text(y=alt.expr(f"height + {4 + _BAR / 2}"), fontSize=11, fontWeight=600, color=_PAPER_COLOUR)
        .encode(x=alt.X("middle:Q"), text="label:N")
    )
    cursor = (
        rows_chart([{}])
        .transform_calculate(budget="cursor")
        .transform_filter(in_view)
        .mark_rule(color=_INK_COLOUR, strokeWidth=1, aria=False)
        .encode(x=x)
    )
    chart = alt.layer(bands, lines, rule, name, errors, points, links, alone, leaders, names, bar, bar_names, cursor)
    about = "Robust accuracy against ε, as step curves with 95 % intervals, and the model that is above all others."
    spec = finish(chart.add_params(_INK, _MUTED, _PAPER, *view), 400, about, _NAME_ROOM)
    spec["usermeta"] |= {"narrow": {"right": 12, "without": ["labels"]}, "wide": _CURVES_WIDTH}
    return spec | {"datasets": {**spec.get("datasets", {}), **{key: [dict(row) for row in data[key]] for key in data}}}


def spread(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights moved as little as possible to keep `gap` between neighbours, in the given order, inside the bounds."""
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
    return [height for _, height in sorted(zip(order, placed, strict=True))]


def ceiling(shares: Iterable[float]) -> float:
    """End of an axis of robust accuracies: the next tenth above all of them, at least 0.5."""
    return max(0.5, math.ceil(round(10 * max(shares, default=0.5), 6)) / 10)


def strip_height(rows: Sequence[Datum], field: str) -> int:
    """Height in pixels of a chart with one strip for each value of a field."""
    return _AXIS_ROOM + _STRIP * len({row[field] for row in rows})


def rows_chart(rows: Sequence[Datum]) -> alt.Chart:
    """Chart of rows inside the specification."""
    return alt.Chart(cast(Any, {"values": list(map(dict, rows))}))


def finish(chart: alt.LayerChart | alt.FacetChart, height: int, description: str, right: int = 12) -> Spec:
    """Specification of a chart as wide as its place on the page, with room of `right` pixels next to it."""
    finished = chart.properties(
        width="container", height=height, description=description, usermeta={"tokens": TOKENS},
        padding={"left": 4, "top": 8, "right": right, "bottom": 4},
    )  # fmt: skip
    finished = finished.configure(background=PAPER).configure_view(stroke=None).configure_text(color=INK)
    finished = finished.configure_axis(
        labelColor=MUTED, titleColor=INK, gridColor=LINE, domainColor=LINE, tickColor=LINE, labelFontSize=12,
        titleFontSize=12, titleFontWeight=500, titlePadding=10, gridOpacity=0.7,
    )  # fmt: skip
    return cast(Spec, finished.to_dict())
