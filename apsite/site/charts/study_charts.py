"""Charts of the analysis page: strips of points, one strip per row of the table next to the chart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from apsite.site.charts.charts import Datum, Spec, finish, rows_chart, strip_height, tooltips
from apsite.site.charts.palette import COLOURS, INK, MUTED, NEUTRAL, SeriesStyle

_LEGEND_ROOM = 50
_SOLID = (1, 0)

_MARKS = ((1, "circle"), (0, "diamond"), (2, "square"), (3, "triangle-up"))
STEPS = tuple(SeriesStyle(COLOURS[colour], _SOLID, shape) for colour, shape in _MARKS)
"""Looks of values in sequence."""
FIRST, SECOND = STEPS[:2]
"""Looks of the value of interest, and of the value that it is compared with."""
OTHERS = SeriesStyle(NEUTRAL, _SOLID, "circle")
"""Look of the rest of the field."""


def strip_chart(rows: Sequence[Datum], kinds: Mapping[str, SeriesStyle], description: str, *, joined: bool) -> Spec:
    """Points on horizontal strips, distinguished by colour and shape.

    Args:
        rows: One per point: ``strip`` (its row), ``order`` (of strips), ``kind``, ``name`` and ``robust`` (a fraction).
        kinds: Look of each kind, in the order of the legend; kinds that come later are drawn on top.
        description: What the chart shows, for readers who do not see it.
        joined: Whether a line joins the points of a strip.
    """
    names, looks = list(kinds), list(kinds.values())
    robust = [float(row["robust"]) for row in rows]
    low = math.floor(round(20 * min(robust), 6)) / 20
    high = math.ceil(round(20 * max(robust), 6)) / 20
    base = rows_chart(sorted(rows, key=lambda row: names.index(row["kind"])))
    scale, title, y = alt.Scale(domain=[low, high], nice=False, zero=False), "Robust accuracy", _strips(190)
    x = alt.X("robust:Q", title=title, axis=alt.Axis(format=".0%", tickCount=6, orient="top"), scale=scale)
    legend = _legend(symbolSize=90)
    colours = alt.Scale(domain=names, range=[look.colour for look in looks])
    shapes = alt.Scale(domain=names, range=[look.shape for look in looks])
    points = base.mark_point(filled=True, size=64, opacity=0.9, strokeWidth=2).encode(
        x=x, y=y,
        color=alt.Color("kind:N", scale=colours, legend=legend), shape=alt.Shape("kind:N", scale=shapes, legend=legend),
        tooltip=tooltips(name="Model", strip="Row", kind="Value", robust="Robust"),
    )  # fmt: skip
    line = base.mark_rule(strokeWidth=2, opacity=0.5, color=MUTED).encode(
        x=alt.X("min(robust):Q", title=title, scale=scale), x2="max(robust):Q", y=y
    )
    chart = alt.layer(line, points) if joined else alt.layer(points)
    return finish(chart, strip_height(rows, "strip") + _LEGEND_ROOM, description)


def share_chart(rows: Sequence[Datum], answers: Mapping[str, tuple[str, float]], description: str) -> Spec:
    """Whole numbers that add up to the same total on each strip, as one bar a strip.

    Args:
        rows: One a part: ``strip``, ``order`` (of strips), ``answer``, ``start``, ``end`` and ``count``.
        answers: Colour and opacity of each answer, in the order of the legend.
        description: What the chart shows, for readers who do not see it.
    """
    base = rows_chart(rows)
    names = list(answers)
    scale = alt.Scale(domain=names, range=[colour for colour, _ in answers.values()])
    fade = alt.Scale(domain=names, range=[opacity for _, opacity in answers.values()])
    legend = _legend(symbolType="square", symbolSize=110)
    y = _strips(200)
    total = alt.Scale(domain=[0, max(row["end"] for row in rows)], nice=False)
    x = alt.X("start:Q", title="Methods", scale=total, axis=alt.Axis(tickCount=6, format="d", orient="top"))
    bars = base.mark_bar(height=14).encode(
        x=x, x2="end:Q", y=y,
        # Ordinal, because opacity has an order
        color=alt.Color("answer:O", sort=names, scale=scale, legend=legend),
        opacity=alt.Opacity("answer:O", sort=names, scale=fade, legend=legend),
        tooltip=tooltips(strip="Evaluation", answer="Answer", count="Methods"),
    )  # fmt: skip
    return finish(alt.layer(bars), strip_height(rows, "strip") + _LEGEND_ROOM + 24, description)


def _strips(room: int) -> alt.Y:
    """Vertical axis of strips, with names of at most `room` pixels."""
    axis = alt.Axis(labelLimit=room, domain=False, tickSize=0, labelPadding=8)
    return alt.Y("strip:N", title=None, sort=alt.SortField("order"), axis=axis)


def _legend(**options: Any) -> alt.Legend:
    """Legend above a chart, in the colours of the page: one row, two where the chart is narrow."""
    columns = alt.ExprRef("width < 420 ? 2 : 4")
    return alt.Legend(
        title=None, orient="top", labelFontSize=12, labelLimit=220, labelColor=INK, columns=columns, **options
    )
