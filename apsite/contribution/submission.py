"""The next steps of a contributor, what a submission lacks, and the text for its pull request."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from apsite.catalogue import Catalogue, load_catalogue, scan
from apsite.comparable import rankable, unranked
from apsite.contribution.comparison import Comparison, compare, is_author
from apsite.contribution.comparison_text import code, to_markdown, to_text
from apsite.entries import Entry
from apsite.errors import ApsiteError
from apsite.records import EvaluationRecord
from apsite.validation import validate
from apsite.validation.reports import number
from apsite.validation.revisions import merge_base, open_catalogue
from apsite.vocabulary import Architecture, Dataset, ProvenanceKind, Structure

LICENCE_POINT = "- [ ] I may publish these results and files under CC BY 4.0 (`LICENSE-DATA`)"
"""What a contributor agrees to, in the words of the template for pull requests, which the text replaces."""
REVIEWER_LINE = (
    "What a reviewer should know (warnings of records, unusual settings, results that differ from the paper):"
)
"""Where a contributor writes, in the words of the template."""

MAIN_BRANCH = "origin/main"
"""Where a pull request goes, as the guide to submitting has it."""
_SHOWN = 5
"""Problems that the checklist names itself."""


class State(StrEnum):
    """State of a point of the checklist."""

    DONE = "done"
    MISSING = "missing"
    ADVICE = "advice"


@dataclass(frozen=True)
class Point:
    """A point of the checklist: its text, its state, and what to do."""

    title: str
    state: State
    detail: str = ""


@dataclass(frozen=True)
class Submission:
    """A method, the checklist of its pull request, the keys of its models, and two texts."""

    key: str
    points: tuple[Point, ...]
    models: tuple[str, ...]
    changes: str  # what the pull request does to the leaderboard, for a terminal
    body: str  # of the pull request, Markdown

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return all(point.state is not State.MISSING for point in self.points)


def taken_keys(root: Path) -> set[str]:
    """Keys, names and aliases of the methods of a data folder; empty where it has none."""
    if not any((root / "entries").glob("*")):
        return set()
    entries = load_catalogue(root).entries.values()
    return {name for entry in entries for name in entry.labels.values()}


def next_commands(key: str, root: Path = Path()) -> str:
    """The commands that lead from an entry to a pull request, for a shell."""
    where = "" if root == Path() else f" --root {shlex.quote(str(root))}"
    git = "git" if root == Path() else f"git -C {shlex.quote(str(root))}"
    output = "" if root == Path() else f" --output {shlex.quote(str(root / 'evaluations'))}"
    return f"""\
Next, for each checkpoint:
  apsite eval model.pt --method {key} --dataset cifar10 --arch resnet18 \\
      --structure unstructured --sparsity 0.90 --checkpoint-url https://…{where}{output}

Then:
  apsite submit-check {key}{where}
  {git} switch --create {key}
  {git} add entries/{key}.json evaluations/{key}
  {git} commit --message "Add {key}"
  apsite validate --changed-since origin/main{where}
  apsite diff origin/main{where}
  {git} push --set-upstream origin {key}
