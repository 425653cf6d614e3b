"""Published checkpoints: which file belongs to a model key, fetching it, and how to evaluate it."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from apsite.catalogue import Catalogue
from apsite.documents.json_files import read_json
from apsite.entries import PublishedCheckpoint
from apsite.errors import ApsiteError
from apsite.evaluation.testsets.downloads import DownloadError, cache_dir, fetch, has_hash, pinned
from apsite.keys import ModelKey
from apsite.progress import Reporter


@dataclass(frozen=True)
class FetchedCheckpoint:
    """A checkpoint on this machine. Its hash is remembered, so that another file from the same URL is refused."""

    key: ModelKey
    path: Path
    url: str
    sha256: str

    @property
    def eval_command(self) -> str:
        """Command line that evaluates it."""
        key = self.key
        parts = ["apsite", "eval", str(self.path), "--method", key.method, "--dataset", key.dataset.value]
        parts += ["--arch", key.architecture.value]
        if key.structure is not None:
            parts += ["--structure", key.structure.value, "--sparsity", f"{key.sparsity:.2f}"]
        return shlex.join([*parts, "--checkpoint-url", self.url])


def pins_path() -> Path:
    """File with the hash of every fetched checkpoint by its URL."""
    return cache_dir() / "pins.json"


def published_checkpoints(catalogue: Catalogue, text: str) -> tuple[ModelKey, tuple[PublishedCheckpoint, ...]]:
    """Model key of a text, aliases resolved, and the checkpoints in its entry or record.

    Raises:
        ApsiteError: If it is no model key, its method has no entry, or nothing is published for it.
    """
    try:
        key = ModelKey.parse(text)
    except ValueError as error:
        raise ApsiteError(str(error)) from None
    entry = catalogue.resolve(key.method)
    key = ModelKey(entry.key, key.architecture, key.dataset, key.structure, key.percent)
    found = [one for one in entry.checkpoints if one.model_key in (str(key), text)]
    record = catalogue.records.get(str(key))
    stored = record.checkpoint if record is not None else None
    if stored is not None and stored.url is not None and stored.url not in {one.url for one in found}:
        found.append(PublishedCheckpoint(str(key), stored.url, stored.sha256, None, "Named by the evaluation record."))
    if not found:
        known = sorted({one.model_key for one in entry.checkpoints if one.model_key})
        hint = f"its entry names checkpoints of {', '.join(known)}" if known else "its entry names no checkpoints"
        raise ApsiteError(f"{key}: no checkpoint is published; {hint}")
    return key, tuple(found)


def fetch_checkpoint(
    catalogue: Catalogue, text: str, reporter: Reporter, *, choose: int | None = None, output: Path | None = None
) -> FetchedCheckpoint:
    """Fetch the published checkpoint of a model key into `output`, by default a file of the cache folder.

    Where several are published, `choose` says which one, from 1.

    Raises:
        ApsiteError: If there is none, several and none is chosen, or it cannot be fetched.
        DownloadError: If the file is not the one that its entry declares, or that came at first use.
    """
    key, found = published_checkpoints(catalogue, text)
    if choose is None and len(found) > 1:
        lines = [
            f"  --choose {number}: {one.url}{f' ({one.notes})' if one.notes else ''}"
            for number, one in enumerate(found, 1)
        ]
        raise ApsiteError("\n".join([f"{key}: {len(found)} checkpoints are published; say which:", *lines]))
    if not 1 <= (choose or 1) <= len(found):
        raise ApsiteError(f"--choose {choose}: {key} has {len(found)} published checkpoints; choose 1 to {len(found)}")
    chosen = found[(choose or 1) - 1]
    path = output or cached(str(key), chosen)
    pins = read_json(pins_path()) if pins_path().exists() else {}
    expected = chosen.sha256 or pins.get(chosen.url)
    if path.exists() and not (expected and has_hash(path, f"sha256:{expected}")):
        if output is not None:
            raise DownloadError(
                f"{path}: is already there and not known to be this checkpoint; choose another --output or remove it"
            )
        path.unlink()
    fetch(chosen.url, path, reporter)
    try:
        sha256 = pinned(chosen.url, path, pins_path(), chosen.sha256)
    except DownloadError as error:
        path.unlink()
        raise DownloadError(f"{error}; it was removed") from None
    return FetchedCheckpoint(key, path, chosen.url, sha256)


def cached(name: str, checkpoint: PublishedCheckpoint) -> Path:
    """Path in the cache folder, a different one for each URL; `name` is a model key or method key."""
    suffix = checkpoint.file_format or ""
    if not re.fullmatch(r"(\.[A-Za-z0-9]{1,12}){1,2}", suffix):  # contributed text: no path may come of it
        suffix = ".checkpoint"
    digest = hashlib.sha256(checkpoint.url.encode()).hexdigest()[:8]
    return cache_dir() / "checkpoints" / f"{name}-{digest}{suffix}"
