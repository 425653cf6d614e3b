"""Tables for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from apsite.catalogue import load_catalogue
from apsite.cli.tables import baselines_table, result_table
from apsite.comparable import Basis, Outcome, Separation
from apsite.metrics import PairedTest
from apsite.records import record_from_json
from tests.builders import METHOD, MODEL, RIVAL, changed, entry_document, own_document, record_document, write_data


def text_of(table: Table) -> str:
    """What a wide terminal without colours shows."""
    console = Console(width=200, no_color=True, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def cells_of(table: Table) -> list[list[str]]:
    """Cells, row by row."""
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def test_a_result_has_counts_shares_and_intervals() -> None:
    assert cells_of(result_table(record_from_json(own_document()))) == [
        ["clean (no attack)", "6", "75.00", "40.93 – 92.85"],
        ["  after APGD-CE", "5", "62.50", "30.57 – 86.32"],
        ["  after APGD-T", "4", "50.00", "21.52 – 78.48"],
        ["  after FAB-T", "4", "50.00", "21.52 – 78.48"],
        ["AutoAttack", "3", "37.50", "13.68 – 69.43"],
        ["HO-FMN", "3", "37.50", "13.68 – 69.43"],
        ["joint (both attacks)", "2", "25.00", "7.15 – 59.07"],
    ]


def test_a_result_says_which_model_and_budget_and_warns() -> None:
    document = changed(own_document(), "warnings[0].message", "Only [bold]2[/] samples.")
    text = " ".join(text_of(result_table(record_from_json(document))).split())
    assert text.startswith(f"{MODEL}: 8 samples, l-inf 8/255")
    assert "! Only [bold]2[/] samples." in text


@pytest.mark.parametrize(
    ("document", "names"),
    [
        (record_document(), ["clean (no attack)", "AutoAttack"]),
        (record_document(clean=None), ["AutoAttack"]),
        (record_document(robust=None), ["clean (no attack)"]),
    ],
)
def test_a_figure_that_is_not_there_has_no_row(document: dict[str, Any], names: list[str]) -> None:
    assert [row[0] for row in cells_of(result_table(record_from_json(document)))] == names


def test_baselines_stand_beside_a_result_with_the_paired_test(tmp_path: Path) -> None:
    """On common images the shares of those images; a tie is named whatever decided; reduced runs have no difference."""
    catalogue = load_catalogue(
        write_data(
            tmp_path, entry_document(), entry_document(RIVAL, baseline=True),
            record_document(f"{METHOD}_R18_CIFAR10_US_95", robust=0.5),
            record_document(f"{RIVAL}_R18_CIFAR10_US_95", robust=0.3),
        )
    )  # fmt: skip
    record, other = (catalogue.records[f"{key}_R18_CIFAR10_US_95"] for key in (METHOD, RIVAL))
    found = [
        (other, Separation(Outcome.NOT_SEPARABLE, Basis.PAIRED, 0.198, PairedTest(100, 40, 30, 20, 10))),
        (other, Separation(Outcome.LEADS, Basis.PAIRED, 2.2e-05, PairedTest(100, 40, 20, 21, 1))),
        (other, Separation(Outcome.LEADS, Basis.PROPORTIONS)),
        (other, Separation(Outcome.NOT_SEPARABLE, Basis.PROPORTIONS)),
        (other, None),
    ]
    name = catalogue.entries[RIVAL].name
    assert cells_of(baselines_table(record, found, catalogue)) == [
        [name, "30.00", "+10.00", "100", "0.2 (tied)"],
        [name, "20.00", "+20.00", "100", "2.2e-05"],
        [name, "30.00", "+20.00", "none", "–"],
        [name, "30.00", "+20.00", "none", "– (tied)"],
        [name, "30.00", "–", "none", "–"],
    ]
