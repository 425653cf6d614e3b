"""The command line: options in, one library call, one result out. Heavy imports are inside the commands."""

from __future__ import annotations

from apsite.cli.main import cli, main

__all__ = ["cli", "main"]
