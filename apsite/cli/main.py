"""The command line with all its commands."""

from __future__ import annotations

# Each module adds its commands to the group.
from apsite.cli import audit, baselines, data, datasets, describe, evaluate, models, review, site, verify  # noqa: F401
from apsite.cli.group import cli


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="apsite")
