"""Numbers as pages print them, from exported rows and per-sample files, not by the site's own code."""

from __future__ import annotations

import numpy as np
from scipy.stats import binomtest

from apsite.numbers import interval, percent
from apsite.vocabulary import Architecture, Dataset

LABELS = {word.value: word.label for kind in (Dataset, Architecture) for word in kind}


def wilson(row) -> str:
    """Wilson 95 % interval of AutoAttack by another library, as pages spell it: of 10,000 for the survey's SVHN."""
    if row["n_samples"] is None or row["aa_robust_accuracy"] is None:
        return interval(None)
    doubtful = (row["dataset"], row["protocol"]) == ("svhn", "piras-2024")
    samples = 10_000 if doubtful else row["n_samples"]
    found = binomtest(round(row["aa_robust_accuracy"] * samples), samples).proportion_ci(0.95, "wilson")
    return interval((found.low, found.high)) + ("‡" if doubtful else "")


def find(exported, **words):
    """The one row that has these words; ``None`` if there is none."""
    found = [row for row in exported.values() if all(row[name] == value for name, value in words.items())]
    assert len(found) <= 1, words
    return found[0] if found else None


def shares(verdict, budgets=range(17)) -> list[str]:
    """Robust samples at multiples of 1/255 under HO-FMN, of those outside its search."""
    distance = verdict["distance"].astype(np.float64)
    return [percent(float((distance > np.float32(k / 255)).mean() if k else (distance > 0).mean())) for k in budgets]


def envelope(found) -> dict[str, np.ndarray]:
    """The samples with those that AutoAttack broke no further away than 8/255."""
    broken = found["clean_correct"] & ~found["aa_robust"]
    nearest = np.minimum(found["distance"], np.float32(8 / 255))
    return {"distance": np.where(broken, nearest, found["distance"])}
