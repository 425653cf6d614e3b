"""The command line: options in, one library call, one result out. Heavy imports are inside the commands."""

from __future__ import annotations

from apsite.cli.group import cli
from apsite.cli.main import main

__all__ = ["cli", "main"]
