"""A web server for looking at the built site on this machine."""

from __future__ import annotations

import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from apsite.errors import ApsiteError


class _QuietHandler(SimpleHTTPRequestHandler):
    """Serves files of one folder and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing; browsers report what they miss."""


def make_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Server of `folder` on the loopback interface; it is bound and not yet running.

    Args:
        folder: Folder with an ``index.html``, or the one that :func:`apsite.site.build_site` wrote it into.
        port: TCP port; 0 takes a free one.

    Raises:
        ApsiteError: If the folder holds no site or the port is taken.
    """
    folder = folder if (folder / "index.html").is_file() else folder / "site"
    if not (folder / "index.html").is_file():
        raise ApsiteError(f"{folder}: holds no built site; run `apsite build` first")
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), functools.partial(_QuietHandler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise ApsiteError(f"port {port} cannot be used ({error}); choose another with --port") from None
