"""The examples of docstrings run and give what they say."""

from __future__ import annotations

import doctest
import inspect
from importlib import import_module

import pytest

import apsite

pytest.importorskip("torch", reason="the interface of the evaluation needs the extra 'eval'")

MODULES = (
    "apsite.comparable.settings", "apsite.comparable.standings", "apsite.metrics", "apsite.protocol", "apsite.results",
)  # fmt: skip
"""Modules with examples, besides the homes of ``apsite.__all__``."""
HOMES = sorted({*MODULES, *apsite._HOMES.values()})


@pytest.mark.parametrize("name", HOMES)
def test_examples_give_what_they_say(name: str, repository, monkeypatch) -> None:
    monkeypatch.chdir(repository)
    result = doctest.testmod(import_module(name))
    assert result.failed == 0
    assert result.attempted


def test_every_public_name_has_an_example() -> None:
    finder, metrics = doctest.DocTestFinder(), import_module("apsite.metrics")
    public = [getattr(apsite, name) for name in apsite.__all__]
    public += [
        function
        for name, function in inspect.getmembers(metrics, inspect.isfunction)
        if function.__module__ == metrics.__name__ and not name.startswith("_")
    ]
    assert [one.__name__ for one in public if not any(test.examples for test in finder.find(one))] == []
