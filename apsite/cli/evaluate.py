"""Commands that run networks: eval, demo."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from apsite.cli.main import cli
from apsite.cli.options import root_option
from apsite.errors import ApsiteError
from apsite.keys import ModelKey
from apsite.vocabulary import Architecture, Dataset, Granularity, Structure

if TYPE_CHECKING:
    from apsite.evaluation.evaluate import Request
    from apsite.records import EvaluationRecord

_FILE = click.Path(path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


@cli.command("eval")
@click.argument("checkpoint", type=_FILE)
@click.option("--method", required=True, help="Method key, such as HARP_Zhao2023Holistic.")
@click.option("--dataset", type=click.Choice([word.value for word in Dataset]), required=True)
@click.option(
    "--arch", required=True,
    help=f"Registered network ({', '.join(Architecture)}), or 'file.py:factory' / 'module:factory' together with "
    "--as to say which network it is.",
)  # fmt: skip
@click.option(
    "--as", "network", type=click.Choice([word.value for word in Architecture]), help="Which network a factory builds."
)
@click.option(
    "--structure", type=click.Choice([word.value for word in Structure]),
    help="What was pruned. Leave out together with --sparsity for a dense network.",
)  # fmt: skip
@click.option("--sparsity", type=click.FloatRange(0, 1, max_open=True), help="Declared sparsity, such as 0.90.")
@click.option("--granularity", type=click.Choice([word.value for word in Granularity]), help="Unit that was pruned.")
@click.option("--layout", help="Name of the registered parameter layout, where several fit (`apsite models list`).")
@click.option(
    "--data-dir",
    help="Folder with the official files of the dataset, or 'embedded' for 256 CIFAR-10 test images of the package.  "
    "[default: where `apsite data fetch` puts them]",
)  # fmt: skip
@click.option("--device", help="cpu, cuda or cuda:<number>.  [default: cuda where there is one]")
@click.option("--n-examples", type=click.IntRange(1), help="Only the first so many samples; such a run does not rank.")
@click.option("--batch-size", type=click.IntRange(1), default=128, show_default=True,
              help="Images attacked together; lower it where memory runs out.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of all randomness.")
@click.option("--protocol", type=click.Choice(["apb-1", "quick"]), default="apb-1", show_default=True,
              help="quick: 64 samples and a short search, for a first look; does not rank.")  # fmt: skip
@click.option("--attacks", default="autoattack,hofmn", show_default=True, help="Comma-separated.")
@click.option("--engine", type=click.Choice(["reference"]), default="reference", show_default=True,
              help="Implementation of AutoAttack.")  # fmt: skip
@click.option("--output", type=_FOLDER, default=Path("evaluations"), show_default=True, help="Folder of records.")
@click.option("--overwrite", is_flag=True, help="Replace an existing record.")
@click.option(
    "--resume/--fresh", default=True, show_default=True, help="Go on with an interrupted run, or start again."
)
@click.option("--run-dir", type=_FOLDER, default=Path(".apsite/runs"), show_default=True,
              help="Where the state of unfinished runs is kept.")  # fmt: skip
@click.option("--checkpoint-url", help="Where the checkpoint can be had, for the record.")
@click.option("--unsafe-load", is_flag=True, help="Unpickle without restrictions. RUNS CODE from the file; recorded.")
@click.option("--log-file", type=click.Path(dir_okay=False, path_type=Path), help="Append progress lines to this file.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
@root_option
def eval_(
    checkpoint: Path, method: str, dataset: str, arch: str, network: str | None, structure: str | None,
    sparsity: float | None, granularity: str | None, layout: str | None, data_dir: str | None, device: str | None,
    n_examples: int | None, batch_size: int, seed: int, protocol: str, attacks: str, engine: str, output: Path,
    overwrite: bool, resume: bool, run_dir: Path, checkpoint_url: str | None, unsafe_load: bool,
    log_file: Path | None, quiet: bool, as_json: bool, root: Path,
) -> None:  # fmt: skip
    """Attack CHECKPOINT with AutoAttack and HO-FMN and write its evaluation record.

    \b
    Example:
      apsite eval model.pt --method HARP_Zhao2023Holistic --dataset cifar10 --arch resnet18 \\
          --structure unstructured --sparsity 0.90

    The record is written to OUTPUT/<method>/<model key>.json, the verdict of every sample beside it as .npz.
    An interrupted run goes on where it stopped when the same command is given again.
    """
    from apsite.evaluation.downloads import data_dir as default_data_dir
    from apsite.evaluation.evaluate import Request, parse_architecture
    from apsite.evaluation.settings import Preset, Settings

    registered, factory = parse_architecture(arch)
    if registered is not None and network is not None:
        raise click.UsageError("--as goes with a factory; a registered --arch says itself which network it is")
    if registered is None and network is None:
        raise click.UsageError(f"say with --as which network {arch} builds: {', '.join(Architecture)}")
    if (structure is None) != (not sparsity):
        raise click.UsageError("give both --structure and --sparsity for a pruned network, neither for a dense one")
    changes: dict[str, object] = {
        "batch_size": batch_size,
        "seed": seed,
        "engine": engine,
        "attacks": tuple(part.strip() for part in attacks.split(",")),
    }
    if n_examples is not None:
        changes["n_examples"] = n_examples
    request = Request(
        checkpoint=checkpoint,
        key=_model_key(method, registered or Architecture(str(network)), dataset, structure, sparsity, root),
        factory=factory,
        layout=layout,
        granularity=_granularity(granularity, structure),
        data_dir=data_dir or default_data_dir(),
        settings=Settings.of(Preset(protocol), **changes),
        output=output,
        device=device,
        run_dir=run_dir,
        fresh=not resume,
        overwrite=overwrite,
        unsafe_load=unsafe_load,
        url=checkpoint_url,
    )
    record, path = _evaluate(request, quiet=quiet, log_file=log_file)
    _print_result(record, path, as_json=as_json)


@cli.command()
@root_option
@click.option("--output", type=_FOLDER, default=Path("build/demo"), show_default=True,
              help="Folder for the record and the site.")  # fmt: skip
@click.option("--n-examples", type=click.IntRange(1, 256), default=64, show_default=True,
              help="How many of the 256 embedded images to attack.")  # fmt: skip
@click.option("--site/--no-site", "with_site", default=True, show_default=True, help="Build the site with the record.")
@click.option("--quiet", is_flag=True, help="No progress.")
def demo(root: Path, output: Path, n_examples: int, with_site: bool, quiet: bool) -> None:
    """Evaluate the embedded pruned network on real images, nothing reduced but their number, and build the site.

    Takes about two minutes on two CPU cores. The record stays in OUTPUT; the checkout is not changed.
    """
    from apsite.evaluation import demonstration

    request = demonstration.request(output, n_examples)
    if with_site:
        demonstration.copy_data(root, output)
    record, path = _evaluate(request, quiet=quiet, log_file=None)
    _print_result(record, path, as_json=False)
    if with_site:
        from apsite.site.build import build_site

        click.echo("Building the site ...", err=True)
        index = build_site(output, output / "build")
        click.echo(f"Site:   {index}")
        click.echo("        open it in a browser, or run: apsite serve " + str(output / "build"))


def _model_key(
    method: str, architecture: Architecture, dataset: str, structure: str | None, sparsity: float | None, root: Path
) -> ModelKey:
    """Key of the model, its method resolved through the entries where there are any."""
    if (root / "entries").is_dir():
        from apsite.catalogue import load_catalogue

        method = load_catalogue(root).resolve(method).key
    try:
        return ModelKey.of(
            method, architecture, Dataset(dataset), Structure(structure) if structure else None, sparsity or 0.0
        )
    except ValueError as error:
        raise ApsiteError(str(error)) from None


def _granularity(word: str | None, structure: str | None) -> Granularity | None:
    if word is not None:
        return Granularity(word)
    return Granularity.WEIGHT if structure == Structure.UNSTRUCTURED else None


def _evaluate(request: Request, *, quiet: bool, log_file: Path | None) -> tuple[EvaluationRecord, Path]:
    """Evaluate with progress on stderr; an interruption says how to go on."""
    from apsite.evaluation.evaluate import evaluate_checkpoint
    from apsite.evaluation.progress import LogFileReporter, TerminalReporter, default_reporter

    reporter = default_reporter(quiet=quiet)
    with reporter if isinstance(reporter, TerminalReporter) else contextlib.nullcontext():
        try:
            return evaluate_checkpoint(request, LogFileReporter(reporter, log_file) if log_file else reporter)
        except KeyboardInterrupt:
            reporter.say("interrupted: the finished work is kept; give the same command again to go on")
            raise


def _print_result(record: EvaluationRecord, path: Path, *, as_json: bool) -> None:
    from rich.console import Console

    from apsite.records import record_to_json
    from apsite.terminal import result_table

    if as_json:
        click.echo(json.dumps(record_to_json(record), indent=2, ensure_ascii=False))
        return
    Console().print(result_table(record))
    ranks = "" if record.protocol.ranks else " (reduced run: shown, never ranked)"
    click.echo(f"Protocol: {record.protocol.value}{ranks}")
    click.echo(f"Record: {path}")
