"""Commands that read the data: validate, export, show."""

from __future__ import annotations

from pathlib import Path

import click

from apsite.cli.group import cli
from apsite.cli.options import emit, output_file_option, root_option
from apsite.vocabulary import Architecture, Dataset, Structure


@cli.command()
@root_option
@click.option(
    "--format", "style", type=click.Choice(["text", "json", "github"]), default="text", show_default=True,
    help="github: annotations for its workflows.",
)  # fmt: skip
@click.option(
    "--changed-since", metavar="REVISION",
    help="Also check what a proposal may touch, against the revision from which it started, such as origin/main.",
)  # fmt: skip
@click.option(
    "--maintainer", is_flag=True,
    help="The proposal is a maintainer's. Only for whoever knows this from the platform, never from the proposal.",
)  # fmt: skip
def validate(root: Path, style: str, changed_since: str | None, maintainer: bool) -> None:
    """Check every entry, record and per-sample file, and report all problems at once.

    \b
    Examples:
      apsite validate
      apsite validate --changed-since origin/main

    Each problem says the file, the place in it, what was found, what is allowed and how to mend it. Exits with 1 if
    there is one. Run it before you open a pull request; the same command decides there, with --changed-since: then
    data and other files cannot change together, records that are there stay as they are, and nothing new says that it
    is verified.
    """
    from apsite import validation
    from apsite.validation import reports

    if maintainer and changed_since is None:
        raise click.UsageError("--maintainer needs --changed-since: it is about a proposal")
    report = validation.validate(root, changed_since=changed_since, maintainer=maintainer)
    if style == "github":
        click.echo(reports.to_github(report, root), nl=False)
    else:
        click.echo((reports.to_json if style == "json" else reports.to_text)(report), nl=False)
    if report.problems:
        raise click.exceptions.Exit(1)


@cli.command()
@root_option
@output_file_option
@click.option("--format", "style", type=click.Choice(["csv", "json", "robustbench"]), default="csv", show_default=True,
              help="What to write.")  # fmt: skip
def export(root: Path, output: Path | None, style: str) -> None:
    """Write all results as one table: a row per record, fractions, empty (null) where unknown.

    \b
    Examples:
      apsite export -o results.csv
      apsite export --format json

    The columns are explained on the data page of the site. RobustBench's format is one JSON object with percentages as
    text, for tools that read its model_info files.
    """
    from apsite import export as exporting
    from apsite.catalogue import load_catalogue

    catalogue = load_catalogue(root)
    writers = {"csv": exporting.to_csv, "json": exporting.to_json_rows, "robustbench": exporting.to_robustbench}
    emit(writers[style](catalogue), output)


@cli.command()
@root_option
@click.argument("method", required=False)
@click.option("--dataset", type=click.Choice([word.value for word in Dataset]), help="Only this dataset.")
@click.option("--arch", type=click.Choice([word.value for word in Architecture]), help="Only this network.")
@click.option("--structure", type=click.Choice([word.value for word in Structure]), help="Only this structure.")
def show(root: Path, method: str | None, dataset: str | None, arch: str | None, structure: str | None) -> None:
    """Print the leaderboards, or everything about METHOD (a key, an alias or a name).

    \b
    Examples:
      apsite show --dataset cifar10 --structure unstructured
      apsite show HARP

    Each cell is clean accuracy / AutoAttack robust accuracy in percent, and the rank; models with the same rank are
    tied. The leaders are marked as in the survey: the top three of unstructured, the top one of structured pruning.
    """
    from rich.console import Console

    from apsite.catalogue import load_catalogue
    from apsite.cli.tables import leaderboard_tables, method_report

    catalogue = load_catalogue(root)
    console = Console()
    if method is not None:
        names = {entry.name.lower(): entry.key for entry in catalogue.entries.values()}
        for part in method_report(catalogue, catalogue.resolve(names.get(method.lower(), method))):
            console.print(part, markup=False)
        return
    tables = leaderboard_tables(
        catalogue,
        Dataset(dataset) if dataset else None,
        Architecture(arch) if arch else None,
        Structure(structure) if structure else None,
    )
    if not tables:
        click.echo("No ranked result fits these options.", err=True)
    for table in tables:
        console.print(table)
