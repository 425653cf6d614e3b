"""Running the command line in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from apsite.cli import cli

Run = Callable[..., Result]


def apsite(*arguments: object, code: int = 0, typed: str | None = None) -> Result:
    """Run a command, which must end with this code; `typed` is its input, unexpected errors pass through."""
    result = CliRunner().invoke(cli, list(map(str, arguments)), input=typed, prog_name="apsite")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """:func:`apsite` in a wide terminal without colours."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    return apsite
