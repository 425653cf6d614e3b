"""What an entry says that cannot be, beyond its schema."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from apsite.entries import Entry
from apsite.errors import DocumentError
from apsite.keys import KEY_YEAR, YEARS_APART
from apsite.validation.plausibility import Found, date_problems
from apsite.vocabulary import Granularity, Structure


def entry_problems(path: Path, entry: Entry) -> list[DocumentError]:
    """Fields of an entry that contradict each other."""
    found = [DocumentError(path, *one) for rule in (_paper, _specifics, _audit, _checkpoints) for one in rule(entry)]
    dates = {f"changes[{number}].date": one.date for number, one in enumerate(entry.changes)}
    return found + date_problems(path, dates)


def _paper(entry: Entry) -> Found:
    year = re.search(KEY_YEAR, entry.key.split("_")[1])
    if year is not None and abs(int(year.group()) - entry.paper.year) > YEARS_APART:
        yield "paper.year", f"{entry.paper.year} is far from {year.group()} in the key; correct the wrong one"


def _specifics(entry: Entry) -> Found:
    """Weights are what unstructured pruning removes, and only that."""
    units, structures, place = entry.specifics.granularity, entry.specifics.structure, "specifics.granularity"
    if units is None:
        return
    if Structure.UNSTRUCTURED in structures and Granularity.WEIGHT not in units:
        yield place, "lacks 'weight', which is what unstructured pruning removes; add it"
    if Structure.UNSTRUCTURED not in structures and Granularity.WEIGHT in units:
        yield place, "names 'weight', but specifics.structure is not 'unstructured'; correct one"
    if Structure.STRUCTURED in structures and set(units) == {Granularity.WEIGHT}:
        yield place, "lacks the unit of structured pruning; add 'filter', 'channel' or 'kernel'"
    if Structure.STRUCTURED not in structures and set(units) - {Granularity.WEIGHT}:
        yield place, "names a unit of structured pruning, which specifics.structure leaves out; correct one"


def _audit(entry: Entry) -> Found:
    audit = entry.audit
    if audit is not None and audit.pgd is False and audit.pgd_over_10_iterations is not None:
        stated = str(audit.pgd_over_10_iterations).lower()
        yield "audit.pgd_over_10_iterations", f"is {stated}, but audit.pgd says that PGD was not run; set it to null"


def _checkpoints(entry: Entry) -> Found:
    """A file cannot be two models, and a model listed twice needs a word on why."""
    keys = Counter(checkpoint.model_key for checkpoint in entry.checkpoints)
    seen: dict[str, str] = {}
    for number, checkpoint in enumerate(entry.checkpoints):
        key, place = checkpoint.model_key, f"checkpoints[{number}]"
        if keys[key] > 1 and not checkpoint.notes:
            yield f"{place}.model_key", f"{key!r} is listed more than once; keep one, or say in notes how they differ"
        for field, value in (("url", checkpoint.url), ("sha256", checkpoint.sha256)):
            first = key if value is None else seen.setdefault(value, key)
            if first != key:
                yield f"{place}.{field}", f"is also that of {first}; two models need two files"
