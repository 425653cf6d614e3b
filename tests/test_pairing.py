"""A model beside its baselines: only the same images are paired, and the test is exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apsite.catalogue import Catalogue, load_catalogue
from apsite.pairing import Pair, naive_baselines, pair_of
from apsite.samples import Samples
from tests.builders import METHOD, RIVAL, entry_document, own_document, record_document, write_data


def samples(index: list[int], robust: list[int], label: int = 3) -> Samples:
    """Samples that are all correct, robust at the given positions of the test set."""
    array = np.array(index, np.int32)
    flags = np.isin(array, robust)
    return Samples(array, np.full(len(index), label, np.int16), np.ones(len(index), np.bool_), flags)


def test_only_images_that_both_have_are_paired() -> None:
    """Counts by hand: images 2 to 5 are in both."""
    pair = pair_of(samples([0, 1, 2, 3, 4, 5], [0, 1, 2, 3]), samples([2, 3, 4, 5, 9], [3, 4, 9]))
    assert pair == Pair(n_samples=4, first=2, second=2, only_first=1, only_second=1)
    assert pair.difference == 0
    assert pair.p_value == 1


def test_the_test_is_mcnemar_s() -> None:
    """Six of six differing images for the first: 2 / 2^6."""
    everything = list(range(10))
    pair = pair_of(samples(everything, everything[:8]), samples(everything, everything[:2]))
    assert pair is not None
    assert pair.p_value == pytest.approx(2 / 64)
    assert pair.separates
    assert pair.difference == pytest.approx(0.6)


@pytest.mark.parametrize(
    "other",
    [
        samples([7, 8], [7]),
        samples([0, 1], [0], label=4),
        samples([0, 1], [0], label=-1),
        Samples(np.arange(2, dtype=np.int32), np.zeros(2, np.int16), np.ones(2, np.bool_)),
    ],
    ids=["no image in common", "other labels", "images unknown", "no AutoAttack"],
)
def test_what_cannot_be_paired_is_not(other: Samples) -> None:
    """Rather than paired by position."""
    assert pair_of(samples([0, 1], [1]), other) is None


def catalogue(tmp_path: Path, *records: dict[str, object]) -> Catalogue:
    """A method, and a rival that is a naive baseline."""
    documents = (entry_document(), entry_document(RIVAL, baseline=True), *records)
    return load_catalogue(write_data(tmp_path / "data", *documents))


def test_baselines_of_the_same_setting_stand_beside_a_model(tmp_path: Path) -> None:
    """Of the same dataset, network, structure and sparsity, and of no other."""
    found = catalogue(
        tmp_path,
        record_document(f"{METHOD}_R18_CIFAR10_US_95"),
        record_document(f"{RIVAL}_R18_CIFAR10_US_95", robust=0.30),
        record_document(f"{RIVAL}_R18_CIFAR10_US_90", robust=0.40),
        record_document(f"{RIVAL}_V16_CIFAR10_US_95", robust=0.20),
    )
    (beside,) = naive_baselines(found, found.records[f"{METHOD}_R18_CIFAR10_US_95"])
    assert beside.record.model_key == f"{RIVAL}_R18_CIFAR10_US_95"
    assert beside.pair is None
    assert beside.comparable
    assert naive_baselines(found, found.records[f"{RIVAL}_R18_CIFAR10_US_95"]) == ()


def test_own_runs_are_paired_and_reduced_ones_do_not_stand_beside_ranked_ones(tmp_path: Path) -> None:
    """A run on a few images is comparable with one that ranks only image by image."""
    own = own_document()
    key = str(own["model_key"]).partition("_R")[2]
    found = catalogue(tmp_path, own, record_document(f"{RIVAL}_R{key}", robust=0.3))
    (beside,) = naive_baselines(found, found.records[str(own["model_key"])])
    assert beside.pair is None
    assert not beside.comparable


def test_the_repository_s_own_runs_are_paired(benchmark_data: Catalogue) -> None:
    """Baselines of the small network were evaluated on the same images."""
    own = [record for record in benchmark_data.records.values() if record.samples is not None and record.structure]
    paired = [one for record in own for one in naive_baselines(benchmark_data, record) if one.pair is not None]
    for one in paired:
        assert one.pair is not None
        assert one.pair.n_samples >= 64
        assert 0 < one.pair.p_value <= 1
