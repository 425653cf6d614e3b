"""Commands that run networks: eval, demo."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from apsite.cli.group import cli
from apsite.cli.options import progress, root_option, state_option
from apsite.cli.reference import reference
from apsite.protocol import EngineName, Precision, Preset
from apsite.vocabulary import Architecture, AttackName, Dataset, Granularity, Structure

if TYPE_CHECKING:
    from apsite.evaluation.runs.evaluate import Request
    from apsite.evaluation.runs.manifest import ModelOutcome
    from apsite.progress import Reporter
    from apsite.records import EvaluationRecord

_FILE = click.Path(path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


@cli.command("eval")
@click.argument("checkpoint", type=_FILE, required=False)
@click.option("--manifest", type=_FILE,
              help="Evaluate the models that this TOML file lists, instead of one CHECKPOINT.")  # fmt: skip
@click.option("--method", help="Method key, such as HARP_Zhao2023Holistic.  [required without --manifest]")
@click.option("--dataset", type=click.Choice([word.value for word in Dataset]),
              help="Test set to attack.  [required without --manifest]")  # fmt: skip
@click.option(
    "--arch",
    help=f"Registered network ({', '.join(Architecture)}), or 'file.py:factory' / 'module:factory' together with "
    "--as to say which network it is.  [required without --manifest]",
)  # fmt: skip
@click.option("--as", type=click.Choice([word.value for word in Architecture]), help="Which network a factory builds.")
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
@click.option("--batch-size", type=click.IntRange(1),
              help="Images attacked together; lower it where memory runs out.  [default: 128 on a CPU, 1024 on a "
              "GPU]")  # fmt: skip
@click.option("--workers", default="local", show_default=True,
              help="local: this process. ray or ray:N: N workers, each on a GPU (or CPU core) of its own, of the Ray "
              "cluster that RAY_ADDRESS names or of this machine.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of all randomness.")
@click.option("--protocol", type=click.Choice([word.value for word in Preset]), default="apb-1", show_default=True,
              help="paper: HO-FMN searches on the first 2,048 samples and counts the others, as in the survey. "
              "quick: 64 samples and a short search, for a first look. Neither ranks.")  # fmt: skip
@click.option("--attacks", default=",".join(AttackName), show_default=True,
              help="Which attacks to run, separated by a comma; with one alone the run does not rank.")  # fmt: skip
@click.option(
    "--engine",
    type=click.Choice([word.value for word in EngineName]),
    default="fast",
    show_default=True,
    help="AutoAttack by our own implementation, whose verdicts depend on no batch, or by pyautoattack.",
)
@click.option("--precision", type=click.Choice([word.value for word in Precision]), default="float32",
              show_default=True,
              help="Arithmetic in which AutoAttack searches; verdicts are always given in float32. Other than float32 "
              "is quicker on GPUs and does not rank.")  # fmt: skip
@click.option("--remove-channels/--keep-channels", default=True, show_default=True,
              help="Search on a network without the channels that pruning has emptied: same outputs, fewer "
              "computations.")  # fmt: skip
@click.option("--output", type=_FOLDER, default=Path("evaluations"), show_default=True, help="Folder of records.")
@click.option("--overwrite", is_flag=True, help="Replace an existing record.")
@click.option(
    "--resume/--fresh", default=True, show_default=True, help="Go on with an interrupted run, or start again."
)
@click.option("--run-dir", type=_FOLDER, default=Path(".apsite/runs"), show_default=True,
              help="Where the state of unfinished runs is kept.")  # fmt: skip
@click.option("--checkpoint-url", help="Where the checkpoint can be had, for the record.")
@state_option
@click.option("--log-file", type=click.Path(dir_okay=False, path_type=Path), help="Append progress lines to this file.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
@root_option
@click.pass_context
def eval_(
    context: click.Context, /, checkpoint: Path | None, manifest: Path | None, log_file: Path | None, quiet: bool,
    as_json: bool, root: Path, **options: Any,
) -> None:  # fmt: skip
    """Attack CHECKPOINT with AutoAttack and HO-FMN and write its evaluation record.

    \b
    Examples:
      apsite eval model.pt --method HARP_Zhao2023Holistic --dataset cifar10 --arch resnet18 \\
          --structure unstructured --sparsity 0.90
      apsite eval --manifest models.toml --device cuda

    The checkpoint is audited first, and refused if it is not the network or the sparsity that the options say. The
    record is written to OUTPUT/<method>/<model key>.json, the verdict of every sample beside it as .npz. An interrupted
    run goes on where it stopped when the same command is given again.

    With --manifest the models of a TOML file are evaluated one after the other: a table [[model]] each, with the names
    of these options (checkpoint_url for --checkpoint-url), and [defaults] for what they share. Models whose record is
    there are skipped, a failure ends that model only, and options of the command line hold for all. Exits with 1 if the
    checkpoint, or one of the models, could not be evaluated.
    """
    if manifest is not None:
        _eval_manifest(context, manifest, log_file=log_file, quiet=quiet, as_json=as_json, root=root)
        return
    if checkpoint is None:
        raise click.UsageError("give a CHECKPOINT, or a list of models with --manifest")
    for name in ("method", "dataset", "arch"):
        if options[name] is None:
            raise click.UsageError(f"Missing option '--{name}'; only --manifest goes without.")
    from apsite.evaluation.runs.manifest import OptionsError, request_of

    try:
        request = request_of({**options, "checkpoint": checkpoint}, resolver(root))
    except OptionsError as error:
        raise click.UsageError(str(error)) from None
    record, path = _evaluate(request, quiet=quiet, log_file=log_file)
    _print_result(record, path, as_json=as_json)
    if not as_json:
        _print_baselines(record, path, root)


def _eval_manifest(
    context: click.Context, manifest: Path, *, log_file: Path | None, quiet: bool, as_json: bool, root: Path
) -> None:
    """Evaluate the models of a manifest; ends with a table, and with 1 if any failed."""
    from apsite.evaluation.runs.manifest import IDENTITY, NAMES, Status, read_manifest, run_manifest

    given = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) not in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
    }
    stray = [name for name in IDENTITY if name in given]
    if stray:
        names = ", ".join("CHECKPOINT" if name == "checkpoint" else f"--{name.replace('_', '-')}" for name in stray)
        raise click.UsageError(f"{names} cannot be given with --manifest; say it in {manifest}")
    requests = read_manifest(manifest, {name: given[name] for name in NAMES if name in given}, resolver(root))
    with _reporting(quiet=quiet, log_file=log_file) as reporter:
        outcomes = list(run_manifest(requests, reporter))
    if as_json:
        summary = [
            {
                "model_key": str(outcome.key),
                "status": outcome.status.value,
                "record": None if outcome.path is None else str(outcome.path),
                "reason": outcome.reason or None,
            }
            for outcome in outcomes
        ]
        click.echo(json.dumps(summary, indent=2, ensure_ascii=False))
    else:
        print_outcomes(outcomes)
    if any(outcome.status is Status.FAILED for outcome in outcomes):
        raise click.exceptions.Exit(1)


def print_outcomes(outcomes: Sequence[ModelOutcome]) -> None:
    """Table of what became of each model, and why some were skipped or failed."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from apsite.evaluation.runs.manifest import Status
    from apsite.numbers import percent

    counts = Counter(outcome.status for outcome in outcomes)
    title = ", ".join(f"{counts[status]} {status.value}" for status in Status)
    table = Table(title=Text(f"{len(outcomes)} models: {title} (%)"), title_justify="left")
    table.add_column("Model", overflow="fold")
    table.add_column("Outcome", no_wrap=True)
    for name in ("Clean", "AutoAttack", "HO-FMN", "Joint"):
        table.add_column(name, justify="right", no_wrap=True)
    for outcome in outcomes:
        accuracies = outcome.record.results.accuracies if outcome.record else (None,) * 4
        table.add_row(Text(str(outcome.key)), outcome.status.value, *map(percent, accuracies))
    Console().print(table)
    for outcome in outcomes:
        if outcome.reason:
            click.echo(f"{outcome.key}: {outcome.status.value}: {outcome.reason}")


