"""The data as files: the catalogue as CSV and JSON, every file as it is, and all of them as one dated snapshot."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apsite.catalogue import Catalogue
from apsite.comparable import Judge
from apsite.documents.references import SURVEY, load_references
from apsite.documents.schema import load_schema
from apsite.export import tables, write_snapshot
from apsite.records.measured import MEASURED_FILE
from apsite.site.news import newest

_SCHEMAS = {
    "entry": "JSON Schema of a taxonomy entry",
    "record": "JSON Schema of an evaluation record",
    "published": "JSON Schema of what was measured in published checkpoints",
}
_UNDATED = "1980-01-01"


@dataclass(frozen=True)
class Download:
    """A file for readers: path below the pages folder, what it holds, and its size in bytes."""

    path: str
    meaning: str
    size: int


@dataclass(frozen=True)
class Snapshot:
    """The state of the data."""

    date: str | None  # day of the last event in the data; `None` where nothing is dated
    digest: str  # SHA-256 over the names and contents of all entries and records

    @property
    def name(self) -> str:
        """What to cite: day and the first digits of the digest, such as ``apsite-2024-09-02-1a2b3c4d``."""
        return f"apsite-{self.date or _UNDATED}-{self.digest[:8]}"


def snapshot(catalogue: Catalogue) -> Snapshot:
    """State of the data of a catalogue: the same for the same files, whenever and wherever it is computed."""
    digest = hashlib.sha256()
    for path, content in _documents(catalogue).items():
        digest.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return Snapshot(newest(catalogue), digest.hexdigest())


def write_downloads(folder: Path, catalogue: Catalogue, judge: Judge | None = None) -> list[Download]:
    """Write all data below `folder` and return the files that the data page lists.

    `judge` is that of the catalogue, if there is one already.
    """
    made = tables(catalogue, judge)
    documents, state = _documents(catalogue), snapshot(catalogue)
    parsed = {name: json.loads(content) for name, content in documents.items()}
    entries = {key: parsed[f"entries/{key}.json"] for key in catalogue.entries}
    records = {key: parsed[f"evaluations/{r.path.as_posix()}"] for key, r in catalogue.records.items()}
    texts = {
        "apsite.csv": (made["apsite.csv"], "One row per record, fractions, empty where unknown"),
        "apsite.json": (made["apsite.json"], "The same rows as a JSON array, null where unknown"),
        "catalogue.json": (
            _compact(_everything(catalogue, state, parsed)),
            "Everything in one file: entries, records of all kinds, measured checkpoints, references",
        ),
        "entries.json": (_compact(entries), "All taxonomy entries by method key"),
        "all.bib": (bibliography(catalogue), "BibTeX of the survey and of every method"),
        "bibtex.json": (_compact(bibtex(catalogue)), "The BibTeX entry of each method by method key"),
        "records.json": (_compact(records), "All evaluation records by model key"),
        **{
            name: (content.decode(), "Hash and measured sparsity of every published checkpoint that could be fetched")
            for name, content in documents.items()
            if name == MEASURED_FILE
        },
        **{
            f"schemas/{name}.schema.json": (json.dumps(load_schema(name), indent=2, ensure_ascii=False) + "\n", meaning)
            for name, meaning in _SCHEMAS.items()
        },
    }
    for name, content in (documents | {name: text.encode() for name, (text, _) in texts.items()}).items():
        target = folder / "data" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    for path, record in catalogue.every_record():
        samples = path.with_suffix(".npz")
        if record.samples is not None and record.samples.url is None and samples.is_file():
            shutil.copyfile(samples, folder / "data" / samples.relative_to(catalogue.root))
    archive = f"{state.name}.zip"
    write_snapshot(catalogue, folder / "data" / archive, made)
    meanings = {
        **{name: meaning for name, (_, meaning) in texts.items()},
        archive: "The snapshot: entries, records and per-sample files in the layout of the repository, with hashes",
    }
    return [
        Download(f"data/{name}", meaning, (folder / "data" / name).stat().st_size) for name, meaning in meanings.items()
    ]


def bibtex(catalogue: Catalogue) -> dict[str, str]:
    """BibTeX entry of each method by its key; methods without one are left out."""
    return {key: entry.paper.bibtex for key, entry in catalogue.entries.items() if entry.paper.bibtex}


def bibliography(catalogue: Catalogue) -> str:
    """BibTeX of the survey and of every method, each entry once."""
    survey = load_references().get(SURVEY)
    texts = [*([survey.bibtex] if survey is not None else []), *bibtex(catalogue).values()]
    return "\n\n".join(dict.fromkeys(text.strip() for text in texts)) + "\n"


def _documents(catalogue: Catalogue) -> dict[str, bytes]:
    """Content of every entry and record, current, retracted and replaced, by path below the data folder, sorted."""
    root = catalogue.root
    paths = [root / "entries" / f"{key}.json" for key in catalogue.entries]
    paths += [path for path, _ in catalogue.every_record()]
    paths += [root / MEASURED_FILE] if catalogue.measured else []
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(paths)}


def _everything(catalogue: Catalogue, state: Snapshot, parsed: Mapping[str, Any]) -> dict[str, Any]:
    def records(found: Mapping[str, Any]) -> dict[str, Any]:
        return {key: parsed[f"evaluations/{record.path.as_posix()}"] for key, record in found.items()}

    return {
        "snapshot": state.name,
        "date": state.date,
        "sha256": state.digest,
        "entries": {key: parsed[f"entries/{key}.json"] for key in catalogue.entries},
        "records": records(catalogue.records),
        "retracted": records(catalogue.retracted),
        "superseded": {
            key: [parsed[f"evaluations/{record.history_path.as_posix()}"] for record in versions]
            for key, versions in catalogue.superseded.items()
        },
        "curves": {key: parsed[f"evaluations/{one.curve_path.as_posix()}"] for key, one in catalogue.curves.items()},
        "published_checkpoints": parsed.get(MEASURED_FILE, {}).get("checkpoints", []),
        "references": {key: asdict(reference) for key, reference in load_references().items()},
    }


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
