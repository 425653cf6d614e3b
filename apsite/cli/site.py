"""What is published: build, serve, snapshot, links."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from apsite.cli import options
from apsite.cli.group import cli
from apsite.cli.options import emit
from apsite.cli.reference import reference


@cli.command()
@options.root
@click.option("--output", type=options.FOLDER, default=Path("build"), help="Folder for pages and site.")
@click.option("--site-url", help="URL where the site will be published.")
@options.proposal
def build(root: Path, output: Path, site_url: str | None, proposal: str | None) -> None:
    """Write the pages from entries and records, and build the static site.

    \b
    Examples:
      apsite build && apsite serve
      apsite build --proposal pull-17 --output preview

    Writes the pages as Markdown to OUTPUT/pages and the site to OUTPUT/site, and prints the path of its start page. The
    site needs no server: open its files in a browser, or upload them to any web host.
    """
    from apsite.site.making.build import build_site
    from apsite.validation.revisions import proposed_data

    with proposed_data(proposal, root) if proposal else nullcontext(root) as data:
        click.echo(build_site(root, output, data=data, site_url=site_url, commands=reference(cli, "apsite")))


@cli.command()
@click.argument("output", type=options.FOLDER, default=Path("build"))
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="TCP port; 0 selects a free one.")
def serve(output: Path, port: int) -> None:
    """Serve the site that `apsite build` made in OUTPUT, or an unpacked preview, on this machine only.

    \b
    Example:
      apsite serve build --port 8080

    Prints the URL, and serves until Ctrl-C.
    """
    from apsite.site.making.server import make_server

    with make_server(output, port) as server:
        click.echo(f"http://127.0.0.1:{server.server_port}/ (Ctrl-C stops it)")
        server.serve_forever()


@cli.command()
@options.root
@click.option("--output", type=options.FILE, required=True, help="Archive to write, .zip.")
def snapshot(root: Path, output: Path) -> None:
    """Write all data into one ZIP archive: entries, records, per-sample files, tables, checksums.

    \b
    Example:
      apsite snapshot --output data.zip

    Prints the SHA-256 of the archive and its path. The same data gives the same bytes. Every release has one attached.
    """
    from apsite.catalogue import load_catalogue
    from apsite.export import write_snapshot

    click.echo(f"{write_snapshot(load_catalogue(root), output)}  {output}")


@cli.command()
@options.root
@options.output_file
def links(root: Path, output: Path | None) -> None:
    """List every URL in entries and records, one per line, for a link checker.

    \b
    Example:
      apsite links -o links.txt

    hf://, gdrive:// and doi: URLs are written as the site links them.
    """
    from apsite.catalogue import load_catalogue
    from apsite.export import addresses
    from apsite.site.links import external

    found = dict.fromkeys(map(external, addresses(load_catalogue(root))))
    emit("".join(f"{address}\n" for address in found if address), output)
