"""A web server on this machine whose files, cuts and refusals a test decides."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class ServedFile:
    """A file of the server.

    Attributes:
        content: Its bytes.
        cut_after: Close the connection after so many bytes, once.
        validator: Whether it has an entity tag.
        ranges: Whether parts of it can be asked for.
    """

    content: bytes
    cut_after: int | None = None
    validator: bool = True
    ranges: bool = True

    @property
    def tag(self) -> str:
        """Strong entity tag."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'


@dataclass
class LoopbackServer:
    """The running server: its files by path, and the ``Range`` header of every request that came."""

    address: str
    files: dict[str, ServedFile] = field(default_factory=dict)
    ranges_asked: list[str | None] = field(default_factory=list)

    def serve(self, path: str, content: bytes, **options) -> str:
        """Serve a file and give its address."""
        self.files[path] = ServedFile(content, **options)
        return f"{self.address}/{path}"


@contextlib.contextmanager
def loopback_server() -> Iterator[LoopbackServer]:
    """A server in a thread, as long as the context lasts."""
    state = LoopbackServer("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.ranges_asked.append(asked)
            file = state.files.get(self.path.lstrip("/"))
            if file is None:
                self.send_error(404)
                return
            start, whole = 0, len(file.content)
            if asked and file.ranges and self.headers.get("If-Range") == file.tag:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start and start >= whole:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{whole}")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(whole - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            if file.validator:
                self.send_header("ETag", file.tag)
            self.end_headers()
            cut, file.cut_after = file.cut_after, None
            self.wfile.write(file.content[start : start + cut] if cut is not None else file.content[start:])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
