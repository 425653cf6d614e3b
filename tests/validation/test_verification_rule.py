"""How many claimed-robust samples a verification draws, how many may break, and what it then detects."""

from __future__ import annotations

import math

import numpy as np
import pytest

from apsite.metrics import binomial_limit, hypergeometric_at_most
from apsite.protocol import DETECTION, INFLATION_LIMIT, SEED_DIFFERENCE, VERIFICATION_ALPHA
from apsite.validation.verification import breaks_allowed, conclusive, detectable_inflation, fewest_to_draw

RUNS = 20_000
RECORDS = [(4540, 10_000), (3000, 10_000), (6500, 10_000), (8000, 10_000), (12_000, 26_032), (1500, 5_000)]
"""Claimed-robust samples, and all of the test set."""


def test_the_limit_is_the_smallest_with_so_little_chance_above_it() -> None:
    """Against the definition, in exact whole numbers."""
    for trials in (0, 1, 4, 100, 345, 1000):
        limit = binomial_limit(trials, 1 / 500, 1 / 100)

        def above(count: int, trials: int = trials) -> float:
            ways = sum(math.comb(trials, k) * 499 ** (trials - k) for k in range(count + 1, trials + 1))
            return ways / 500**trials

        assert above(limit) <= 1 / 100
        assert limit == 0 or above(limit - 1) > 1 / 100


@pytest.mark.parametrize(("population", "marked", "drawn"), [(10, 5, 2), (60, 7, 30), (60, 0, 9), (9, 9, 4), (9, 4, 9)])
def test_draws_are_counted(population: int, marked: int, drawn: int) -> None:
    """All ways to draw, counted exactly."""
    for count in range(drawn + 1):
        ways = sum(math.comb(marked, k) * math.comb(population - marked, drawn - k) for k in range(count + 1))
        exact = ways / math.comb(population, drawn)
        assert hypergeometric_at_most(count, population, marked, drawn) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("arguments", [(-1, 9, 1, 1), (0, 9, 10, 1), (0, 9, 1, 10), (0, 9, -1, 1)])
def test_impossible_draws_are_refused(arguments: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot draw"):
        hypergeometric_at_most(*arguments)
    for trials, rate, level in ((-1, 0.5, 0.5), (1, 0.0, 0.5), (1, 0.5, 1.0)):
        with pytest.raises(ValueError, match="not a binomial distribution"):
            binomial_limit(trials, rate, level)


@pytest.mark.parametrize(
    ("claimed", "drawn", "samples", "inflation"),
    [
        (100, 0, 100, 1.0),  # nothing drawn detects nothing
        (100, 100, 100, 0.03),  # all drawn: two may break, so three false claims are detected for certain
        (4, 4, 64, 1 / 64),
        (100, 50, 100, 0.08),  # one may break; more of 8 do with 97.0 %, more of 7 with 94.4 %
        (0, 0, 100, 0.0),
    ],
)
def test_known_detectable_inflations(claimed: int, drawn: int, samples: int, inflation: float) -> None:
    assert detectable_inflation(claimed, drawn, samples) == inflation


@pytest.mark.parametrize(("claimed", "samples"), RECORDS)
def test_an_inflation_of_one_point_passes_at_most_once_in_twenty(claimed: int, samples: int) -> None:
    """Simulated, with the fewest samples drawn; without the honest claims that break by chance."""
    drawn, false = fewest_to_draw(claimed, samples), math.ceil(INFLATION_LIMIT * samples)
    assert 100 <= drawn < claimed
    assert conclusive(claimed, drawn, samples)
    assert not conclusive(claimed, drawn - 1, samples)
    broken = np.random.default_rng(0).hypergeometric(false, claimed - false, drawn, RUNS)
    assert np.mean(broken <= breaks_allowed(drawn)) <= 1 - DETECTION


@pytest.mark.parametrize(("claimed", "samples"), RECORDS)
def test_an_honest_record_is_verified(claimed: int, samples: int) -> None:
    """Simulated at the rate at which two seeds differ, also where all are drawn."""
    for drawn in (fewest_to_draw(claimed, samples), claimed):
        broken = np.random.default_rng(0).binomial(drawn, SEED_DIFFERENCE, RUNS)
        assert np.mean(broken > breaks_allowed(drawn)) <= 1.2 * VERIFICATION_ALPHA


@pytest.mark.parametrize(("claimed", "samples"), [*RECORDS, (50, 64), (300, 500), (50_000, 50_000), (0, 8)])
def test_few_samples_verify_nothing(claimed: int, samples: int) -> None:
    """Unless they are all."""
    assert conclusive(claimed, 4, samples) is (claimed <= 4)
    assert conclusive(claimed, claimed, samples)
    assert conclusive(claimed, fewest_to_draw(claimed, samples), samples)
