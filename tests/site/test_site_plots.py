"""Drawn plots by their geometry: labels, looks, axes."""

from __future__ import annotations

import itertools

import pytest

from apsite.site.charts.sparsity import LABEL_HEIGHT, LOOKS, SIZES, Line, Trend, distinct, drawing
from apsite.site.page import SiteFacts


def views(trend: Trend) -> list[tuple[Line, ...]]:
    """Selections of a trend: the first one, every two methods, and all that fit into the height."""
    return [trend.first, *itertools.combinations(trend.lines, 2), trend.lines[:12]]


def test_each_label_is_nearest_to_its_own_line(benchmark_facts: SiteFacts) -> None:
    """A leader joins a label with the end of its line; labels keep the order of the ends and their distance."""
    checked = 0
    for trend in benchmark_facts.trends:
        for name, lit in itertools.product(SIZES, views(trend)):
            found = drawing(trend, name, lit)
            for one in found.lit:
                assert one.end == one.marks[-1]
                assert one.label[0] > one.end[0]
                others = [other for other in found.lit if other is not one]
                apart = all(abs(other.end[1] - one.end[1]) >= 2 * LABEL_HEIGHT for other in others)
                nearest = min((abs(other.end[1] - one.label[1]) for other in others), default=1e9)
                own = abs(one.end[1] - one.label[1])
                assert own < nearest or not apart, (trend.group, name, one.line.label)
                assert all(abs(other.label[1] - one.label[1]) >= LABEL_HEIGHT - 0.5 for other in others)
                assert found.frame.top <= one.label[1] <= found.frame.bottom
                for other in others:
                    assert (other.end[1] - one.end[1]) * (other.label[1] - one.label[1]) >= 0
                checked += 1
    assert checked > 1000


def test_no_two_highlighted_methods_look_alike(benchmark_facts: SiteFacts) -> None:
    assert len({(look.colour, look.dash) for look in LOOKS}) == len(LOOKS)
    for trend in benchmark_facts.trends:
        looks = distinct(trend.lines)
        assert len(set(looks)) == len(trend.lines)
        assert len({look.colour for look in distinct(trend.first)}) == len(trend.first)


def test_the_axis_is_that_of_the_data(benchmark_facts: SiteFacts) -> None:
    for trend in benchmark_facts.trends:
        low, high = trend.ends
        shares = [share for line in trend.lines for share in line.shares if share is not None]
        assert low <= min(shares) <= max(shares) <= high
        assert min(shares) - low < 0.1
        assert high - max(shares) < 0.1


@pytest.mark.parametrize("name", SIZES)
def test_marks_are_where_the_axis_says(benchmark_facts: SiteFacts, name: str) -> None:
    for trend in benchmark_facts.trends:
        found = drawing(trend, name, trend.first)
        zero, full = found.frame.up[0], found.frame.up[-1]
        for one in found.lit:
            shares = [share for share in one.line.shares if share is not None]
            for (_, y), share in zip(one.marks, shares, strict=True):
                expected = zero[0] + (full[0] - zero[0]) * (100 * share - float(zero[1])) / (
                    float(full[1]) - float(zero[1])
                )
                assert y == pytest.approx(expected, abs=0.11)


def test_dense_references_are_those_of_the_method(benchmark_facts: SiteFacts) -> None:
    records = benchmark_facts.catalogue.records
    checked = 0
    for trend in benchmark_facts.trends:
        for line in trend.lines if trend.columns[0] == "dense" else ():
            if line.records[0] is not None:
                assert line.records[0] is records[line.records[0].model_key]
                assert (line.records[0].structure, line.records[0].method) == (None, line.method)
                checked += 1
    assert checked >= 20