"""


def check_submission(root: Path, key: str) -> Submission:
    """Check the files of one method in a data folder as a reviewer would.

    Raises:
        ApsiteError: If there is no file of such a method, or none of the data can be read.
    """
    catalogue, _ = scan(root)
    path = root / "entries" / f"{key}.json"
    if not path.exists():
        near = catalogue.resolve(key)  # an alias, or an error that names the nearest keys
        raise ApsiteError(f"{key!r} is an alias; the method is {near.key}")
    points, entry = list(_gate_points(root, key)), catalogue.entries.get(key)
    if entry is None:
        return Submission(key, tuple(points), (), "", "")
    records = catalogue.records_of(key)
    points += [*_entry_points(entry), *_record_points(entry, records)]
    change, models = _change(catalogue, key), tuple(record.model_key for record in records)
    return Submission(key, tuple(points), models, to_text(change), _body(entry, points, to_markdown(change)))


def checklist_text(submission: Submission) -> str:
    """The checklist for a terminal."""
    marks = {State.DONE: "[x]", State.MISSING: "[ ]", State.ADVICE: "[-]"}
    points = [": ".join(filter(None, (f"{marks[one.state]} {one.title}", one.detail))) for one in submission.points]
    lines = [submission.key, *points, ""]
    if submission.changes:
        lines += ["What the pull request changes:", submission.changes.rstrip(), ""]
    states = [point.state for point in submission.points]
    missing = states.count(State.MISSING)
    summary = f"{missing} point(s) still missing ([ ])." if missing else "Ready for a pull request."
    optional = " Points marked [-] are optional." if State.ADVICE in states else ""
    return "\n".join([*lines, summary + optional]) + "\n"


def _change(catalogue: Catalogue, key: str) -> Comparison:
    """What differs from the main branch or, where that is not known here, from the data without the method."""
    with contextlib.ExitStack() as stack:
        try:
            commit = merge_base(catalogue.root, MAIN_BRANCH)
            base = stack.enter_context(open_catalogue(commit, catalogue.root))
        except ApsiteError:
            base = _without(catalogue, key)
        return compare(base, catalogue)


def _without(catalogue: Catalogue, key: str) -> Catalogue:
    """The data as it would be without a method; keys of models begin with that of their method."""
    kept: dict[str, Any] = {
        field: {name: one for name, one in getattr(catalogue, field).items() if not f"{name}_".startswith(f"{key}_")}
        for field in ("entries", "records", "retracted", "superseded")
    }
    return dataclasses.replace(catalogue, **kept)


def _point(title: str, lacking: str, state: State = State.ADVICE) -> Point:
    """A point that is done, unless something is lacking."""
    return Point(title, state if lacking else State.DONE, lacking)


def _gate_points(root: Path, key: str) -> Iterator[Point]:
    report = validate(root)
    own = [problem for problem in report.problems if key in (problem.path.stem, problem.path.parent.name)]
    shown = [str(problem) for problem in own[:_SHOWN]]
    if len(own) > _SHOWN:
        shown.append(f"and {len(own) - _SHOWN} more, which `apsite validate` lists")
    yield _point("The files of the method are valid", "; ".join(shown), State.MISSING)
    others = len(report.problems) - len(own)
    if others:
        yield Point("Other files are valid", State.MISSING, f"{number(others, 'problem')}; run `apsite validate`")


def _entry_points(entry: Entry) -> Iterator[Point]:
    steps = [step.name for step in entry.pipeline.steps if step.objectives is None]
    open_ = ", ".join(steps + [name for name in ("granularity", "locality") if not getattr(entry.specifics, name)])
    audited = "" if entry.audit else "which attacks it used; survey, Table 2"
    yield _point("The paper has a URL", "" if entry.paper.url else "readers look for it first")
    yield _point("The code has a URL", "" if entry.code_url else "add it when it is public")
    yield _point("Pipeline and specifics are complete", open_ and f"not specified: {open_}")
    yield _point("The paper's own evaluation is described", audited)


def _record_points(entry: Entry, records: Sequence[EvaluationRecord]) -> Iterator[Point]:
    if not records:
        hint = "the method would appear only in the taxonomy; run `apsite eval`"
        yield Point("There are evaluation records", State.ADVICE, hint)
        return
    yield Point("There are evaluation records", State.DONE, f"{len(records)}")
    reasons = ((record.model_key, ", ".join(unranked(record))) for record in records)
    apart = "; ".join(f"{key} ({why})" for key, why in reasons if why)
    yield _point("Every record can rank", apart and f"shown, not ranked: {apart}")
    yield from _series_points(records)
    own = [record for record in records if record.provenance.kind is not ProvenanceKind.PUBLISHED]
    sources = dict.fromkeys(record.provenance.source for record in own)
    others = ", ".join([source for source in sources if not is_author(source, entry)][:_SHOWN])
    hint = f"run by {others}, not named in the paper; say in the pull request who you are"
    yield from [_point("Evaluations name an author of the paper", hint if others else "")] if own else []
    without = ", ".join(record.model_key for record in own if record.checkpoint.url is None)
    hint = f"give --checkpoint-url to `apsite eval` for {without}; a maintainer must be able to run it"
    yield _point("Every checkpoint has a URL", hint if without else "", State.MISSING)
    warned = ", ".join(record.model_key for record in records if record.warnings)
    if warned:
        yield Point("No record has a warning", State.ADVICE, f"explain in the pull request: {warned}")


def _series_points(records: Sequence[EvaluationRecord]) -> list[Point]:
    """Whether the three sparsities of a network, dataset and structure exist, as the survey requires (section 4.2)."""
    found: defaultdict[tuple[Dataset, Architecture, Structure], set[float]] = defaultdict(set)
    for record in records:
        if rankable(record) and record.structure is not None:
            found[record.dataset, record.architecture, record.structure].add(record.key.sparsity)
    points = []
    for (dataset, architecture, structure), sparsities in found.items():
        missing = ", ".join(f"{sparsity:.0%}" for sparsity in structure.sparsities if sparsity not in sparsities)
        title = f"{architecture.label} on {dataset.label}, {structure.value}: the three sparsities"
        points.append(_point(title, missing and f"without {missing}"))
    if found and all(point.state is State.ADVICE for point in points):
        hint = "a method is compared at three sparsities of one network, dataset and structure (survey, section 4.2)"
        points.append(Point("One series of three checkpoints is complete", State.MISSING, hint))
    return points


def _body(entry: Entry, points: Sequence[Point], changes: str) -> str:
    """Text for the pull request, with contributed text in code spans."""
    paper, boxes = entry.paper, {State.DONE: "[x]", State.MISSING: "[ ]", State.ADVICE: "[ ]"}
    lines = [f"### {code(entry.key)}", "", f"{code(paper.title)}, {code(paper.venue)} {paper.year}.", ""]
    for point in points:
        detail = f" ({code(point.detail)})" if point.detail and point.state is not State.DONE else ""
        lines.append(f"- {boxes[point.state]} {point.title}{detail}")
    return "\n".join([*lines, LICENCE_POINT, "", REVIEWER_LINE, "", changes.strip()]) + "\n"
