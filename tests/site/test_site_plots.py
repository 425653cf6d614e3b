"""Drawn plots by their geometry: labels, looks, axes."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest

from apsite.site.charts.panels import Frame
from apsite.site.charts.scatter import LABELLED, NAMED, Point, Scatter, scatter
from apsite.site.charts.sparsity import LABEL_HEIGHT, LOOKS, SIZES, Line, Trend, distinct, drawing
from apsite.site.charts.tradeoffs import COSTS, clean_panels, cost_drawing, cost_of, cost_points
from apsite.site.charts.tradeoffs import SIZES as COST_SIZES
from apsite.site.page import SiteFacts
from apsite.vocabulary import Dataset
from tests.builders import record_document


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


def scatters(facts: SiteFacts) -> list[Scatter]:
    """Every drawing of points on the site."""
    records = list(facts.catalogue.records.values())
    found = [panel for trend in facts.trends for panel in clean_panels(trend)]
    for dataset, cost, size in itertools.product(Dataset, COSTS, COST_SIZES):
        if len(points := cost_points(records, facts.labels, dataset, cost)) > 1:
            found.append(cost_drawing(points, size, cost))
    return found


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether two boxes meet."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def shrunk(box: tuple[float, ...]) -> tuple[float, ...]:
    """A box without its outermost unit, which a line may touch."""
    return box[0] + 1, box[1] + 1, box[2] - 1, box[3] - 1


def test_labels_of_points_overlap_nothing_and_are_nearest_to_their_mark(benchmark_facts: SiteFacts) -> None:
    """A label without a leader is nearer to its own mark than to any other; a leader begins at its mark."""
    checked = crossed = 0
    for drawn in scatters(benchmark_facts):
        labels = [(mark, mark.label) for mark in drawn.marks if mark.label]
        for mark, label in labels:
            assert drawn.frame.top <= label.box[1] < label.box[3] <= drawn.frame.bottom
            assert drawn.frame.left <= label.box[0] < label.box[2] <= drawn.frame.width
            for other in drawn.marks:
                x, y = other.at
                assert not overlap(label.box, (x - 4, y - 4, x + 4, y + 4)), (label.text, other.point.label)
            assert not any(overlap(label.box, other.box) for _, other in labels if other is not label)
            if label.leader:
                assert label.leader.startswith(f"M{mark.at[0]:g} {mark.at[1]:g}L")
                start, end = ([float(part) for part in point.split()] for point in label.leader[1:].split("L"))
                on = [[a + share * (b - a) for a, b in zip(start, end, strict=True)] for share in np.linspace(0, 1, 50)]
                met = {other.text for x, y in on for _, other in labels if overlap((x, y, x, y), shrunk(other.box))}
                crossed += bool(met - {label.text})
            else:
                near = sorted(drawn.marks, key=lambda one: gap(label.box, one.at))
                assert near[0] is mark, (label.text, near[0].point.label)
            checked += 1
    assert checked > 150
    assert crossed < checked / 20, "only where no other place is left"


def test_no_line_of_a_front_runs_through_a_label(benchmark_facts: SiteFacts) -> None:
    """At most one label in fifty finds no place beside it."""
    labels = struck = 0
    for drawn in scatters(benchmark_facts):
        moves = re.findall(r"([MHV])([\d.]+)(?: ([\d.]+))?", drawn.front)
        corners = [(float(moves[0][1]), float(moves[0][2]))] if moves else []
        for way, to, _ in moves[1:]:
            corners.append((float(to), corners[-1][1]) if way == "H" else (corners[-1][0], float(to)))
        lines = [(*map(min, one, two), *map(max, one, two)) for one, two in itertools.pairwise(corners)]
        boxes = [mark.label.box for mark in drawn.marks if mark.label]
        labels += len(boxes)
        struck += sum(any(overlap(box, line) for line in lines) for box in boxes)
    assert labels > 150
    assert struck <= labels / 50, struck


def gap(box: tuple[float, ...], place: tuple[float, float]) -> float:
    """Distance of a place from a box."""
    across = max(box[0] - place[0], 0, place[0] - box[2])
    return math.hypot(across, max(box[1] - place[1], 0, place[1] - box[3]))


def test_every_method_of_the_benchmark_has_its_label(benchmark_facts: SiteFacts) -> None:
    panels = [panel for trend in benchmark_facts.trends for panel in clean_panels(trend)]
    assert len(panels) > 20
    for panel in panels:
        assert all(mark.label for mark in panel.marks), panel.title


def test_the_front_is_what_nothing_exceeds(benchmark_facts: SiteFacts) -> None:
    for drawn in scatters(benchmark_facts):
        better = 1 if drawn.name == "panel" else -1
        ranked = [mark for mark in drawn.marks if mark.point.ranks]
        for mark in ranked:
            exceeded = any(
                better * other.point.x >= better * mark.point.x
                and other.point.y >= mark.point.y
                and (other.point.x, other.point.y) != (mark.point.x, mark.point.y)
                for other in ranked
            )
            assert mark.front is not exceeded, (drawn.title, mark.point.label)


def test_a_crowd_has_a_field_and_a_bounded_number_of_marks() -> None:
    record = record_document()
    generator = np.random.default_rng(0)
    points = [
        Point(record, f"M{number}", x, y, "", True)  # type: ignore[arg-type]
        for number, (x, y) in enumerate(generator.random((3000, 2)))
    ]
    frame = Frame(330, 290, 34, 318, 16, 252, (), ())
    drawn = scatter("panel", "", frame, points, (0, 0, 1, 1), less_x=False)
    assert len(drawn.marks) == NAMED
    assert len([mark for mark in drawn.marks if mark.label]) <= LABELLED
    assert len(drawn.field) < 20_000
    at, dots = (0, 0), set()
    for kind, x, y in re.findall(r"([Mm])(\d+) (\d+)h0", drawn.field):  # a step is within its column
        at = (int(x), int(y)) if kind == "M" else (at[0] + int(x), at[1] + int(y))
        dots.add(at)
    marked = {mark.point.label for mark in drawn.marks}
    places = ((frame.x(point.x), frame.y(point.y)) for point in points if point.label not in marked)
    assert dots == {(round(x), round(y)) for x, y in places}


def test_costs_are_those_of_the_records(benchmark_facts: SiteFacts) -> None:
    """Counted where a record has counts, by the declared sparsity where it is published, unknown elsewhere."""
    records = benchmark_facts.catalogue.records
    own = records["LWM_Han2015Learning_R8_CIFAR10_US_99"]
    assert cost_of(own, "weights") == (own.audit.weights - own.audit.zero_weights, True)
    assert cost_of(own, "macs") == (own.audit.effective_macs, True)
    published = records["HARP_Zhao2023Holistic_R18_CIFAR10_US_99"]
    assert cost_of(published, "weights") == (111_644, False)
    assert cost_of(published, "macs") is None
