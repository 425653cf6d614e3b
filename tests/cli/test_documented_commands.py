"""Commands as the pages, the README and the help show them: what is typed from there is understood."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from apsite.cli import cli
from apsite.cli.group import PARTS
from apsite.cli.reference import names

ELIDED = ("...", "…")
"""Marks of a command of which only a part is shown."""

BLOCK = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(apsite [^`]+)`")


def commands_in(text: str) -> Iterator[str]:
    """Lines of shell that call apsite, with the lines that go on joined."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        for part in line.strip().removeprefix("$ ").split(" && "):
            if re.match(r"(?:[A-Z_]+=\S+ )?apsite ", part):
                yield part


def shown(path: Path) -> list[str]:
    """Commands in the code blocks of a Markdown page, which are to be typed as they stand."""
    text = path.read_text(encoding="utf-8")
    return [command for block in BLOCK.findall(text) for command in commands_in(block)]


def walk(words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """The command that words name, its context, and the words that are left for it."""
    command: click.Command = cli
    context = click.Context(cli, info_name="apsite", **cli.context_settings)
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command = command.commands[words[0]]
        context, words = click.Context(command, info_name=words[0], parent=context), words[1:]
    return command, context, words


def unknown_options(words: list[str]) -> list[str]:
    """Options among words that the command they name does not have."""
    command, context, rest = walk(words)
    known = {name for one in command.get_params(context) for name in (*one.opts, *one.secondary_opts)}
    return [word for word in rest if re.match(r"-[a-z-]", word) and word.partition("=")[0] not in known]


def check(line: str) -> None:
    """Understand a command line as click does when it is typed; of an elided one look at the options only.

    Raises:
        UsageError: If it would be refused before it starts.
    """
    words = shlex.split(line, comments=True)
    words = words[1:] if words[0] == "apsite" else words[2:]
    if any(word in ELIDED for word in words):
        assert unknown_options(words) == [], line
        return
    command, context, rest = walk(words)
    assert not isinstance(command, click.Group), line
    command.make_context(context.info_name, rest, parent=context.parent)


def pages() -> list[Path]:
    """Every Markdown page that people read."""
    root = Path(__file__).parents[2]
    return [*root.glob("*.md"), *(root / "docs").glob("*.md"), *(root / ".github").rglob("*.md")]


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_commands_of_a_page_are_understood(path: Path) -> None:
    for line in shown(path):
        try:
            check(line)
        except click.UsageError as error:
            pytest.fail(f"{path.name}: {line}\n{error.format_message()}")
    for line in INLINE.findall(BLOCK.sub("", path.read_text(encoding="utf-8"))):
        words = shlex.split(line)[1:]
        command, _, _ = walk(words)
        assert command is not cli or words[0].startswith(("-", "COMMAND")), f"{path.name}: {line}"
        assert unknown_options(words) == [], f"{path.name}: {line}"


def test_the_pages_show_commands() -> None:
    """So that the test above has something to look at."""
    assert {"README.md", "evaluate.md", "submitting.md", "maintaining.md"} <= {
        path.name for path in pages() if shown(path)
    }


@pytest.mark.parametrize(
    "line", ["apsite eval x --no-such", "apsite show A B", "apsite data fetch mnist", "apsite verify r"]
)
def test_a_command_that_would_be_refused_is_noticed(line: str) -> None:
    """An unknown option, an argument too many, a word that is not allowed, an option that is missing."""
    with pytest.raises(click.UsageError):
        check(line)


@pytest.mark.parametrize("name", list(names(cli, "apsite")))
def test_help_shows_an_example_that_is_understood(name: str) -> None:
    command, _, _ = walk(name.split()[1:])
    examples = list(commands_in(command.help or ""))
    assert [line for line in examples if line.startswith(name)], f"{name}: no example in its help"
    for line in examples:
        check(line)


def test_the_help_lists_every_command_once() -> None:
    listed = [name for part in PARTS.values() for name in part]
    assert sorted(listed) == sorted(cli.commands)
