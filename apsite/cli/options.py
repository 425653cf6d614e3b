"""Options that several commands share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from apsite.progress import Reporter

Command = TypeVar("Command", bound=Callable[..., Any])


def root_option(command: Command) -> Command:
    """``--root``: the folder that holds ``entries/`` and ``evaluations/``."""
    return click.option(
        "--root",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(),
        show_default="the current folder",
        help="Folder that holds entries/ and evaluations/.",
    )(command)


def output_file_option(command: Command) -> Command:
    """``--output``: a file instead of stdout."""
    return click.option(
        "-o",
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write to this file instead of stdout.",
    )(command)


def state_option(command: Command) -> Command:
    """``--state``: which of several state dicts in a checkpoint."""
    return click.option(
        "--state", metavar="KEYS", help="Which state dict of the file to read, where it holds several, such as ema."
    )(command)


def emit(text: str, output: Path | None) -> None:
    """Write a result to stdout or, atomically, to a file."""
    from apsite.documents.json_files import atomic_file

    if output is None:
        click.echo(text, nl=False)
        return
    with atomic_file(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    click.echo(f"Written: {output}", err=True)


@contextlib.contextmanager
def progress(*, quiet: bool) -> Iterator[Reporter]:
    """Reporter that suits stderr, its bars drawn while the context lasts."""
    from apsite.progress import TerminalReporter, default_reporter

    reporter = default_reporter(quiet=quiet)
    with reporter if isinstance(reporter, TerminalReporter) else contextlib.nullcontext():
        yield reporter
