"""All entries and records of a data folder, joined and checked against each other."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apsite.columns import to_frame
from apsite.documents.json_files import read_json
from apsite.documents.references import load_references
from apsite.documents.texts import skeleton
from apsite.entries import Entry, entry_from_json, entry_problems
from apsite.errors import ApsiteError, DocumentError
from apsite.records import CURVES, HISTORY, EvaluationRecord, record_from_json, record_problems
from apsite.records.measured import MeasuredCheckpoint, read_measured
from apsite.samples import samples_path
from apsite.vocabulary import ProvenanceKind, Stage

if TYPE_CHECKING:
    import pandas as pd

Found = Iterator[tuple[Path, str, str]]
"""Problems: file, place in it, and what is wrong there."""


@dataclass(frozen=True)
class Catalogue:
    """Entries and records that belong together.

    >>> catalogue = load_catalogue()
    >>> catalogue.entries["HARP_Zhao2023Holistic"].paper.year, sum(one.in_survey for one in catalogue.methods())
    (2023, 26)
    >>> frame = catalogue.to_frame()
    >>> len(frame) == len(catalogue.records)
    True

    Attributes:
        root: Folder that holds ``entries/`` and ``evaluations/``.
        entries: By method key, sorted by key without regard to case.
        records: Current results, by model key, sorted by method, then dataset, architecture, structure and sparsity.
        retracted: Withdrawn results by model key, in the same order. They have no part in tables, ranks and exports.
        superseded: By model key the records that a newer one has replaced, the oldest first.
        curves: Imported distance files by model key, sorted as `records`. They draw a curve and have no part in tables,
            ranks and exports.
        measured: What was measured in published checkpoints, by URL.
    """

    root: Path
    entries: Mapping[str, Entry]
    records: Mapping[str, EvaluationRecord]
    retracted: Mapping[str, EvaluationRecord] = field(default_factory=dict)
    superseded: Mapping[str, tuple[EvaluationRecord, ...]] = field(default_factory=dict)
    curves: Mapping[str, EvaluationRecord] = field(default_factory=dict)
    measured: Mapping[str, MeasuredCheckpoint] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Catalogue of {len(self.entries)} entries and {len(self.records)} records in {str(self.root)!r}>"

    def methods(self, stage: Stage | None = None) -> list[Entry]:
        """Entries of the taxonomy (no baselines), of one pipeline stage if given."""
        stages = tuple(Stage) if stage is None else (stage,)
        return [entry for entry in self.entries.values() if not entry.baseline and entry.pipeline.stage in stages]

    def records_of(self, method: str) -> list[EvaluationRecord]:
        """Records of one method, in catalogue order."""
        return [record for record in self.records.values() if record.method == method]

    def versions(self, model_key: str) -> list[EvaluationRecord]:
        """Every record that a model has or had, the oldest first; the last one is current, unless it is retracted."""
        current = self.records.get(model_key) or self.retracted.get(model_key)
        return [*self.superseded.get(model_key, ()), *([current] if current else [])]

    def samples_path(self, record: EvaluationRecord) -> Path | None:
        """The per-sample file of a current record or an imported curve; ``None`` if it has none."""
        if record.samples is None:
            return None
        imported = self.curves.get(record.model_key) is record
        place = self.root / "evaluations" / (record.curve_path if imported else record.path)
        return samples_path(place, record.samples.sha256, record.samples.url)

    def every_record(self) -> list[tuple[Path, EvaluationRecord]]:
        """Records of all kinds, each with its file: current, retracted and superseded ones, and imported curves."""
        folder = self.root / "evaluations"
        return [
            *((folder / record.path, record) for record in (*self.records.values(), *self.retracted.values())),
            *((folder / old.history_path, old) for versions in self.superseded.values() for old in versions),
            *((folder / record.curve_path, record) for record in self.curves.values()),
        ]

    def resolve(self, key: str) -> Entry:
        """Entry of a method key or alias.

        Raises:
            ApsiteError: If no entry has that key or alias; the message names those of that name, else the nearest.
        """
        if key in self.entries:
            return self.entries[key]
        by_alias = {alias: entry for entry in self.entries.values() for alias in entry.aliases}
        if key in by_alias:
            return by_alias[key]
        named = [entry.key for entry in self.entries.values() if entry.name.lower() == key.lower()]
        near = named or difflib.get_close_matches(key, [*self.entries, *by_alias], 3, 0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(self.entries)}"
        raise ApsiteError(f"method {key!r} has no entry in {self.root / 'entries'}; {hint}")

    def to_frame(self) -> pd.DataFrame:
        """One row per record with the columns of ``apsite export``, which the data page explains.

        Fractions are floats, ``NaN`` where unknown; counts and ranks are nullable integers; `ranked` and `verified` are
        Booleans.
        """
        return to_frame(self)


def load_catalogue(root: Path | str = ".") -> Catalogue:
    """Catalogue of a data folder.

    In a checkout of the benchmark's repository:

    >>> catalogue = load_catalogue()
    >>> catalogue.records["HARP_Zhao2023Holistic_R18_CIFAR10_US_90"].robust_accuracy
    0.454

    Raises:
        ApsiteError: If the folder holds no data, or with every problem of its files, one a line.
    """
    catalogue, problems = scan(Path(root))
    if problems:
        lines = "\n".join(str(problem) for problem in problems[:20])
        more = f"\n... and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise ApsiteError(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in the data:\n{lines}{more}")
    return catalogue


def scan(root: Path) -> tuple[Catalogue, list[DocumentError]]:
    """Everything readable below `root`, and every problem of the documents alone and together.

    Raises:
        ApsiteError: If `root` has no folder ``entries``.
    """
    if not (root / "entries").is_dir():
        raise ApsiteError(
            f"{root}: has no folder 'entries'; run this in a checkout of the benchmark's repository, "
            "or name one with --root"
        )
    problems: list[DocumentError] = []
    folder, evaluations = root / "entries", root / "evaluations"
    entry_files = sorted(folder.glob("*.json"), key=lambda path: (path.name.lower(), path.name))
    record_files = sorted(evaluations.glob("*/*.json"))
    entries = [entry_from_json(document) for document in _readable(entry_files, entry_problems, problems)]
    current, replaced, curves = (
        [record_from_json(document) for document in _readable(files, record_problems, problems)]
        for files in (record_files, *(sorted(evaluations.glob(f"*/{name}/*.json")) for name in (HISTORY, CURVES)))
    )
    superseded: dict[str, tuple[EvaluationRecord, ...]] = {}
    for record in sorted(replaced, key=lambda record: (sort_key(record), record.version)):
        superseded[record.model_key] = (*superseded.get(record.model_key, ()), record)
    current.sort(key=sort_key)
    catalogue = Catalogue(
        root,
        {entry.key: entry for entry in entries},
        {record.model_key: record for record in current if record.retracted is None},
        {record.model_key: record for record in current if record.retracted is not None},
        superseded,
        {record.model_key: record for record in sorted(curves, key=sort_key)},
        read_measured(root, problems),
    )
    methods, models = ({path.stem for path in files} for files in (entry_files, record_files))
    found = itertools.chain(
        _entry_problems(catalogue), _citation_problems(catalogue, methods), _history_problems(catalogue, models)
    )
    return catalogue, [*problems, *itertools.starmap(DocumentError, found)]


def _readable(
    paths: Iterable[Path], check: Callable[[Path, dict[str, Any]], list[DocumentError]], problems: list[DocumentError]
) -> Iterator[dict[str, Any]]:
    """Documents of the files that have no problem; the problems of the others are appended."""
    for path in paths:
        try:
            document = read_json(path)
        except DocumentError as error:
            problems.append(error)
            continue
        found = check(path, document)
        problems.extend(found)
        if not found:
            yield document


def sort_key(record: EvaluationRecord) -> tuple[object, ...]:
    """Order of records in tables: method, dataset, architecture, dense first, structure, sparsity."""
    structure = record.structure.code if record.structure else ""
    return record.method.lower(), record.dataset, record.architecture, structure, record.sparsity.declared


def _entry_problems(catalogue: Catalogue) -> Found:
    """Keys, names and aliases that look like those of another method, and checkpoints of other methods."""
    folder, owner = catalogue.root / "entries", dict[str, tuple[str, str]]()
    labels = [(place, label, key) for key, entry in catalogue.entries.items() for place, label in entry.labels.items()]
    # A key is nobody else's name or alias, and a name nobody else's alias.
    for place, label, key in sorted(labels, key=lambda one: (one[0] != "key", one[0] != "name")):
        first, other = owner.setdefault(skeleton(label), (key, label))
        if first != key:
            wrong = f"{label!r} is or looks like {other!r} of {first}; add what distinguishes them, such as the author"
            yield folder / f"{key}.json", place, wrong
    for key, entry in catalogue.entries.items():
        for index, checkpoint in enumerate(entry.checkpoints):
            if checkpoint.model_key is not None and not checkpoint.model_key.startswith(f"{key}_"):
                wrong = f"{checkpoint.model_key!r} is not a model of this method; it must start with '{key}_'"
                yield folder / f"{key}.json", f"checkpoints[{index}].model_key", wrong


def _citation_problems(catalogue: Catalogue, methods: Collection[str]) -> Found:
    """Records of a method without an entry, and published ones that cite an unknown paper."""
    known = {*load_references(), *methods}
    for path, record in catalogue.every_record():
        if record.method not in methods:
            yield path, "method", f"{record.method!r} has no entry; add entries/{record.method}.json"
        source = record.provenance.source
        if record.provenance.kind is ProvenanceKind.PUBLISHED and source not in known:
            wrong = f"{source!r} is neither in the reference list nor a method key; cite a known paper"
            yield path, "provenance.source", wrong


def _history_problems(catalogue: Catalogue, models: Collection[str]) -> Found:
    """Gaps in the history of a model: a version that is missing, or one that nothing has replaced."""
    evaluations = catalogue.root / "evaluations"
    for model_key, versions in catalogue.superseded.items():
        if model_key not in models:
            last = versions[-1]
            wrong = f"no record has replaced it; move it back to {last.path} or add the new record there"
            yield evaluations / last.history_path, "", wrong
    for record in (*catalogue.records.values(), *catalogue.retracted.values()):
        there = {old.version for old in catalogue.superseded.get(record.model_key, ())}
        folder = evaluations / record.method / HISTORY
        names = (f"{record.model_key}.{version}.json" for version in range(1, record.version) if version not in there)
        missing = next((name for name in names if not (folder / name).exists()), None)
        if missing is not None:
            wrong = f"the older version is not there as {HISTORY}/{missing}; `apsite supersede` keeps it"
            yield evaluations / record.path, "changes[0].version", wrong
        for version in sorted(there):
            if version >= record.version:
                wrong = (
                    f"is version {version}, but the current record is version {record.version}; its first change must "
                    f"say that it supersedes version {max(there)}"
                )
                yield folder / f"{record.model_key}.{version}.json", "", wrong
