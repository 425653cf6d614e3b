"""What an entry says that cannot be, beyond its schema."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from apsite.entries import Entry, holds_several_bibtex, is_whole_bibtex
from apsite.errors import DocumentError
from apsite.keys import KEY_YEAR, YEARS_APART
from apsite.validation.dates import date_problems
from apsite.vocabulary import Granularity, Structure


def entry_problems(path: Path, entry: Entry) -> list[DocumentError]:
    """Fields of an entry that contradict each other."""
    problems = [
        *_paper(path, entry),
        *_specifics(path, entry),
        *_checkpoints(path, entry),
        *date_problems(path, {f"changes[{number}].date": one.date for number, one in enumerate(entry.changes)}),
    ]
    if entry.audit is not None and entry.audit.pgd is False and entry.audit.pgd_over_10_iterations is not None:
        problems.append(
            DocumentError(
                path,
                "audit.pgd_over_10_iterations",
                f"is {str(entry.audit.pgd_over_10_iterations).lower()}, but audit.pgd says that PGD was not run; "
                "set it to null",
            )
        )
    return problems


def _paper(path: Path, entry: Entry) -> Iterator[DocumentError]:
    year = re.search(KEY_YEAR, entry.key.split("_")[1])
    if year is not None and abs(int(year.group()) - entry.paper.year) > YEARS_APART:
        yield DocumentError(
            path, "paper.year", f"{entry.paper.year} is far from {year.group()} in the key; correct the wrong one"
        )
    bibtex = entry.paper.bibtex.strip()
    if not is_whole_bibtex(bibtex):
        yield DocumentError(
            path, "paper.bibtex", "is not one BibTeX entry such as '@inproceedings{key, title = {…}}'; check its braces"
        )
    elif holds_several_bibtex(bibtex):
        yield DocumentError(path, "paper.bibtex", "holds more than one BibTeX entry; keep that of the paper")


def _specifics(path: Path, entry: Entry) -> Iterator[DocumentError]:
    """Weights are what unstructured pruning removes, and only that."""
    units, structures = entry.specifics.granularity, entry.specifics.structure
    if units is None:
        return
    if Structure.UNSTRUCTURED in structures and Granularity.WEIGHT not in units:
        yield DocumentError(
            path, "specifics.granularity", "lacks 'weight', which is what unstructured pruning removes; add it"
        )
    if Structure.UNSTRUCTURED not in structures and Granularity.WEIGHT in units:
        yield DocumentError(
            path, "specifics.granularity", "names 'weight', but specifics.structure is not 'unstructured'; correct one"
        )
    if Structure.STRUCTURED in structures and set(units) == {Granularity.WEIGHT}:
        yield DocumentError(
            path, "specifics.granularity", "lacks the unit of structured pruning; add 'filter', 'channel' or 'kernel'"
        )
    if Structure.STRUCTURED not in structures and set(units) - {Granularity.WEIGHT}:
        yield DocumentError(
            path, "specifics.granularity", "names a unit of structured pruning, which specifics.structure leaves out"
        )


def _checkpoints(path: Path, entry: Entry) -> Iterator[DocumentError]:
    """A file cannot be two models, and a model listed twice needs a word on why."""
    keys = Counter(checkpoint.model_key for checkpoint in entry.checkpoints)
    seen: dict[str, str] = {}
    for number, checkpoint in enumerate(entry.checkpoints):
        if keys[checkpoint.model_key] > 1 and not checkpoint.notes:
            yield DocumentError(
                path,
                f"checkpoints[{number}].model_key",
                f"{checkpoint.model_key!r} is listed more than once; keep one, or say in notes how they differ",
            )
        for field, value in (("url", checkpoint.url), ("sha256", checkpoint.sha256)):
            if value is None:
                continue
            first = seen.setdefault(value, checkpoint.model_key)
            if first != checkpoint.model_key:
                yield DocumentError(
                    path,
                    f"checkpoints[{number}].{field}",
                    f"is also that of {first}; two models need two files",
                )
