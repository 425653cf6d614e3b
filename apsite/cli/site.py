"""Commands that make and show the site: build, serve."""

from __future__ import annotations

from pathlib import Path

import click

from apsite.cli.group import cli
from apsite.cli.options import root_option
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
