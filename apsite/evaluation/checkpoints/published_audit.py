"""What the published checkpoints of all entries are: fetched, hashed and measured, one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from apsite.catalogue import Catalogue
from apsite.entries import PublishedCheckpoint
from apsite.errors import ApsiteError
from apsite.evaluation.checkpoints.published import cached
from apsite.evaluation.checkpoints.report import audit
from apsite.evaluation.testsets.collecting import Collected, collect
from apsite.evaluation.testsets.downloads import fetch
from apsite.keys import ModelKey
from apsite.progress import Reporter
from apsite.records.measured import MeasuredCheckpoint, write_measured
from apsite.vocabulary import Structure

MAX_BYTES = 2_000_000_000
"""No checkpoint may be larger; a ResNet50 with the state of its optimiser takes 0.4 GB."""
_LONGEST = 300
"""Characters of a problem that are kept: the first sentences say what is wrong, the rest compares with every layout."""


@dataclass(frozen=True)
class _Published:
    """A checkpoint of an entry: its model, if the entry gives a key."""

    checkpoint: PublishedCheckpoint
    method: str

    @property
    def name(self) -> str:
        return f"{self.checkpoint.model_key or self.method} {self.checkpoint.url}"


def audit_published(catalogue: Catalogue, reporter: Reporter) -> Collected:
    """Fetch and measure every checkpoint that an entry names, and keep the result after each of them.

    One that was fetched and measured before is not fetched again, unless its entry now declares another model or hash.
    One of the cache folder is used and stays there; any other is removed once it is measured.
    """
    measured = dict(catalogue.measured)

    def there(one: _Published) -> bool:
        known, checkpoint = measured.get(one.checkpoint.url), one.checkpoint
        same = known is not None and known.model_key == checkpoint.model_key
        return same and known.sha256 is not None and checkpoint.sha256 in (None, known.sha256)  # type: ignore[union-attr]

    def work(one: _Published) -> None:
        found = _measured(one, reporter)
        measured[found.url] = found
        write_measured(catalogue.root, measured.values())
        if found.problem and found.model_key is not None:
            raise ApsiteError(found.problem)

    listed = [_Published(one, entry.key) for entry in catalogue.entries.values() for one in entry.checkpoints]
    urls = {one.checkpoint.url for one in listed}
    measured = {url: one for url, one in measured.items() if url in urls}
    return collect(listed, there, work, reporter)


def _measured(one: _Published, reporter: Reporter) -> MeasuredCheckpoint:
    """What is known of a checkpoint once it was tried; what fails is a problem in it."""
    checkpoint = one.checkpoint
    path = cached(checkpoint.model_key or one.method, checkpoint)
    kept = path.exists()
    found = MeasuredCheckpoint(checkpoint.url, checkpoint.model_key, datetime.now(UTC).date().isoformat())
    known_hash = checkpoint.sha256 and f"sha256:{checkpoint.sha256}"
    try:
        fetch(checkpoint.url, path, reporter, known_hash=known_hash, limit=MAX_BYTES)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        found = replace(found, sha256=digest, size=path.stat().st_size)
        return _with_model(found, path) if checkpoint.model_key else found
    except ApsiteError as error:
        return replace(found, problem=_plain(str(error), path))
    finally:
        if not kept:
            path.unlink(missing_ok=True)


def _with_model(found: MeasuredCheckpoint, path: Path) -> MeasuredCheckpoint:
    """The checkpoint measured as the model that its key declares."""
    key = ModelKey.parse(found.model_key or "")
    if ":" in key.architecture.value or ":" in key.dataset.value:  # `other:name`; to load it takes its author's code
        return replace(found, problem="its network or dataset is not registered, so it is not known how to load it")
    # Entries do not state the pattern N:M, but the share of zero weights is measured the same.
    structure = Structure.UNSTRUCTURED if key.structure is Structure.SEMI_STRUCTURED else key.structure
    report = audit(
        path, architecture=key.architecture.value, method=key.method, dataset=key.dataset, structure=structure,
        sparsity=key.sparsity,
    )  # fmt: skip
    shares = {name: min(1.0, max(0.0, round(share, 6))) for name, share in report.shares.items()}
    return replace(
        found, file_format=report.format, layout=report.layout or "", shares=shares,
        basis=_basis(shares, key.structure, key.sparsity) if shares else "",
        problem=_plain("; ".join(report.refusals), path),
    )  # fmt: skip


def _basis(shares: Mapping[str, float], structure: Structure | None, declared: float) -> str:
    """Which share counts, as in :func:`apsite.evaluation.checkpoints.audit.check_sparsity`: of equal ones the first."""
    if structure is not Structure.STRUCTURED:
        return "weights"
    return min((name for name in shares if name != "weights"), key=lambda name: round(abs(shares[name] - declared), 3))


def _plain(message: str, path: Path) -> str:
    """A message without the place of the file on this machine, in one printable line of limited length."""
    text = " ".join(message.replace(f"{path}: ", "").replace(str(path), "the file").split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
