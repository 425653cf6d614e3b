"""Commands that read the data: validate, export, show."""

from __future__ import annotations

import json
from pathlib import Path

import click

from apsite.cli.main import cli
from apsite.cli.options import emit, output_file_option, root_option
from apsite.vocabulary import Architecture, Dataset, Structure


@cli.command()
@root_option
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
def validate(root: Path, style: str) -> None:
    """Check every entry, record and per-sample file, and report all problems at once.

    Exits with 1 if there is a problem. Run it before you open a pull request; the same command decides there.
    """
    from apsite import validation

    report = validation.validate(root)
    if style == "json":
        problems = [
            {"path": str(problem.path), "field": problem.field, "problem": problem.problem}
            for problem in report.problems
        ]
        summary = {"entries": report.entries, "records": report.records, "sample_files": report.sample_files}
        click.echo(json.dumps({**summary, "problems": problems}, indent=2))
    else:
        for problem in report.problems:
            click.echo(str(problem))
        counted = f"{report.entries} entries, {report.records} records, {report.sample_files} per-sample files"
        verdict = f"{len(report.problems)} problem(s)" if report.problems else "no problem"
        click.echo(f"{counted}: {verdict}")
    if report.problems:
        raise click.exceptions.Exit(1)


@cli.command()
@root_option
@output_file_option
@click.option("--format", "style", type=click.Choice(["csv", "json", "robustbench"]), default="csv", show_default=True)
def export(root: Path, output: Path | None, style: str) -> None:
    """Write all results as one table: a row per record, fractions, empty (null) where unknown.

    RobustBench's format is one JSON object with percentages as text, for tools that read its model_info files.
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

    Each cell is clean accuracy / AutoAttack robust accuracy in percent; the leaders are marked as in the survey: the
    top three of unstructured and the top one of structured pruning.
    """
    from rich.console import Console

    from apsite.catalogue import load_catalogue
    from apsite.terminal import leaderboard_tables, method_report

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
