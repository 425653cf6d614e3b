"""Fetching datasets and checkpoints: resumable, with checksums, never taking a web page for a file."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

from apsite.documents.json_files import read_json, write_json
from apsite.errors import ApsiteError
from apsite.progress import Reporter

GOOGLE_DRIVE = "https://drive.google.com/uc"
"""Where Google Drive gives public files by their id."""

_CHUNK = 1 << 18
_PAGE = 1 << 20
"""Most bytes that are read of a page in place of a file."""
_HTML = re.compile(rb"\s*(<!doctype\s+html|<html|<head|<\?xml[^>]*>\s*<!doctype\s+html)", re.IGNORECASE)


class DownloadError(ApsiteError):
    """A file cannot be fetched, or is not what was promised."""


def cache_dir() -> Path:
    """Folder for fetched files: ``$APSITE_CACHE``, or the user's cache folder of this platform."""
    import platformdirs

    return Path(os.environ.get("APSITE_CACHE") or platformdirs.user_cache_dir("apsite"))


def data_dir() -> Path:
    """Folder for fetched datasets."""
    return cache_dir() / "data"


def fetch(
    url: str, target: Path, reporter: Reporter, *, known_hash: str | None = None, size: int | None = None,
    limit: int | None = None,
) -> Path:  # fmt: skip
    """Fetch a file of any supported URL.

    Args:
        url: ``https://``, ``http://``, ``doi:10.…/file`` (Zenodo, figshare, Dataverse), ``hf://owner/repository/file``
            or ``gdrive://id``.
        target: Where to put it. An unfinished download next to it (``.part``) is continued.
        reporter: Receives the progress.
        known_hash: ``sha256:…`` or ``md5:…`` that the file must have.
        size: Expected bytes, for the progress.
        limit: Most bytes to take from an ``http`` host or Google Drive.

    Raises:
        DownloadError: If it cannot be fetched, is a web page, has more bytes than `limit`, or has another hash.
    """
    if target.exists() and not target.is_file():
        raise DownloadError(f"{target}: is not an ordinary file, and is not replaced; choose another place")
    if target.exists() and (known_hash is None or has_hash(target, known_hash)):
        reporter.say(f"{target.name}: already there{'' if known_hash is None else ', checksum right'}")
        return target
    real = Path(os.path.realpath(target))  # of a link the file that it leads to
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"{real.parent}: cannot be made: {error.strerror}; choose another folder") from None
    part = real.with_name(f"{real.name}.part")
    scheme = url.split(":", 1)[0]
    if scheme in ("https", "http"):
        _http(url, part, reporter, size, limit)
    elif scheme == "gdrive":
        _http(_google_drive(url), part, reporter, size, limit)
    elif scheme in _LIBRARIES:
        reporter.say(f"{url}: fetching")
        try:
            _LIBRARIES[scheme](url, part)
        except ImportError as error:
            raise DownloadError(f"{url}: needs the package {error.name}: pip install 'apsite[fetch]'") from None
        except Exception as error:  # libraries for hosts raise exceptions of many kinds; all mean: not fetched
            raise DownloadError(f"{url}: cannot be fetched ({error})") from None
    else:
        raise DownloadError(f"{url}: URLs start with https://, doi:, hf:// or gdrive://")
    _refuse_web_page(part, url)
    if known_hash is not None and not has_hash(part, known_hash):
        part.unlink()
        raise DownloadError(f"{url}: the file does not have the checksum {known_hash}; it was removed, fetch it again")
    part.replace(real)
    return target


def pinned(url: str, path: Path, pins: Path, declared: str | None) -> str:
    """SHA-256 of a checkpoint fetched from `url`, remembered at first use in the JSON file `pins`.

    `declared` is the hash that its entry declares, or ``None``.

    Raises:
        DownloadError: If the hash differs from the declared or the remembered one.
    """
    with path.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    known = read_json(pins) if pins.exists() else {}
    expected = declared or known.get(url)
    if expected is not None and expected != actual:
        origin = "its entry declares" if declared else f"it had when it was first fetched ({pins})"
        raise DownloadError(f"{url}: the file has SHA-256 {actual}, not {expected} as {origin}; the file was changed")
    if url not in known:
        write_json(pins, {**known, url: actual})
    return actual


def has_hash(path: Path, known_hash: str) -> bool:
    """Whether a file has the hash ``algorithm:hexadecimal``."""
    algorithm, _, expected = known_hash.partition(":")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest() == expected


def unpack(archive: Path, folder: Path, member: str) -> None:
    """Unpack one folder of a tar archive, data only.

    Raises:
        DownloadError: If it cannot be unpacked or has no such folder.
    """
    import tarfile
    import zlib

    try:
        with tarfile.open(archive) as files:
            chosen = [info for info in files.getmembers() if info.name.split("/")[0] == member]
            # pooch.Untar uses this filter from Python 3.12 on only.
            files.extractall(folder, chosen, filter="data")
    except (tarfile.TarError, zlib.error, OSError, EOFError) as error:
        raise DownloadError(f"{archive}: cannot be unpacked ({error}); remove it and fetch it again") from None
    if not chosen:
        raise DownloadError(f"{archive}: has no folder {member!r}; remove it and fetch it again")


def _refuse_web_page(path: Path, url: str) -> None:
    """Remove a fetched file that is an HTML page, as file hosts send in place of a file, or empty."""
    with path.open("rb") as stream:
        head = stream.read(1024)
    if not head or _HTML.match(head):
        path.unlink()
        what = "a web page" if head else "nothing"
        raise DownloadError(f"{url}: the host sent {what} in place of the file; open the URL in a browser to see why")


