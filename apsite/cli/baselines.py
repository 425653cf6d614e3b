"""Commands that make baselines: prune, finetune, baselines."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apsite.baselines.criteria.terms import BaselineCriterion
from apsite.cli import options
from apsite.cli.group import cli
from apsite.cli.options import emit_json
from apsite.errors import ApsiteError
from apsite.vocabulary import Dataset, Locality

if TYPE_CHECKING:
    from apsite.baselines.finetuning import Written
    from apsite.evaluation.runs.manifest import ModelOutcome
    from apsite.records.patterns import Pattern

_DATASET = click.option("--dataset", type=options.values(Dataset), default="cifar10",
                        help="Dataset whose images the network takes.")  # fmt: skip
_OUTPUT = click.option("-o", "--output", type=options.FILE, required=True, help="Checkpoint to write, as safetensors.")
_HALF = click.option("--half", is_flag=True, help="Store weights as float16; the zeros stay the same.")
_PACKED = click.option("--packed", is_flag=True,
                       help="Store a pruned tensor as one bit per weight and the remaining weights.")  # fmt: skip


_DATA = click.option("--data-dir", type=options.FOLDER, default=options.data_folder, help="Folder with the official "
                     "training files.", show_default="where `apsite data fetch` puts them")  # fmt: skip
_OBJECTIVE = click.Choice(["AT-PGD", "TRADES", "AT-Fast"])
_PRECISION = click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto",
                          help="auto: mixed precision if the device supports bfloat16.")  # fmt: skip
_LEARNED = [one for one in BaselineCriterion if one.learned]
_SEARCH = f"for the criteria that learn from training images ({', '.join(_LEARNED)})"
_USUAL = ", ".join(f"{one} {one.epochs}" for one in _LEARNED)


@cli.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@options.network
@click.option("--criterion", type=options.values(BaselineCriterion), required=True, help="What is removed first: "
              + "; ".join(f"{one.removes} ({', '.join(filter(None, (one, one.source)))})" for one in BaselineCriterion)
              + ".")  # fmt: skip
@click.option("--locality", type=options.values(Locality), required=True,
              help="Whether the sparsity holds in each layer or in the whole network; lamp is global.")  # fmt: skip
@click.option("--sparsity", type=click.FloatRange(0, 1, min_open=True, max_open=True), required=True,
              callback=options.stated_sparsity,
              help=f"Fraction of weights or of filters to remove, {options.SPARSITY_HELP}.")  # fmt: skip
@click.option("--pattern", metavar="N:M", help="Keep the N largest of every M weights along the input dimension, with "
              "--criterion lwm --locality local.")  # fmt: skip
@_DATASET
@options.layout
@options.method
@options.state
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Seed of random scores and of a search.")
@_DATA
@click.option("--objective", type=_OBJECTIVE, help=f"Robust loss {_SEARCH}.  [default: AT-Fast]")
@click.option("--epochs", type=click.IntRange(1), help=f"Passes over the images.  [default: {_USUAL}]")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True),
              help="Peak of the one-cycle schedule.  [default: that of the criterion]")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(1), help="Images per step.  [default: 128]")
@click.option("--n-train", type=click.IntRange(1), help="Use only the first N training images.")
@options.device
@_PRECISION
@_OUTPUT
@_HALF
@_PACKED
@options.resume
@options.run_dir
@options.quiet
@options.as_json
def prune(
    checkpoint: Path, arch: str, criterion: str, locality: str, sparsity: float, pattern: str | None, dataset: str,
    layout: str | None, method: str | None, state: str | None, seed: int, data_dir: Path, device: str | None,
    precision: str, output: Path, half: bool, packed: bool, resume: bool, run_dir: Path, quiet: bool, as_json: bool,
    **settings: Any,
) -> None:  # fmt: skip
    """Prune the dense network CHECKPOINT to an exact sparsity with a baseline criterion.

    \b
    Examples:
      apsite prune dense.safetensors --arch resnet18 --criterion lamp --locality global \\
          --sparsity 0.90 -o lamp90.safetensors
      apsite prune dense.safetensors --arch resnet18 --criterion lis --locality local \\
          --sparsity 0.90 -o lis90.safetensors

    Of n weights or filters, floor(n (1 - sparsity)) remain. Filters whose outputs are added are removed together, with
    their batch-norm parameters and the kernels that read them.

    Each criterion is a reference implementation of a criterion of the taxonomy, not of a published method. Those that
    learn from training images take a few epochs; repeat the command to resume an interrupted one.
    """
    from apsite.baselines.criteria.learned import search_recipe
    from apsite.baselines.finetuning import Format, Search, Source
    from apsite.baselines.finetuning import prune as prune_network

    source = Source(arch, method, Dataset(dataset), layout=layout, checkpoint=checkpoint, state=state)
    chosen, used = _pattern(pattern, criterion, locality, sparsity), BaselineCriterion(criterion)
    given = [name for name, value in settings.items() if value is not None]
    if given and not used.learned:
        raise click.UsageError(f"--{given[0].replace('_', '-')} is {_SEARCH}; {criterion} takes no images")
    search = None
    if used.learned:
        recipe = search_recipe(used, {**settings, "seed": seed})
        search = Search(recipe, data_dir, device, precision, run_dir, fresh=not resume)
    with options.progress(quiet=quiet, kept=_kept(resume=resume)) as reporter:
        written = prune_network(
            source, used, Locality(locality), sparsity, output, written=Format(half, packed), seed=seed, pattern=chosen,
            search=search, reporter=reporter,
        )  # fmt: skip
    _print(written, f"pruned by {criterion}, {locality}", as_json=as_json)


def _kept(*, resume: bool) -> str:
    """How to resume a training that was interrupted."""
    again = "the same command again" if resume else "the same command without --fresh"
    return f"progress is saved every minute; run {again} to resume"


def _pattern(text: str | None, criterion: str, locality: str, sparsity: float) -> Pattern | None:
    """Pattern to prune to; a usage error if it contradicts the other options."""
    from apsite.records import patterns

    if text is None:
        return None
    try:
        pattern = patterns.Pattern.parse(text)
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None
    removed = pattern.zeros / pattern.group
    if (criterion, locality) != ("lwm", "local") or abs(removed - sparsity) > 5e-3:
        raise click.UsageError(f"--pattern {text} goes with --criterion lwm --locality local --sparsity {removed:.3g}")
    return pattern


@cli.command()
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@options.network
@click.option("--dataset", type=options.values(Dataset), default="cifar10",
              help="Dataset whose images the network takes; only CIFAR-10 can be trained on.")  # fmt: skip
@_DATA
@click.option("--objective", type=_OBJECTIVE, default="AT-PGD",
              help="Adversarial training (Madry et al. 2018), TRADES (Zhang et al. 2019), or the fast single-step "
              "variant (Wong et al. 2020).")  # fmt: skip
@click.option("--epochs", type=click.IntRange(1), default=10, help="Passes over the images.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=0.1,
              help="Peak of the one-cycle schedule.")  # fmt: skip
@click.option("--steps", type=click.IntRange(1), help="Steps of the attack.  [default: 10, AT-Fast 1]")
@click.option("--epsilon", default="8/255", help="Perturbation size, as a fraction such as 8/255.")
@click.option("--step-size", help="Step of the attack, such as 2/255.  [default: 2/255, AT-Fast 10/255]")
@click.option("--batch-size", type=click.IntRange(1), default=128, help="Images per step.")
@click.option("--weight-decay", type=click.FloatRange(0), default=2e-4,
              help="L2 penalty on all parameters.")  # fmt: skip
@click.option("--trades-beta", type=click.FloatRange(0, min_open=True), default=6,
              help="Weight of the robust term of TRADES.")  # fmt: skip
@click.option("--n-train", type=click.IntRange(1), help="Use only the first N training images.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Seed of all randomness.")
@options.device
@_PRECISION
@options.layout
@options.method
@options.state
@_OUTPUT
@_HALF
@_PACKED
@options.resume
@options.run_dir
@options.quiet
@options.as_json
def finetune(
    checkpoint: Path | None, arch: str, dataset: str, data_dir: Path, output: Path, half: bool, packed: bool,
    resume: bool, run_dir: Path, device: str | None, precision: str, layout: str | None, method: str | None,
    state: str | None, quiet: bool, as_json: bool, **settings: Any,
) -> None:  # fmt: skip
    """Train CHECKPOINT adversarially and keep its zeros; without CHECKPOINT, train a new dense network.

    \b
    Examples:
      apsite finetune --arch resnet18 --epochs 30 -o dense.safetensors
      apsite finetune lamp90.safetensors --arch resnet18 --epochs 20 -o lamp90_finetuned.safetensors

    Repeat the command to resume an interrupted run; the result equals that of an uninterrupted run. The command writes
    the last weights and selects nothing on test images.
    """
    from apsite.baselines.finetuning import Format, Source
    from apsite.baselines.finetuning import finetune as finetune_network
    from apsite.baselines.training import recipe_of

    source = Source(arch, method, Dataset(dataset), layout=layout, checkpoint=checkpoint, state=state)
    with options.progress(quiet=quiet, kept=_kept(resume=resume)) as reporter:
        written = finetune_network(
            source, recipe_of(settings), data_dir, output, written=Format(half, packed), device=device,
            precision=precision, run_dir=run_dir, fresh=not resume, reporter=reporter,
        )  # fmt: skip
    _print(written, f"trained in {written.seconds:.0f} s", as_json=as_json)


def _print(written: Written, result: str, *, as_json: bool) -> None:
    audit = written.audit
    if as_json:
        emit_json({**asdict(written), "path": str(written.path), "about": dict(written.about)})
        return
    click.echo(f"{result[0].upper()}{result[1:]}.")
    channels = audit.zero_channels or 0, audit.channels or 0
    weights, filters = (audit.zero_weights, audit.weights), (audit.zero_filters, audit.filters)
    for name, (zero, total) in {"weights": weights, "filters": filters, "input channels": channels}.items():
        if total:  # a network without convolutions has no filters
            click.echo(f"Zero {name}: {zero:,} of {total:,} ({zero / total:.4%})")
    for layer in audit.layers:
        if layer.zero_weights == layer.weights:
            click.echo(f"Warning: nothing is left of layer {layer.name}.", err=True)
    click.echo(f"Written: {written.path} ({written.size:,} bytes, sha256 {written.sha256})")


@cli.command()
@click.argument("series", type=options.FILE, nargs=-1, required=True)
@click.option("--model", "models", multiple=True, help="Only this model key; repeat for several.")
@click.option("--dense", type=options.FILE,
              help="Dense checkpoint to start from, instead of the one of the series.")  # fmt: skip
@click.option("--checkpoints", type=options.FOLDER, show_default="SERIES without .toml",
              help="Folder for checkpoints and costs.")  # fmt: skip
@click.option("--data-dir", type=options.FOLDER, default=options.data_folder,
              show_default="where `apsite data fetch` puts them",
              help="Folder with the official training and test files.")  # fmt: skip
@click.option("--test-data", help="Folder with the official test files, or 'embedded'.  [default: --data-dir]")
@options.device
@options.records
@click.option("--work", type=options.FOLDER, default=Path(".apsite"),
              help="Folder for pruned networks and the state of unfinished runs.")  # fmt: skip
@click.option("--resume/--fresh", default=True, help="Keep finished steps, or repeat all.")
@options.quiet
@options.root
def baselines(
    series: tuple[Path, ...], models: tuple[str, ...], dense: Path | None, checkpoints: Path | None,
    data_dir: Path, test_data: str | None, device: str | None, output: Path, work: Path, resume: bool,
    quiet: bool, root: Path,
) -> None:  # fmt: skip
    """Make the baselines that each SERIES file lists: prune, fine-tune, audit and evaluate.

    \b
    Examples:
      apsite baselines baselines/resnet18.toml --output new
      apsite baselines baselines/resnet18.toml --dense mine.safetensors --checkpoints mine --output mine \\
          --model LAMP_Lee2021Layer_R18_CIFAR10_US_90

    The first also trains the dense network, if it is missing; the second prunes yours. Checkpoints and the costs of
    each model (series.json) are written to the folder of the same name next to the file, records to OUTPUT. Finished
    steps are skipped, so repeating the command resumes an interrupted series.
    """
    from apsite.baselines.series import Places, run_series
    from apsite.baselines.series_file import read_series
    from apsite.cli.evaluate import print_outcomes, resolver
    from apsite.evaluation.runs.manifest import Status

    if len(series) > 1 and (dense or checkpoints):
        raise click.UsageError("--dense and --checkpoints are for a single SERIES")
    places = Places(data_dir, test_data or data_dir, output, work, device)
    listed = [
        replace(one, given=dense, folder=checkpoints or one.folder)
        for one in (read_series(path, resolver(root)) for path in series)
    ]
    for model in models:
        if not any(model in one.models for one in listed):
            known = ", ".join(key for one in listed for key in one.models)
            raise ApsiteError(f"{model} is not a model of {', '.join(map(str, series))}; known are {known}")
    outcomes: list[ModelOutcome] = []
    kept = options.KEPT if resume else "repeating it with --fresh starts again"
    with options.progress(quiet=quiet, kept=kept) as reporter:
        try:
            for one in listed:
                wanted = [model for model in models if model in one.models]
                if wanted or not models:
                    outcomes.extend(run_series(one, places, reporter, only=wanted, fresh=not resume))
        except ApsiteError:
            if outcomes:
                print_outcomes(outcomes)
            raise
    print_outcomes(outcomes)
    for one in listed:
        click.echo(f"Checkpoints: {one.folder}")
    click.echo(f"Records: {output}")
    if any(outcome.status is Status.FAILED for outcome in outcomes):
        raise click.exceptions.Exit(1)
