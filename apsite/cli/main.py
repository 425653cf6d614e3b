"""The command line with all its commands."""

from __future__ import annotations

from apsite.cli import (  # each module adds its commands to the group
    audit,
    baselines,
    data,
    datasets,
    describe,
    evaluate,
    models,
    review,
    site,
    verify,
)
from apsite.cli.group import cli

__all__ = [
    "audit",
    "baselines",
    "cli",
    "data",
    "datasets",
    "describe",
    "evaluate",
    "main",
    "models",
    "review",
    "site",
    "verify",
]


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="apsite")
