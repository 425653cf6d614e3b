"""All rules together, and the report."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from apsite.catalogue import scan
from apsite.errors import DocumentError
from apsite.records import EvaluationRecord
from apsite.validation.entries import entry_problems
from apsite.validation.files import file_problems, kind_problems
from apsite.validation.plausibility import plausibility_problems
from apsite.validation.proposal import proposal_problems
from apsite.validation.revisions import HEAD, proposed_data, uncommitted_files
from apsite.validation.sample_files import samples_problems
from apsite.validation.together import combined_problems
from apsite.validation.twins import Fingerprint, fingerprint, twin_problems


@dataclass(frozen=True)
class Report:
    """Outcome of a validation: how much was read and everything that is wrong, by file and place."""

    entries: int
    records: int
    sample_files: int
    problems: tuple[DocumentError, ...]
    uncommitted: tuple[Path, ...] = ()  # where a proposal was checked: data files that a commit lacks as on disk


def validate(
    root: Path, *, changed_since: str | None = None, maintainer: bool = False, proposal: str | None = None
) -> Report:
    """Check every file below ``entries/`` and ``evaluations/`` of `root`.

    Args:
        root: Folder that holds them.
        changed_since: Revision from which a proposed change started; its rules are then checked too.
        maintainer: Whether a maintainer vouches for the change. The caller derives it from what the platform
            says about the author, never from anything in the change itself.
        proposal: Revision of git with the proposed change, to check instead of the files on disk, and without a
            checkout; `changed_since` is then the checked-out commit if ``None``.

    Raises:
        ApsiteError: If `root` has no data at all, a revision is unknown, or the proposal changes anything but data.
    """
    if proposal is not None:
        base = changed_since or HEAD
        with proposed_data(proposal, root, base) as folder:
            report = _report(
                folder, proposal_problems(root, base, maintainer=maintainer, proposal=proposal, data=folder)
            )
            return replace(report, problems=tuple(_moved(problem, folder, root) for problem in report.problems))
    if changed_since is None:
        return _report(root, ())
    problems = proposal_problems(root, changed_since, maintainer=maintainer)
    return replace(_report(root, problems), uncommitted=tuple(root / name for name in uncommitted_files(root)))


def _report(root: Path, proposed: Iterable[DocumentError]) -> Report:
    """The report on a folder, with the problems of the proposed change among those of its files."""
    catalogue, problems = scan(root)
    every = catalogue.every_record()
    for entry in catalogue.entries.values():
        problems += entry_problems(root / "entries" / f"{entry.key}.json", entry)
    for path, record in every:
        problems += plausibility_problems(path, record)
    # Unpacking and hashing, most of the work, run in parallel: both release the interpreter.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        sampled = list(pool.map(_sampled, every))
    problems = _with_kinds([*problems, *(problem for found, _ in sampled for problem in found)])
    runs = [(*pair, prints) for pair, (_, prints) in zip(every, sampled, strict=True) if prints is not None]
    problems += [*file_problems(root), *combined_problems(catalogue), *twin_problems(runs), *proposed]
    unique = {(str(problem.path), problem.field, problem.problem): problem for problem in problems}
    ordered = tuple(unique[key] for key in sorted(unique))
    return Report(len(catalogue.entries), len(every), len(runs), ordered)


def _sampled(pair: tuple[Path, EvaluationRecord]) -> tuple[list[DocumentError], Fingerprint | None]:
    """Problems of a per-sample file, and what of it is compared with others, if it can be read."""
    problems, samples = samples_problems(*pair)
    return problems, None if samples is None else fingerprint(samples)


def _moved(problem: DocumentError, folder: Path, root: Path) -> DocumentError:
    """The problem of an unpacked file, said of its place in the repository."""
    if not problem.path.is_relative_to(folder):
        return problem
    said = problem.problem.replace(str(folder), str(root))
    return DocumentError(root / problem.path.relative_to(folder), problem.field, said)


def _with_kinds(problems: list[DocumentError]) -> list[DocumentError]:
    """What a file that cannot be read plainly is, in place of why it cannot be read."""
    of_kind = list(kind_problems(sorted({problem.path for problem in problems if not problem.field})))
    other_type = {problem.path for problem in of_kind}
    return [*(problem for problem in problems if problem.field or problem.path not in other_type), *of_kind]
