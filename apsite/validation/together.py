"""Checks across files: checkpoints that a method requires to rank, duplicate files, records that replace others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, pairwise

from apsite.catalogue import Catalogue
from apsite.comparable import rankable
from apsite.errors import DocumentError
from apsite.records import EvaluationRecord
from apsite.vocabulary import Architecture, Dataset, Protocol, Structure


def combined_problems(catalogue: Catalogue) -> Iterator[DocumentError]:
    """All problems of this module."""
    return chain(
        _too_few_checkpoints(catalogue), _files_twice(catalogue), _two_sets(catalogue), _successions(catalogue)
    )


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


def _two_sets(catalogue: Catalogue) -> Iterator[DocumentError]:
    """Two test sets of one name, neither of them registered."""
    seen: dict[str, EvaluationRecord] = {}
    for path, record in catalogue.every_record():
        if record.data is None or record.data.whole is None:
            continue
        first = seen.setdefault(record.dataset.value, record)
        if first.data is not None and first.data.whole != record.data.whole:
            problem = f"is not the set of this name of {first.model_key}; give one of the two another name"
            yield DocumentError(path, "data.whole", problem)


def _successions(catalogue: Catalogue) -> Iterator[DocumentError]:
    """Records that are less well founded than those that they have replaced."""
    for key in catalogue.superseded:
        current = catalogue.records.get(key) or catalogue.retracted.get(key)
        for old, new in pairwise(catalogue.versions(key)):
            path = catalogue.root / "evaluations" / (new.path if new is current else new.history_path)
            for place, problem in _worse(old, new):
                decided = "only a maintainer may decide otherwise, with `apsite supersede --by NAME`"
                yield DocumentError(path, place, f"{problem} version {old.version}, which this one replaces; {decided}")


def _worse(old: EvaluationRecord, new: EvaluationRecord) -> Iterator[tuple[str, str]]:
    """What makes a record less well founded than the one it has replaced; nothing if a maintainer has decided so.

    Any record may replace a retracted result.
    """
    change = new.supersedes
    if old.retracted or (change and change.by):
        return
    if rankable(old) and not rankable(replace(new, changes=())):
        yield "protocol", f"{new.protocol.value!r} does not rank, unlike"
    lacking = [one.attack.value for one in old.results.attacks if new.results.of(one.attack) is None]
    if lacking:
        yield "results.attacks", f"lacks {', '.join(lacking)}, unlike"
    if (old.results.n_samples or 0) > (new.results.n_samples or 0):
        yield "results.n_samples", f"{new.results.n_samples} is fewer than the {old.results.n_samples} of"
