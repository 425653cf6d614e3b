"""Commands that turn results of other software into records: import-distances."""

from __future__ import annotations

from pathlib import Path

import click

from apsite.cli.group import cli
from apsite.cli.options import root_option
from apsite.errors import ApsiteError
from apsite.keys import ModelKey


@cli.command("import-distances")
@root_option
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model-key", required=True, help="The model, such as HARP_Zhao2023Holistic_R18_CIFAR10_US_90.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default=Path("evaluations"),
              show_default=True, help="Folder of records.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace an existing record, also one with more figures.")
def import_distances(root: Path, file: Path, model_key: str, output: Path, overwrite: bool) -> None:
    """Make a record of FILE, one of the survey's HO-FMN distance files (a pickled list of torch scalars).

    \b
    Example:
      apsite import-distances distances.pickle --model-key HARP_Zhao2023Holistic_R18_CIFAR10_US_90 --output imported

    Nothing in the file is executed. The record never ranks: the file does not say which samples it is about, nor
    whether a distance of 0 means a wrong sample or a failed attack, and the record states so.
    """
    from apsite.evaluation.runs import distance_files

    written = distance_files.import_distances(file, _key(model_key, root), output, overwrite=overwrite)
    click.echo(f"Record: {written}")


def _key(text: str, root: Path) -> ModelKey:
    """Model key, its method found through the entries where there are any: the survey's lists use old names."""
    from dataclasses import replace

    try:
        key = ModelKey.parse(text)
    except ValueError as error:
        raise ApsiteError(str(error)) from None
    if not (root / "entries").is_dir():
        return key
    from apsite.catalogue import load_catalogue

    return replace(key, method=load_catalogue(root).resolve(key.method).key)
