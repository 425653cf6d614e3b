"""The data as files: the catalogue as CSV and JSON, and every entry, record and per-sample file as it is."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from apsite.catalogue import Catalogue
from apsite.export import to_csv, to_json_rows


@dataclass(frozen=True)
class Download:
    """A file for readers: path below the pages folder, what it holds, and its size in bytes."""

    path: str
    meaning: str
    size: int


def write_downloads(folder: Path, catalogue: Catalogue) -> list[Download]:
    """Write all data below `folder` and return the files that the data page lists."""
    data = folder / "data"
    for kind in ("entries", "evaluations"):
        (data / kind).mkdir(parents=True, exist_ok=True)
    texts = {
        "data/apsite.csv": (to_csv(catalogue), "One row per record, fractions, empty where unknown"),
        "data/apsite.json": (to_json_rows(catalogue), "The same rows as a JSON array, null where unknown"),
    }
    entries = {}
    for key in catalogue.entries:
        source = catalogue.root / "entries" / f"{key}.json"
        shutil.copyfile(source, data / "entries" / source.name)
        entries[key] = json.loads(source.read_text(encoding="utf-8"))
    texts["data/entries.json"] = (_compact(entries), "All taxonomy entries by method key")
    records = {}
    for record in catalogue.records.values():
        source = catalogue.root / "evaluations" / record.path
        target = data / "evaluations" / record.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        records[record.model_key] = json.loads(source.read_text(encoding="utf-8"))
        if record.samples is not None:
            shutil.copyfile(source.with_name(record.samples.file), target.with_name(record.samples.file))
    texts["data/records.json"] = (_compact(records), "All evaluation records by model key")
    for kind in ("entry", "record"):
        text = resources.files("apsite").joinpath(f"schemas/{kind}.schema.json").read_text(encoding="utf-8")
        meaning = "JSON Schema of a taxonomy entry" if kind == "entry" else "JSON Schema of an evaluation record"
        texts[f"data/schemas/{kind}.schema.json"] = (text, meaning)
    listed = []
    for path, (text, meaning) in texts.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        listed.append(Download(path, meaning, len(text.encode())))
    return listed


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