@cli.command()
@root_option
@click.option("--output", type=_FOLDER, default=Path("demo"), show_default=True,
              help="Folder for the record and the site.")  # fmt: skip
@click.option("--n-examples", type=click.IntRange(1, 256), default=64, show_default=True,
              help="How many of the 256 embedded images to attack.")  # fmt: skip
@click.option("--site/--no-site", "with_site", default=True, show_default=True, help="Build the site with the record.")
@click.option("--quiet", is_flag=True, help="No progress.")
def demo(root: Path, output: Path, n_examples: int, with_site: bool, quiet: bool) -> None:
    """Evaluate the embedded pruned network on real images, nothing reduced but their number, and build the site.

    \b
    Example:
      apsite demo

    Takes about two minutes on two CPU cores. The record stays in OUTPUT; the checkout is not changed.
    """
    if with_site:
        from apsite.site.making.build import build_site  # before the attacks: a missing extra is said at once
    from apsite.evaluation.runs import demonstration

    request = demonstration.request(output, n_examples)
    if with_site:
        demonstration.copy_data(root, output)
    record, path = _evaluate(request, quiet=quiet, log_file=None)
    _print_result(record, path, as_json=False)
    if with_site:
        click.echo("Building the site ...", err=True)
        index = build_site(output, output / "build", commands=reference(cli, "apsite"))
        click.echo(f"Site:   {index}")
        click.echo("        open it in a browser, or run: apsite serve " + str(output / "build"))


