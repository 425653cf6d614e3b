"""Which command is for what, and help that lists commands by it."""

from __future__ import annotations

import click

PARTS = {
    "See results": ("show", "export", "build", "serve"),
    "Evaluate a network": ("demo", "data", "models", "audit", "eval", "import-distances"),
    "Add a method or a result": ("new", "submit-check", "validate", "diff"),
    "Make baselines": ("prune", "finetune", "baselines"),
    "Maintain the benchmark": ("verify", "supersede", "amend", "snapshot", "links"),
    "For workflows": ("preview-summary", "preview-comment"),
}
"""Commands by what they are for, in the order in which the help lists them."""


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
