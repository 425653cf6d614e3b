"""Fetching datasets and checkpoints: resumable, with checksums, never taking a web page for a file."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from apsite.errors import ApsiteError
from apsite.evaluation.progress import Reporter
from apsite.json_files import read_json, write_json
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
            f"{dataset.title} cannot be fetched: its licence asks you to register at https://image-net.org; "
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
    if target.exists() and (known_hash is None or _matches(target, known_hash)):
        reporter.say(f"{target.name}: already there{'' if known_hash is None else ', checksum right'}")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    scheme = url.split(":", 1)[0]
    ways: dict[str, Callable[[str, Path, Reporter, int | None], None]] = {
        "https": _http, "http": _http, "doi": _doi, "hf": _hugging_face, "gdrive": _google_drive,
    }  # fmt: skip
    if scheme not in ways:
        raise DownloadError(f"{url}: addresses start with https://, doi:, hf:// or gdrive://")
    part = target.with_name(f"{target.name}.part")
    ways[scheme](url, part, reporter, size)
    refuse_web_page(part, url)
    if known_hash is not None and not _matches(part, known_hash):
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


def _matches(path: Path, known_hash: str) -> bool:
    algorithm, _, expected = known_hash.partition(":")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest() == expected


def _unpack(archive: Path, folder: Path, member: str) -> None:
    """Unpack one folder of a tar archive, data only."""
    import tarfile

    try:
        with tarfile.open(archive) as files:
            chosen = [info for info in files.getmembers() if info.name.split("/")[0] == member]
            files.extractall(folder, chosen, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DownloadError(f"{archive}: cannot be unpacked ({error}); remove it and fetch it again") from None


def _http(url: str, part: Path, reporter: Reporter, size: int | None) -> None:
    """Plain download that continues an unfinished one by a range request."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=60) as answer:
            if answer.status_code == 416:  # nothing is left to send
                return
            answer.raise_for_status()
            if have and answer.status_code != 206:
                have = 0
            total = size or have + int(answer.headers.get("Content-Length", 0))
            reporter.start(part.name.removesuffix(".part"), max(total, 1))
            with part.open("ab" if have else "wb") as stream:
                for chunk in answer.iter_content(_CHUNK):
                    stream.write(chunk)
                    have += len(chunk)
                    reporter.advance(have, f"{have / 1e6:.1f} MB")
    except requests.RequestException as error:
        kept = f"; {have / 1e6:.1f} MB are kept, the same command goes on from there" if have else ""
        raise DownloadError(f"{urlsplit(url).netloc}: {url} cannot be fetched ({error}){kept}") from None
    reporter.finish(f"{have / 1e6:.1f} MB")


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
        found = gdown.download(id=identifier, output=str(part), quiet=True, resume=True)
    except Exception as error:  # gdown raises plain exceptions of many kinds; all of them mean: not fetched
        raise DownloadError(f"{url}: cannot be fetched ({error}); the file may have too many readers today") from None
    if found is None:
        raise DownloadError(f"{url}: cannot be fetched; the file may not be public, or have too many readers today")
