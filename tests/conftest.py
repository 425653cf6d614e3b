"""Fixtures of all tests."""

from __future__ import annotations

import csv
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from apsite.catalogue import Catalogue, load_catalogue
from tests.builders import METHOD, RIVAL, entry_document, own_document, record_document, write_data

# The same examples in every run, and no deadline: a busy machine must not fail a test.
settings.register_profile("apsite", derandomize=True, deadline=None, database=None)
settings.load_profile("apsite")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout, which holds the benchmark's own data."""
    return ROOT


@pytest.fixture(scope="session")
def benchmark_data(repository: Path) -> Catalogue:
    """Every entry and record of the repository."""
    return load_catalogue(repository)


@pytest.fixture(scope="session")
def printed_rows(repository: Path) -> list[dict[str, Any]]:
    """The 192 results as the survey prints them: table, words, and figures in percent as exact decimals."""
    with (repository / "tests/data/paper_tables.csv").open(encoding="utf-8") as stream:
        return [
            {
                **row,
                "table": int(row["table"]),
                "sparsity_percent": int(row["sparsity_percent"]),
                "clean": Decimal(row["clean"]) if row["clean"] else None,
                "robust": Decimal(row["robust"]),
            }
            for row in csv.DictReader(stream)
        ]


@pytest.fixture
def tiny_data(tmp_path: Path) -> Path:
    """Data folder with two methods, three published records and one own run with its per-sample file."""
    return write_data(
        tmp_path / "data",
        entry_document(aliases=["Tiny_Doe2024Old"]),
        entry_document(RIVAL),
        record_document(f"{METHOD}_R18_CIFAR10_US_95"),
        record_document(f"{METHOD}_V16_SVHN_dense", robust=None),
        record_document(f"{RIVAL}_R18_CIFAR10_US_95", robust=0.45),
        own_document(),
    )


@pytest.fixture
def data_folder(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes entry and record documents and gives the data folder."""
    return lambda *documents: write_data(tmp_path / "data", *documents)
