"""Methods side by side: ties are those of the leaderboard."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apsite.catalogue import load_catalogue
from apsite.comparable import Judge
from apsite.samples import SampleResults
from apsite.site.pages import compare
from tests.builders import METHOD, RIVAL, entry_document, record_document, write_data

THIRD = "Third_Poe2022Last"
SIZE = 1000


def verdicts(count: int) -> SampleResults:
    """Verdicts of a thousand samples of which the first `count` are robust."""
    flags = np.arange(SIZE) < count
    return SampleResults(
        index=np.arange(SIZE, dtype=np.int32),
        label=np.zeros(SIZE, np.int16),
        clean_correct=np.ones(SIZE, bool),
        aa_robust=flags,
    )


def test_ties_are_those_of_the_leaderboard(tmp_path: Path) -> None:
    """By intervals two points are a tie, and are none once a paired test separates them; who has no result has none."""
    shares = {METHOD: 0.42, RIVAL: 0.40, THIRD: None}
    documents = [record_document(f"{key}_R18_CIFAR10_US_90", robust=share) for key, share in shares.items() if share]
    for document in documents:
        document["results"]["n_samples"] = SIZE
    catalogue = load_catalogue(write_data(tmp_path, *map(entry_document, shares), *documents))
    columns = [catalogue.entries[key] for key in shares]

    def row(samples: dict[str, SampleResults]) -> compare.ResultRow:
        (group,) = (one for one in compare.groups(Judge(catalogue, samples), columns) if one.results)
        (found,) = group.results
        return found

    assert row({}).title == "ResNet18, 90 %"
    assert [record and record.method for record in row({}).records] == [METHOD, RIVAL, None]
    assert row({}).tied == ((1,), (0,), ())
    paired = {f"{key}_R18_CIFAR10_US_90": verdicts(round(share * SIZE)) for key, share in shares.items() if share}
    assert row(paired).tied == ((), (), ())


def test_a_baseline_is_compared_though_it_has_no_rank(tmp_path: Path) -> None:
    documents = [record_document(f"{key}_R18_CIFAR10_US_90", robust=0.42) for key in (METHOD, RIVAL)]
    root = write_data(tmp_path, entry_document(METHOD), entry_document(RIVAL, baseline=True), *documents)
    catalogue = load_catalogue(root)
    columns = [catalogue.entries[key] for key in (METHOD, RIVAL)]
    (group,) = (one for one in compare.groups(Judge(catalogue), columns) if one.results)
    assert group.results[0].tied == ((1,), (0,))