def resolver(root: Path) -> Callable[[str], str]:
    """Function that finds the method key of a key or alias through the entries, where there are any."""
    if not (root / "entries").is_dir():
        return str
    from apsite.catalogue import load_catalogue

    catalogue = load_catalogue(root)
    return lambda method: catalogue.resolve(method).key


@contextlib.contextmanager
def _reporting(*, quiet: bool, log_file: Path | None) -> Iterator[Reporter]:
    """Progress on stderr and in the log file; an interruption says how to go on."""
    from apsite.progress import LogFileReporter

    with contextlib.ExitStack() as stack:
        reporter = stack.enter_context(progress(quiet=quiet))
        if log_file:
            reporter = stack.enter_context(contextlib.closing(LogFileReporter(reporter, log_file)))
        try:
            yield reporter
        except KeyboardInterrupt:
            reporter.say("interrupted: the finished work is kept; give the same command again to go on")
            raise


def _evaluate(request: Request, *, quiet: bool, log_file: Path | None) -> tuple[EvaluationRecord, Path]:
    """Evaluate one model with progress."""
    from apsite.evaluation.runs.evaluate import run_request

    with _reporting(quiet=quiet, log_file=log_file) as reporter:
        evaluation = run_request(request, reporter)
    assert evaluation.path is not None
    return evaluation.record, evaluation.path


def _print_result(record: EvaluationRecord, path: Path, *, as_json: bool) -> None:
    from rich.console import Console

    from apsite.cli.tables import result_table
    from apsite.records import record_to_json

    if as_json:
        click.echo(json.dumps(record_to_json(record), indent=2, ensure_ascii=False))
        return
    Console().print(result_table(record))
    ranks = "" if record.protocol.ranks else " (reduced run: shown, never ranked)"
    click.echo(f"Protocol: {record.protocol.value}{ranks}")
    click.echo(f"Record: {path}")


def _print_baselines(record: EvaluationRecord, path: Path, root: Path) -> None:
    """The naive baselines at the setting of a record, where the data folder has any."""
    if not (root / "entries").is_dir() or record.samples is None:
        return
    from rich.console import Console

    from apsite.catalogue import scan
    from apsite.cli.tables import baselines_table
    from apsite.comparable import Judge
    from apsite.samples import read_samples

    catalogue, _ = scan(root)  # problems of other files are no reason to hide this comparison
    catalogue = replace(catalogue, records={**catalogue.records, record.model_key: record})
    samples = {record.model_key: read_samples(path.parent / record.samples.file)}
    found = Judge(catalogue, samples).baselines(record)
    if found:
        Console().print(baselines_table(record, found, catalogue))
