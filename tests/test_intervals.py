"""Ties by paired tests where two models were attacked on the same samples, by intervals elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apsite.catalogue import load_catalogue
from apsite.intervals import Basis, field_of, robust_bounds, same_samples
from apsite.metrics import mcnemar_p_value
from apsite.records import EvaluationRecord
from apsite.samples import Samples
from tests.builders import METHOD, RIVAL, entry_document, record_document, write_data

THIRD = "Third_Poe2022Last"
SIZE = 1000


def verdicts(robust: range, *, first: int = 0) -> Samples:
    """Verdicts of a thousand samples of which those in a range are robust."""
    flags = np.zeros(SIZE, bool)
    flags[list(robust)] = True
    return Samples(
        index=np.arange(first, first + SIZE, dtype=np.int32),
        label=np.zeros(SIZE, np.int16),
        clean_correct=np.ones(SIZE, bool),
        aa_robust=flags,
    )


@pytest.fixture
def contest(tmp_path: Path) -> list[EvaluationRecord]:
    """Three models of one setting, 42, 40 and 30 % robust on a thousand samples."""
    shares = {METHOD: 0.42, RIVAL: 0.40, THIRD: 0.30}
    documents = [record_document(f"{key}_R18_CIFAR10_US_90", robust=share) for key, share in shares.items()]
    for document in documents:
        document["results"]["n_samples"] = SIZE
    root = write_data(tmp_path, *(entry_document(key) for key in shares), *documents)
    found = load_catalogue(root).records
    return [found[f"{key}_R18_CIFAR10_US_90"] for key in shares]


def test_paired_test_separates_what_intervals_do_not(contest: list[EvaluationRecord]) -> None:
    """Two points apart on nested samples: intervals overlap, but 20 of 20 differing samples go one way."""
    first, second, third = contest
    given = {first.model_key: verdicts(range(420)), second.model_key: verdicts(range(400))}
    by_intervals, by_pairs = field_of(contest).separations, field_of(contest, given).separations
    pair = first.model_key, second.model_key
    assert (by_intervals[pair].separated, by_intervals[pair].basis) == (False, Basis.INTERVALS)
    assert (by_pairs[pair].separated, by_pairs[pair].basis) == (True, Basis.PAIRED)
    assert by_pairs[pair].p_value == pytest.approx(2 / 2**20)
    assert by_pairs[second.model_key, third.model_key] == by_intervals[second.model_key, third.model_key]
    assert field_of(contest).ranks == {first.model_key: 1, second.model_key: 1, third.model_key: 3}
    assert field_of(contest, given).ranks == {first.model_key: 1, second.model_key: 2, third.model_key: 3}
    found = field_of(contest, given).lead
    assert found is not None
    assert (found.tied, found.bases) == ((), {Basis.PAIRED, Basis.INTERVALS})


def test_paired_test_ties_what_intervals_separate(contest: list[EvaluationRecord]) -> None:
    """A lead that hangs on as many samples lost as won is none, whatever a distant interval says."""
    first, second, _ = contest
    given = {first.model_key: verdicts(range(420)), second.model_key: verdicts(range(419, 819))}
    assert not field_of(contest, given).separations[first.model_key, second.model_key].separated


def test_p_values_of_a_setting_are_adjusted_together(contest: list[EvaluationRecord]) -> None:
    """Three paired tests: the smallest p-value counts threefold, the next twofold."""
    given = {record.model_key: verdicts(range(count)) for record, count in zip(contest, (420, 400, 392), strict=True)}
    found = field_of(contest, given).separations
    keys = [record.model_key for record in contest]
    assert found[keys[0], keys[2]].p_value == pytest.approx(3 * mcnemar_p_value(28, 0))
    assert found[keys[0], keys[1]].p_value == pytest.approx(2 * mcnemar_p_value(20, 0))
    assert found[keys[1], keys[2]].p_value == pytest.approx(mcnemar_p_value(8, 0))


def test_only_the_same_samples_are_paired(contest: list[EvaluationRecord]) -> None:
    """Other positions, unknown samples, other images, or no verdicts of AutoAttack: no paired test."""
    one, other = contest[:2]
    good = verdicts(range(10))
    assert same_samples(one, good, other, good)
    assert not same_samples(one, good, other, verdicts(range(10), first=1))
    unknown = replace(good, label=np.full(SIZE, -1, np.int16))
    assert not same_samples(one, unknown, other, unknown)
    assert not same_samples(one, good, other, replace(good, aa_robust=None))
    assert not same_samples(one, good, other, replace(good, label=np.ones(SIZE, np.int16)))


def test_intervals_are_not_needed_for_plain_order(contest: list[EvaluationRecord]) -> None:
    """Without a number of samples the order decides, and the basis says so."""
    bare = [replace(record, results=replace(record.results, n_samples=None)) for record in contest]
    assert robust_bounds(bare[0]) is None
    found = field_of(bare)
    assert {separation.basis for separation in found.separations.values()} == {Basis.ORDER}
    assert list(found.ranks.values()) == [1, 2, 3]
