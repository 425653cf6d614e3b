"""Commands about per-sample files outside of the repository: samples fetch, samples move."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from apsite.cli import options
from apsite.cli.group import cli


@cli.group("samples")
def samples_group() -> None:
    """Fetch per-sample files that lie outside of the repository, or move them there."""


@samples_group.command("fetch")
@options.root
@options.quiet
def fetch(root: Path, quiet: bool) -> None:
    """Fetch the per-sample files that records name by a URL and that are not here yet.

    \b
    Example:
      apsite samples fetch

    Each must have the SHA-256 of its record. They go to .apsite/samples/, where every command finds them. A file that
    fails does not stop the others; repeat the command to fetch what is missing. Exits with 1 if any failed.
    """
    from apsite.catalogue import load_catalogue
    from apsite.evaluation.runs.sample_archive import fetch_samples

    with options.progress(quiet=quiet) as reporter:
        collected = fetch_samples(load_catalogue(root), reporter)
    options.report_collected(collected, "per-sample files", "fetched")


@samples_group.command("move")
@click.argument("folder", type=options.FOLDER)
@click.option("--url", required=True, help="URL below which the files will be, ending in '/'.")
@click.option(
    "--before", type=click.DateTime(["%Y-%m-%d"]), help="Move files of runs before this day.  [default: today]"
)
@options.root
def move(folder: Path, url: str, before: datetime | None, root: Path) -> None:
    """Move per-sample files out of the data into FOLDER, to be uploaded as assets of a release.

    \b
    Example:
      apsite samples move assets --url https://github.com/OWNER/apsite/releases/download/samples-1/

    Moves the oldest 1,000 at most, the limit of a release, under the name of their SHA-256. Their records then name the
    URL. Upload FOLDER before the change is merged.
    """
    from apsite.catalogue import load_catalogue
    from apsite.evaluation.runs.sample_archive import move_samples

    day = (before or datetime.now(UTC)).date().isoformat()
    moved = move_samples(load_catalogue(root), folder, url, day)
    click.echo(f"{len(moved)} per-sample files moved to {folder}")
    if moved:
        tag = url.rstrip("/").rpartition("/")[2]
        click.echo(f"Upload them: gh release create {tag} --notes 'Per-sample results' {folder}/*.npz")
