"""The leaderboards in the survey's layout, and the other tables of results."""

from __future__ import annotations

from typing import Any

from apsite.site.page import Page, SiteFacts
from apsite.site.tables import leaderboards


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page."""
    catalogue = facts.catalogue
    return {
        "boards": [board for board in leaderboards.leaderboards(catalogue) if board.rows],
        "imagenet": leaderboards.imagenet_board(catalogue),
        "ranks": facts.judge.ranks,
        "dense_grid": leaderboards.dense_grid(catalogue),
        "baseline_grid": leaderboards.baseline_grid(catalogue),
        "reduced": leaderboards.reduced(catalogue),
        "missing_reasons": leaderboards.missing_reasons,
        "board_warnings": leaderboards.board_warnings,
    }


PAGE = Page(
    path="leaderboard.md",
    title="Leaderboard",
    description="Clean and AutoAttack accuracy of adversarially pruned networks, by method, network and sparsity.",
    context=context,
)
