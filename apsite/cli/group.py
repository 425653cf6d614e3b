"""The group to which every command belongs: its help, its errors, and how an interruption ends it."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import click

from apsite.errors import ApsiteError

PARTS = {
    "See results": ("show", "export", "build", "serve"),
    "Evaluate a network": ("demo", "data", "models", "audit", "eval", "runs", "import-distances"),
    "Add a method or a result": ("new", "submit-check", "validate", "diff"),
    "Make baselines": ("prune", "finetune", "baselines"),
    "Maintain the benchmark": ("verify", "supersede", "amend", "migrate", "samples", "snapshot", "links"),
    "For workflows": ("preview-summary", "preview-comment"),
}
"""Commands by what they are for, in the order in which the help lists them."""

MODULES = {
    "eval": (
        "filelock", "greenlet", "optuna", "PIL", "platformdirs", "pooch", "pyautoattack", "requests", "safetensors",
        "scipy", "torch", "urllib3",
    ),
    "fetch": ("huggingface_hub",),
    "ray": ("ray",),
    "site": ("altair", "griffe", "jinja2", "markupsafe", "mkdocs", "vl_convert", "yaml"),
}  # fmt: skip
"""Top-level modules by the extra of ``pyproject.toml`` that brings them."""


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What a full or read-only disk says."""
_PLAIN = {"\u2013": "-", "\u2014": "-", "\u2026": "...", "\u2192": "->", "\u2605": "*", "\u00d7": "x"}


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """What a terminal of another encoding shows in place of the characters that it lacks."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter) or ascii(letter)[1:-1] for letter in lacking), error.end


codecs.register_error("apsite", _replaced)


def printable(text: str) -> str:
    """Text with escapes in place of what could command the terminal: names in a file may hold anything."""
    return "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text)


def advice(module: str | None) -> str | None:
    """What to install for a module that is missing; ``None`` if no extra brings it, and its absence is a bug."""
    top = (module or "").partition(".")[0]
    extra = next((extra for extra, modules in MODULES.items() if top in modules), None)
    return extra and f"this needs {top}, which is not installed; install it with: pip install 'apsite[{extra}]'"


class SentenceGroup(click.Group):
    """Group whose help gives the first sentence of each command in full."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands of each part with a heading."""
        for heading, names in self.parts(ctx).items():
            with formatter.section(heading):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(limit=1000)) for name in names])

    def parts(self, ctx: click.Context) -> dict[str, tuple[str, ...]]:
        """Names of the commands by heading."""
        return {"Commands": tuple(self.list_commands(ctx))}


class ApsiteGroup(SentenceGroup):
    """Group that ends every command the same way: 0 success, 1 a problem to fix, 2 usage, 130 interrupted."""

    group_class = SentenceGroup

    def parts(self, ctx: click.Context) -> dict[str, tuple[str, ...]]:
        """The parts of the command line."""
        return PARTS

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, complete_var: str | None = None,
        standalone_mode: bool = True, **extra: Any,
    ) -> Any:  # fmt: skip
        """Run the command line; in standalone mode exits with the code of the outcome."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="apsite")
        try:
            outcome = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            code = outcome if isinstance(outcome, int) else 0
        except (ApsiteError, ModuleNotFoundError) as error:
            message = advice(error.name) if isinstance(error, ModuleNotFoundError) else error
            if message is None:
                raise
            click.echo(f"Error: {printable(str(message))}", err=True)
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
        except OSError as error:
            if error.errno not in FULL:
                raise
            with contextlib.suppress(OSError):  # what is left to print would fail again when Python ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            place = error.filename or "the output"
            click.echo(f"Error: {place}: cannot be written: {error.strerror}; free some space and try again", err=True)
            code = 1
        return sys.exit(code)


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}


@click.group(cls=ApsiteGroup, context_settings=_SETTINGS)
@click.version_option(metadata.version("apsite"), prog_name="apsite")
def cli() -> None:
    """The open benchmark of adversarial pruning: evaluate pruned networks, check and show results.

    \b
    First steps:
      apsite show                 the leaderboards, in the terminal
      apsite demo                 evaluate the small network inside apsite, build the site
      apsite COMMAND --help       what a command does, with an example

    Commands read entries and records from the current folder: run them in a clone of the benchmark's repository, or
    give one with --root. Results go to stdout, progress to stderr. Exit codes: 0 success, 1 a problem that you can fix,
    2 wrong usage, 130 interrupted (the state is kept).
    """
