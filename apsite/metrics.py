"""Numbers computed from per-sample results. Pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.floating[Any]]


def robust_accuracy(distances: Distances, epsilon: float) -> float:
    """Fraction of samples that no perturbation of size at most `epsilon` misclassifies.

    >>> distances = np.array([0.0, 0.01, 0.05, np.inf])
    >>> robust_accuracy(distances, 8 / 255), robust_accuracy(distances, 0)
    (0.5, 0.75)

    Args:
        distances: Minimum-norm distance of each sample, shape ``(n_samples,)``, in the norm of the threat model and in
            input units. ``0``: wrong with no attack; ``inf``: the attack never broke it.
        epsilon: Perturbation size in the same units: ``8 / 255``, not ``8``.

    Returns:
        A fraction in [0, 1]. At ``epsilon=0`` it is the clean accuracy.

    Raises:
        ValueError: If `distances` is empty or holds a negative or NaN value, or if `epsilon` is negative.
    """
    return float(robust_flags(distances, epsilon).mean())


def robust_flags(distances: Distances, epsilon: float) -> NDArray[np.bool_]:
    """Whether each sample is further than `epsilon` from an adversarial example; compared in float32, as stored.

    >>> robust_flags(np.array([0.0, 0.01, 0.05, np.inf]), 8 / 255).tolist()
    [False, False, True, True]

    Raises:
        ValueError: As :func:`robust_accuracy`.
    """
    if distances.size == 0:
        raise ValueError("distances are empty")
    if np.isnan(distances).any() or (distances < 0).any():
        raise ValueError("distances hold a negative or NaN value")
    if epsilon < 0:
        raise ValueError(f"epsilon must not be negative, not {epsilon}")
    return np.asarray(distances.astype(np.float32) > np.float32(epsilon), dtype=np.bool_)


def robustness_curve(distances: Distances) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Robust accuracy as a function of ε, exact: a right-continuous step function.

    >>> steps, robust = robustness_curve(np.array([0.0, 0.01, 0.05, np.inf]))
    >>> steps.tolist(), robust.tolist()
    ([0.0, 0.01, 0.05], [0.75, 0.5, 0.25])

    Args:
        distances: As in :func:`robust_accuracy`.

    Returns:
        Values of ε at which the curve steps, ascending and starting with 0, and the robust accuracy from each on.
    """
    robust_flags(distances, 0.0)
    finite = np.sort(distances[np.isfinite(distances)].astype(np.float64))
    steps, counts = np.unique(np.concatenate([[0.0], finite]), return_counts=True)
    counts[0] -= 1
    return steps, 1.0 - np.cumsum(counts) / distances.size


def area_under_curve(distances: Distances, limit: float) -> float:
    """Mean robust accuracy for ε from 0 to `limit`: the exact area under the curve, divided by `limit`.

    >>> area_under_curve(np.array([0.0, 0.25, np.inf]), limit=0.5)
    0.5

    Raises:
        ValueError: If `limit` is not positive, or as :func:`robust_accuracy`.
    """
    if limit <= 0:
        raise ValueError(f"limit must be positive, not {limit}")
    robust_flags(distances, 0.0)
    return float(np.minimum(distances.astype(np.float64), limit).mean() / limit)


def median_distance(distances: Distances) -> float | None:
    """Median distance of the samples that are correct without an attack.

    >>> median_distance(np.array([0.0, 0.25, 0.5, np.inf]))
    0.5

    Returns:
        The median in input units; ``None`` if no sample is correct or at least half of them were never broken.
    """
    correct = distances[distances > 0]
    if correct.size == 0:
        return None
    median = float(np.median(correct.astype(np.float64)))
    return median if math.isfinite(median) else None


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """Exact two-sided McNemar p-value for two models evaluated on the same samples.

    Args:
        only_first: Samples on which only the first model is robust.
        only_second: Samples on which only the second one is.

    Returns:
        A probability in [0, 1]: small if the samples on which the two differ favour one of them, 1 if none differ.

    Raises:
        ValueError: If a count is negative.

    >>> round(mcnemar_p_value(6, 0), 5), mcnemar_p_value(5, 5)
    (0.03125, 1.0)

    Source: McNemar, *Note on the sampling error of the difference between correlated proportions or percentages*,
    Psychometrika 12 (1947); the exact form is the sign test of the differing pairs.
    """
    return float(mcnemar_p_values(np.array([only_first]), np.array([only_second]))[0])


