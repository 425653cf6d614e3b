"""Commands for what happens to results after they were published: supersede, amend."""

from __future__ import annotations

from pathlib import Path

import click

from apsite.cli.group import cli
from apsite.cli.options import root_option
from apsite.vocabulary import ChangeKind

_KINDS = [kind.value for kind in ChangeKind if kind is not ChangeKind.SUPERSEDES]


@cli.command()
@root_option
@click.argument("record", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--reason", required=True, help="Why the new run is better, as a sentence for readers.")
@click.option("--url", help="Where that was discussed, https only.")
@click.option("--date", help="Day, as year-month-day.  [default: today]")
def supersede(root: Path, record: Path, reason: str, url: str | None, date: str | None) -> None:
    """Put RECORD, a new run, in the place of the record of the same model, which moves to history/ as it is.

    Evaluate the better checkpoint with `apsite eval --output new` first; RECORD is then
    new/<method key>/<model key>.json, and the per-sample file beside it comes along.

    \b
    Example:
      apsite supersede new/KEY/MODEL_KEY.json --reason "Trained for longer."
    """
    from apsite.contribution import history

    click.echo(f"Record: {history.supersede(root, record, reason, url=url, date=date)}")


@cli.command()
@root_option
@click.argument("key")
@click.option("--kind", type=click.Choice(_KINDS), required=True, help="What happened.")
@click.option("--reason", required=True, help="Why, as a sentence for readers.")
@click.option("--url", help="Where it was discussed, https only.")
@click.option("--date", help="Day, as year-month-day.  [default: today]")
def amend(root: Path, key: str, kind: str, reason: str, url: str | None, date: str | None) -> None:
    """Note in the entry or record of KEY that it was corrected, disputed, settled or retracted, and why.

    A disputed record keeps its rank and is marked. A retracted one stays readable and no longer counts; that is final.
    Make the correction itself in the file first. Disputes and retractions are merged as a maintainer's change.

    \b
    Example:
      apsite amend MODEL_KEY --kind disputed --reason "The checkpoint gives other figures."
    """
    from apsite.contribution import history

    click.echo(f"Amended: {history.amend(root, key, ChangeKind(kind), reason, url=url, date=date)}")
