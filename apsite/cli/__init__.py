"""The command line: options in, one library call, one result out. Heavy imports are inside the commands."""

from __future__ import annotations

# Each module adds its commands to the group.
from apsite.cli import audit, baselines, data, datasets, describe, evaluate, models, review, samples, site, verify  # noqa: F401
from apsite.cli.group import cli

__all__ = ["cli", "main"]


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="apsite")