def mcnemar_p_values(only_first: NDArray[np.integer], only_second: NDArray[np.integer]) -> NDArray[np.float64]:
    """:func:`mcnemar_p_value` of many pairs of models, of arrays of one dimension and the same length.

    >>> mcnemar_p_values(np.array([6, 5]), np.array([0, 5])).tolist()
    [0.03125, 1.0]

    Source of the largest term: Loader, *Fast and Accurate Computation of Binomial Probabilities* (2000), which loses
    nothing to the size of factorials.
    """
    first, second = only_first.astype(np.int64), only_second.astype(np.int64)
    if np.minimum(first, second).min(initial=0) < 0:
        raise ValueError(f"counts must not be negative, not {first} and {second}")
    n, fewer, found = first + second, np.minimum(first, second), np.empty(len(first))
    # Terms of the tail as multiples of the largest one; beyond `reach`, their sum is below the rounding of the first.
    reach = int(min(fewer.max(initial=0), 4.5 * math.sqrt(n.max(initial=0)) + 1))
    steps, rows = np.arange(reach), max(1, _TERMS // max(reach, 1))
    for start in range(0, len(n), rows):
        k, m = fewer[start : start + rows], n[start : start + rows]
        tail = np.cumprod((k[:, None] - steps).clip(0) / ((m - k)[:, None] + 1 + steps), axis=1).sum(axis=1)
        found[start : start + rows] = 2 * _middle(m, k) * (1 + tail)
    return np.minimum(1.0, found)


_TERMS = 2**21
"""Terms computed together, which bounds memory."""

_LOGS = np.array([math.lgamma(n + 1) - (n + 0.5) * math.log(max(n, 1)) + n for n in range(16)])
_LOGS -= math.log(2 * math.pi) / 2


def _middle(n: NDArray[np.int64], k: NDArray[np.int64]) -> NDArray[np.float64]:
    """C(n, k) / 2^n for k in 0..n/2."""

    def rest(count: NDArray[np.int64]) -> NDArray[np.float64]:
        """Logarithm of a factorial less Stirling's formula for it."""
        far = np.maximum(count, 16).astype(np.float64)
        series = (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / 1188 / far**2) / far**2) / far**2) / far**2) / far
        return np.where(count < 16, _LOGS[np.minimum(count, 15)], series)

    some = np.maximum(k, 1)
    others = np.maximum(n - k, 1)
    whole = some + others
    away = (others - some) / whole
    entropy = whole / 2 * (np.log1p(-(away**2)) + 2 * away * np.arctanh(away))
    scale = np.sqrt(whole / (2 * math.pi * some * others))
    return np.where(k == 0, 0.5**n, scale * np.exp(rest(whole) - rest(some) - rest(others) - entropy))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for the number of tests by the step-down method of Holm: in the same order, at most 1.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]

    Rejecting where the adjusted value is below a level keeps the chance of any false rejection below that level,
    whatever the tests have to do with each other.

    Raises:
        ValueError: If a value is not a probability.

    Source: Holm, *A Simple Sequentially Rejective Multiple Test Procedure*, Scandinavian Journal of Statistics 6
    (1979).
    """
    if any(not 0 <= value <= 1 for value in p_values):
        raise ValueError(f"p-values must lie in [0, 1], not {list(p_values)}")
    values = np.asarray(p_values, dtype=np.float64)
    order, factors = values.argsort(kind="stable"), np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factors * values[order]))
    return [float(value) for value in adjusted]


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion, as fractions in [0, 1], at a coverage of `confidence` in (0, 1).

    >>> low, high = wilson_interval(4540, 10_000)
    >>> round(low, 4), round(high, 4)
    (0.4443, 0.4638)

    Raises:
        ValueError: If `trials` is below 1 or `successes` is not in 0..`trials`.

    Source: Wilson, *Probable Inference, the Law of Succession, and Statistical Inference*, JASA 22 (1927).
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"cannot have {successes} successes in {trials} trials")
    return _score_bounds(successes / trials, trials, NormalDist().inv_cdf(0.5 + confidence / 2))


def _score_bounds(share: float, trials: int, z: float) -> tuple[float, float]:
    """Wilson score interval `z` standard errors wide to each side."""
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # In exact arithmetic the interval holds the share and lies within [0, 1]; rounding must not break that.
    return max(0.0, min(share, (centre - spread) / scale)), min(1.0, max(share, (centre + spread) / scale))


def newcombe_interval(first: tuple[int, int], second: tuple[int, int], confidence: float = 0.95) -> tuple[float, float]:
    """Newcombe's interval of the difference of two proportions from different samples, first minus second.

    It is made of the Wilson intervals of the two, without a correction for continuity.

    Args:
        first: Successes and trials of the first.
        second: Those of the second.
        confidence: Coverage, in (0, 1).

    >>> low, high = newcombe_interval((56, 70), (48, 80))
    >>> round(low, 4), round(high, 4)
    (0.0524, 0.3339)

    Raises:
        ValueError: As :func:`wilson_interval`.

    Source: method 10 of Newcombe, *Interval Estimation for the Difference Between Independent Proportions: Comparison
    of Eleven Methods*, Statistics in Medicine 17 (1998).
    """
    (low_1, high_1), (low_2, high_2) = wilson_interval(*first, confidence), wilson_interval(*second, confidence)
    share_1, share_2 = first[0] / first[1], second[0] / second[1]
    difference = share_1 - share_2
    return (
        difference - math.hypot(share_1 - low_1, high_2 - share_2),
        difference + math.hypot(high_1 - share_1, share_2 - low_2),
    )


def newcombe_p_value(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Two-sided p-value of two proportions from different samples: how unsure the interval is that just touches 0.

    Args:
        first: Successes and trials of the first.
        second: Those of the second.

    Returns:
        1 less the confidence at which :func:`newcombe_interval` ends at 0, so below 0.05 where the 95 % interval
        excludes 0.

    Raises:
        ValueError: As :func:`wilson_interval`.

    >>> round(newcombe_p_value((56, 70), (48, 80)), 4), newcombe_p_value((5, 10), (10, 20))
    (0.0081, 1.0)
    """
    wilson_interval(*first), wilson_interval(*second)
    (high, n_high), (low, n_low) = sorted((first, second), key=lambda one: -one[0] / one[1])
    upper, lower = high / n_high, low / n_low
    if upper <= lower:
        return 1.0

    def beyond(log_z: float) -> float:
        """Logarithm of the interval's width towards 0, as a multiple of the difference."""
        z = math.exp(log_z)
        width = math.hypot(upper - _score_bounds(upper, n_high, z)[0], _score_bounds(lower, n_low, z)[1] - lower)
        return math.log(width / (upper - lower))

    # Secant steps; the width grows with z, like z while that is small, and like its square where a share is 0 or 1.
    last = math.log((upper - lower) / math.sqrt(0.25 / n_high + 0.25 / n_low))
    off = beyond(last)
    log_z = last - off
    for _ in range(100):
        found = beyond(log_z)
        if abs(found) < 1e-13 or found == off:
            break
        step = found * (log_z - last) / (found - off)
        last, off, log_z = log_z, found, log_z - min(2.0, max(-2.0, step))
    z = math.exp(log_z)
    return math.erfc(z / math.sqrt(2))


