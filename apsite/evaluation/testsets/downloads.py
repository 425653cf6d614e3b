"""Fetching datasets and checkpoints: resumable, with checksums, never taking a web page for a file."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from apsite.documents.json_files import read_json, write_json
from apsite.errors import ApsiteError
from apsite.progress import Reporter
from apsite.vocabulary import Dataset

_CHUNK = 1 << 18
_HTML = re.compile(rb"\s*(<!doctype\s+html|<html|<head|<\?xml[^>]*>\s*<!doctype\s+html)", re.IGNORECASE)


class DownloadError(ApsiteError):
    """A file cannot be fetched, or is not what was promised."""


@dataclass(frozen=True)
class OfficialFile:
    """One official file of a dataset.

    Attributes:
        url: Where its authors publish it.
        name: File name below the data folder.
        known_hash: ``md5:...`` or ``sha256:...`` as its authors publish it.
        size: Bytes.
        member: Folder that appears when the archive is unpacked; ``None`` if it is no archive.
    """

    url: str
    name: str
    known_hash: str
    size: int
    member: str | None = None


OFFICIAL = {
    Dataset.CIFAR10: OfficialFile(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "cifar-10-binary.tar.gz",
        "md5:c32a1d4ab5d03f1284b67883e8d87530",
        170_052_171,
        "cifar-10-batches-bin",
    ),
    Dataset.SVHN: OfficialFile(
        "http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
        "test_32x32.mat",
        "md5:eb5a983be6a315427106f1b164d9cef3",
        64_275_384,
    ),
}
"""Datasets that may be fetched; ImageNet's licence forbids it."""


def cache_dir() -> Path:
    """Folder for fetched files: ``$APSITE_CACHE``, or the user's cache folder of this platform."""
    import platformdirs

    return Path(os.environ.get("APSITE_CACHE") or platformdirs.user_cache_dir("apsite"))


def data_dir() -> Path:
    """Folder for fetched datasets."""
    return cache_dir() / "data"


def fetch_dataset(dataset: Dataset, folder: Path, reporter: Reporter, official: OfficialFile | None = None) -> Path:
    """Fetch and unpack the official test files of a dataset; files that are there and right are not fetched again.

    Returns:
        The folder to give as ``--data-dir``.

    Raises:
        DownloadError: If the dataset may not be fetched, or the file is not the official one.
    """
    official = official or OFFICIAL.get(dataset)
    if official is None:
        raise DownloadError(
            f"{dataset.label} cannot be fetched: its licence asks you to register at https://image-net.org; "
            "put its validation folder with 1,000 class folders where --data-dir points"
        )
    target = folder / official.name
    fetch(official.url, target, reporter, known_hash=official.known_hash, size=official.size)
    if official.member is not None:
        _unpack(target, folder, official.member)
    return folder


def fetch(
    url: str, target: Path, reporter: Reporter, *, known_hash: str | None = None, size: int | None = None
) -> Path:
    """Fetch a file of any supported address.

    Args:
        url: ``https://``, ``http://``, ``doi:10.…/file`` (Zenodo, figshare, Dataverse), ``hf://owner/repository/file``
            or ``gdrive://id``.
        target: Where to put it. An unfinished download beside it (``.part``) is continued.
        reporter: Receives the progress.
        known_hash: ``sha256:…`` or ``md5:…`` that the file must have.
        size: Expected bytes, for the progress.

    Raises:
        DownloadError: If it cannot be fetched, is a web page, or has another hash.
    """
    if target.exists() and (known_hash is None or has_hash(target, known_hash)):
        reporter.say(f"{target.name}: already there{'' if known_hash is None else ', checksum right'}")
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"{target.parent}: cannot be made: {error.strerror}; choose another folder") from None
    scheme = url.split(":", 1)[0]
    ways: dict[str, Callable[[str, Path, Reporter, int | None], None]] = {
        "https": _http, "http": _http, "doi": _doi, "hf": _hugging_face, "gdrive": _google_drive,
    }  # fmt: skip
    if scheme not in ways:
        raise DownloadError(f"{url}: addresses start with https://, doi:, hf:// or gdrive://")
    part = target.with_name(f"{target.name}.part")
    ways[scheme](url, part, reporter, size)
    refuse_web_page(part, url)
    if known_hash is not None and not has_hash(part, known_hash):
        part.unlink()
        raise DownloadError(f"{url}: the file does not have the checksum {known_hash}; it was removed, fetch it again")
    part.replace(target)
    return target


def refuse_web_page(path: Path, url: str) -> None:
    """Remove a fetched file that is an HTML page, as file hosts send in place of a file.

    Raises:
        DownloadError: If it is one, or empty.
    """
    with path.open("rb") as stream:
        head = stream.read(1024)
    if not head or _HTML.match(head):
        path.unlink()
        what = "a web page" if head else "nothing"
        raise DownloadError(
            f"{url}: the host sent {what} in place of the file; open the address in a browser to see why"
        )


