"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from apsite.cli import cli

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Function that runs a command line in a wide terminal without colours, and asserts its exit code.

    Unexpected errors pass through; `typed` is what is typed meanwhile.
    """
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def invoke(*arguments: object, code: int = 0, typed: str | None = None) -> Result:
        result = CliRunner().invoke(cli, list(map(str, arguments)), input=typed, prog_name="apsite")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return invoke
