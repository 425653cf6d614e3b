"""Numbers from per-sample results: closed forms, and properties that hold for any samples."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy.stats import beta

from apsite.metrics import (
    area_under_curve,
    binomial_bound,
    holm,
    mcnemar_p_value,
    mcnemar_p_values,
    median_distance,
    newcombe_interval,
    newcombe_p_value,
    robust_accuracy,
    robust_flags,
    robustness_curve,
    wilson_interval,
)

one_distance = st.sampled_from([0.0, math.inf, 0.03125, 0.5]) | st.floats(0, 2, width=32, allow_subnormal=False)
distances = arrays.arrays(np.float32, st.integers(1, 50), elements=one_distance)
budgets = st.floats(0, 2, width=32, allow_subnormal=False)

KNOWN = np.array([0.0, 0.25, 0.5, 0.5, math.inf], dtype=np.float32)


@pytest.mark.parametrize(
    ("epsilon", "share"), [(0.0, 0.8), (0.1, 0.8), (0.25, 0.6), (0.4999, 0.6), (0.5, 0.2), (1.0, 0.2), (1e9, 0.2)]
)
def test_robust_accuracy_counts_what_lies_beyond_the_budget(epsilon: float, share: float) -> None:
    """A sample whose distance equals the budget is broken within it."""
    assert robust_accuracy(KNOWN, epsilon) == share


@given(distances)
def test_robust_accuracy_without_a_budget_is_clean_accuracy(d: NDArray[np.float32]) -> None:
    assert robust_accuracy(d, 0) == np.count_nonzero(d) / d.size


@given(distances, budgets, budgets)
def test_robust_accuracy_never_grows_with_the_budget(d: NDArray[np.float32], a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert 0 <= robust_accuracy(d, high) <= robust_accuracy(d, low) <= 1


@given(distances, budgets, st.randoms())
def test_robust_accuracy_does_not_depend_on_the_order(d: NDArray[np.float32], epsilon: float, random) -> None:
    assert robust_accuracy(np.array(random.sample(list(d), len(d))), epsilon) == robust_accuracy(d, epsilon)


def test_a_stored_distance_of_exactly_the_budget_is_broken() -> None:
    """8/255 is not a float32; the comparison is made in float32, as the file stores the distances."""
    stored = np.array([8 / 255], dtype=np.float32)
    assert float(stored[0]) != 8 / 255
    assert not robust_flags(stored, 8 / 255)[0]
    assert robust_flags(np.nextafter(stored, np.float32(1)), 8 / 255)[0]


@pytest.mark.parametrize(("values", "epsilon", "message"), [
    ([], 0.1, "distances are empty"),
    ([0.1, -0.1], 0.1, "distances hold a negative or NaN value"),
    ([0.1, math.nan], 0.1, "distances hold a negative or NaN value"),
    ([0.1], -0.1, "epsilon must not be negative, not -0.1"),
])  # fmt: skip
def test_impossible_distances_are_a_callers_mistake(values: list[float], epsilon: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        robust_accuracy(np.array(values), epsilon)


def test_the_curve_of_known_distances_is_exact() -> None:
    at, share = robustness_curve(KNOWN)
    assert at.tolist() == [0.0, 0.25, 0.5]
    assert share.tolist() == pytest.approx([0.8, 0.6, 0.2], abs=1e-15)


@given(distances, budgets)
def test_the_curve_is_robust_accuracy_at_every_budget(d: NDArray[np.float32], epsilon: float) -> None:
    at, share = robustness_curve(d)
    assert at[0] == 0
    assert (np.diff(at) > 0).all()
    assert (np.diff(share) < 0).all()
    assert share[np.searchsorted(at, epsilon, side="right") - 1] == pytest.approx(
        robust_accuracy(d, epsilon), abs=1e-12
    )


@given(distances, st.floats(0.01, 2))
def test_the_area_is_the_sum_of_the_curves_steps(d: NDArray[np.float32], limit: float) -> None:
    at, share = robustness_curve(d)
    widths = np.diff(np.minimum(np.append(at, math.inf), limit))
    assert area_under_curve(d, limit) == pytest.approx(float((widths * share).sum()) / limit, abs=1e-9)


@pytest.mark.parametrize(("limit", "area"), [(0.25, 0.8), (0.5, 0.7), (1.0, 0.45)])
def test_the_area_of_known_distances(limit: float, area: float) -> None:
    """By hand: the mean of the distances cut at the limit, over the limit."""
    assert area_under_curve(KNOWN, limit) == pytest.approx(area, abs=1e-15)


@pytest.mark.parametrize("limit", [0.0, -1.0])
def test_an_area_needs_a_positive_limit(limit: float) -> None:
    with pytest.raises(ValueError, match="limit must be positive"):
        area_under_curve(KNOWN, limit)


@pytest.mark.parametrize(("values", "median"), [
    ([0.5], 0.5),
    ([0.0, 0.0, 0.5], 0.5),
    ([0.25, 0.75], 0.5),
    ([0.25, 0.5, math.inf], 0.5),
    ([0.0, 0.25, math.inf, math.inf], None),
    ([0.25, math.inf], None),
    ([math.inf], None),
    ([0.0, 0.0], None),
    ([], None),
])  # fmt: skip
def test_the_median_is_over_correct_samples(values: list[float], median: float | None) -> None:
    assert median_distance(np.array(values, dtype=np.float32)) == median


@pytest.mark.parametrize(("successes", "trials", "low", "high"), [
    # From the closed form with z = 1.959963984540054, rounded to six places.
    (0, 10, 0.0, 0.277533),
    (10, 10, 0.722467, 1.0),
    (5, 10, 0.236593, 0.763407),
    (81, 263, 0.255289, 0.366210),
    (4649, 10000, 0.455140, 0.474687),
    (0, 1, 0.0, 0.793451),
])  # fmt: skip
def test_wilson_intervals_have_their_known_values(successes: int, trials: int, low: float, high: float) -> None:
    """81 of 263 is the example of Newcombe (1998): 0.2553 to 0.3662."""
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-7)


counts = st.integers(1, 50_000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


@given(counts, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_wilson_interval_solves_its_equation(count: tuple[int, int], confidence: float) -> None:
    """Each bound p lies z standard errors, taken at p itself, from the observed share."""
    from statistics import NormalDist

    successes, trials = count
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    low, high = wilson_interval(successes, trials, confidence)
    assert 0 <= low <= successes / trials <= high <= 1
    for bound in (low, high):
        error = math.sqrt(bound * (1 - bound) / trials)
        assert abs(successes / trials - bound) == pytest.approx(z * error, abs=1e-6)


@given(counts)
def test_a_wilson_interval_treats_success_and_failure_alike(count: tuple[int, int]) -> None:
    successes, trials = count
    low, high = wilson_interval(successes, trials)
    assert wilson_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(("first", "second", "low", "high"), [
    ((56, 70), (48, 80), 0.0524, 0.3339),
    ((9, 10), (3, 10), 0.1705, 0.8090),
    ((6, 7), (2, 7), 0.0582, 0.8062),
    ((5, 56), (0, 29), -0.0381, 0.1926),
    ((0, 10), (0, 20), -0.1611, 0.2775),
    ((0, 10), (0, 10), -0.2775, 0.2775),
    ((10, 10), (0, 20), 0.6791, 1.0),
    ((10, 10), (0, 10), 0.6075, 1.0),
])  # fmt: skip
def test_newcombe_intervals_are_the_published_ones(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    """Newcombe (1998), Table II, method 10."""
    assert newcombe_interval(first, second) == pytest.approx((low, high), abs=5.1e-5)


@example((0, 1), (1, 28))  # one trial: the width grows like the square of z
@given(*2 * [st.integers(1, 30_000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))])
def test_a_newcombe_p_value_is_that_of_the_interval_which_ends_at_zero(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    p_value = newcombe_p_value(first, second)
    assert p_value == newcombe_p_value(second, first)
    if first[0] / first[1] < second[0] / second[1]:
        first, second = second, first
    if 1e-9 < p_value < 1:
        assert newcombe_interval(first, second, 1 - p_value)[0] == pytest.approx(0, abs=1e-7)
    assert (newcombe_interval(first, second)[0] > 0) is (p_value < 0.05)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 10), (11, 10)])
def test_impossible_counts_have_no_interval(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match=f"cannot have {successes} successes in {trials} trials"):
        wilson_interval(successes, trials)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    [(0, 0, 1.0), (1, 0, 1.0), (3, 3, 1.0), (5, 0, 0.0625), (0, 8, 2 / 256), (1, 9, 22 / 1024), (5000, 0, 0.0)],
)
def test_mcnemar_is_the_sign_test_of_the_differing_pairs(only_first: int, only_second: int, p_value: float) -> None:
    assert mcnemar_p_value(only_first, only_second) == pytest.approx(p_value)
    assert mcnemar_p_value(only_second, only_first) == mcnemar_p_value(only_first, only_second)


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_mcnemar_is_exact(only_first: int, only_second: int) -> None:
    differing = only_first + only_second
    ways = sum(math.comb(differing, k) for k in range(min(only_first, only_second) + 1))
    assert mcnemar_p_value(only_first, only_second) == pytest.approx(min(1.0, 2 * ways / 2**differing), rel=1e-12)


def test_mcnemar_of_many_pairs_is_exact_at_the_size_of_test_sets() -> None:
    pairs = [(0, 3), (1, 9), (7, 9), (16, 15), (130, 170), (4_800, 5_200), (5_000, 5_000), (5_001, 5_000), (9_000, 900)]
    exact = []
    for fewer, more in map(sorted, pairs):
        ways = term = 1
        for k in range(fewer):
            term = term * (fewer + more - k) // (k + 1)
            ways += term
        exact.append(min(1.0, float(Fraction(2 * ways, 2 ** (fewer + more)))))
    first, second = np.array(pairs).T
    assert mcnemar_p_values(first, second) == pytest.approx(exact, rel=1e-12, abs=0)
    assert mcnemar_p_values(first[:0], second[:0]).size == 0


@pytest.mark.parametrize(("count", "trials"), [(0, 1), (1, 1780), (3, 40), (39, 40), (40, 40), (2000, 10_000)])
def test_a_bound_of_a_rate_is_that_of_clopper_and_pearson(count: int, trials: int) -> None:
    expected = beta.ppf(0.95, count + 1, trials - count) if count < trials else 1.0
    assert binomial_bound(count, trials) == pytest.approx(expected, abs=1e-9)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        mcnemar_p_value(-1, 2)


@pytest.mark.parametrize(("p_values", "adjusted"), [
    # Worked by hand: sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, and never below the one before.
    ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
    ([0.5, 0.9], [1.0, 1.0]),
    ([0.02], [0.02]),
    ([0.02, 0.02], [0.04, 0.04]),
    ([], []),
])  # fmt: skip
def test_holm_adjusts_step_by_step(p_values: list[float], adjusted: list[float]) -> None:
    assert holm(p_values) == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0.001, 0.5))
def test_holm_rejects_what_stepping_down_rejects(p_values: list[float], level: float) -> None:
    """The same tests fall as in the procedure's own words: smallest first, until one exceeds its share of the level."""
    rejected = set()
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if (len(p_values) - place) * p_values[index] >= level:
            break
        rejected.add(index)
    assert {i for i, value in enumerate(holm(p_values)) if value < level} == rejected


def test_holm_refuses_what_is_no_probability() -> None:
    with pytest.raises(ValueError, match="p-values"):
        holm([0.5, 1.5])
