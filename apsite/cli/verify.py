"""The command verify: run a part of an evaluation again and judge its record by it."""

from __future__ import annotations

from contextlib import nullcontext
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
@click.option(
    "--samples",
    type=click.IntRange(1),
    help="Claimed-robust samples to attack again, for each attack.  [default: the fewest that can verify]",
)
@click.option("--data-dir", help="Folder of the dataset, or 'embedded'.  [default: where `apsite data fetch` puts it]")
@options.device
@click.option("--batch-size", type=click.IntRange(1), help="Images attacked together.  [default: by device]")
@click.option("--arch", help="'file.py:factory' or 'module:factory', if the network of the record came from a factory.")
@click.option("--write", is_flag=True, help="Mark RECORD as verified if its results are.")
@click.option("--by", help="Your name, for the record.")
@options.run_dir
@options.quiet
@options.as_json
@options.root
@options.proposal
def verify(
    record: Path, checkpoint: Path, samples: int | None, data_dir: str | None, device: str | None,
    batch_size: int | None, arch: str | None, write: bool, by: str | None, run_dir: Path,
    quiet: bool, as_json: bool, root: Path, proposal: str | None,
) -> None:  # fmt: skip
    """Check whether the results of RECORD are inflated, by running a random part of its attacks again.

    Clean accuracy is computed again on every sample. Each attack runs again on samples drawn from those that RECORD
    counts as robust. Draw and attacks have a new random seed, which the record then states.

    \b
    Examples:
      apsite verify evaluations/KEY/MODEL_KEY.json --checkpoint model.pt --write --by NAME
      apsite verify evaluations/KEY/MODEL_KEY.json --checkpoint model.pt --proposal pull-17

    The results are verified if checkpoint, data and sparsity are those of the record, the clean results are the same,
    no more samples break than two seeds of AutoAttack differ by, and the draw would have detected an inflation of one
    point with a probability of 95 % or was of all samples. Otherwise exits with 1. RECORD changes with --write only.
    With --proposal, RECORD is a path in the proposal, which is merged before it can be marked.
    """
    from apsite.evaluation.runs.verification import verify_record, write_verification
    from apsite.validation.revisions import proposed_data

    if arch is not None and ":" not in arch:
        raise click.UsageError(f"--arch {arch}: give a factory only; the record already names a registered network")
    if write and proposal:
        raise click.UsageError(
            "--write: a record of a proposal cannot be marked; merge it, then verify the merged record"
        )
    with (
        proposed_data(proposal, root) if proposal else nullcontext(Path()) as folder,
        options.progress(quiet=quiet) as reporter,
    ):
        finding = verify_record(
            folder / record, checkpoint, samples=samples, by=by, data_dir=data_dir, device=device, factory=arch,
            batch_size=batch_size, run_dir=run_dir, reporter=reporter,
        )  # fmt: skip
    written = write and finding.verified
    if written:
        write_verification(record, finding)
    _print(finding, record if written else None, as_json=as_json)
    if not finding.verified:
        raise click.exceptions.Exit(1)


def _print(finding: Finding, written: Path | None, *, as_json: bool) -> None:
    from apsite.records import record_to_json
    from apsite.validation.verification import breaks_allowed

    found = finding.verification
    if as_json:
        emit_json({
            "model_key": finding.record.model_key, "verified": finding.verified,
            **record_to_json(finding.record)["verification"], "objections": list(finding.objections),
        })  # fmt: skip
        return
    columns = ("Robust under", ">Claimed", ">Drawn", ">Broken", ">Allowed", ">Detects, points")
    table = new_table(f"{finding.record.model_key}: seed {found.seed}", *columns)
    for one in found.attacks:
        counts = (one.claimed, one.drawn, one.broken, breaks_allowed(one.drawn))
        detects = f"{one.detectable_inflation * 100:.2f}"
        table.add_row(one.attack.label, *(f"{count:,}" for count in counts), detects)
    display(table)
    click.echo(f"Clean accuracy: {found.samples:,} samples again, {found.clean_differences:,} with another result.")
    for objection in finding.objections:
        click.echo(objection)
    detected = f"an inflation of {found.detectable_inflation * 100:.2f} points would have been detected with 95 %"
    click.echo(f"The results are verified: {detected}." if finding.verified else f"NOT VERIFIED; {detected}.")
    if written is not None:
        click.echo(f"Verified: {written}")
