"""The command verify: repeat a part of an evaluation and compare it with the record."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from apsite.cli import options
from apsite.cli.group import cli
from apsite.cli.options import display, emit_json, new_table

if TYPE_CHECKING:
    from apsite.evaluation.runs.verification import Finding


@cli.command()
@click.argument("record", type=click.Path(path_type=Path))
@click.option("--checkpoint", type=click.Path(path_type=Path), required=True, help="Checkpoint of the record.")
@click.option("--samples", type=click.IntRange(1), default=512, help="Number of samples to attack again.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the choice of samples.")
@click.option("--data-dir", help="Folder of the dataset, or 'embedded'.  [default: where `apsite data fetch` puts it]")
@options.device
@click.option("--batch-size", type=click.IntRange(1), help="Images attacked together.  [default: as in the record]")
@click.option("--arch", help="'file.py:factory' or 'module:factory', if the network of the record came from a factory.")
@click.option("--write/--no-write", default=True, help="Mark RECORD as verified if the results agree.")
@click.option("--by", help="Your name, for the record.")
@options.run_dir
@options.quiet
@options.as_json
@options.root
@options.proposal
def verify(
    record: Path, checkpoint: Path, samples: int, seed: int, data_dir: str | None, device: str | None,
    batch_size: int | None, arch: str | None, write: bool, by: str | None, run_dir: Path,
    quiet: bool, as_json: bool, root: Path, proposal: str | None,
) -> None:  # fmt: skip
    """Repeat the attacks of RECORD on a random part of its samples, and compare the results of each.

    \b
    Examples:
      apsite verify evaluations/KEY/MODEL_KEY.json --checkpoint model.pt --by NAME
      apsite verify evaluations/KEY/MODEL_KEY.json --checkpoint model.pt --proposal pull-17

    The results agree if checkpoint, data and sparsity are those of the record, at most 1 % of the samples have another
    result, and the differences go both ways (exact McNemar test, p at least 0.01). RECORD is then marked as verified.
    Exits with 1 if they do not agree. With --proposal, RECORD is a path in the proposal, and nothing is written: merge
    it first.
    """
    from apsite.evaluation.runs.verification import verify_record, write_verification
    from apsite.validation.revisions import proposed_data

    if arch is not None and ":" not in arch:
        raise click.UsageError(f"--arch {arch}: give a factory only; the record already names a registered network")
    with (
        proposed_data(proposal, root) if proposal else nullcontext(Path()) as folder,
        options.progress(quiet=quiet) as reporter,
    ):
        finding = verify_record(
            folder / record, checkpoint, samples=samples, seed=seed, data_dir=data_dir, device=device, factory=arch,
            batch_size=batch_size, run_dir=run_dir, reporter=reporter,
        )  # fmt: skip
    written = write and finding.agrees and not proposal
    if written:
        write_verification(record, finding, by)
    _print(finding, record if written else None, as_json=as_json)
    if not finding.agrees:
        raise click.exceptions.Exit(1)


def _print(finding: Finding, written: Path | None, *, as_json: bool) -> None:
    if as_json:
        compared = [{**asdict(one), "agreement": one.agreement, "p_value": one.p_value} for one in finding.comparisons]
        emit_json({
            "model_key": finding.record.model_key, "agrees": finding.agrees, "samples": finding.samples,
            "agreement": finding.agreement, "comparisons": compared, "objections": list(finding.objections),
        })  # fmt: skip
        return
    columns = ("Robust under", ">Record", ">Re-run", ">Only record", ">Only re-run", ">Same", ">p")
    table = new_table(f"{finding.record.model_key}: {finding.samples} samples again", *columns)
    for one in finding.comparisons:
        counts = (one.recorded, one.rerun, one.only_recorded, one.only_rerun)
        table.add_row(one.result, *(f"{count:,}" for count in counts), f"{one.agreement:.2%}", f"{one.p_value:.3g}")
    display(table)
    for objection in finding.objections:
        click.echo(objection)
    outcome = "agrees" if finding.agrees else "DISAGREES"
    click.echo(f"The re-run {outcome}: {finding.agreement:.2%} of the samples have the same results.")
    if written is not None:
        click.echo(f"Verified: {written}")
