"""What a command says where an extra is not installed."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from apsite.cli.group import MODULES, advice
from tests.cli.conftest import Run
from tests.test_layers import imports

CORE = {"cattrs", "click", "jsonschema", "jsonschema_rs", "numpy", "pandas", "pybtex", "latexcodec", "rich"}


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [("build", "jinja2", "site"), ("models", "torch", "eval"), ("demo", "jinja2", "site")],
)
def test_a_missing_extra_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, repository: Path, tmp_path: Path, command: str, missing: str, extra: str
) -> None:
    part = {"site": "apsite.site", "eval": "apsite.evaluation"}[extra]
    for name in [name for name in sys.modules if name == part or name.startswith(f"{part}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    arguments = {"build": ("--root", repository), "models": ("list",), "demo": ("--output", tmp_path)}[command]
    result = run(command, *arguments, code=1)
    assert result.stdout == ""
    assert result.stderr == (
        f"Error: this needs {missing}, which is not installed; install it with: pip install 'apsite[{extra}]'\n"
    )


def test_a_module_that_no_extra_brings_is_a_bug() -> None:
    """Its traceback is wanted."""
    assert advice("apsite.nowhere") is None
    assert advice(None) is None


def test_every_import_is_of_the_core_or_of_an_extra(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(MODULES) == set(project["optional-dependencies"]) - {"dev"}
    known = CORE.union(*MODULES.values(), sys.stdlib_module_names, {"apsite", "__future__"})
    found = {name.partition(".")[0] for names in imports().values() for name in names}
    assert found <= known, found - known
