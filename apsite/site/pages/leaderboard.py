"""The leaderboards in the survey's layout, and the other tables of results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from apsite.comparable import robust_bounds
from apsite.entries import Entry
from apsite.site.page import Page, SiteFacts
from apsite.site.tables import heatmap, leaderboards, methods


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page."""
    catalogue, boards = facts.catalogue, facts.boards
    return {
        **_cells(facts),
        "boards": boards,
        "counted": counted({row.entry.key: row.entry for board in boards for row in board.rows}.values()),
        "imagenet": leaderboards.imagenet_board(catalogue),
        "dense_grid": leaderboards.dense_grid(catalogue),
        "baseline_grid": leaderboards.baseline_grid(catalogue),
        "reduced": leaderboards.reduced(catalogue),
        "missing_reasons": leaderboards.missing_reasons,
        "board_warnings": leaderboards.board_warnings,
    }


def _cells(facts: SiteFacts) -> dict[str, Any]:
    """Names for the cells of a leaderboard."""
    kinds = {heat.record.provenance.kind.value for heat in facts.heats.values()}
    return {"heat_of": facts.heats, "strips_of": _strips, "uniform": kinds.pop() if len(kinds) == 1 else None}


def members(facts: SiteFacts) -> Mapping[str, str]:
    """Titles of the pages of long leaderboards by name."""
    return {
        part.name: f"Leaderboard {board.dataset.label}, {board.structure.value}, rows {part.span}"
        for board in facts.boards
        for part in board.parts
    }


def board(facts: SiteFacts, name: str) -> dict[str, Any]:
    """Names for one page of a leaderboard."""
    one, part = next((board, part) for board in facts.boards for part in board.parts if part.name == name)
    return {**_cells(facts), "board": one, "part": part}


def counted(entries: Iterable[Entry]) -> dict[str, list[tuple[str, str]]]:
    """Facets of the tables, each value with the number of methods that have it; no value that gives none."""
    found = Counter(
        (name, word) for e in entries for name, words in methods.traits(e).items() for word in words.split()
    )
    options = {
        name: [(value, f"{title} ({found[name, value]})") for value, title in values if found[name, value]]
        for name, values in methods.facets().items()
    }
    return {name: values for name, values in options.items() if len(values) > 1}


def _strips(heat: heatmap.Heat) -> list[heatmap.Strip]:
    """The interval of a model on a strip, next to the leader of its setting."""
    best = (heat.record.robust_accuracy or 0.0) - heat.gap
    found = heatmap.strip(heat.record, robust_bounds(heat.record), best)
    return [found] if found else []


PAGE = Page(
    path="leaderboard.md",
    title="Leaderboard",
    description="Clean and AutoAttack accuracy of adversarially pruned networks, by method, network and sparsity.",
    context=context,
    own=("heat.css", "more.js"),
)
PARTS_PAGE = Page(
    path="leaderboard/{name}.md",
    title="Leaderboard in parts",
    description="{title}: clean and AutoAttack accuracy of adversarially pruned networks.",
    context=board,
    template="board.md.j2",
    members=members,
    own=("heat.css",),
    listed=False,
)
