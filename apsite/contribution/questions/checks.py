"""What is wrong with answers, each alone and compared with the others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from apsite.contribution.questions.answers import FRACTION, WHOLE, asked, clean, is_empty, lines
from apsite.contribution.questions.question import NOTHING, Answers, Kind, Question
from apsite.contribution.questions.wording import TAKEN
from apsite.documents.texts import format_problem, skeleton
from apsite.keys import KEY_YEAR, YEARS_APART
from apsite.vocabulary import Granularity, Structure


def problems(answers: Answers, taken: Collection[str] = ()) -> dict[str, str]:
    """What is wrong with the answers, by question; empty if they make an entry. Other methods have the keys `taken`."""
    return {
        question.name: problem
        for question in asked(answers)
        if (problem := answer_problem(question, answers.get(question.name), answers, taken))
    }


def answer_problem(question: Question, answer: Any, answers: Answers, taken: Collection[str] = ()) -> str:
    """What is wrong with one answer, given the others; empty if nothing."""
    if is_empty(question, answer):
        return "An answer is required." if question.required else ""
    return next(_own_problems(question, answer, answers, taken), "") or next(_conflicts(question, answer, answers), "")


def _own_problems(question: Question, answer: Any, answers: Answers, taken: Collection[str]) -> Iterator[str]:
    """What is wrong with an answer taken alone."""
    given = lines(answer) if question.kind is Kind.LINES else answer
    if question.max_items is not None and len(given) > question.max_items:
        yield f"Has {len(given)} lines; at most {question.max_items} are allowed."
    allowed = [choice.value for choice in question.choices] + [NOTHING] * question.allows_nothing
    text = clean(str(answer))
    match question.kind:
        case Kind.ROWS:
            yield from _row_problems(question, answer, answers)
        case Kind.LINES:
            yield from _line_problems(question, given)
        case Kind.CHOICES | Kind.CHOICE | Kind.YES_NO:
            words = ", ".join(choice.value for choice in question.choices)
            chosen = answer if question.kind is Kind.CHOICES else [text]
            other = question.other
            words += f", or {other.meaning}" if other else ""
            allowed += [word for word in chosen if other and re.search(other.pattern, clean(str(word)))]
            wrong = (word for word in chosen if word not in allowed)
            yield from (f"“{word}” is not one of: {words}" for word in wrong)
            if NOTHING in chosen and len(chosen) > 1:
                yield "“No such step” excludes an objective."
        case Kind.WHOLE:
            if not re.search(WHOLE, text) or not (question.minimum or 0) <= int(text) <= (question.maximum or 0):
                yield f"“{text}” is not a whole number from {question.minimum} to {question.maximum}."
        case Kind.FRACTION:
            if not re.search(FRACTION, text):
                yield f"“{text}” is not a fraction from 0 to 1 with at most four decimals, such as 0.95."
        case _:
            yield from _text_problems(question, text)
            if question.name in ("key", "name") and skeleton(text) in map(skeleton, taken):
                yield TAKEN.format(found=text)


def _conflicts(question: Question, answer: Any, answers: Answers) -> Iterator[str]:
    """In what an answer contradicts the others; `apsite validate` would refuse the entry for the same."""
    match question.name:
        case "specifics.granularity":
            yield from _unit_problems(set(answer), set(answers.get("specifics.structure") or ()))
        case "audit.pgd_over_10_iterations":
            if answers.get("audit.pgd") == "no":
                yield "PGD was not run, as its own answer says; leave this open."
        case "key":
            found = re.search(KEY_YEAR, clean(str(answer)).split("_")[1])
            year = clean(str(answers.get("paper.year") or ""))
            if found and re.search(WHOLE, year) and abs(int(found[0]) - int(year)) > YEARS_APART:
                yield f"The key says {found[0]}, but the paper is of {year}; correct the wrong one."
        case "checkpoints":
            yield from _file_problems(question, answer)


def _unit_problems(units: set[str], structures: set[str]) -> Iterator[str]:
    """Each structure has its units; another unit fits any."""
    removed_by = {unit: Granularity(unit).structure for unit in sorted(units)}
    for structure in filter(structures.__contains__, Structure):
        if not {structure, None} & set(removed_by.values()):
            known = " or ".join(unit for unit in Granularity if unit.structure is structure)
            yield f"{structure.capitalize()} pruning needs its unit; choose {known}."
    for unit, removes in removed_by.items():
        if structures and removes is not None and removes not in structures:
            yield f"{unit} is a unit of {removes} pruning, which Structure does not include; correct one of them."


def _file_problems(question: Question, rows: Any) -> Iterator[str]:
    """A file cannot be two models, and a model listed twice needs a word on why."""
    labels = {field.name: field.label for field in question.rows}
    said = [{name: clean(str(row.get(name) or "")) for name in labels} for row in rows]
    models = [row["model_key"] for row in said]
    seen: dict[str, str] = {}
    for number, (model, row) in enumerate(zip(models, said, strict=True), 1):
        if not model and not row["notes"]:
            yield f"Row {number}, {labels['notes']}: say which network, dataset and sparsity it is, as no key does."
        elif model and models.count(model) > 1 and not row["notes"]:
            problem = f"{model} is listed more than once; keep one, or say in the remark how they differ."
            yield f"Row {number}, {labels['model_key']}: {problem}"
        for name in ("url", "sha256"):
            this = model or f"row {number}"
            first = seen.setdefault(row[name], this) if row[name] else this
            if first != this:
                yield f"Row {number}, {labels[name]}: “{row[name]}” is also that of {first}; two models need two files."


def _row_problems(question: Question, rows: Any, answers: Answers) -> Iterator[str]:
    key = clean(str(answers.get("key") or ""))
    for number, row in enumerate(rows, 1):
        for field in question.rows:
            text = clean(str(row.get(field.name) or ""))
            problem = answer_problem(field, row.get(field.name), answers)
            if not problem and text and field.name == "model_key" and not text.startswith(f"{key}_"):
                problem = f"“{text}” does not begin with the key of this method, {key}_"
            if problem:
                yield f"Row {number}, {field.label}: {problem}"


def _line_problems(question: Question, given: list[str]) -> Iterator[str]:
    for number, line in enumerate(given, 1):
        yield from (f"Line {number}: {problem}" for problem in _text_problems(question, line))
        if line in given[: number - 1] and question.name != "paper.authors":
            yield f"Line {number}: “{line}” appears twice; name it once."


def _text_problems(question: Question, text: str) -> Iterator[str]:
    if question.max_length is not None and len(text) > question.max_length:
        yield f"Has {len(text)} characters; at most {question.max_length} are allowed."
    if question.format is not None and (problem := format_problem(question.format, text)):
        yield f"“{text}” {problem}."
    elif question.pattern is not None and not re.search(re.sub(r"\$$", r"\\Z", question.pattern), text):
        yield f"“{text}” does not have the required form: {question.pattern_meaning}"
