"""Networks, published checkpoints and published curves: models, import-distances."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from apsite.cli import options
from apsite.cli.evaluate import resolver
from apsite.cli.group import cli
from apsite.cli.options import display, new_table
from apsite.errors import ApsiteError
from apsite.keys import ModelKey
from apsite.progress import default_reporter
from apsite.vocabulary import Architecture


@cli.group("models")
def models_group() -> None:
    """List the registered networks, and fetch published checkpoints."""


@models_group.command("list")
@click.option("--arch", type=options.values(Architecture), help="Only this network family.")
def list_(arch: str | None) -> None:
    """Show every registered parameter layout with its methods, parameters and multiply-accumulates.

    \b
    Example:
      apsite models list --arch resnet18

    A layout is how an implementation names and shapes the parameters of a network. `apsite eval` detects the layout of
    a checkpoint; use --layout if several fit.
    """
    from apsite.evaluation.checkpoints.networks.registry import layouts
    from apsite.records.census import layout_macs

    columns = ("Layout", "Network", "Methods", ">Parameters", ">MACs")
    table = new_table(None, *columns, caption="MACs: multiply-accumulates for one image")
    for layout in layouts().values():
        if arch in (None, layout.architecture):
            names = layout.name, layout.architecture.value, ", ".join(layout.methods) or "–"
            table.add_row(*names, f"{layout.parameter_count():,}", f"{layout_macs(layout.name) / 1e6:,.1f} M")
    display(table)


@models_group.command()
@click.argument("layout")
def info(layout: str) -> None:
    """Show LAYOUT in full: sizes, normalisation, and every tensor that its checkpoints hold.

    \b
    Example:
      apsite models info base_resnet18
    """
    from apsite.evaluation.checkpoints.networks.registry import layouts
    from apsite.records.census import layout_macs

    if layout not in layouts():
        raise ApsiteError(f"layout {layout!r} is not registered; `apsite models list` shows {', '.join(layouts())}")
    found = layouts()[layout]
    tensors = found.tensors()
    click.echo(f"Layout:        {found.name}")
    click.echo(f"Network:       {found.architecture.label} (--arch {found.architecture})")
    click.echo(f"Methods:       {', '.join(found.methods) or 'none in particular'}")
    sizes = " or ".join(f"{size} × {size}" for size in found.network.sizes)
    click.echo(f"Datasets:      {', '.join(found.datasets)}; images of {sizes} pixels in [0, 1]")
    click.echo(f"Parameters:    {found.parameter_count():,}")
    click.echo(f"MACs:          {layout_macs(found.name):,} for one image")
    for dataset in found.datasets:
        constants = found.normalisation_of(dataset)
        inside = f"mean {constants.mean}, std {constants.std}" if constants else "none, images enter as they are"
        click.echo(f"Normalisation: {dataset}: {inside}")
    needs = "; the declared sparsity makes the mask" if found.needs_sparsity else ""
    click.echo(f"Pruning:       {found.parametrisation.value} parametrisation{needs}")
    if found.named_only:
        click.echo(f"Choice:        only by name, --layout {found.name}")
    if found.note:
        click.echo(f"Note:          {found.note}")
    table = new_table(f"{len(tensors)} tensors", "Tensor", "Shape", "Type")
    for name, tensor in tensors.items():
        shape = " × ".join(map(str, tensor.shape)) or "scalar"
        table.add_row(name, shape, str(tensor.dtype).removeprefix("torch."))
    display(table)


@models_group.command()
@click.argument("model_key")
@options.root
@click.option("--choose", type=click.IntRange(1), help="Which checkpoint, if several are published for the key.")
@click.option("-o", "--output", type=options.FILE,
              help="File to write.  [default: in the user's cache folder]")  # fmt: skip
@options.quiet
def fetch(model_key: str, root: Path, choose: int | None, output: Path | None, quiet: bool) -> None:
    """Fetch the published checkpoint of MODEL_KEY, and print the command that evaluates it.

    \b
    Example:
      apsite models fetch HARP_Zhao2023Holistic_R18_CIFAR10_US_90

    The first download stores the SHA-256; if the URL gives another file later, that is an error.
    The Hugging Face hub needs `pip install apsite[fetch]`.
    """
    from apsite.catalogue import load_catalogue
    from apsite.evaluation.checkpoints.published import fetch_checkpoint

    catalogue = load_catalogue(root)
    with default_reporter(quiet=quiet) as reporter:
        fetched = fetch_checkpoint(catalogue, model_key, reporter, choose=choose, output=output)
    click.echo(f"File:     {fetched.path}")
    click.echo(f"SHA-256:  {fetched.sha256}")
    click.echo(f"Evaluate: {fetched.eval_command}")


@cli.command("import-distances")
@options.root
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--model-key", help="The model, such as HARP_Zhao2023Holistic_R18_CIFAR10_US_90.")
@click.option("--survey", is_flag=True, help="Fetch and convert every distance file that the survey lists.")
@options.records
@click.option("--overwrite", is_flag=True, help="Replace the record of an earlier import.")
@options.quiet
def import_distances(
    root: Path, file: Path | None, model_key: str | None, survey: bool, output: Path, overwrite: bool, quiet: bool
) -> None:
    """Convert FILE, one of the survey's HO-FMN distance files (a pickled list of torch scalars), to a record.

    \b
    Examples:
      apsite import-distances distances.pickle --model-key HARP_Zhao2023Holistic_R18_CIFAR10_US_90 --output imported
      apsite import-distances --survey

    Nothing in the file is executed. The record never ranks, and states why: the file does not say which samples it
    covers, nor whether a distance of 0 means a misclassified sample or a failed attack. It is in the folder curves/ of
    its method, and replaces no other record of the model.

    With --survey, the 48 files come from Google Drive. A file that fails does not stop the others; repeat the command
    to fetch what is missing. Exits with 1 if any failed.
    """
    from apsite.evaluation.runs import distance_files
    from apsite.evaluation.runs.survey import import_survey

    if survey != (file is None) or survey != (model_key is None):
        raise click.UsageError("give either FILE and --model-key, or --survey")
    if survey:
        with options.progress(quiet=quiet) as reporter:
            collected = import_survey(output, reporter)
        options.report_collected(collected, "distance files", "imported")
        return
    assert file is not None
    assert model_key is not None
    try:
        key = ModelKey.parse(model_key)
    except ValueError as error:
        raise ApsiteError(str(error)) from None
    key = replace(key, method=resolver(root)(key.method))  # the survey's lists use old names
    written = distance_files.import_distances(file, key, output, overwrite=overwrite)
    click.echo(f"Record: {written}")
