"""The hyperparameter search of HO-FMN: Gaussian-process Bayesian optimisation over the paper's space.

Source: Mura et al., *HO-FMN: Hyperparameter optimization for fast minimum-norm attacks*, Neurocomputing 2024.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from apsite.evaluation.attacks.fmn import FmnParameters
from apsite.protocol import LOGARITHMIC, SEARCH_SPACE

INDEPENDENT = 10
"""Number of first trials, drawn at random; they do not depend on each other's results, so they can run together."""


@dataclass(frozen=True)
class Trial:
    """One configuration and the median distance it reached, in input units."""

    parameters: FmnParameters
    objective: float


def suggest(finished: Sequence[Trial], seed: int) -> FmnParameters:
    """Configuration of the next trial: a pure function of the finished trials, in order, and the seed of the search.

    Nothing else is kept between trials, so a resumed search is the same search.
    """
    import optuna
    from optuna.distributions import BaseDistribution, FloatDistribution
    from optuna.trial import create_trial

    distributions: dict[str, BaseDistribution] = {
        name: FloatDistribution(low, high, log=name in LOGARITHMIC) for name, (low, high) in SEARCH_SPACE.items()
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.GPSampler(
            seed=seed * 100_003 + len(finished), deterministic_objective=True, n_startup_trials=INDEPENDENT
        )
        study = optuna.create_study(sampler=sampler, direction="minimize")
        for trial in finished:
            values = trial.parameters.as_dict()
            study.add_trial(create_trial(params=values, distributions=distributions, value=trial.objective))
        asked = study.ask(distributions)
    return FmnParameters(**{name: float(asked.params[name]) for name in SEARCH_SPACE})


def best_of(trials: Sequence[Trial]) -> Trial:
    """Trial with the smallest median distance; of equal ones the first."""
    return min(trials, key=lambda trial: trial.objective)


def run_search(
    objectives: Callable[[int, Sequence[FmnParameters]], Sequence[float]], count: int, seed: int, *,
    stored: Callable[[int], Trial | None] = lambda number: None,
    store: Callable[[int, Sequence[Trial]], None] = lambda number, trials: None,
) -> list[Trial]:  # fmt: skip
    """Run or resume a search.

    Args:
        objectives: Median distances that configurations reach; called with the number of the first one. The
            :data:`INDEPENDENT` first trials come together, the others one by one.
        count: Trials in all.
        seed: Seed of all draws.
        stored: The finished trial of a number, if there is one.
        store: Called with the number of the first and all of the trials that have just been finished together.

    Returns:
        All trials, in order.
    """
    trials: list[Trial] = []
    while len(trials) < count:
        first = len(trials)
        if (trial := stored(first)) is not None:
            trials.append(trial)
            continue
        together: list[FmnParameters] = []
        while not together or first + len(together) < min(INDEPENDENT, count):
            # Random trials do not look at results, so any number serves for those that are not there yet.
            together.append(suggest([*trials, *(Trial(parameters, 0.0) for parameters in together)], seed))
        finished = list(map(Trial, together, objectives(first, together)))
        store(first, finished)
        trials += finished
    return trials
