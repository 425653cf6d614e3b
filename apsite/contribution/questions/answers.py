"""From answers to an entry: the same answers give the same document, byte for byte, here and in the form's script."""

from __future__ import annotations

import copy
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from apsite.contribution.questions.from_schema import pipelines, questions, required_fields, skeleton
from apsite.contribution.questions.question import NOTHING, Answers, Kind, Question
from apsite.contribution.questions.wording import DEFAULT_SOURCES, TAKEN
from apsite.vocabulary import OTHER

NULL_GROUPS = ("code", "audit")
"""Groups of fields that are ``null`` where none of them is answered."""

OPTIONAL = ("auxiliary_loss", "host_methods", "source_data", "other_compression", "checkpoints")
"""Fields that are left out where they are not answered."""

SOURCED = ("name", "paper", "code", "pipeline", "specifics", *OPTIONAL[:-1], "audit", "reported", "checkpoints")
"""Fields that have a source where they are answered."""

FRACTION = r"^(0|1|0?\.[0-9]{1,4}|1\.0{1,4})$"
"""How a fraction is typed."""

WHOLE = r"^[0-9]{1,6}$"
"""How a whole number is typed."""


def asked(answers: Answers) -> Iterator[Question]:
    """The questions that apply to the answers so far, without those of other pipeline stages."""
    stage = str(answers.get("pipeline.stage", ""))
    return (question for question in questions() if not question.stages or stage in question.stages)


def clean(text: str) -> str:
    """A typed text as it is stored: composed characters, no spaces around, spaces for tabs, plain line ends."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "  "))
    return re.sub(r"^[ \n\u00a0]+|[ \n\u00a0]+$", "", text)


def lines(answer: object) -> list[str]:
    """The lines of an answer that has several: given as text or one by one, cleaned, empty ones left out."""
    given = answer if isinstance(answer, list | tuple) else clean(str(answer or "")).split("\n")
    return [line for line in (clean(str(line)).replace("\n", " ") for line in given) if line]


def is_empty(question: Question, answer: Any) -> bool:
    """Whether a question has no answer yet, which is also how "not specified" is said."""
    if question.kind is Kind.LINES:
        return not lines(answer)
    if question.kind in (Kind.CHOICES, Kind.ROWS):
        return not answer
    return not clean(str(answer or ""))


def suggested_key(answers: Answers) -> str:
    """Method key made of name, first author, year and first word of the title; empty while one of them is missing."""
    name = re.sub(r"[^A-Za-z0-9-]", "", _folded(clean(str(answers.get("name", "")))))[:40]
    authors = lines(answers.get("paper.authors", ""))
    first = authors[0] if authors else ""
    surname = first.partition(",")[0] if "," in first else first.rpartition(" ")[2]
    surname = re.sub(r"[^A-Za-z-]", "", _folded(surname)).lstrip("-")[:41]
    year = clean(str(answers.get("paper.year", "")))
    words = (
        re.sub(r"[^A-Za-z0-9]", "", _folded(word)) for word in clean(str(answers.get("paper.title", ""))).split(" ")
    )
    word = next((word for word in words if word), "")[:41]
    if not (name and surname and re.fullmatch(r"(19|20)[0-9]{2}", year) and word):
        return ""
    word = word[0].upper() + (word[1:].lower() if word.isupper() else word[1:])
    return f"{name}_{surname[0].upper()}{surname[1:]}{year}{word}"


def document(answers: Answers) -> dict[str, Any]:
    """Entry of answers by question name, complete or not, its fields in the order of the schema."""
    entry = copy.deepcopy(skeleton())
    stage = str(answers.get("pipeline.stage", ""))
    entry["pipeline"] = copy.deepcopy(pipelines().get(stage))
    answered: set[str] = set()
    for question in asked(answers):
        answer = answers.get(question.name)
        group, _, field = question.name.rpartition(".")
        target = entry[group] if group else entry
        if target is not None:
            target[field] = value(question, answer)
        if not is_empty(question, answer):
            answered.add(group)
    for group in NULL_GROUPS:
        if group not in answered:
            entry[group] = None
    for name in OPTIONAL:
        if not entry[name]:
            del entry[name]
    source = next(filter(None, (clean(str(answers.get(name) or "")) for name in DEFAULT_SOURCES)), "")
    entry["sources"] = {name: source for name in SOURCED if entry.get(name)} if source else {}
    return entry


def value(question: Question, answer: Any) -> Any:
    """What an answer amounts to in an entry; ``None`` where it is not specified or makes no sense yet."""
    match question.kind:
        case Kind.ROWS:
            return [_row(question, row) for row in answer or ()]
        case Kind.LINES:
            return lines(answer)
        case Kind.CHOICES:
            chosen = set(answer or ())
            if NOTHING in chosen:
                return []
            listed = [choice.value for choice in question.choices if choice.value in chosen]
            others = [clean(word) for word in answer or () if question.other and word.startswith(OTHER)]
            return listed + others or None
    text = clean(str(answer or ""))
    if not text:
        return None
    match question.kind:
        case Kind.YES_NO:
            return {"yes": True, "no": False}.get(text)
        case Kind.WHOLE:
            return int(text) if re.search(WHOLE, text) else None
        case Kind.FRACTION:
            number = float(text) if re.search(FRACTION, text) else None
            return int(number) if number is not None and number.is_integer() else number
        case _:
            return text


def export() -> dict[str, Any]:
    """What the form's script needs to make an entry of the answers, as JSON values."""
    return {
        "questions": [_exported(question) for question in questions()],
        "skeleton": skeleton(),
        "pipelines": pipelines(),
        "null_groups": list(NULL_GROUPS),
        "optional": list(OPTIONAL),
        "sourced": list(SOURCED),
        "default_sources": list(DEFAULT_SOURCES),
        "other": OTHER,
        "row_fields": {asked.name: sorted(required_fields(asked.name)) for asked in questions() if asked.rows},
        "nothing": NOTHING,
        "fraction": FRACTION,
        "taken_message": TAKEN,
    }


def _exported(question: Question) -> dict[str, Any]:
    return {
        "name": question.name,
        "label": question.label,
        "kind": question.kind.value,
        "stages": list(question.stages),
        "choices": [choice.value for choice in question.choices],
        "other": question.other is not None,
        "rows": [_exported(field) for field in question.rows],
    }


def _row(question: Question, row: Mapping[str, Any]) -> dict[str, Any]:
    """One row of a table; fields that the schema does not require are left out where nothing was said."""
    values = {field.name: value(field, row.get(field.name)) for field in question.rows}
    needed = required_fields(question.name)
    return {name: found for name, found in values.items() if found is not None or name in needed}


def _folded(text: str) -> str:
    """Letters without their accents."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
