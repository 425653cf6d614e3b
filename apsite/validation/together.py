"""Checks across files: checkpoints that a method requires to rank, duplicate files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain

from apsite.catalogue import Catalogue
from apsite.comparable import rankable
from apsite.errors import DocumentError
from apsite.records import EvaluationRecord
from apsite.vocabulary import Architecture, Dataset, Protocol, Structure


def combined_problems(catalogue: Catalogue) -> Iterator[DocumentError]:
    """All problems of this module."""
    return chain(_too_few_checkpoints(catalogue), _files_twice(catalogue))


def _too_few_checkpoints(catalogue: Catalogue) -> Iterator[DocumentError]:
    """Methods with a run that would rank, and no network at all three sparsities.

    The survey asks for at least three checkpoints: one dataset, network and structure at its three sparsities
    (section 4.2). Published results were accepted by the survey itself; baselines do not rank.
    """
    wanting: dict[str, EvaluationRecord] = {}
    found: dict[str, dict[tuple[Dataset, Architecture, Structure], set[float]]] = defaultdict(lambda: defaultdict(set))
    for record in catalogue.records.values():
        entry = catalogue.entries.get(record.method)
        if entry is None or entry.baseline or record.structure is None or not rankable(record):
            continue
        if record.protocol is Protocol.APB_1:
            wanting.setdefault(record.method, record)
        found[record.method][record.dataset, record.architecture, record.structure].add(record.sparsity.declared)
    for method, record in wanting.items():
        groups = found[method]
        if any(set(group[2].sparsities) <= sparsities for group, sparsities in groups.items()):
            continue
        (dataset, network, structure), there = max(
            groups.items(), key=lambda item: len(item[1] & set(item[0][2].sparsities))
        )
        missing = ", ".join(f"{share:g}" for share in structure.sparsities if share not in there)
        problem = (
            f"'apb-1' would rank, but {catalogue.entries[method].name} has no network at all three sparsities; nearest "
            f"is {dataset.value}, {network.value}, {structure.value}, which lacks {missing}: evaluate these too"
        )
        yield DocumentError(catalogue.root / "evaluations" / record.path, "protocol", problem)


def _files_twice(catalogue: Catalogue) -> Iterator[DocumentError]:
    """One checkpoint, or one per-sample file, behind two runs that would rank."""
    seen: dict[tuple[str, str | None], str] = {}
    for path, record in catalogue.every_record():
        if record.samples is None or record.protocol is not Protocol.APB_1:
            continue
        for field, name, digest in (
            ("checkpoint.sha256", "checkpoint", record.checkpoint.sha256),
            ("samples.sha256", "per-sample file", record.samples.sha256),
        ):
            first = seen.setdefault((field, digest), record.model_key)
            if digest is not None and first != record.model_key:
                yield DocumentError(path, field, f"is also that of {first}; two models cannot share one {name}")
