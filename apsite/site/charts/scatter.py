"""Points with their Pareto front, and labels that overlap neither each other nor a mark."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from apsite.records import EvaluationRecord
from apsite.site.charts.panels import Frame
from apsite.site.charts.sparsity import step_of

LETTER_HEIGHT = 11
MARK = 4.5
"""Half the size of a mark."""
LABELLED, NAMED = 14, 120
"""Most labels of a drawing, and most points that name their values; all others are part of the grey field."""
CROWD = 60
"""Points of a panel from which only a quarter of :data:`NAMED` are named: a page has several panels."""
_NEAR = 8
_RINGS = (14, 22, 32, 44, 58)
_ANGLES = tuple(math.radians(turn) for turn in (0, 180, -40, 40, -140, 140, -90, 90, -65, 65, -115, 115))
Box = tuple[float, float, float, float]
Line = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Point:
    """A model: where it is in the data, its label, and what it says when it is pointed at."""

    record: EvaluationRecord
    label: str
    x: float
    y: float
    text: str
    ranks: bool = True  # whether it may be on the front
    value: float | int = 0.0  # what `x` is of: itself, or its logarithm


@dataclass(frozen=True)
class Label:
    """A label: its box, and whether a leader joins it with its mark."""

    text: str
    box: Box
    leader: str


@dataclass(frozen=True)
class Mark:
    """A point in the drawing; `front` if no other model is better in both directions."""

    point: Point
    at: tuple[float, float]
    front: bool
    label: Label | None


@dataclass(frozen=True)
class Scatter:
    """A drawing: axes, the grey field as one path, marks, and the front as a path of steps."""

    name: str
    title: str
    frame: Frame
    field: str
    marks: tuple[Mark, ...]
    front: str


def front(points: Iterable[Point], *, less_x: bool = False) -> list[Point]:
    """Points that no other exceeds in both directions, by `x`; `less_x` if a small `x` is the better one."""
    sign = 1 if less_x else -1
    found: list[Point] = []
    for point in sorted((p for p in points if p.ranks), key=lambda p: (sign * p.x, -p.y)):
        if not found or point.y > found[-1].y or (point.x, point.y) == (found[-1].x, found[-1].y):
            found.append(point)
    return sorted(found, key=lambda p: p.x)


def scatter(
    name: str, title: str, frame: Frame, points: Sequence[Point], ends: Box, *, less_x: bool, most: int = NAMED
) -> Scatter:
    """Drawing of points.

    Args:
        name: Its size, as the style sheet names it.
        title: What it shows.
        frame: Axes and edges.
        points: Points, the most important first.
        ends: Least `x`, least `y`, largest `x`, largest `y` of the axes.
        less_x: Whether a small `x` is the better one; then the points on the front alone have labels.
        most: Most points that name their values, besides those on the front.
    """
    low_x, low_y, high_x, high_y = ends

    def at(point: Point) -> tuple[float, float]:
        return (frame.x((point.x - low_x) / (high_x - low_x)), frame.y((point.y - low_y) / (high_y - low_y)))

    best = front(points, less_x=less_x)
    ordered = [*sorted(best, key=lambda p: -p.y), *(point for point in points if point not in best)]
    named, rest = ordered[: max(most, len(best))], ordered[max(most, len(best)) :]
    places = [at(point) for point in ordered]
    boxes = [(x - MARK, y - MARK, x + MARK, y + MARK) for x, y in places]
    labelled = min(LABELLED, len(best)) if less_x else LABELLED
    steps = [at(point) for point in best] + ([(frame.right, frame.bottom)] if less_x and best else [])
    labels = place_labels([point.label for point in named[:labelled]], places, boxes, frame, _walls(steps, less_x))
    marks = tuple(
        Mark(point, place, point in best, labels[number] if number < len(labels) else None)
        for number, (point, place) in enumerate(zip(named, places[: len(named)], strict=True))
    )
    dots = {(round(x), round(y)) for x, y in places[len(named) :]} if rest else set()
    drawn = f"M{steps[0][0]:g} {steps[0][1]:g}" if steps else ""
    for x, y in steps[1 : len(best)]:
        drawn += f"H{x:g}V{y:g}" if less_x else f"V{y:g}H{x:g}"
    if less_x and steps:
        drawn += f"H{frame.right}"
    return Scatter(name, title, frame, _dotted(dots), marks, drawn)


def _walls(steps: Sequence[tuple[float, float]], less_x: bool) -> list[Box]:
    """Boxes around the lines of a front, from one of its points to the next; the last of `less_x` is an end."""
    found = []
    for number, ((x, y), (to_x, to_y)) in enumerate(pairwise(steps)):
        corner = (to_x, y) if less_x else (x, to_y)
        ends = (corner,) if less_x and number == len(steps) - 2 else (corner, (to_x, to_y))
        for (a, b), (c, d) in pairwise(((x, y), *ends)):
            found.append((min(a, c) - 1, min(b, d) - 1, max(a, c) + 1, max(b, d) + 1))
    return found


def _dotted(dots: Collection[tuple[int, int]]) -> str:
    """A path of dots, column by column and downwards, for steps of few digits weigh a third of places."""
    path, before = "", (-1, 0)
    for x, y in sorted(dots):
        path += f"m0 {y - before[1]}h0" if x == before[0] else f"M{x} {y}h0"
        before = x, y
    return path


def place_labels(
    texts: Sequence[str],
    places: Sequence[tuple[float, float]],
    marks: Sequence[Box],
    frame: Frame,
    walls: Sequence[Box] = (),
) -> list[Label | None]:
    """A place for each label, in the order of importance; ``None`` for one that finds none.

    Next to its mark if that is nearer to the label than any other mark, else further away with a leader. A label is
    inside the frame, and meets no mark and no label that has a place already; a leader crosses a label, or a label one
    of the `walls`, only where no other place is left.
    """
    taken: list[Box] = []
    leaders: list[Line] = []
    found: list[Label | None] = []
    for text, own in zip(texts, places, strict=False):
        others = [place for place in places if place != own]
        choice = crossing = None
        for distance in (_NEAR, *_RINGS):
            for angle in _ANGLES:
                box = _box(text, own, distance, angle)
                inside = (
                    frame.left <= box[0] and box[2] <= frame.width and frame.top <= box[1] and box[3] <= frame.bottom
                )
                if not inside or any(_meet(box, other) for other in (*marks, *taken)):
                    continue
                near = distance == _NEAR
                if near and any(_distance(box, place) <= _distance(box, own) for place in others):
                    continue
                line = own, _nearest(own, box)
                placed = Label(text, box, "" if near else _path(*line)), line
                over = any(_meet(box, wall) for wall in walls) or any(_crosses(other, box) for other in leaders)
                if over or any(_crosses(line, other) for other in taken):
                    crossing = crossing or placed
                    continue
                choice = placed
                break
            if choice:
                break
        best = choice or crossing
        if best:
            taken.append(best[0].box)
            leaders += [best[1]] if best[0].leader else []
        found.append(best[0] if best else None)
    return found


def width_of(text: str) -> float:
    """Width of a label in bold letters of 11 units, by groups of letters: at least what common fonts need."""
    return sum(
        4.0 if letter in "iljtfrI.,:' ()-" else 10.5 if letter in "mwMW%@" else 8.4 if letter.isupper() else 6.8
        for letter in text
    )


def _box(text: str, place: tuple[float, float], distance: float, angle: float) -> Box:
    """Box of a text whose edge is so far from a place, in a direction."""
    width, height = width_of(text), LETTER_HEIGHT
    across, down = math.cos(angle), math.sin(angle)
    x = place[0] + distance * across - width * (1 - across) / 2
    y = place[1] + distance * down - height * (1 - down) / 2
    return round(x, 1), round(y, 1), round(x + width, 1), round(y + height, 1)


def _nearest(place: tuple[float, float], box: Box) -> tuple[float, float]:
    """The point of a box that is nearest to a place."""
    return min(max(place[0], box[0]), box[2]), min(max(place[1], box[1]), box[3])


def _path(start: tuple[float, float], end: tuple[float, float]) -> str:
    return f"M{start[0]:g} {start[1]:g}L{end[0]:g} {end[1]:g}"


def _crosses(line: Line, box: Box) -> bool:
    """Whether a line meets a box, by its points at every twentieth."""
    (x, y), (to_x, to_y) = line
    points = ((x + part / 20 * (to_x - x), y + part / 20 * (to_y - y)) for part in range(21))
    return any(box[0] < across < box[2] and box[1] < down < box[3] for across, down in points)


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _distance(box: Box, place: tuple[float, float]) -> float:
    """Distance of a place from a box."""
    across = max(box[0] - place[0], 0.0, place[0] - box[2])
    down = max(box[1] - place[1], 0.0, place[1] - box[3])
    return math.hypot(across, down)


def rounded(shares: Sequence[float]) -> tuple[float, float, float]:
    """Ends of an axis of shares from the data, and the distance of its ticks."""
    step = step_of(max(shares) - min(shares))
    low, high = math.floor(round(min(shares) / step, 6)) * step, math.ceil(round(max(shares) / step, 6)) * step
    return low, max(high, low + step), step


def share_ticks(low: float, high: float, step: float) -> tuple[tuple[float, str], ...]:
    """Ticks of an axis of shares, by their part of it."""
    first, last = round(low / step), round(high / step)
    return tuple(((tick * step - low) / (high - low), f"{100 * tick * step:.0f}") for tick in range(first, last + 1))


def decade_ticks(low: float, high: float, factors: Sequence[int] = (1, 2, 5)) -> tuple[tuple[float, str], ...]:
    """Ticks of a logarithmic axis between two powers of ten, by their part of it: these factors of each decade."""
    found = []
    for power in range(math.floor(low), math.ceil(high) + 1):
        for factor in factors:
            place = power + math.log10(factor)
            if low - 1e-9 <= place <= high + 1e-9:
                found.append(((place - low) / (high - low), large(factor * 10**power)))
    return tuple(found)


def large(value: float) -> str:
    """A count with its unit: ``50k``, ``1.1M``, ``0.56G``."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.995 * factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.3g}"
