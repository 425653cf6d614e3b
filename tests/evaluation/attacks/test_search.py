"""The HO-FMN search: resumable, bounded, and better than its first guess."""

from collections.abc import Sequence

from apsite.evaluation.attacks.fmn import FmnParameters
from apsite.evaluation.attacks.search import INDEPENDENT, Trial, best_of, run_search, suggest
from apsite.protocol import SEARCH_SPACE, at_bounds


def bowl(first: int, together: Sequence[FmnParameters]) -> list[float]:
    return [(parameters.learning_rate - 0.5) ** 2 + parameters.dampening for parameters in together]


def test_a_resumed_search_is_the_same_search():
    whole = run_search(bowl, 14, seed=3)
    kept = dict(enumerate(whole[:12]))
    computed = []

    def objective(first, together):
        computed.append((first, len(together)))
        return bowl(first, together)

    assert run_search(objective, 14, seed=3, stored=kept.get) == whole
    assert computed == [(12, 1), (13, 1)]


def test_random_trials_run_together_and_are_those_that_would_run_alone():
    """The ten first configurations are asked for at once; they are what one after the other gives, resumed or not."""
    calls = []

    def objective(first, together):
        calls.append((first, len(together)))
        return bowl(first, together)

    whole = run_search(objective, 12, seed=5)
    assert calls == [(0, INDEPENDENT), (10, 1), (11, 1)]
    for number, trial in enumerate(whole):
        assert suggest(whole[:number], 5) == trial.parameters
    assert run_search(bowl, 12, seed=5, stored=dict(enumerate(whole[:4])).get) == whole


def test_suggestions_stay_in_the_space_and_differ_by_seed():
    first, second = run_search(bowl, 4, seed=0), run_search(bowl, 4, seed=1)
    assert [trial.parameters for trial in first] != [trial.parameters for trial in second]
    for trial in first + second:
        for name, (low, high) in SEARCH_SPACE.items():
            assert low <= getattr(trial.parameters, name) <= high


def test_the_model_based_trials_improve_on_the_random_ones():
    trials = run_search(bowl, 16, seed=0)
    assert best_of(trials).objective < min(trial.objective for trial in trials[:10])


def test_every_new_trial_is_stored_once():
    stored = []
    trials = run_search(bowl, 13, seed=0, store=lambda first, some: stored.extend(enumerate(some, first)))
    assert stored == list(enumerate(trials))


def test_bounds_are_recognised():
    low = FmnParameters(8 / 255, 0.5, 0.5, 0.1)
    assert at_bounds(low.as_dict()) == ("learning_rate",)
    assert at_bounds(FmnParameters(0.5, 0.0, 1.0, 0.2).as_dict()) == ("momentum", "weight_decay", "dampening")
    assert at_bounds(FmnParameters(0.5, 0.5, 0.5, 0.1).as_dict()) == ()


def test_of_equal_trials_the_first_is_best():
    one, two = (Trial(FmnParameters(rate, 0, 0.1, 0), 0.5) for rate in (0.1, 0.2))
    assert best_of([one, two]) is one