def pinned(url: str, path: Path, pins: Path, declared: str | None) -> str:
    """SHA-256 of a fetched checkpoint, remembered at first use.

    Args:
        url: Its address, the name under which it is remembered.
        path: The file.
        pins: JSON file of addresses and hashes.
        declared: Hash that its entry declares, or ``None``.

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


def _unpack(archive: Path, folder: Path, member: str) -> None:
    """Unpack one folder of a tar archive, data only."""
    import tarfile
    import zlib

    try:
        with tarfile.open(archive) as files:
            chosen = [info for info in files.getmembers() if info.name.split("/")[0] == member]
            files.extractall(folder, chosen, filter="data")
    except (tarfile.TarError, zlib.error, OSError, EOFError) as error:
        raise DownloadError(f"{archive}: cannot be unpacked ({error}); remove it and fetch it again") from None
    if not chosen:
        raise DownloadError(f"{archive}: has no folder {member!r}; remove it and fetch it again")


def _http(url: str, part: Path, reporter: Reporter, size: int | None) -> None:
    """Plain download that continues an unfinished one, if the host says that the file is still the same.

    The host's validator (entity tag or date) is kept beside the unfinished file; without one, both halves of a file
    that changed in between would be joined unnoticed, so the download starts again.
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
            if answer.status_code == 416 and answer.headers.get("Content-Range") == f"bytes */{have}":
                validator_file.unlink()
                return  # nothing was left to send
            if answer.status_code == 416:
                part.unlink()
            answer.raise_for_status()
            if have and not (
                answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            ):
                have = 0
            validator = _validator(answer.headers)
            if validator:
                validator_file.write_text(validator, encoding="utf-8")
            else:
                validator_file.unlink(missing_ok=True)
            total = size or have + int(answer.headers.get("Content-Length", 0))
            reporter.start(part.name.removesuffix(".part"), max(total, 1))
            with part.open("ab" if have else "wb") as stream:
                for chunk in answer.raw.stream(_CHUNK, decode_content=False):
                    stream.write(chunk)
                    have += len(chunk)
                    reporter.advance(have, f"{have / 1e6:.1f} MB")
    except (requests.RequestException, HTTPError) as error:
        resumable = have and validator_file.exists()
        kept = f"; {have / 1e6:.1f} MB are kept, the same command goes on from there" if resumable else ""
        raise DownloadError(f"{urlsplit(url).netloc}: {url} cannot be fetched ({error}){kept}") from None
    except OSError as error:
        raise DownloadError(f"{part}: cannot be written: {error.strerror or error}; free some space there") from None
    validator_file.unlink(missing_ok=True)
    reporter.finish(f"{have / 1e6:.1f} MB")


def _validator(headers: Mapping[str, str]) -> str | None:
    """What identifies this version of a file to its host; a weak entity tag does not."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _doi(url: str, part: Path, reporter: Reporter, size: int | None) -> None:
    """File of a data repository, resolved by pooch."""
    from pooch.downloaders import DOIDownloader
    from requests import RequestException

    reporter.say(f"{url}: resolving")
    try:
        DOIDownloader()(url, str(part), None)  # type: ignore[no-untyped-call]
    except (ValueError, OSError, RequestException) as error:
        raise DownloadError(f"{url}: cannot be fetched ({error})") from None


def _hugging_face(url: str, part: Path, reporter: Reporter, size: int | None) -> None:
    """File of a repository on the Hugging Face hub: ``hf://owner/repository/path``."""
    import shutil

    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise DownloadError(f"{url}: needs the package huggingface_hub: pip install 'apsite[fetch]'") from None
    match = re.fullmatch(r"hf://([^/]+/[^/@]+)(?:@([^/]+))?/(.+)", url)
    if match is None:
        raise DownloadError(f"{url}: is not of the form hf://owner/repository/file")
    reporter.say(f"{url}: fetching from the hub")
    try:
        found = hf_hub_download(match[1], match[3], revision=match[2])
    except (OSError, ValueError) as error:
        raise DownloadError(f"{url}: cannot be fetched ({error})") from None
    shutil.copyfile(found, part)


def _google_drive(url: str, part: Path, reporter: Reporter, size: int | None) -> None:
    """Public file on Google Drive: ``gdrive://id``."""
    try:
        import gdown
    except ImportError:
        raise DownloadError(f"{url}: needs the package gdown: pip install 'apsite[fetch]'") from None
    identifier = url.removeprefix("gdrive://")
    reporter.say(f"{url}: fetching from Google Drive")
    try:
        found: object = gdown.download(id=identifier, output=str(part), quiet=True, resume=True)
    except Exception as error:  # gdown raises plain exceptions of many kinds; all of them mean: not fetched
        raise DownloadError(f"{url}: cannot be fetched ({error}); the file may have too many readers today") from None
    if found is None:
        raise DownloadError(f"{url}: cannot be fetched; the file may not be public, or have too many readers today")
