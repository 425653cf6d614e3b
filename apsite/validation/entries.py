"""What an entry says that cannot be, beyond its schema."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from apsite.entries import Entry
from apsite.errors import DocumentError
from apsite.keys import KEY_YEAR, YEARS_APART
from apsite.validation.plausibility import Found, date_problems
from apsite.vocabulary import Granularity


def entry_problems(path: Path, entry: Entry) -> list[DocumentError]:
    """Fields of an entry that contradict each other."""
    found = [DocumentError(path, *one) for rule in _RULES for one in rule(entry)]
    dates = {f"changes[{number}].date": one.date for number, one in enumerate(entry.changes)}
    return found + date_problems(path, dates)


def _paper(entry: Entry) -> Found:
    year = re.search(KEY_YEAR, entry.key.split("_")[1])
    if year is not None and abs(int(year.group()) - entry.paper.year) > YEARS_APART:
        yield "paper.year", f"{entry.paper.year} is far from {year.group()} in the key; correct the wrong one"


def _specifics(entry: Entry) -> Found:
    """Each structure has its units; another unit fits any."""
    units, structures, place = entry.specifics.granularity, entry.specifics.structure, "specifics.granularity"
    for structure in structures if units else ():
        if not any(unit.structure in (structure, None) for unit in units or ()):
            known = " or ".join(repr(unit.value) for unit in Granularity if unit.structure is structure)
            yield place, f"lacks what {structure.value} pruning removes; add {known}"
    for unit in units or ():
        if unit.structure is not None and unit.structure not in structures:
            wrong = f"names {unit.value!r}, but specifics.structure leaves out {unit.structure.value!r}"
            yield place, f"{wrong}; correct one of them"


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
        if key is None and not checkpoint.notes:
            yield (
                f"{place}.notes",
                "is missing; without a model key, say here which network, dataset and sparsity it is",
            )
        elif key is not None and keys[key] > 1 and not checkpoint.notes:
            yield f"{place}.model_key", f"{key!r} is listed more than once; keep one, or say in notes how they differ"
        for field, value in (("url", checkpoint.url), ("sha256", checkpoint.sha256)):
            model = key or place
            first = model if value is None else seen.setdefault(value, model)
            if first != model:
                yield f"{place}.{field}", f"is also that of {first}; two models need two files"


def _sources(entry: Entry) -> Found:
    """A method beyond the survey says where each of its fields was read."""
    if entry.baseline or entry.in_survey:
        return
    lacking = [place for place in _said(entry) if not any(f"{place}.".startswith(f"{name}.") for name in entry.sources)]
    if lacking:
        what = f"lacks {', '.join(lacking)}"
        yield "sources", f"{what}; say where each was read ('pipeline' covers all fields in it), or set it to null"


def _said(entry: Entry) -> Iterator[str]:
    """Places of the fields that say something of a method."""
    yield "name"
    for name in ("paper", "specifics", "audit"):
        part = getattr(entry, name)
        fields = dataclasses.fields(part) if part else ()
        yield from (f"{name}.{one.name}" for one in fields if getattr(part, one.name) not in (None, ()))
    if entry.code_url is not None:
        yield "code.url"
    yield "pipeline.stage"
    yield from (f"pipeline.{step.name}" for step in entry.pipeline.steps if step.objectives is not None)
    if entry.pipeline.schedule is not None:
        yield "pipeline.schedule"
    optional = ("auxiliary_loss", "host_methods", "source_data", "other_compression", "checkpoints")
    yield from (name for name in optional if getattr(entry, name))
    if any(result.source is None for result in entry.reported):
        yield "reported"


_RULES = (_paper, _specifics, _audit, _checkpoints, _sources)
