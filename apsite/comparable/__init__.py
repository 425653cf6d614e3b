"""Which models are more robust, and by how much; nothing of this is stored.

``settings`` says what can be compared and what may rank, ``standings`` who is ahead there, ``pairs`` across settings.
"""

from __future__ import annotations

from apsite.comparable.pairs import judge_pairs, pair_test
from apsite.comparable.settings import (
    Bounds,
    JudgedData,
    Setting,
    assumed_samples,
    by_setting,
    doubtful,
    interval_of,
    leader_count,
    leaders,
    rankable,
    ranking,
    robust_bounds,
    setting_of,
    unranked,
)
from apsite.comparable.standings import (
    LEVEL,
    Basis,
    Contender,
    Judge,
    Lead,
    Outcome,
    Separation,
    Standings,
    Stretch,
    contender,
    judge,
    leads_along,
    paired_test,
)

__all__ = [
    "LEVEL", "Basis", "Bounds", "Contender", "Judge", "JudgedData", "Lead", "Outcome", "Separation", "Setting",
    "Standings", "Stretch", "assumed_samples", "by_setting", "contender", "doubtful", "interval_of", "judge",
    "judge_pairs", "leader_count", "leaders", "leads_along", "pair_test", "paired_test", "rankable", "ranking",
    "robust_bounds", "setting_of", "unranked",
]  # fmt: skip
