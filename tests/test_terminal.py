"""Tables for the terminal."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from apsite.records import record_from_json
from apsite.terminal import percent, result_table
from tests.builders import MODEL, changed, own_document, record_document


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


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0.00"), (0.454, "45.40"), (1.0, "100.00"), (0.29, "29.00"), (1 / 3, "33.33")],
)
def test_fractions_are_shown_in_percent(value: float | None, text: str) -> None:
    """Two decimals as the survey prints them; a dash for unknown, never 0."""
    assert percent(value) == text


def test_a_result_has_counts_shares_and_intervals() -> None:
    """Each figure of the eight samples, with its 95 % Wilson interval."""
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
    """Nothing else is needed to read the table; contributed text is shown, not obeyed."""
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
    """Instead of a row of dashes or zeros."""
    assert [row[0] for row in cells_of(result_table(record_from_json(document)))] == names
