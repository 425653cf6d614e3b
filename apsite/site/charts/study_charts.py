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
        rows: One per point: ``strip`` (its row), ``order`` (of strips), ``kind``, ``name`` and ``robust`` (a fraction);
            with ``gap``, the same text for all points of a strip, it is printed at its end.
        kinds: Look of each kind, in the order of the legend; kinds that come later are drawn on top.
        description: What the chart shows, for readers who do not see it.
        joined: Whether a line joins the points of a strip.
    """
    names, looks = list(kinds), list(kinds.values())
    robust = [float(row["robust"]) for row in rows]
    low = math.floor(round(20 * min(robust), 6)) / 20
    high = math.ceil(round(20 * max(robust), 6)) / 20 + (0.05 if "gap" in rows[0] else 0)
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
    gaps = base.mark_text(align="left", dx=9, fontSize=11, color=MUTED).encode(
        x=alt.X("max(robust):Q", title=title, scale=scale), y=y, text="gap:N"
    )
    chart = alt.layer(*([line] if joined else []), *([gaps] if "gap" in rows[0] else []), points)
    return finish(chart, strip_height(rows, "strip") + _LEGEND_ROOM, description)


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
