"""All entries and records of a data folder, joined and checked against each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apsite.documents.json_files import read_json
from apsite.documents.references import load_references
from apsite.entries import Entry, entry_from_json, entry_problems
from apsite.errors import ApsiteError, DocumentError
from apsite.records import HISTORY, EvaluationRecord, record_from_json, record_problems
from apsite.vocabulary import ProvenanceKind, Stage

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "model_key", "method", "name", "pipeline", "dataset", "architecture", "structure", "sparsity", "clean_accuracy",
    "aa_robust_accuracy", "hofmn_robust_accuracy", "joint_robust_accuracy", "n_samples", "provenance", "source",
)  # fmt: skip
FRACTIONS = tuple(name for name in COLUMNS if name == "sparsity" or name.endswith("_accuracy"))


@dataclass(frozen=True)
class Catalogue:
    """Entries and records that belong together.

    >>> catalogue = load_catalogue()
    >>> catalogue.entries["HARP_Zhao2023Holistic"].paper.year, len(catalogue.methods())
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
    """

    root: Path
    entries: Mapping[str, Entry]
    records: Mapping[str, EvaluationRecord]
    retracted: Mapping[str, EvaluationRecord] = field(default_factory=dict)
    superseded: Mapping[str, tuple[EvaluationRecord, ...]] = field(default_factory=dict)

    def methods(self, stage: Stage | None = None) -> list[Entry]:
        """Entries of the taxonomy (no baselines), of one pipeline stage if given."""
        return [
            entry
            for entry in self.entries.values()
            if not entry.baseline and (stage is None or entry.pipeline.stage is stage)
        ]

    def records_of(self, method: str) -> list[EvaluationRecord]:
        """Records of one method, in catalogue order."""
        return [record for record in self.records.values() if record.method == method]

    def versions(self, model_key: str) -> list[EvaluationRecord]:
        """Every record that a model has or had, the oldest first; the last one is current, unless it is retracted."""
        current = self.records.get(model_key) or self.retracted.get(model_key)
        return [*self.superseded.get(model_key, ()), *([current] if current else [])]

    def every_record(self) -> list[tuple[Path, EvaluationRecord]]:
        """Records of all versions, each with its file: current, retracted and superseded."""
        folder = self.root / "evaluations"
        return [
            *((folder / record.path, record) for record in (*self.records.values(), *self.retracted.values())),
            *((folder / old.history_path, old) for versions in self.superseded.values() for old in versions),
        ]

    def resolve(self, key: str) -> Entry:
        """Entry of a method key or alias.

        Raises:
            ApsiteError: If no entry has that key or alias; the message names those of that name, else the nearest.
        """
        import difflib

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
        """One row per record with the columns of ``apsite export`` (fractions, ``NaN`` where unknown)."""
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
    entries: dict[str, Entry] = {}
    for path in sorted((root / "entries").glob("*.json"), key=lambda path: (path.name.lower(), path.name)):
        try:
            document = read_json(path)
        except DocumentError as error:
            problems.append(error)
            continue
        found = entry_problems(path, document)
        problems.extend(found)
        if not found:
            entries[document["key"]] = entry_from_json(document)
    evaluations = root / "evaluations"
    current = sorted(evaluations.glob("*/*.json"))
    records = sorted(_read_records(current, problems), key=sort_key)
    replaced = sorted(
        _read_records(sorted(evaluations.glob(f"*/{HISTORY}/*.json")), problems),
        key=lambda record: (sort_key(record), record.version),
    )
    superseded: dict[str, tuple[EvaluationRecord, ...]] = {}
    for record in replaced:
        superseded[record.model_key] = (*superseded.get(record.model_key, ()), record)
    catalogue = Catalogue(
        root,
        entries,
        {record.model_key: record for record in records if record.retracted is None},
        {record.model_key: record for record in records if record.retracted is not None},
        superseded,
    )
    readable = {path.stem for path in (root / "entries").glob("*.json")}
    problems += _cross_problems(catalogue, readable)
    return catalogue, problems + _history_problems(catalogue, {path.stem for path in current})


def _read_records(paths: Iterable[Path], problems: list[DocumentError]) -> Iterator[EvaluationRecord]:
    """Records of the files that have no problem; the problems of the others are appended."""
    for path in paths:
        try:
            document = read_json(path)
        except DocumentError as error:
            problems.append(error)
            continue
        found = record_problems(path, document)
        problems.extend(found)
        if not found:
            yield record_from_json(document)


def sort_key(record: EvaluationRecord) -> tuple[object, ...]:
    """Order of records in tables: method, dataset, architecture, dense first, structure, sparsity."""
    return (
        record.method.lower(),
        record.dataset,
        record.architecture,
        "" if record.structure is None else record.structure.code,
        record.sparsity.declared,
    )


def _cross_problems(catalogue: Catalogue, entry_files: Iterable[str]) -> list[DocumentError]:
    """Contradictions between files: orphans, keys used twice, dangling citations."""
    entries_folder = catalogue.root / "entries"
    problems: list[DocumentError] = []
    owner: dict[str, str] = {}
    for entry in catalogue.entries.values():
        for place, name in [("key", entry.key)] + [(f"aliases[{i}]", alias) for i, alias in enumerate(entry.aliases)]:
            path = entries_folder / f"{entry.key}.json"
            taken = owner.setdefault(name.lower(), entry.key)
            if taken != entry.key:
                problems.append(DocumentError(path, place, f"{name!r} already belongs to {taken}; choose another"))
        for index, checkpoint in enumerate(entry.checkpoints):
            if not checkpoint.model_key.startswith(f"{entry.key}_"):
                problems.append(
                    DocumentError(
                        entries_folder / f"{entry.key}.json",
                        f"checkpoints[{index}].model_key",
                        f"{checkpoint.model_key!r} is not a model of this method; it must start with '{entry.key}_'",
                    )
                )
    references, known_files = load_references(), set(entry_files)
    for path, record in catalogue.every_record():
        if record.method not in known_files:
            problems.append(
                DocumentError(path, "method", f"{record.method!r} has no entry; add entries/{record.method}.json")
            )
        source = record.provenance.source
        if (
            record.provenance.kind is ProvenanceKind.PUBLISHED
            and source not in references
            and source not in known_files
        ):
            problems.append(
                DocumentError(
                    path,
                    "provenance.source",
                    f"{source!r} is neither in the reference list nor a method key; cite a known paper",
                )
            )
    return problems


def _history_problems(catalogue: Catalogue, current_files: Iterable[str]) -> list[DocumentError]:
    """Gaps in the history of a model: a version that is missing, or one that nothing has replaced."""
    evaluations, readable = catalogue.root / "evaluations", set(current_files)
    problems: list[DocumentError] = []
    for model_key in catalogue.superseded:
        if model_key not in readable:
            last = catalogue.superseded[model_key][-1]
            problems.append(
                DocumentError(
                    evaluations / last.history_path,
                    "",
                    f"no record has replaced it; move it back to {last.path} or add the new record there",
                )
            )
    current = (*catalogue.records.values(), *catalogue.retracted.values())
    for record in current:
        there = {old.version for old in catalogue.superseded.get(record.model_key, ())}
        folder = evaluations / record.method / HISTORY
        names = (f"{record.model_key}.{version}.json" for version in range(1, record.version) if version not in there)
        missing = next((name for name in names if not (folder / name).exists()), None)
        if missing is not None:
            problems.append(
                DocumentError(
                    evaluations / record.path,
                    "changes[0].version",
                    f"the older version is not there as {HISTORY}/{missing}; `apsite supersede` keeps it",
                )
            )
        problems += [
            DocumentError(
                folder / f"{record.model_key}.{version}.json",
                "",
                f"is version {version}, but the current record is version {record.version}; its first change must say "
                f"that it supersedes version {max(there)}",
            )
            for version in sorted(there)
            if version >= record.version
        ]
    return problems


def rows(catalogue: Catalogue) -> list[dict[str, Any]]:
    """One mapping per record with the names of :data:`COLUMNS`; ``None`` where a value is unknown."""
    return [_row(catalogue, record) for record in catalogue.records.values()]


def _row(catalogue: Catalogue, record: EvaluationRecord) -> dict[str, Any]:
    entry, results = catalogue.entries[record.method], record.results
    values = (
        record.model_key,
        record.method,
        entry.name,
        entry.pipeline.stage.value,
        record.dataset.value,
        record.architecture.value,
        record.structure.value if record.structure else None,
        record.sparsity.declared,
        *results.accuracies,
        results.n_samples,
        record.provenance.kind.value,
        record.provenance.source,
    )
    return dict(zip(COLUMNS, values, strict=True))


def to_frame(catalogue: Catalogue) -> pd.DataFrame:
    """The table as a data frame: fractions are floats, ``NaN`` where unknown; ``n_samples`` is a nullable integer."""
    import pandas as pd

    frame = pd.DataFrame(rows(catalogue), columns=list(COLUMNS))
    return frame.astype({"n_samples": "Int64", **dict.fromkeys(FRACTIONS, "float64")})
