"""What is published: build, serve, snapshot, links."""

from __future__ import annotations

from pathlib import Path

import click

from apsite.cli.group import cli
from apsite.cli.options import emit, output_file_option, root_option
from apsite.cli.reference import reference

_FOLDER = click.Path(file_okay=False, path_type=Path)


@cli.command()
@root_option
@click.option("--output", type=_FOLDER, default=Path("build"), show_default=True, help="Folder for pages and site.")
@click.option("--site-url", help="Address at which the site will be published.")
def build(root: Path, output: Path, site_url: str | None) -> None:
    """Write the pages from entries and records, and build the static site.

    \b
    Example:
      apsite build && apsite serve

    OUTPUT/pages holds the pages as Markdown, OUTPUT/site the site; the path of its start page is printed. The site
    needs no server: its files can be opened in a browser, or put on any web space.
    """
    from apsite.site.making.build import build_site

    click.echo(build_site(root, output, site_url=site_url, commands=reference(cli, "apsite")))


@cli.command()
@click.argument("output", type=_FOLDER, default=Path("build"))
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="TCP port; 0 takes a free one."
)
def serve(output: Path, port: int) -> None:
    """Serve the site that `apsite build` made in OUTPUT, or an unpacked preview, on this machine only.

    \b
    Example:
      apsite serve build --port 8080

    Prints the address, and serves until Ctrl-C.
    """
    from apsite.site.making.server import make_server

    with make_server(output, port) as server:
        click.echo(f"http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)")
        server.serve_forever()


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
    from apsite.export import write_snapshot

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
    from apsite.export import addresses
    from apsite.site.links import external

    found = (external(address) for address in addresses(load_catalogue(root)))
    emit("".join(f"{address}\n" for address in dict.fromkeys(found) if address), output)
