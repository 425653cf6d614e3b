"""Commands about test sets: data list, data fetch, data check."""

from __future__ import annotations

from pathlib import Path

import click

from apsite.cli import options
from apsite.cli.group import cli
from apsite.cli.options import display, new_table
from apsite.progress import default_reporter
from apsite.vocabulary import Dataset

_WORDS = options.values(Dataset)


data_dir_option = click.option("--data-dir", type=options.FOLDER, default=options.data_folder, show_default=False,
                               help="Folder with the official files.  [default: the user's cache folder]")  # fmt: skip


@cli.group("data")
def data_group() -> None:
    """List, fetch and check the test sets."""


@data_group.command("list")
@data_dir_option
def list_(data_dir: Path) -> None:
    """Show each dataset with its size, ε, terms, and whether you have the official files.

    \b
    Example:
      apsite data list
    """
    from apsite.evaluation.testsets.datasets import TEST_SETS

    names = ("Dataset", "Test images", "ε", "Download", "Terms, source", "Present")
    table = new_table(None, *names, caption=f"Folder: {data_dir}")
    for dataset, files in TEST_SETS.items():
        size = f"{files.download.size / 1e6:.0f} MB" if files.download else "by hand"
        images, present = f"{dataset.test_samples:,}", _presence(dataset, data_dir)
        table.add_row(dataset.value, images, dataset.epsilon, size, files.terms, present)
    display(table)


@data_group.command()
@click.argument("dataset", type=_WORDS)
@data_dir_option
@options.quiet
def fetch(dataset: str, data_dir: Path, quiet: bool) -> None:
    """Fetch the official test files of DATASET; an interrupted download resumes where it stopped.

    \b
    Example:
      apsite data fetch cifar10

    Checks the checksum that the authors publish, and prints the folder, where `apsite eval` looks without --data-dir.
    Datasets whose terms forbid a download, such as ImageNet, are not fetched; the message says which files go where.
    """
    from apsite.evaluation.testsets.datasets import fetch_test_set

    with default_reporter(quiet=quiet) as reporter:
        folder = fetch_test_set(Dataset(dataset), data_dir, reporter)
    click.echo(folder)


@data_group.command()
@click.argument("dataset", type=options.DatasetChoice())
@click.option("--data-dir", type=click.Path(path_type=Path),
              help="Folder with the official files; for other:NAME a folder of class folders or an .npz file.  "
              "[default: the user's cache folder]")  # fmt: skip
def check(dataset: str, data_dir: Path | None) -> None:
    """Read the whole test set of DATASET and check whether it is the official one.

    \b
    Examples:
      apsite data check cifar10
      apsite data check other:signs --data-dir signs.npz

    Exits with 1 if it is not. ImageNet takes minutes: its 50,000 images are decoded for the hash. Of a test set of your
    own, other:NAME, every image is read, and the classes are counted.
    """
    from apsite.evaluation.testsets.datasets import TEST_SETS, load_test_set, usual_folder

    word = Dataset(dataset)
    images = load_test_set(word, data_dir or usual_folder(word))
    click.echo(f"Dataset: {word.label}, {images.source}")
    click.echo(f"Images:  {len(images):,}")
    click.echo(f"Shape:   {images.images.shape}, uint8")
    click.echo(f"SHA-256: {images.sha256}")
    if not word.registered:
        counts = images.dataset.class_counts
        click.echo(f"Classes: {len(counts):,}, with {min(counts):,} to {max(counts):,} images each")
        click.echo("Known:   no, a test set of your own; results on it are shown and do not rank")
        return
    known = TEST_SETS[word].recognisable
    no = "no, these are not the official files" if known else "no official hash of this set is known"
    click.echo(f"Known:   {'yes, the official test set' if images.known else no}")
    if not images.known:
        raise click.exceptions.Exit(1)


def _presence(dataset: Dataset, folder: Path) -> str:
    """Whether the files of a dataset are in a folder and the official ones."""
    from apsite.errors import DatasetError
    from apsite.evaluation.testsets.datasets import TEST_SETS, load_test_set

    if TEST_SETS[dataset].find(folder) is None:
        return "no"
    if not TEST_SETS[dataset].recognisable:
        return "yes; no official hash is known"
    try:
        images = load_test_set(dataset, folder)
    except DatasetError:
        return f"damaged; see apsite data check {dataset}"
    return "yes, the official files" if images.known else "yes, but not the official files"
