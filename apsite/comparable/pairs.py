"""Leads within pairs of models that have no setting in common, by the rules of the one judge."""

from __future__ import annotations

from collections.abc import Sequence

from apsite.comparable.standings import LEVEL, Basis, Contender, Outcome, Separation, paired_test, two_proportions
from apsite.metrics import PairedTest, TwoProportions, holm


def pair_test(first: Contender, second: Contender) -> PairedTest | TwoProportions | None:
    """The test that compares two models: paired where they have images in common; ``None`` for unknown numbers."""
    return paired_test(first, second) or two_proportions(first, second)


def judge_pairs(tests: Sequence[PairedTest | TwoProportions | None]) -> list[Separation]:
    """Whether the first model of each pair leads the second, by the tests of all pairs.

    As within a setting, p-values are adjusted by the method of Holm for all pairs that are compared in the same way.
    Where the second model is the more robust one, or there is no test, the two are not separable.
    """
    found = [Separation(Outcome.NOT_SEPARABLE, Basis.UNKNOWN)] * len(tests)
    for basis, kind in ((Basis.PAIRED, PairedTest), (Basis.PROPORTIONS, TwoProportions)):
        alike = [(place, test) for place, test in enumerate(tests) if isinstance(test, kind)]
        for (place, test), adjusted in zip(alike, holm([test.p_value for _, test in alike]), strict=True):
            outcome = Outcome.NOT_SEPARABLE
            if test.difference > 0 and test.p_value < LEVEL:
                outcome = Outcome.LEADS if adjusted < LEVEL else Outcome.PROBABLY
            found[place] = Separation(
                outcome, basis, adjusted,
                test if isinstance(test, PairedTest) else None,
                test if isinstance(test, TwoProportions) else None,
            )  # fmt: skip
    return found
