"""Per-sample files outside of the repository: moved to the assets of a release, and fetched from there.

A record keeps the SHA-256 of its file, so that where the file is changes nothing about what it must hold.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from apsite.catalogue import Catalogue
from apsite.documents.texts import url_problem
from apsite.errors import ApsiteError
from apsite.evaluation.testsets.collecting import Collected, collect
from apsite.evaluation.testsets.downloads import fetch, has_hash
from apsite.progress import Reporter
from apsite.records import EvaluationRecord, write_record
from apsite.samples import MAX_FILE_BYTES

MOST_ASSETS = 1000
"""Files that a release of GitHub holds at most."""


@dataclass(frozen=True)
class _Moved:
    """A file that is at a URL, and where it belongs on this machine."""

    name: str
    url: str
    sha256: str
    path: Path


def fetch_samples(catalogue: Catalogue, reporter: Reporter) -> Collected:
    """Fetch the per-sample files that were moved to a URL and are not here yet; each must have the recorded hash."""

    def there(file: _Moved) -> bool:
        return file.path.is_file() and has_hash(file.path, f"sha256:{file.sha256}")

    def work(file: _Moved) -> None:
        fetch(file.url, file.path, reporter, known_hash=f"sha256:{file.sha256}", limit=MAX_FILE_BYTES)

    moved = [
        _Moved(record.model_key, record.samples.url, record.samples.sha256, path)
        for record in (*catalogue.records.values(), *catalogue.curves.values())
        if record.samples is not None and record.samples.url is not None
        if (path := catalogue.samples_path(record)) is not None
    ]
    return collect(moved, there, work, reporter)


def move_samples(catalogue: Catalogue, folder: Path, url: str, before: str) -> list[Path]:
    """Move per-sample files of current records out of the data, as ``<SHA-256>.npz`` in `folder`, and return them.

    Their records then say that the files are at `url`, which ends in a slash, under these names. Records of `before`
    this ISO day are taken, the oldest first, at most :data:`MOST_ASSETS`. An interruption loses nothing: a file leaves
    the data after its record names the new place.

    Raises:
        ApsiteError: If `url` is not the URL of a folder, or a file is missing or does not have its hash.
    """
    if url_problem(url) or not url.startswith("https://") or not url.endswith("/"):
        raise ApsiteError(f"--url {url!r}: must start with https:// and end in '/', as the assets of a release do")
    moved = []
    for record in _to_move(catalogue, before):
        assert record.samples is not None
        place = catalogue.root / "evaluations" / record.path
        beside, target = place.with_suffix(".npz"), folder / f"{record.samples.sha256}.npz"
        if not beside.is_file() or not has_hash(beside, f"sha256:{record.samples.sha256}"):
            raise ApsiteError(f"{beside}: is missing or not the file of the record; run `apsite validate`")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(beside, target)
        named = replace(record.samples, url=f"{url}{target.name}")
        write_record(catalogue.root / "evaluations", replace(record, samples=named))
        beside.unlink()
        moved.append(target)
    return moved


def _to_move(catalogue: Catalogue, before: str) -> list[EvaluationRecord]:
    """Records whose files are still beside them, oldest first."""
    found = [
        record
        for record in catalogue.records.values()
        if record.samples is not None and record.samples.url is None and record.provenance.date < before
    ]
    return sorted(found, key=lambda record: (record.provenance.date, record.model_key))[:MOST_ASSETS]
