"""The command audit: what a checkpoint is, without attacking it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from apsite.cli import options
from apsite.cli.group import cli, printable
from apsite.cli.options import display, emit_json, new_table
from apsite.vocabulary import Structure

if TYPE_CHECKING:
    from rich.table import Table

    from apsite.evaluation.checkpoints.report import CheckpointReport
    from apsite.records import LayerAudit


@cli.command()
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@options.optional_network
@options.method
@click.option("--dataset", type=options.DatasetChoice(), default="cifar10",
              help="Training dataset; sets image size, classes and normalisation.")  # fmt: skip
@click.option("--data-dir", help="Test set on whose first images the network is run; required for other:NAME.  "
              "[default: embedded or random images]")  # fmt: skip
@click.option("--structure", type=options.values(Structure), help="Structure of the pruning.")
@options.sparsity
@options.pattern
@options.layout
@options.state
@click.option("--published", is_flag=True, help="Fetch and measure every checkpoint that the entries name.")
@options.root
@options.as_json
@options.quiet
def audit(
    checkpoint: Path | None, arch: str | None, method: str | None, dataset: str, data_dir: str | None,
    structure: str | None, sparsity: float | None, pattern: str | None, layout: str | None, state: str | None,
    published: bool, root: Path, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Measure layout, sparsity, costs and behaviour of CHECKPOINT without attacking it.

    \b
    Examples:
      apsite audit model.pt --arch resnet18 --structure unstructured --sparsity 0.90
      apsite audit --published

    Takes seconds and needs no test set. Exits with 1, and prints why, if `apsite eval` would refuse the checkpoint.

    With --published, the hash and the measured sparsity of each checkpoint go into
    evaluations/published_checkpoints.json, which the method pages show. A checkpoint that fails does not stop the
    others; repeat the command to fetch what is missing. Exits with 1 if any failed.
    """
    if published:
        if checkpoint is not None or arch is not None:
            raise click.UsageError("--published takes no CHECKPOINT and no --arch; the entries declare both")
        _published(root, quiet=quiet)
        return
    if checkpoint is None or arch is None:
        raise click.UsageError("give CHECKPOINT and --arch, or --published")
    from apsite.evaluation.checkpoints import report as reports
    from apsite.records.patterns import declared_pattern

    if (structure is None) != (not sparsity):
        raise click.UsageError("give both --structure and --sparsity for a pruned network, neither for a dense one")
    try:
        declared_pattern(Structure(structure) if structure else None, pattern)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    report = reports.audit(
        checkpoint, architecture=arch, method=method, dataset=dataset, structure=structure, sparsity=sparsity,
        layout=layout, state=state, pattern=pattern, data_dir=data_dir,
    )  # fmt: skip
    if as_json:
        emit_json(report.to_json())
    else:
        _print(report)
    for refusal in report.refusals:
        click.echo(f"Error: {printable(str(refusal))}", err=True)
    if report.refused:
        raise click.exceptions.Exit(1)


def _published(root: Path, *, quiet: bool) -> None:
    from apsite.catalogue import load_catalogue
    from apsite.evaluation.checkpoints.published_audit import audit_published

    catalogue = load_catalogue(root)
    with options.progress(quiet=quiet) as reporter:
        collected = audit_published(catalogue, reporter)
    options.report_collected(collected, "published checkpoints", "measured")


def _print(report: CheckpointReport) -> None:
    display(_summary(report))
    if report.counts is not None:
        display(_layers(report.counts.layers))
    if report.others:
        others = new_table("Other layouts", "Layout", "Why not")
        for other in report.others:
            others.add_row(other.name, other.summary)
        display(others)
    for line in [f"Warning: {warning.message}" for warning in report.warnings] + [f"Note: {it}" for it in report.notes]:
        click.echo(line)


def _summary(report: CheckpointReport) -> Table:
    table = new_table(f"Audit of {report.path.name}", ">", "", show_header=False)
    table.columns[0].justify = "left"
    declared = f"{report.declared:.2%}, {report.structure}" if report.declared else "nothing declared (dense)"
    rows = [
        ("File", f"{report.size:,} bytes, {report.format}, tensors in {report.container}"),
        ("SHA-256", report.sha256),
        ("Network", f"{report.architecture}, {report.dataset.label}"),
        ("Layout", report.layout or ("of the factory" if ":" in report.architecture else "none fits")),
        ("Family", _family(report)),
        ("Sparsity declared", declared),
    ]
    counts = report.counts
    if counts is not None:
        macs, effective = counts.macs / 1e6, counts.effective_macs / 1e6
        rows += [
            ("Sparsity measured", f"{_measured(report)} of the weights are removed"),
            ("Zero filters", _part(counts.zero_filters, counts.filters)),
            ("Zero channels", _part(counts.zero_channels or 0, counts.channels or 0)),
            ("Parameters", f"{counts.parameters:,}, of which {counts.nonzero_parameters:,} are not zero"),
            ("Multiply-accumulates", f"{macs:,.1f} M dense, {effective:,.1f} M effective"),
        ]
        if report.finding is not None and report.structure is not None:
            finding = report.finding
            difference = (finding.matched - (report.declared or 0)) * 100
            rows.insert(-4, ("Sparsity difference", f"{difference:+.2f} points, by {finding.basis}"))
        if counts.pattern is not None:
            from apsite.records.patterns import left_dense

            rows.append(("Pattern", f"{counts.pattern}, in layers with {counts.pattern_share:.2%} of the weights"))
            rows.append(("Left dense", ", ".join(layer.name for layer in left_dense(counts)) or "no layer"))
    if report.inputs:
        rows.append(("Behaviour", _behaviour(report)))
    for name, value in rows:
        table.add_row(name, value)
    return table


def _family(report: CheckpointReport) -> str:
    if report.family is None:
        return "none that is registered" if report.counts else "–"
    return (
        f"{report.family.label}{', with fewer filters or channels than the dense network' if report.narrowed else ''}"
    )


def _behaviour(report: CheckpointReport) -> str:
    codes = [warning.code for warning in report.warnings if warning.code != "sparsity-differs"]
    return f"{', '.join(codes) or ('refused' if report.refused else 'suitable for the attacks')} (on {report.inputs})"


def _layers(layers: Iterable[LayerAudit]) -> Table:
    table = new_table("Layers", "Layer", ">Weights", ">Zero", ">Sparsity", ">Zero filters", ">Zero channels")
    for one in layers:
        weights = f"{one.weights:,}", f"{one.zero_weights:,}", _share(one.zero_weights, one.weights)
        parts = ((one.zero_filters, one.filters), (one.zero_channels, one.channels))
        table.add_row(one.name, *weights, *(f"{zero or 0} of {total or 0}" for zero, total in parts))
    return table


def _measured(report: CheckpointReport) -> str:
    counts = report.counts
    if report.finding is not None:
        return f"{report.finding.measured:.2%}"
    return _share(counts.zero_weights, counts.weights) if counts else "–"


def _part(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({_share(part, whole)})"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "–"
