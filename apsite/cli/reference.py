"""The command line, command by command, as Markdown: what `--help` says, read from the commands themselves."""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Iterator

import click

from apsite.cli.group import SentenceGroup


def reference(group: click.Command, name: str) -> str:
    """Reference of a command, for which its users type `name`, and of all commands below it."""
    context = _root(group, name)
    return "\n".join(line for command in _all(group, context) for line in _section(*command)).strip() + "\n"


def names(group: click.Command, name: str) -> list[str]:
    """Every command that does something, as typed, such as ``apsite models list``."""
    return [
        context.command_path
        for command, context in _all(group, _root(group, name))
        if not isinstance(command, click.Group)
    ]


def _root(group: click.Command, name: str) -> click.Context:
    """Context of the command as its users start it; click keeps what it first finds of a command's help option."""
    return click.Context(group, info_name=name, **group.context_settings)


def _all(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None and not found.hidden:
                yield from _all(found, click.Context(found, info_name=name, parent=context))


def _section(command: click.Command, context: click.Context) -> Iterator[str]:
    path = context.command_path
    anchor = path.replace(" ", "-")
    yield from (f"### {path} {{ #{anchor} }}", "")
    yield from (*_prose(command.help or ""), "")
    usage = " ".join((path, *command.collect_usage_pieces(context)))
    yield from ("```text", usage, "```", "")
    if isinstance(command, SentenceGroup):
        yield from _contents(command, context)
    # The usage line shows arguments; every command has --help.
    shown = (one for one in command.get_params(context) if isinstance(one, click.Option) and "--help" not in one.opts)
    if options := [record for option in shown if (record := option.get_help_record(context))]:
        yield f'<div class="ap-scroll" data-search-exclude tabindex="0" role="region" aria-label="Options of {path}">'
        yield '<table class="ap-table ap-table--words"><thead><tr><th scope="col">Option</th>'
        yield '<th scope="col">Meaning</th></tr></thead><tbody>'
        for declared, meaning in options:
            explained = re.sub(r"`([^`]+)`", r"<code>\1</code>", _cell(meaning))
            yield f'<tr><th scope="row"><code>{_cell(declared)}</code></th><td>{explained}</td></tr>'
        yield from ("</tbody></table></div>", "")


def _contents(group: SentenceGroup, context: click.Context) -> Iterator[str]:
    """The commands of a group by what they are for, each with its sentence and a link to its section."""
    for heading, commands in group.parts(context).items():
        yield from (f"**{heading}**", "")
        for name in commands:
            path = f"{context.command_path} {name}"
            sentence = _cell(group.commands[name].get_short_help_str(limit=1000))
            yield f"- [`{path}`](#{path.replace(' ', '-')}): {sentence}"
        yield ""


def _prose(help_text: str) -> Iterator[str]:
    """Help as paragraphs; a part that begins with click's mark against wrapping becomes a code block."""
    for part in inspect.cleandoc(help_text).replace("\f", "").split("\n\n"):
        if part.startswith("\b"):
            yield from ("```text", *part.splitlines()[1:], "```", "")
        else:
            yield from (_cell(part), "")


def _cell(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False)