def binomial_limit(trials: int, rate: float, level: float) -> int:
    """Smallest count that a binomial number of successes exceeds with a probability of at most `level`.

    >>> binomial_limit(500, 0.002, 0.01), binomial_limit(4, 0.002, 0.01)
    (4, 0)

    Raises:
        ValueError: If `trials` is negative, or `rate` or `level` is not in (0, 1).
    """
    if trials < 0 or not 0 < rate < 1 or not 0 < level < 1:
        raise ValueError(f"not a binomial distribution and a level: {trials} trials, rate {rate}, level {level}")
    count, odds = 0, rate / (1 - rate)
    probability = cumulated = (1 - rate) ** trials
    while 1 - cumulated > level:
        count += 1
        probability *= (trials - count + 1) / count * odds
        cumulated += probability
    return count


def binomial_bound(count: int, trials: int, confidence: float = 0.95) -> float:
    """Largest rate at which `count` successes of `trials`, or fewer, are not too rare: one-sided, exact.

    >>> round(binomial_bound(0, 100), 4), round(binomial_bound(1, 100), 4), binomial_bound(4, 4)
    (0.0295, 0.0466, 1.0)

    Raises:
        ValueError: As :func:`wilson_interval`, or if `confidence` is not in (0, 1).

    Source: Clopper and Pearson, *The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial*,
    Biometrika 26 (1934).
    """
    wilson_interval(count, trials)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), not {confidence}")
    k = np.arange(count + 1)
    ways = np.array([_log_ways(trials, chosen) for chosen in range(count + 1)])
    low, high = count / trials, 1.0
    while count < trials and high - low > 1e-12:
        rate = (low + high) / 2
        at_most = np.exp(ways + k * math.log(rate) + (trials - k) * math.log1p(-rate)).sum()
        low, high = (rate, high) if at_most > 1 - confidence else (low, rate)
    return high


