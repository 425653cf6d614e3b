"""A web server on this machine whose files, cuts and refusals a test decides."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONFIRM = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<p class="uc-warning-caption">Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="/download" method="get"><input type="submit" id="uc-download-link" value="Download">
<input type="hidden" name="id" value="{identity}"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="0f-1"></form></body></html>"""
"""The page that Google Drive sends in place of a file that is too large for its virus scan."""
QUOTA = b"""<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>
<p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed or downloaded <a href="/f">this file</a> recently.</p>
</body></html>"""
"""The page that it sends in place of a file that has had too many readers."""
_DRIVE = "uc?export=download&id="


@dataclass
class ServedFile:
    """A file of the server.

    Attributes:
        content: Its bytes.
        cut_after: Close the connection after so many bytes, once.
        validator: Whether it has an entity tag.
        ranges: Whether parts of it can be asked for.
        attachment: Whether it comes as a file to keep, as Google Drive sends one.
        length: What the server says of its length, if not the truth.
    """

    content: bytes
    cut_after: int | None = None
    validator: bool = True
    ranges: bool = True
    attachment: bool = False
    length: int | None = None

    @property
    def tag(self) -> str:
        """Strong entity tag."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'


@dataclass
class LoopbackServer:
    """The running server: its files by path, and the ``Range`` header of every request that came.

    `drive` has small files by their id, which come as Google Drive sends them.
    """

    address: str
    files: dict[str, ServedFile] = field(default_factory=dict)
    drive: dict[str, bytes] = field(default_factory=dict)
    ranges_asked: list[str | None] = field(default_factory=list)

    def serve(self, path: str, content: bytes, **options) -> str:
        """Serve a file and give its address."""
        self.files[path] = ServedFile(content, **options)
        return f"{self.address}/{path}"

    def serve_large(self, identity: str, content: bytes, **options) -> None:
        """Serve a file as Google Drive serves a large one: after a page that asks for a confirmation."""
        self.serve(f"{_DRIVE}{identity}", CONFIRM.format(identity=identity).encode())
        self.serve(f"download?id={identity}&export=download&confirm=t&uuid=0f-1", content, attachment=True, **options)


@contextlib.contextmanager
def loopback_server() -> Iterator[LoopbackServer]:
    """A server in a thread, as long as the context lasts."""
    state = LoopbackServer("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.ranges_asked.append(asked)
            path = self.path.lstrip("/")
            file, small = state.files.get(path), state.drive.get(path.removeprefix(_DRIVE))
            if file is None and small is not None:
                file = ServedFile(small, attachment=True)
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
            self.send_header("Content-Length", str(file.length or whole - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            if file.validator:
                self.send_header("ETag", file.tag)
            if file.attachment:
                self.send_header("Content-Disposition", 'attachment; filename="model.pt"')
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
