"""Options that several commands share, and how commands write results and progress."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apsite.cli.group import printable
from apsite.keys import check_declared
from apsite.vocabulary import OTHER, Architecture, Dataset

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from apsite.evaluation.testsets.collecting import Collected
    from apsite.progress import Reporter

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


def values(kind: type[StrEnum]) -> click.Choice[str]:
    """The terms of an enum of the vocabulary, as values of an option."""
    return click.Choice([term.value for term in kind])


class OpenChoice(click.Choice[str]):
    """The terms of a set, or ``other: `` and a few words, which whoever uses them checks."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, if it is a term or begins as another one."""
        return value if str(value).startswith(OTHER) else super().convert(value, param, ctx)


class DatasetChoice(OpenChoice):
    """The registered datasets, or ``other:NAME``."""

    def __init__(self) -> None:
        super().__init__([term.value for term in Dataset])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, if it is a dataset."""
        try:
            return Dataset(super().convert(value, param, ctx)).value
        except ValueError:
            self.fail(self.get_invalid_choice_message(value, ctx), param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """All forms of a value, as the help lists them."""
        return f"[{'|'.join((*self.choices, 'other:NAME'))}]"

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """What is wrong with a value, and what is allowed."""
        return (
            f"{super().get_invalid_choice_message(value, ctx).removesuffix('.')}, nor other:NAME (letters, digits and "
            "hyphens) with another name than these."
        )


root = click.option("--root", type=FOLDER, default=Path(), show_default="the current folder",
                    help="Folder that holds entries/ and evaluations/.")  # fmt: skip
output_file = click.option("-o", "--output", type=FILE, help="Write to this file instead of stdout.")
records = click.option("--output", type=FOLDER, default=Path("evaluations"), help="Folder for the records.")
_NETWORK = f"Registered network ({', '.join(Architecture)}) or factory, 'file.py:factory'."
network = click.option("--arch", required=True, help=_NETWORK)
optional_network = click.option("--arch", help=_NETWORK)
pattern = click.option("--pattern", metavar="N:M",
                       help="Pattern of semi-structured pruning, such as 2:4: N weights kept of every M.")  # fmt: skip
layout = click.option("--layout", help="Name of the registered parameter layout (`apsite models list`).")
method = click.option("--method", help="Method key; selects between layouts that have the same tensors.")
state = click.option("--state", metavar="KEYS",
                     help="Which state dict of the file to read, if it has several, such as ema.")  # fmt: skip
proposal = click.option(
    "--proposal", metavar="REVISION",
    help="Read the data of this revision, such as a fetched pull request, without a checkout. Refused if it changes "
    "anything but data.",
)  # fmt: skip
SPARSITY_HELP = "such as 0.90; tenths and hundredths of a percent, such as 0.995 or 0.9375, are allowed"


def stated_sparsity(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    """Value of an option, if a model key can state it; for ``callback``."""
    try:
        return check_declared(value) if value else value
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


sparsity = click.option("--sparsity", type=click.FloatRange(0, 1, max_open=True), callback=stated_sparsity,
                        help=f"Declared sparsity, {SPARSITY_HELP}.")  # fmt: skip
device = click.option("--device", help="cpu, cuda or cuda:<number>.  [default: cuda if available]")
run_dir = click.option("--run-dir", type=FOLDER, default=Path(".apsite/runs"),
                       help="Folder for the state of unfinished runs.")  # fmt: skip
resume = click.option("--resume/--fresh", default=True, help="Resume an interrupted run, or start again.")
quiet = click.option("--quiet", is_flag=True, help="Do not show progress.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def data_folder() -> Path:
    """Folder where `apsite data fetch` puts the test sets, a default that is looked up on use."""
    from apsite.evaluation.testsets.downloads import data_dir

    return data_dir()


KEPT = "finished work is kept; repeat the command to resume"


@contextlib.contextmanager
def progress(*, quiet: bool, log_file: Path | None = None, kept: str = KEPT) -> Iterator[Reporter]:
    """Progress on stderr and in the log file; an interruption says what is kept and how to resume."""
    from apsite.progress import LogFileReporter, default_reporter

    with contextlib.ExitStack() as stack:
        reporter = stack.enter_context(default_reporter(quiet=quiet))
        if log_file:
            reporter = stack.enter_context(LogFileReporter(reporter, log_file))
        try:
            yield reporter
        except KeyboardInterrupt:
            reporter.say(f"interrupted: {kept}")
            if quiet:
                click.echo(f"interrupted: {kept}", err=True)
            raise


def emit(text: str, output: Path | None, *, is_json: bool = False) -> None:
    """Write a result to stdout or, atomically, to a file."""
    from apsite.documents.json_files import atomic_file

    if output is None:
        if is_json and not sys.stdout.encoding.lower().startswith("utf"):  # a character and its escape mean the same
            text = "".join(letter if letter.isascii() else json.dumps(letter)[1:-1] for letter in text)
        click.echo(text, nl=False)
        return
    with atomic_file(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    click.echo(f"Written: {output}", err=True)


def emit_json(document: Any, output: Path | None = None) -> None:
    """Write a result as JSON."""
    from apsite.documents.json_files import to_json

    emit(to_json(document), output, is_json=True)


def report_collected(collected: Collected, what: str, done: str) -> None:
    """Print how the collection of published files went, and why some failed; then exit with 1."""
    count = len(collected.new) + len(collected.there) + len(collected.failed)
    click.echo(
        f"{count} {what}: {len(collected.new)} {done}, {len(collected.there)} there already, "
        f"{len(collected.failed)} failed"
    )
    for name, why in collected.failed:
        click.echo(printable(" ".join(f"Failed: {name}: {why}".split())))
    if collected.failed:
        raise click.exceptions.Exit(1)


def new_table(title: str | None, *columns: str, **more: Any) -> Table:
    """An empty table for the terminal; a column whose name begins with ``>`` is for numbers, on the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title and Text(title), title_justify="left", caption_justify="left", **more)
    for name in columns:
        if name.startswith(">"):
            table.add_column(name[1:], justify="right", no_wrap=True)
        else:
            table.add_column(name, overflow="fold")
    return table


def display(*parts: RenderableType) -> None:
    """Print tables and texts to stdout; nothing in them is markup."""
    from rich.console import Console

    console = Console()
    for part in parts:
        console.print(part, markup=False)
