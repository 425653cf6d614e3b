"""The command verify: whether a record stands when its evaluation is run again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from apsite.cli.group import cli
from apsite.cli.options import progress, state_option

if TYPE_CHECKING:
    from apsite.evaluation.runs.verification import Finding

_FILE = click.Path(path_type=Path)


@cli.command()
@click.argument("record", type=_FILE)
@click.option("--checkpoint", type=_FILE, required=True, help="The checkpoint that the record is about.")
@click.option(
    "--samples", type=click.IntRange(1), default=512, show_default=True, help="How many samples to run again."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed by which the samples are drawn."
)
@click.option("--data-dir", help="Folder of the dataset, or 'embedded'.  [default: where `apsite data fetch` puts it]")
@click.option("--device", help="cpu, cuda or cuda:<number>.  [default: cuda where there is one]")
@click.option("--batch-size", type=click.IntRange(1), help="Images attacked together.  [default: as in the record]")
@click.option("--arch", help="'file.py:factory' or 'module:factory', for a record whose network its author built.")
@state_option
@click.option("--write/--no-write", default=True, show_default=True, help="Put the outcome into RECORD if it agrees.")
@click.option("--by", help="Who verifies, for the record.")
@click.option("--run-dir", type=click.Path(file_okay=False, path_type=Path), default=Path(".apsite/runs"),
              show_default=True, help="Where the state of unfinished runs is kept.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def verify(
    record: Path, checkpoint: Path, samples: int, seed: int, data_dir: str | None, device: str | None,
    batch_size: int | None, arch: str | None, state: str | None, write: bool, by: str | None, run_dir: Path,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run the attacks of RECORD again on a random part of its samples, and compare every verdict.

    \b
    Example:
      apsite verify evaluations/KEY/MODEL_KEY.json --checkpoint model.pt --by NAME

    It agrees if checkpoint, data and sparsity are those of the record, at most 1 % of the samples have another verdict,
    and the differences do not go one way (exact McNemar test, p at least 0.01). Then RECORD is marked as verified.
    Exits with 1 if it does not agree.
    """
    from apsite.evaluation.runs.verification import verify_record, write_verification

    if arch is not None and ":" not in arch:
        raise click.UsageError(f"--arch {arch}: only a factory is named here; a registered network is in the record")
    with progress(quiet=quiet) as reporter:
        try:
            finding = verify_record(
                record, checkpoint, samples=samples, seed=seed, data_dir=data_dir, device=device, factory=arch,
                batch_size=batch_size, state=state, run_dir=run_dir, reporter=reporter,
            )  # fmt: skip
        except KeyboardInterrupt:
            reporter.say("interrupted: the finished work is kept; give the same command again to go on")
            raise
    written = write and finding.agrees
    if written:
        write_verification(record, finding, by)
    _print(finding, record if written else None, as_json=as_json)
    if not finding.agrees:
        raise click.exceptions.Exit(1)


def _print(finding: Finding, written: Path | None, *, as_json: bool) -> None:
    if as_json:
        document = {
            "model_key": finding.record.model_key,
            "agrees": finding.agrees,
            "samples": finding.samples,
            "agreement": finding.agreement,
            "comparisons": [
                {**asdict(one), "agreement": one.agreement, "p_value": one.p_value} for one in finding.comparisons
            ],
            "objections": list(finding.objections),
        }
        click.echo(json.dumps(document, indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{finding.record.model_key}: {finding.samples} samples again"), title_justify="left")
    for name in ("Verdict", "Record", "Again", "Only record", "Only again", "Same", "p"):
        table.add_column(name, justify="left" if name == "Verdict" else "right", no_wrap=True)
    for one in finding.comparisons:
        counts = (one.recorded, one.rerun, one.only_recorded, one.only_rerun)
        table.add_row(one.verdict, *(f"{count:,}" for count in counts), f"{one.agreement:.2%}", f"{one.p_value:.3g}")
    Console().print(table)
    for objection in finding.objections:
        click.echo(objection)
    verdict = "agrees" if finding.agrees else "DISAGREES"
    click.echo(f"The re-run {verdict}: {finding.agreement:.2%} of the samples have the same verdicts.")
    if written is not None:
        click.echo(f"Verified: {written}")