def _http(url: str, part: Path, reporter: Reporter, size: int | None, limit: int | None) -> None:
    """Download that continues an unfinished one, if the host says that the file is still the same.

    The host's validator (entity tag or date) is kept next to the unfinished file; without one, both halves of a file
    that changed in between would be joined unnoticed, so the download starts again. pooch does not continue one.
    """
    import requests
    from urllib3.exceptions import HTTPError

    validator_file = part.with_name(f"{part.name}.tag")
    have = part.stat().st_size if part.exists() and validator_file.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # bytes as they lie there: a checksum and a range mean those
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator_file.read_text(encoding="utf-8")}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=60) as answer:
            place = answer.headers.get("Content-Range", "")
            if answer.status_code == 416:
                if place == f"bytes */{have}":  # nothing was left to send
                    validator_file.unlink()
                    return
                part.unlink()
            answer.raise_for_status()
            if answer.status_code != 206 or not place.startswith(f"bytes {have}-"):
                have = 0
            tag = answer.headers.get("ETag", "W/")
            validator = answer.headers.get("Last-Modified", "") if tag.startswith("W/") else tag
            validator_file.write_text(validator, encoding="utf-8")
            if not validator:
                validator_file.unlink()
            total = size or have + int(answer.headers.get("Content-Length", 0))
            reporter.start(part.name.removesuffix(".part"), max(total, 1))
            with part.open("ab" if have else "wb") as stream:
                for chunk in answer.raw.stream(_CHUNK, decode_content=False):
                    stream.write(chunk)
                    have += len(chunk)
                    if limit is not None and have > limit:
                        raise DownloadError(f"{url}: has more than {limit:,} bytes; it was not fetched")
                    reporter.advance(have, f"{have / 1e6:.1f} MB")
    except DownloadError:
        for path in (part, validator_file):
            path.unlink(missing_ok=True)
        raise
    except (requests.RequestException, HTTPError) as error:
        resumable = have and validator_file.exists()
        kept = f"; {have / 1e6:.1f} MB are kept, run the same command again to resume" if resumable else ""
        raise DownloadError(f"{urlsplit(url).netloc}: {url} cannot be fetched ({error}){kept}") from None
    except OSError as error:
        raise DownloadError(f"{part}: cannot be written: {error.strerror or error}; free some space there") from None
    validator_file.unlink(missing_ok=True)
    reporter.finish(f"{have / 1e6:.1f} MB")


def _doi(url: str, part: Path) -> None:
    from pooch.downloaders import DOIDownloader

    DOIDownloader()(url, str(part), None)  # type: ignore[no-untyped-call]


def _hugging_face(url: str, part: Path) -> None:
    """File of a repository on the Hugging Face hub: ``hf://owner/repository/path``, also ``repository@revision``."""
    from huggingface_hub import hf_hub_download

    match = re.fullmatch(r"hf://([^/]+/[^/@]+)(?:@([^/]+))?/(.+)", url)
    if match is None:
        raise ValueError("it is not of the form hf://owner/repository/file")
    shutil.copyfile(hf_hub_download(match[1], match[3], revision=match[2]), part)


def _google_drive(url: str) -> str:
    """URL that gives the bytes of a public file on Google Drive, ``gdrive://id``.

    Drive sends a small file at once. For one that is too large for its search for viruses it sends a page with a form
    to confirm, and for one that it does not give, a page that says why.
    """
    import requests

    query = {"export": "download", "id": url.removeprefix("gdrive://")}
    try:
        with requests.get(GOOGLE_DRIVE, params=query, stream=True, timeout=60) as answer:
            answer.raise_for_status()
            if "Content-Disposition" in answer.headers:
                return answer.url
            page = _DrivePage()
            page.feed(next(answer.iter_content(_PAGE), b"").decode(errors="replace"))
    except requests.HTTPError as error:
        raise DownloadError(f"{url}: cannot be fetched ({error}); the file may have been removed") from None
    except requests.RequestException as error:
        why = type(error).__name__
        raise DownloadError(f"{url}: Google Drive cannot be reached ({why}); check the connection and repeat") from None
    if page.form is None:
        why = " ".join("".join(page.reason).split()) or "it sent a web page in place of the file"
        raise DownloadError(f"{url}: Google Drive does not give this file: {why}")
    return f"{urljoin(answer.url, page.form)}?{urlencode(page.fields)}"


class _DrivePage(HTMLParser):
    """What a page of Google Drive holds: the form that confirms a download, or the reason why there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.form: str | None = None
        self.fields: dict[str, str] = {}
        self.reason: list[str] = []
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the form, its hidden fields, and where the reason begins."""
        found = {name: value or "" for name, value in attrs}
        if tag == "form" and found.get("id") == "download-form":
            self.form = found.get("action", "")
        elif tag == "input" and found.get("type") == "hidden" and self.form is not None:
            self.fields[found.get("name", "")] = found.get("value", "")
        elif found.get("class") in ("uc-error-caption", "uc-error-subcaption"):
            self._within = tag

    def handle_endtag(self, tag: str) -> None:
        """The reason ends with its element."""
        if tag == self._within:
            self._within = ""
            self.reason.append(" ")

    def handle_data(self, data: str) -> None:
        """Keep the text of the reason."""
        if self._within:
            self.reason.append(data)


_LIBRARIES = {"doi": _doi, "hf": _hugging_face}
"""Hosts with their own download library, by scheme."""
