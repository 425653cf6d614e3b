"""Commands that run networks: eval, demo, runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from apsite.cli import options
from apsite.cli.group import cli
from apsite.cli.options import display, emit_json, new_table
from apsite.cli.reference import reference
from apsite.protocol import APB_1_ATTACKS, EngineName, Precision, Preset
from apsite.vocabulary import Architecture, Granularity, Structure

if TYPE_CHECKING:
    from apsite.evaluation.runs.evaluate import Request
    from apsite.evaluation.runs.manifest import ModelOutcome
    from apsite.records import EvaluationRecord

_FILE = click.Path(path_type=Path)


@cli.command("eval")
@click.argument("checkpoint", type=_FILE, required=False)
@click.option("--manifest", type=_FILE,
              help="Evaluate the models that this TOML file lists, instead of one CHECKPOINT.")  # fmt: skip
@click.option("--method", help="Method key, such as HARP_Zhao2023Holistic.  [required without --manifest]")
@click.option("--dataset", type=options.DatasetChoice(),
              help="Test set to attack; other:NAME for one of your own, which --data-dir names and whose results are "
              "shown and do not rank.  [required without --manifest]")  # fmt: skip
@click.option("--arch", help=f"Registered network ({', '.join(Architecture)}), or 'file.py:factory' / 'module:factory' "
              "with --as.  [required without --manifest]")  # fmt: skip
@click.option("--as", metavar="NETWORK", help=f"Network that the factory builds: {', '.join(Architecture)}, or "
              "other:NAME for any other, which is shown and does not rank.")  # fmt: skip
@click.option("--structure", type=options.values(Structure),
              help="Structure of the pruning. Omit together with --sparsity for a dense network.")  # fmt: skip
@options.sparsity
@options.pattern
@click.option("--granularity", type=options.values(Granularity), help="Unit that was removed.")
@click.option("--layout", help="Name of the registered parameter layout, if several fit (`apsite models list`).")
@click.option("--data-dir", help="Folder with the official files of the dataset, or 'embedded' for 256 CIFAR-10 test "
              "images of the package. For other:NAME a folder of class folders or an .npz file.  "
              "[default: where `apsite data fetch` puts them]")  # fmt: skip
@options.device
@click.option("--n-examples", type=click.IntRange(1), metavar="N", help="Attack a random sample of N images, the same "
              "for every model; clean accuracy is that of all. Such a run does not rank.  [default: those that rank: "
              "the whole test set, of ImageNet 5,000 images]")  # fmt: skip
@click.option("--first", type=click.IntRange(1), metavar="N",
              help="Attack the first N images instead, as RobustBench does; they may be easier or harder than the "
              "set.")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(1),
              help="Images attacked together; lower it if memory runs out.  [default: 128 on a CPU, 1024 on a "
              "GPU]")  # fmt: skip
@click.option("--workers", default="local",
              help="local: this process. ray or ray:N: N workers with one GPU (or CPU core) each, on the Ray cluster "
              "at RAY_ADDRESS or on this machine.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Seed of all randomness.")
@click.option("--protocol", type=options.values(Preset), default="apb-1",
              help="paper: HO-FMN searches on the first 2,048 samples and evaluates the others, as in the survey. "
              "quick: 64 samples and a short search, for a first look. screen: all samples without FAB-T and Square, "
              "for development. None of them ranks.")  # fmt: skip
@click.option("--attacks", default=",".join(APB_1_ATTACKS),
              help="Attacks to run, separated by commas; a run with only one does not rank.")  # fmt: skip
@click.option("--epsilon", metavar="FRACTION", help="Perturbation size ε of AutoAttack, as a fraction such as 4/255; a "
              "run at another ε than the dataset's does not rank. Required for other:NAME.  [default: that of the "
              "dataset]")  # fmt: skip
@click.option("--engine", type=options.values(EngineName), default="fast", help="AutoAttack implementation: fast "
              "(built in; results do not depend on batch size) or reference (pyautoattack).")  # fmt: skip
@click.option("--precision", type=options.values(Precision), default="float32",
              help="Arithmetic in which AutoAttack searches; every success is confirmed in float32. Lower precision is "
              "faster on GPUs; tf32 ranks if the run's check in float32 confirms it, bf16 never ranks.")  # fmt: skip
@click.option("--remove-channels/--keep-channels", default=True,
              help="Attack a copy of the network with fully pruned channels removed. Same outputs, less "
              "compute.")  # fmt: skip
@click.option("--fab-drop-rows/--fab-all-rows", default=True,
              help="Let FAB give up targets that are far out of reach after 30 of its 100 steps.")  # fmt: skip
@click.option("--plan", "only_plan", is_flag=True,
              help="Say what the evaluation will take, by two timed passes, and stop.")  # fmt: skip
@options.records
@click.option("--overwrite", is_flag=True, help="Replace an existing record.")
@options.resume
@options.run_dir
@click.option("--checkpoint-url", help="URL of the checkpoint, for the record.")
@options.state
@click.option("--log-file", type=options.FILE, help="Append progress lines to this file.")
@options.quiet
@options.as_json
@options.root
@click.pass_context
def eval_(
    context: click.Context, /, checkpoint: Path | None, manifest: Path | None, log_file: Path | None, quiet: bool,
    as_json: bool, root: Path, only_plan: bool, **given: Any,
) -> None:  # fmt: skip
    """Attack CHECKPOINT with AutoAttack and HO-FMN and write its evaluation record.

    \b
    Examples:
      apsite eval model.pt --method HARP_Zhao2023Holistic --dataset cifar10 --arch resnet18 \\
          --structure unstructured --sparsity 0.90
      apsite eval model.pt --method HARP_Zhao2023Holistic --dataset cifar10 --arch resnet18 --plan
      apsite eval --manifest models.toml --device cuda

    Audits the checkpoint first, and refuses it if network or sparsity differ from the options. Writes the record to
    OUTPUT/<method>/<model key>.json, and the result of every sample to the .npz file next to it. Repeat the command to
    resume an interrupted run.

    --manifest evaluates the models of a TOML file in turn: one [[model]] table per model, with the names of these
    options (checkpoint_url for --checkpoint-url), and [defaults] for shared values. Models with a record are skipped, a
    failure ends only that model, and options of the command line apply to all. Exits with 1 if the checkpoint, or one
    of the models, could not be evaluated.
    """
    if manifest is not None:
        if only_plan:
            raise click.UsageError("--plan is for one CHECKPOINT; name one of the manifest")
        _eval_manifest(context, manifest, log_file=log_file, quiet=quiet, as_json=as_json, root=root)
        return
    if checkpoint is None:
        raise click.UsageError("give a CHECKPOINT, or a list of models with --manifest")
    for name in ("method", "dataset", "arch"):
        if given[name] is None:
            raise click.UsageError(f"Missing option '--{name}'; only --manifest goes without.")
    from apsite.evaluation.runs.manifest import OptionsError, request_of

    try:
        request = request_of({**given, "checkpoint": checkpoint}, resolver(root))
    except OptionsError as error:
        raise click.UsageError(str(error)) from None
    if only_plan:
        _print_plan(request, quiet=quiet, as_json=as_json)
        return
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
        raise click.UsageError(f"{names} cannot be given with --manifest; set it in {manifest}")
    requests = read_manifest(manifest, {name: given[name] for name in NAMES if name in given}, resolver(root))
    with options.progress(quiet=quiet, log_file=log_file) as reporter:
        outcomes = list(run_manifest(requests, reporter))
    if as_json:
        emit_json([
            {"model_key": str(one.key), "status": one.status.value, "record": str(one.path) if one.path else None,
             "reason": one.reason or None} for one in outcomes
        ])  # fmt: skip
    else:
        print_outcomes(outcomes)
    if any(outcome.status is Status.FAILED for outcome in outcomes):
        raise click.exceptions.Exit(1)


def print_outcomes(outcomes: Sequence[ModelOutcome]) -> None:
    """Print the outcome of each model, and why some were skipped or failed."""
    from apsite.evaluation.runs.manifest import Status
    from apsite.numbers import percent

    counts = Counter(outcome.status for outcome in outcomes)
    title = ", ".join(f"{counts[status]} {status.value}" for status in Status)
    columns = ("Model", "Outcome", ">Clean", ">AutoAttack", ">HO-FMN", ">Joint")
    table = new_table(f"{len(outcomes)} models: {title} (%)", *columns)
    for outcome in outcomes:
        accuracies = outcome.record.results.accuracies if outcome.record else (None,) * 4
        table.add_row(str(outcome.key), outcome.status.value, *map(percent, accuracies))
    display(table)
    for outcome in outcomes:
        if outcome.reason:
            click.echo(f"{outcome.key}: {outcome.status.value}: {outcome.reason}")


@cli.command()
@options.root
@click.option("--output", type=options.FOLDER, default=Path("demo"),
              help="Folder for the record and the site.")  # fmt: skip
@click.option("--n-examples", type=click.IntRange(1, 256), default=64,
              help="How many of the 256 embedded images to attack.")  # fmt: skip
@click.option("--site/--no-site", "with_site", default=True, help="Build the site with the record.")
@options.quiet
def demo(root: Path, output: Path, n_examples: int, with_site: bool, quiet: bool) -> None:
    """Evaluate the embedded pruned network on a few real images with full attacks, and build the site.

    \b
    Example:
      apsite demo

    Takes about two minutes on two CPU cores. Everything is written to OUTPUT.
    """
    if with_site:
        from apsite.site.making.build import build_site  # before the attacks: report a missing extra at once
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


@cli.command()
@options.run_dir
@click.option("--clean", is_flag=True, help="Remove the runs that were abandoned.")
@click.option("--older-than", type=click.IntRange(0), default=7, metavar="DAYS",
              help="Days since the last work on a run that --clean removes.")  # fmt: skip
@options.as_json
def runs(run_dir: Path, clean: bool, older_than: int, as_json: bool) -> None:
    """List the unfinished runs whose state is kept, and remove those that were abandoned.

    \b
    Examples:
      apsite runs
      apsite runs --clean --older-than 30

    A finished run removes its own state. An unfinished one resumes when its command is repeated. A run that a process
    works on is never removed.
    """
    from rich.text import Text

    from apsite.evaluation.runs.run_state import kept_runs, remove_run
    from apsite.validation.reports import number

    found, now = kept_runs(run_dir), time.time()
    if clean:
        old = [run for run in found if now - run.changed >= older_than * 86_400]
        found = [run for run in old if not run.running and remove_run(run)]
    if as_json:
        emit_json([{**asdict(run), "path": str(run.path)} for run in found])
        return
    if not found:
        click.echo(f"{run_dir}: no {'abandoned' if clean else 'unfinished'} run")
        return
    title = f"{number(len(found), 'unfinished run')} in {run_dir}"
    table = new_table(title, "Run", "Of", ">Units", ">MB", ">Days", "State")
    for run in found:
        state = "running" if run.running else "removed" if clean else "interrupted"
        days = f"{(now - run.changed) / 86_400:.1f}"
        table.add_row(
            run.path.name, Text(run.about or "unknown"), f"{run.units:,}", f"{run.size / 1e6:.1f}", days, state
        )
    display(table)


def resolver(root: Path) -> Callable[[str], str]:
    """Function that finds the method key of a key or alias in the entries, if any."""
    if not (root / "entries").is_dir():
        return str
    from apsite.catalogue import load_catalogue

    catalogue = load_catalogue(root)
    return lambda method: catalogue.resolve(method).key


def _evaluate(request: Request, *, quiet: bool, log_file: Path | None) -> tuple[EvaluationRecord, Path]:
    from apsite.evaluation.runs.evaluate import run_request

    with options.progress(quiet=quiet, log_file=log_file) as reporter:
        evaluation = run_request(request, reporter)
    assert evaluation.path is not None
    return evaluation.record, evaluation.path


def _print_plan(request: Request, *, quiet: bool, as_json: bool) -> None:
    """Print what an evaluation will take."""
    from apsite.cli.tables import plan_table
    from apsite.evaluation.runs.evaluate import plan_request

    with options.progress(quiet=quiet) as reporter:
        plan = plan_request(request, reporter)
    if as_json:
        emit_json({**asdict(plan), "seconds": {name: plan.likely(name) for name in plan.passes},
                   "seconds_at_most": {name: plan.at_most(name) for name in plan.passes}})  # fmt: skip
        return
    display(plan_table(plan))
    click.echo(f"{plan.sentence[0].upper()}{plan.sentence[1:]}.")
    click.echo("Repeat the command without --plan to run it.")


def _print_result(record: EvaluationRecord, path: Path, *, as_json: bool) -> None:
    from apsite.cli.tables import result_table
    from apsite.comparable import unranked
    from apsite.records import record_to_json

    if as_json:
        emit_json(record_to_json(record))
        return
    display(result_table(record))
    reasons = ", ".join(unranked(record))
    click.echo(f"Protocol: {record.protocol.value}" + (f" ({reasons}: shown, not ranked)" if reasons else ""))
    click.echo(f"Record: {path}")


def _print_baselines(record: EvaluationRecord, path: Path, root: Path) -> None:
    """Print the baselines at the setting of a record, if the data folder has any."""
    if not (root / "entries").is_dir() or record.samples is None:
        return
    from apsite.catalogue import scan
    from apsite.cli.tables import baselines_table
    from apsite.comparable import Judge
    from apsite.samples import read_samples

    catalogue, _ = scan(root)  # problems of other files are no reason to hide this comparison
    catalogue = replace(catalogue, records={**catalogue.records, record.model_key: record})
    samples = {record.model_key: read_samples(path.parent / record.samples.file)}
    found = Judge(catalogue, samples).baselines(record)
    if found:
        display(baselines_table(record, found, catalogue))
