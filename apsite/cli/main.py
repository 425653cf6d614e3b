"""The command group, and how errors and interruptions end a command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import click

from apsite.cli.extras import advice
from apsite.cli.parts import PARTS, SentenceGroup
from apsite.errors import ApsiteError


class ApsiteGroup(SentenceGroup):
    """Group that ends every command the same way: 0 good, 1 a mendable problem, 2 usage, 130 interrupted."""

    group_class = SentenceGroup

    def parts(self, ctx: click.Context) -> dict[str, tuple[str, ...]]:
        """The parts of the command line."""
        return PARTS

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line; in standalone mode exits with the code of the outcome."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            outcome = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            code = outcome if isinstance(outcome, int) else 0
        except ApsiteError as error:
            click.echo(f"Error: {error}", err=True)
            code = 1
        except ModuleNotFoundError as error:
            advised = advice(error.name)
            if advised is None:
                raise
            click.echo(f"Error: {advised}", err=True)
            code = 1
        except click.exceptions.Abort:
            click.echo("Interrupted.", err=True)
            code = 130
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except BrokenPipeError:
            sys.stderr.close()  # the reader of our output went away; that is no error of ours
            code = 0
        return sys.exit(code)


@click.group(cls=ApsiteGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(metadata.version("apsite"), prog_name="apsite")
def cli() -> None:
    """The open benchmark of adversarial pruning: evaluate pruned networks, check and show results.

    \b
    First steps:
      apsite show                 the leaderboards, in the terminal
      apsite demo                 evaluate the small network inside apsite, build the site
      apsite COMMAND --help       what a command does, with an example

    Commands that read entries and records look for them in the current folder: run them in a clone of the benchmark's
    repository, or name one with --root. Results go to stdout, progress to stderr. Exit codes: 0 good, 1 a problem you
    can mend, 2 wrong usage, 130 interrupted (the state is kept).
    """


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="apsite")


from apsite.cli import (  # noqa: E402  (the modules add their commands to the group above)
    audit,
    baselines,
    data,
    datasets,
    describe,
    evaluate,
    history,
    imports,
    models,
    publishing,
    review,
    site,
    verify,
)

__all__ = [
    "audit",
    "baselines",
    "cli",
    "data",
    "datasets",
    "describe",
    "evaluate",
    "history",
    "imports",
    "main",
    "models",
    "publishing",
    "review",
    "site",
    "verify",
]
