"""Many records: the synthetic catalogue of the benchmark is sound, and checking it stays small."""

from __future__ import annotations

from pathlib import Path

import pytest

from apsite.validation import validate
from benchmarks.catalogue import PER_METHOD, measure, write_catalogue


def test_the_synthetic_catalogue_is_valid(tmp_path: Path) -> None:
    """So that its time is that of good data."""
    write_catalogue(tmp_path / "data", PER_METHOD)
    report = validate(tmp_path / "data")
    assert report.problems == ()
    assert (report.entries, report.records, report.sample_files) == (1, PER_METHOD, PER_METHOD)


@pytest.mark.slow
def test_checking_many_records_stays_small(tmp_path: Path) -> None:
    """Of the 500 MB that 5,000 records may take, 600 get less than half; the benchmark measures the time."""
    write_catalogue(tmp_path / "data", 600)
    assert measure(600, ["validate", "--root", str(tmp_path / "data")]).peak_megabytes < 200
