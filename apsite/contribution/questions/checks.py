"""What is wrong with answers, each alone and compared with the others."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from apsite.contribution.questions.answers import FRACTION, WHOLE, asked, clean, is_empty, lines
from apsite.contribution.questions.question import NOTHING, Answers, Kind, Question
from apsite.contribution.questions.wording import MESSAGES
from apsite.entries import holds_several_bibtex, is_whole_bibtex
from apsite.keys import KEY_YEAR, YEARS_APART
from apsite.vocabulary import Granularity, Structure


def problems(answers: Answers, taken: Collection[str] = ()) -> dict[str, str]:
    """What is wrong with the answers, by question; empty if they make an entry.

    Args:
        answers: Answers by question name.
        taken: Keys and aliases that other methods have.
    """
    return {
        question.name: problem
        for question in asked(answers)
        if (problem := answer_problem(question, answers.get(question.name), answers, taken))
    }


def answer_problem(question: Question, answer: Any, answers: Answers, taken: Collection[str] = ()) -> str:
    """What is wrong with one answer, given the others; empty if nothing."""
    if is_empty(question, answer):
        return MESSAGES["required"] if question.required else ""
    return _own_problem(question, answer, answers, taken) or _conflict(question, answer, answers)


def _own_problem(question: Question, answer: Any, answers: Answers, taken: Collection[str]) -> str:
    """What is wrong with an answer taken alone."""
    if question.max_items is not None:
        count = len(lines(answer) if question.kind is Kind.LINES else answer)
        if count > question.max_items:
            return MESSAGES["too_many"].format(found=count, allowed=question.max_items)
    match question.kind:
        case Kind.ROWS:
            return _rows_problem(question, answer, answers)
        case Kind.LINES:
            return _lines_problem(question, lines(answer))
        case Kind.CHOICES:
            return _choices_problem(question, answer)
    text = clean(str(answer))
    match question.kind:
        case Kind.CHOICE | Kind.YES_NO:
            allowed = [choice.value for choice in question.choices]
            return "" if text in allowed else MESSAGES["unknown"].format(found=text, allowed=", ".join(allowed))
        case Kind.WHOLE:
            fits = re.search(WHOLE, text) and (question.minimum or 0) <= int(text) <= (question.maximum or 0)
            limits = {"minimum": question.minimum, "maximum": question.maximum}
            return "" if fits else MESSAGES["whole"].format(found=text, **limits)
        case Kind.FRACTION:
            return "" if re.search(FRACTION, text) else MESSAGES["fraction"].format(found=text)
    problem = _text_problem(question, text)
    if not problem and question.name == "key" and text in taken:
        return MESSAGES["taken"].format(found=text)
    return problem


def _conflict(question: Question, answer: Any, answers: Answers) -> str:
    """In what an answer contradicts the others; `apsite validate` would refuse the entry for the same."""
    match question.name:
        case "specifics.granularity":
            return _unit_problem(set(answer), set(answers.get("specifics.structure") or ()))
        case "audit.pgd_over_10_iterations":
            return MESSAGES["no_pgd"] if answers.get("audit.pgd") == "no" else ""
        case "key":
            found = re.search(KEY_YEAR, clean(str(answer)).split("_")[1])
            year = clean(str(answers.get("paper.year") or ""))
            if found and re.search(WHOLE, year) and abs(int(found[0]) - int(year)) > YEARS_APART:
                return MESSAGES["years_apart"].format(found=found[0], allowed=year)
        case "paper.bibtex":
            text = clean(str(answer))
            return "" if is_whole_bibtex(text) and not holds_several_bibtex(text) else MESSAGES["bibtex"]
        case "checkpoints":
            return _files_problem(question, answer)
    return ""


def _unit_problem(units: set[str], structures: set[str]) -> str:
    """Weights are what unstructured pruning removes, and only that."""
    if not structures:
        return ""
    if Structure.UNSTRUCTURED in structures and Granularity.WEIGHT not in units:
        return MESSAGES["unit_weight"]
    if Structure.UNSTRUCTURED not in structures and Granularity.WEIGHT in units:
        return MESSAGES["no_weight"]
    groups = units - {Granularity.WEIGHT}
    if Structure.STRUCTURED in structures:
        return "" if groups else MESSAGES["unit_group"]
    return MESSAGES["no_group"] if groups else ""


def _files_problem(question: Question, rows: Any) -> str:
    """A file cannot be two models, and a model listed twice needs a word on why."""
    labels = {field.name: field.label for field in question.rows}
    said = [{name: clean(str(row.get(name) or "")) for name in labels} for row in rows]
    models = [row["model_key"] for row in said]
    seen: dict[str, str] = {}
    for number, row in enumerate(said, 1):
        model = row["model_key"]
        if models.count(model) > 1 and not row["notes"]:
            problem = MESSAGES["model_twice"].format(found=model)
            return MESSAGES["row"].format(line=number, field=labels["model_key"], problem=problem)
        for name in ("url", "sha256"):
            first = seen.setdefault(row[name], model) if row[name] else model
            if first != model:
                problem = MESSAGES["file_twice"].format(found=row[name], allowed=first)
                return MESSAGES["row"].format(line=number, field=labels[name], problem=problem)
    return ""


def _rows_problem(question: Question, rows: Any, answers: Answers) -> str:
    key = clean(str(answers.get("key") or ""))
    for number, row in enumerate(rows, 1):
        for field in question.rows:
            problem = answer_problem(field, row.get(field.name), answers)
            text = clean(str(row.get(field.name) or ""))
            if not problem and field.name == "model_key" and not text.startswith(f"{key}_"):
                problem = MESSAGES["foreign"].format(found=text, allowed=key)
            if problem:
                return MESSAGES["row"].format(line=number, field=field.label, problem=problem)
    return ""


def _lines_problem(question: Question, given: list[str]) -> str:
    for number, line in enumerate(given, 1):
        problem = _text_problem(question, line)
        if not problem and line in given[: number - 1] and question.name != "paper.authors":
            problem = MESSAGES["twice"].format(found=line)
        if problem:
            return MESSAGES["line"].format(line=number, problem=problem)
    return ""


def _choices_problem(question: Question, chosen: Any) -> str:
    allowed = [choice.value for choice in question.choices]
    for word in chosen:
        if word not in allowed and not (word == NOTHING and question.allows_nothing):
            return MESSAGES["unknown"].format(found=word, allowed=", ".join(allowed))
    return MESSAGES["nothing"] if NOTHING in chosen and len(chosen) > 1 else ""


def _text_problem(question: Question, text: str) -> str:
    if question.max_length is not None and len(text) > question.max_length:
        return MESSAGES["too_long"].format(found=len(text), allowed=question.max_length)
    if question.pattern is not None and not re.search(re.sub(r"\$$", r"\\Z", question.pattern), text):
        return MESSAGES["pattern"].format(found=text, allowed=question.pattern_meaning)
    return ""
