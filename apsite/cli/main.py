"""The command line with all its commands."""

from __future__ import annotations

from apsite.cli import (  # noqa: F401  (each module adds its commands to the group)
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


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="apsite")
