"""Commands of those who publish the data: snapshot, links."""

from __future__ import annotations

from pathlib import Path

import click

from apsite.cli.group import cli
from apsite.cli.options import emit, output_file_option, root_option


@cli.command()
@root_option
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Archive to write, .zip."
)
def snapshot(root: Path, output: Path) -> None:
    """Write all data into one ZIP archive: entries, records, per-sample files, tables, checksums.

    \b
    Example:
      apsite snapshot --output data.zip

    Prints the SHA-256 of the archive and its path. The same data gives the same bytes. Releases have one attached.
    """
    from apsite.catalogue import load_catalogue
    from apsite.snapshot import write_snapshot

    click.echo(f"{write_snapshot(load_catalogue(root), output)}  {output}")


@cli.command()
@root_option
@output_file_option
def links(root: Path, output: Path | None) -> None:
    """List every address that entries and records name, one a line, for a link checker.

    \b
    Example:
      apsite links -o links.txt

    Addresses of stores (hf://, gdrive://, doi:) are written as the site links them.
    """
    from apsite.catalogue import load_catalogue
    from apsite.site.links import external
    from apsite.snapshot import addresses

    found = (external(address) for address in addresses(load_catalogue(root)))
    emit("".join(f"{address}\n" for address in dict.fromkeys(found) if address), output)
