"""The reference of the command line: every command, every option, and text that Markdown leaves as it is."""

from __future__ import annotations

import re

import click
from click.testing import CliRunner

from apsite.cli import cli
from apsite.cli.reference import names, reference


def test_every_command_and_option_is_in_the_reference(repository):
    text = reference(cli, "apsite")
    listed = names(cli, "apsite")
    assert {"apsite eval", "apsite build", "apsite models fetch", "apsite validate"} <= set(listed)
    sections = {part.partition(" {")[0]: part for part in text.split("\n### ")[1:]}
    for name in listed:
        command: click.Command = cli
        for word in name.split()[1:]:
            assert isinstance(command, click.Group)
            command = command.commands[word]
        section = sections[name]
        assert f"\n{name} " in section or f"\n{name}\n" in section
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert max(option.opts, key=len) in section, f"{name}: {option.opts}"
    assert "<!-- commands -->" in (repository / "docs/cli.md").read_text(encoding="utf-8")


def test_groups_list_their_commands_with_links():
    text = reference(cli, "apsite")
    links = re.findall(r"^- \[`([a-z -]+)`\]\(#([a-z-]+)\): \S", text, flags=re.MULTILINE)
    assert {name for name, _ in links} == {name for name, _ in re.findall(r"^### (.+) \{ #(.+) \}$", text, re.M)} - {
        "apsite"
    }
    assert all(f" {{ #{anchor} }}" in text for _, anchor in links)
    assert "**Evaluate a network**" in text


def test_help_text_is_not_read_as_markup():
    @click.command()
    @click.option("--kind", type=click.Choice(["a", "b"]), help="One of a|b, or <none>; see *this* and `that <x>`.")
    def example(kind: str) -> None:
        """Do it.

        \b
        line one
          line two
        """

    text = reference(example, "do")
    assert "```text\nline one\n  line two\n```" in text
    meaning = "One of a|b, or &lt;none&gt;; see *this* and <code>that &lt;x&gt;</code>."
    assert f'<th scope="row"><code>--kind [a|b]</code></th><td>{meaning}</td>' in text
    assert "--help" not in text


def test_the_reference_leaves_the_commands_as_they_are():
    group = click.Group("do", context_settings={"help_option_names": ["-h", "--help"]})
    group.command("it")(lambda: None)
    reference(group, "do")
    for arguments in (["-h"], ["it", "-h"]):
        assert CliRunner().invoke(group, arguments).exit_code == 0