def hypergeometric_at_most(count: int, population: int, marked: int, drawn: int) -> float:
    """Probability that at most `count` of the items drawn without replacement are marked.

    >>> round(hypergeometric_at_most(0, 10, 5, 2), 4), hypergeometric_at_most(2, 10, 5, 2)
    (0.2222, 1.0)

    Raises:
        ValueError: If `marked` or `drawn` is not in 0..`population`, or `count` is negative.
    """
    if not (0 <= marked <= population and 0 <= drawn <= population and count >= 0):
        raise ValueError(f"cannot draw {drawn} of {population} items with {marked} marked, {count} of them")
    if count >= min(marked, drawn):
        return 1.0

    every, others = _log_ways(population, drawn), population - marked
    hits = range(max(0, drawn - others), count + 1)
    return min(1.0, sum(math.exp(_log_ways(marked, hit) + _log_ways(others, drawn - hit) - every) for hit in hits))


def _log_ways(among: int, chosen: int) -> float:
    """Logarithm of how many ways there are to choose some items."""
    return math.lgamma(among + 1) - math.lgamma(chosen + 1) - math.lgamma(among - chosen + 1)


@dataclass(frozen=True)
class PairedTest:
    """Two models on the images that both were evaluated on: how many each, and only one of them, is robust on.

    >>> test = PairedTest(10_000, first=4540, second=4460, only_first=80, only_second=0)
    >>> round(test.difference, 4), f"{test.p_value:.1e}"
    (0.008, '1.7e-24')
    """

    n_samples: int
    first: int
    second: int
    only_first: int
    only_second: int

    @property
    def difference(self) -> float:
        """Robust accuracy of the first minus that of the second on these images, a fraction."""
        return (self.first - self.second) / self.n_samples

    @property
    def p_value(self) -> float:
        """Exact McNemar p-value, not adjusted; see :func:`mcnemar_p_value`."""
        return mcnemar_p_value(self.only_first, self.only_second)

    @property
    def reversed(self) -> PairedTest:
        """The same with the two models exchanged."""
        return PairedTest(self.n_samples, self.second, self.first, self.only_second, self.only_first)


@dataclass(frozen=True)
class TwoProportions:
    """Two models of which the results per image are not known: how many images each is robust on, and of how many.

    >>> test = TwoProportions((4540, 10_000), (4192, 10_000))
    >>> round(test.difference, 4), [round(bound, 4) for bound in test.bounds], f"{test.p_value:.1e}"
    (0.0348, [0.0211, 0.0485], '7.0e-07')
    """

    first: tuple[int, int]
    second: tuple[int, int]

    @property
    def difference(self) -> float:
        """Robust accuracy of the first minus that of the second, a fraction."""
        return self.first[0] / self.first[1] - self.second[0] / self.second[1]

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """Newcombe's 95 % interval of the difference; see :func:`newcombe_interval`."""
        return newcombe_interval(self.first, self.second)

    @cached_property
    def p_value(self) -> float:
        """P-value of the two-proportion test, not adjusted; see :func:`newcombe_p_value`."""
        return newcombe_p_value(self.first, self.second)

    @property
    def reversed(self) -> TwoProportions:
        """The same with the two models exchanged."""
        return TwoProportions(self.second, self.first)
