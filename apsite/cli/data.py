"""Commands that read the data: validate, export, show."""

from __future__ import annotations

from pathlib import Path

import click

from apsite.cli import options
from apsite.cli.group import cli
from apsite.cli.options import display, emit
from apsite.vocabulary import Architecture, Dataset, Structure


@cli.command()
@options.root
@click.option("--format", "style", type=click.Choice(["text", "json", "github"]), default="text",
              help="github: annotations for workflows.")  # fmt: skip
@click.option("--changed-since", metavar="REVISION", help="Also check the rules for pull requests, against the "
              "revision where the branch began, such as origin/main.")  # fmt: skip
@options.proposal
@click.option("--maintainer", is_flag=True, help="Apply the rules for maintainers. Derive this from the platform, "
              "never from the pull request.")  # fmt: skip
def validate(
    root: Path, style: str, changed_since: str | None, proposal: str | None, maintainer: bool
) -> None:  # fmt: skip
    """Check every entry, record and per-sample file, and report all problems at once.

    \b
    Examples:
      apsite validate
      apsite validate --changed-since origin/main
      apsite validate --proposal pull-17

    Reports each problem with its file, JSON path, the value found, the allowed values and a suggested fix. Exits with 1
    if there is one. Pull requests are checked by the same command with --changed-since: data and other files cannot
    change together, published records stay as they are, and new records cannot say that they are verified. --proposal
    checks a pull request that was fetched, against --changed-since or the checked-out commit.
    """
    from apsite import validation
    from apsite.validation import reports

    if maintainer and changed_since is None and proposal is None:
        raise click.UsageError("--maintainer requires --changed-since or --proposal: it is about a pull request")
    report = validation.validate(root, changed_since=changed_since, maintainer=maintainer, proposal=proposal)
    if style == "github":
        click.echo(reports.to_github(report, root), nl=False)
    else:
        click.echo((reports.to_json if style == "json" else reports.to_text)(report), nl=False)
    if report.problems:
        raise click.exceptions.Exit(1)


@cli.command()
@options.root
@options.output_file
@click.option("--format", "style", type=click.Choice(["csv", "json", "robustbench"]), default="csv",
              help="Format of the table.")  # fmt: skip
def export(root: Path, output: Path | None, style: str) -> None:
    """Write all results as one table: one row per record, fractions, empty (null) if unknown.

    \b
    Examples:
      apsite export -o results.csv
      apsite export --format json

    The data page of the site explains the columns. RobustBench's format is one JSON object with percentages as text,
    for tools that read its model_info files.
    """
    from apsite import export as exporting
    from apsite.catalogue import load_catalogue

    catalogue = load_catalogue(root)
    writers = {"csv": exporting.to_csv, "json": exporting.to_json_rows, "robustbench": exporting.to_robustbench}
    emit(writers[style](catalogue), output, is_json=style != "csv")


@cli.command()
@options.root
@click.argument("method", required=False)
@click.option("--dataset", type=options.values(Dataset), help="Only this dataset.")
@click.option("--arch", type=options.values(Architecture), help="Only this network.")
@click.option("--structure", type=options.values(Structure), help="Only this structure.")
def show(root: Path, method: str | None, dataset: str | None, arch: str | None, structure: str | None) -> None:
    """Print the leaderboards, or everything about METHOD (a key, an alias or a name).

    \b
    Examples:
      apsite show --dataset cifar10 --structure unstructured
      apsite show HARP

    Each cell is clean accuracy / AutoAttack robust accuracy in percent, and the rank: one more than the number of
    models that are separated above. The leaders are marked as in the survey: the top three of unstructured, the top one
    of structured pruning.
    """
    from apsite.catalogue import load_catalogue
    from apsite.cli.tables import leaderboard_tables, method_report

    catalogue = load_catalogue(root)
    if method is not None:
        names = {entry.name.lower(): entry.key for entry in catalogue.entries.values()}
        display(*method_report(catalogue, catalogue.resolve(names.get(method.lower(), method))))
        return
    tables = leaderboard_tables(catalogue, dataset, arch, structure)
    if not tables:
        click.echo("No ranked result matches these options.", err=True)
    display(*tables)
