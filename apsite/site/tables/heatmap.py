"""The heat map of methods and settings, and the sentence on who leads. Pure functions of the judge's standings."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean

from apsite.comparable import Basis, Bounds, Lead, Outcome, Setting, Standings
from apsite.entries import Entry
from apsite.records import EvaluationRecord
from apsite.vocabulary import Structure

STEPS = (0.02, 0.05, 0.10, 0.20)
"""Where the colours change: robust accuracy below the leader's, fractions."""
WHOLE, FIRST = 60, 15
"""Rows up to which heat maps have every method, all together; and rows of each one that has more."""
STRIP = 0.12
"""Width of an interval strip in robust accuracy: it ends two points above the leader."""


@dataclass(frozen=True)
class Heat:
    """One model among those of its setting: `gap` is its robust accuracy minus the leader's, 0 for the leader."""

    record: EvaluationRecord
    rank: int
    gap: float
    leads: bool
    tied: bool  # with the leader

    @property
    def shade(self) -> int:
        """Number of the colour: 0 near the leader, 4 far below."""
        return bisect.bisect_right(STEPS, -self.gap)


@dataclass(frozen=True)
class HeatMap:
    """Methods by settings, for one structure; a cell is ``None`` where there is no result."""

    structure: Structure
    columns: tuple[tuple[Setting, str], ...]  # each with the part of model keys that its models share
    rows: tuple[tuple[Entry, tuple[Heat | None, ...]], ...]
    shown: int  # how many of the rows the start page has

    @property
    def heads(self) -> list[tuple[str, int]]:
        """Dataset and network of the columns, each with how many columns it spans."""
        labels = (f"{one.dataset.label} {one.architecture.label}" for one, _ in self.columns)
        return [(label, len(list(among))) for label, among in groupby(labels)]


def heats(standings: Standings) -> dict[str, Heat]:
    """Every model of a setting, by method key."""
    lead = standings.lead
    if lead is None:
        return {}
    level = {record.model_key for record in lead.tied}
    return {
        model.record.method: Heat(
            model.record, standings.ranks[model.key], model.share - (lead.record.robust_accuracy or 0.0),
            model.record is lead.record, model.key in level,
        )
        for model in standings.models
    }  # fmt: skip


def heat_maps(judged: Mapping[Setting, Standings], entries: Mapping[str, Entry]) -> list[HeatMap]:
    """Heat map of each structure; the methods that lead most settings first, then by their mean gap."""
    maps = []
    for structure in Structure:
        chosen = {setting: standings for setting, standings in judged.items() if setting.structure is structure}
        anchors = tuple((one, found.models[0].key.split("_", 2)[2]) for one, found in chosen.items())
        columns = [heats(standings) for standings in chosen.values()]
        methods = {method for column in columns for method in column}
        rows = [(entries[method], tuple(column.get(method) for column in columns)) for method in methods]
        if rows:
            maps.append(HeatMap(structure, anchors, tuple(sorted(rows, key=_best_first)), len(rows)))
    if sum(len(one.rows) for one in maps) <= WHOLE:
        return maps
    return [replace(one, shown=min(FIRST, len(one.rows))) for one in maps]


def _best_first(row: tuple[Entry, tuple[Heat | None, ...]]) -> tuple[int, float, str]:
    there = [heat for heat in row[1] if heat is not None]
    return -sum(heat.leads for heat in there), -fmean(heat.gap for heat in there), row[0].key


def summary(leads: Mapping[Setting, Lead]) -> tuple[list[tuple[str, int]], Counter[str]]:
    """Who leads how many settings, most first, by method key; and how many leads each term describes.

    ``unknown`` counts leads where a source does not state its number of images, ``alone`` those without a runner-up.
    """
    who = Counter(lead.record.method for lead in leads.values())
    terms: Counter[str] = Counter(dict.fromkeys((one.name.lower() for one in Outcome), 0))
    for lead in leads.values():
        unknown = lead.over is not None and lead.over.basis is Basis.UNKNOWN
        terms["alone" if lead.over is None else "unknown" if unknown else lead.over.outcome.name.lower()] += 1
    return who.most_common(), terms


def claim(lead: Lead) -> str:
    """What the margin of a lead is worth, in the terms of pages."""
    if lead.over is None:
        return "no other result"
    return "images unknown" if lead.over.basis is Basis.UNKNOWN else lead.over.outcome.value


@dataclass(frozen=True)
class Strip:
    """An interval on a strip from 0 to 100: its ends and the share, cut off at the left end."""

    low: float
    share: float
    high: float


def strip(record: EvaluationRecord, bounds: Bounds | None, best: float) -> Strip | None:
    """Interval of a record next to a leader of robust accuracy `best`; ``None`` if unknown or too far below."""
    if bounds is None or record.robust_accuracy is None or bounds[1] < best + 0.02 - STRIP:
        return None
    left = best + 0.02 - STRIP
    low, share, high = (
        round(100 * min(max(value - left, 0.0), STRIP) / STRIP, 1)
        for value in (bounds[0], record.robust_accuracy, bounds[1])
    )
    return Strip(low, share, high)


def strips(records: Sequence[tuple[EvaluationRecord, Bounds | None]]) -> list[Strip]:
    """Strips of records, the first of which leads; those that are too far below have none."""
    best = records[0][0].robust_accuracy or 0.0
    return [found for record, bounds in records if (found := strip(record, bounds, best)) is not None]
