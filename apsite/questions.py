"""The questions that describe a method: one list for the form on the site and for `apsite new`.

Words, limits and explanations come from the schema of entries and from the vocabulary; this module adds the order and
how each question is put. The same answers give the same document, byte for byte, here and in the form's script, which
reads :func:`export` and follows the same rules.

An answer is what a person typed or chose: text for a field, words for a choice, rows for a table. An empty answer
means "not specified".
"""

from __future__ import annotations

import copy
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from apsite.references import load_references
from apsite.schema import load_schema
from apsite.vocabulary import (
    Architecture,
    Criterion,
    Dataset,
    Granularity,
    Locality,
    Objective,
    Schedule,
    Stage,
    Structure,
)

Answers = Mapping[str, Any]

NOTHING = "none"
"""The word for "there is no such step", which is not the same as "not specified"."""

_WORDS: dict[str, type[StrEnum]] = {
    "architecture": Architecture,
    "criterion": Criterion,
    "dataset": Dataset,
    "granularity": Granularity,
    "locality": Locality,
    "objective": Objective,
    "schedule": Schedule,
    "structure": Structure,
}
_STEPS = ("pretraining", "finetuning", "pruning", "training", "schedule")
_NULL_GROUPS = ("code", "audit")
_OPTIONAL = ("checkpoints",)
_FRACTION = r"^(0|1|[01]?\.[0-9]{1,4})$"
_WHOLE = r"^[0-9]{1,6}$"

MESSAGES = {
    "required": "An answer is needed here.",
    "too_long": "Has {found} characters; at most {allowed} are allowed.",
    "too_many": "Has {found} lines; at most {allowed} are allowed.",
    "twice": "“{found}” is there twice; name it once.",
    "pattern": "“{found}” does not have the form needed here: {allowed}",
    "whole": "“{found}” is not a whole number from {minimum} to {maximum}.",
    "fraction": "“{found}” is not a fraction from 0 to 1 with at most four decimals, such as 0.95.",
    "unknown": "“{found}” is not one of: {allowed}",
    "nothing": "“No such step” cannot stand beside an objective.",
    "taken": "The key {found} is taken; an existing entry is changed on the page of its method.",
    "foreign": "“{found}” does not begin with the key of this method, {allowed}_",
    "line": "Line {line}: {problem}",
    "row": "Row {line}, {field}: {problem}",
}
"""What is said of an answer that cannot stand; the form's script says the same."""

_PATTERN_MEANINGS = {
    "text": "plain characters in one line, with no control or direction marks.",
    "long": "plain characters, with no control or direction marks.",
}


class Kind(StrEnum):
    """How a question is answered."""

    TEXT = "text"
    LONG = "long"
    LINES = "lines"
    WHOLE = "whole"
    FRACTION = "fraction"
    CHOICE = "choice"
    CHOICES = "choices"
    YES_NO = "yes-no"
    ROWS = "rows"


@dataclass(frozen=True)
class Choice:
    """A word that may be chosen, what it stands for, and what it means or who defines it."""

    value: str
    label: str
    meaning: str


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        name: Place of the answer in the entry, such as ``paper.title``; within rows, the field.
        section: Heading under which it is asked; empty within rows.
        label: The question in a few words.
        help: What to answer, from the schema.
        option: Name of the option of `apsite new`, without dashes.
        kind: How it is answered.
        required: Whether an answer is needed; otherwise none means "not specified".
        choices: Words to choose from.
        allows_nothing: Whether "no such step" is an answer.
        stages: Pipeline stages at which it is asked; empty for all.
        pattern: Regular expression of a text answer; ``None`` for any.
        pattern_meaning: That pattern in words.
        max_length: Most characters of a text, or of each line.
        max_items: Most lines or rows.
        minimum: Least whole number.
        maximum: Greatest whole number.
        example: An answer to show.
        rows: Questions of one row.
    """

    name: str
    section: str
    label: str
    help: str
    option: str
    kind: Kind
    required: bool
    choices: tuple[Choice, ...] = ()
    allows_nothing: bool = False
    stages: tuple[str, ...] = ()
    pattern: str | None = None
    pattern_meaning: str = ""
    max_length: int | None = None
    max_items: int | None = None
    minimum: int | None = None
    maximum: int | None = None
    example: str = ""
    rows: tuple[Question, ...] = ()


# Place in the entry, label, option, example. The order is that of the form.
_ASKED: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "The method and its paper": (
        ("name", "Name of the method", "name", "HARP"),
        ("paper.title", "Title of the paper", "title", "Holistic Adversarially Robust Pruning"),
        ("paper.authors", "Authors", "author", "Qi Zhao"),
        ("paper.venue", "Venue", "venue", "ICLR"),
        ("paper.year", "Year", "year", "2023"),
        ("paper.url", "Address of the paper", "paper-url", "https://openreview.net/forum?id=sAJDi9lD06L"),
        ("paper.bibtex", "BibTeX", "bibtex", "@inproceedings{Zhao2023Holistic, …}"),
        ("code.url", "Address of the code", "code-url", "https://github.com/intellisec/harp"),
        ("key", "Key of the method", "key", "HARP_Zhao2023Holistic"),
    ),
    "When it prunes": (
        ("pipeline.stage", "Pruning takes place", "stage", ""),
        ("pipeline.pretraining", "Pretraining", "pretraining", ""),
        ("pipeline.finetuning", "Finetuning", "finetuning", ""),
        ("pipeline.pruning", "Pruning step", "pruning", ""),
        ("pipeline.training", "Training step", "training", ""),
        ("pipeline.schedule", "Schedule", "schedule", ""),
    ),
    "How it prunes": (
        ("specifics.structure", "Structure", "structure", ""),
        ("specifics.granularity", "Unit removed", "granularity", ""),
        ("specifics.locality", "Locality", "locality", ""),
        ("specifics.criterion", "Criterion", "criterion", ""),
    ),
    "How its paper evaluated it": (
        ("audit.autoattack", "AutoAttack", "audit-autoattack", ""),
        ("audit.pgd", "PGD", "audit-pgd", ""),
        ("audit.pgd_over_10_iterations", "PGD with more than 10 iterations", "audit-pgd-over-10-iterations", ""),
        ("audit.robustness_curve", "Robustness over several budgets", "audit-robustness-curve", ""),
        ("audit.others", "Other attacks", "audit-other", "CW"),
    ),
    "Results and files": (
        ("reported", "Results that the paper reports", "reported", ""),
        ("checkpoints", "Published checkpoints", "checkpoint", ""),
        ("notes", "Remarks", "note", ""),
    ),
}
INTRODUCTIONS = {
    "The method and its paper": "One entry per method, after the paper that introduces it.",
    "When it prunes": "The survey first sorts methods by when the mask is made relative to training (section 3.2), "
    "then by the objectives with which the network is trained in each step.",
    "How it prunes": "The specifics of the mask (section 3.3): what is removed, whether every layer has the same "
    "sparsity, and by which rule parameters are chosen.",
    "How its paper evaluated it": "What the paper itself reports (survey, Table 2). It explains why figures of papers "
    "and of the benchmark differ; it has no influence on the rank.",
    "Results and files": "All of this may be left empty and added later. Results of the benchmark are not entered "
    "here; the command apsite eval writes them.",
}
"""What stands above the questions of a section."""

_ROW_LABELS = {
    "dataset": ("Dataset", ""),
    "architecture": ("Network", ""),
    "structure": ("Structure", ""),
    "sparsity": ("Sparsity", "0.95"),
    "attack": ("Attack", "PGD"),
    "robust_accuracy": ("Robust accuracy", "0.47"),
    "model_key": ("Model key", "HARP_Zhao2023Holistic_R18_CIFAR10_US_90"),
    "url": ("Address", "https://zenodo.org/records/1234567/files/model.pt"),
    "sha256": ("SHA-256", ""),
    "file_format": ("File name extension", ".pt"),
    "notes": ("Remark", ""),
}
# A field that the form leaves as it is: its value in a new entry, and why nobody is asked.
FIXED: dict[str, Any] = {
    "schema_version": 1,  # the version of the schema, no property of the method
    "aliases": [],  # a new method has no other keys
    "baseline": False,  # naive criteria are added by maintainers
}


@cache
def questions() -> tuple[Question, ...]:
    """Every question, in the order in which they are asked."""
    return tuple(
        _question(place, section, label, option, example)
        for section, asked in _ASKED.items()
        for place, label, option, example in asked
    )


def asked(answers: Answers) -> Iterator[Question]:
    """The questions that the answers so far leave open: those of another pipeline stage fall away."""
    stage = str(answers.get("pipeline.stage", ""))
    return (question for question in questions() if not question.stages or stage in question.stages)


def clean(text: str) -> str:
    """A typed text as it is stored: composed characters, no spaces around, spaces for tabs, plain line ends."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "  "))
    return re.sub(r"^[ \n\u00a0]+|[ \n\u00a0]+$", "", text)


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


def lines(answer: object) -> list[str]:
    """The lines of an answer that has several: given as text or one by one, cleaned, empty ones left out."""
    given = answer if isinstance(answer, list | tuple) else clean(str(answer or "")).split("\n")
    return [line for line in (clean(str(line)).replace("\n", " ") for line in given) if line]


def document(answers: Answers) -> dict[str, Any]:
    """Entry of a set of answers, its fields in the order of the schema.

    Args:
        answers: Answers by question name. It need not be complete; :func:`problems` says what is missing.
    """
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
    for group in _NULL_GROUPS:
        if group not in answered:
            entry[group] = None
    for name in _OPTIONAL:
        if not entry[name]:
            del entry[name]
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
            return [choice.value for choice in question.choices if choice.value in chosen] or None
    text = clean(str(answer or ""))
    if not text:
        return None
    match question.kind:
        case Kind.YES_NO:
            return {"yes": True, "no": False}.get(text)
        case Kind.WHOLE:
            return int(text) if re.search(_WHOLE, text) else None
        case Kind.FRACTION:
            number = float(text) if re.search(_FRACTION, text) else None
            return int(number) if number is not None and number.is_integer() else number
        case _:
            return text


def is_empty(question: Question, answer: Any) -> bool:
    """Whether a question has no answer yet, which is also how "not specified" is said."""
    if question.kind is Kind.LINES:
        return not lines(answer)
    if question.kind in (Kind.CHOICES, Kind.ROWS):
        return not answer
    return not clean(str(answer or ""))


def problems(answers: Answers, taken: Collection[str] = ()) -> dict[str, str]:
    """What is wrong with the answers, by question; empty if they make an entry.

    Args:
        answers: Answers by question name.
        taken: Keys and aliases that other methods have.
    """
    found = {}
    for question in asked(answers):
        problem = answer_problem(question, answers.get(question.name), answers, taken)
        if problem:
            found[question.name] = problem
    return found


def answer_problem(question: Question, answer: Any, answers: Answers, taken: Collection[str] = ()) -> str:
    """What is wrong with one answer, given the others; empty if nothing."""
    if is_empty(question, answer):
        return MESSAGES["required"] if question.required else ""
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
            fits = re.search(_WHOLE, text) and (question.minimum or 0) <= int(text) <= (question.maximum or 0)
            limits = {"minimum": question.minimum, "maximum": question.maximum}
            return "" if fits else MESSAGES["whole"].format(found=text, **limits)
        case Kind.FRACTION:
            fits = re.search(_FRACTION, text) and float(text) <= 1
            return "" if fits else MESSAGES["fraction"].format(found=text)
    problem = _text_problem(question, text)
    if not problem and question.name == "key" and text in taken:
        return MESSAGES["taken"].format(found=text)
    return problem


def export() -> dict[str, Any]:
    """Everything that the form's script needs, as JSON values."""
    return {
        "questions": [asdict(question) for question in questions()],
        "messages": MESSAGES,
        "skeleton": skeleton(),
        "pipelines": pipelines(),
        "null_groups": list(_NULL_GROUPS),
        "optional": list(_OPTIONAL),
        "row_fields": {asked.name: sorted(_required_fields(asked.name)) for asked in questions() if asked.rows},
        "nothing": NOTHING,
        "whole": _WHOLE,
        "fraction": _FRACTION,
    }


@cache
def skeleton() -> dict[str, Any]:
    """A new entry with nothing answered: every field of the schema that is filled in, in its order."""
    places = {question.name for question in questions()}

    def empty(prefix: str, node: Mapping[str, Any]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, rule in node["properties"].items():
            place = f"{prefix}{name}"
            if place in FIXED:
                fields[name] = FIXED[place]
            elif place in places:
                fields[name] = None
            elif any(other.startswith(f"{place}.") for other in places):
                fields[name] = None if name == "pipeline" else empty(f"{place}.", _plain(rule))
        return fields

    return empty("", load_schema("entry"))


@cache
def pipelines() -> dict[str, dict[str, Any]]:
    """Fields of the pipeline by stage, in the order of the schema."""
    found = {}
    for branch in load_schema("entry")["properties"]["pipeline"]["oneOf"]:
        stage = branch["properties"]["stage"]["const"]
        found[stage] = {name: stage if name == "stage" else None for name in branch["properties"]}
    return found


def _folded(text: str) -> str:
    """Letters without their accents."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))


def _row(question: Question, row: Mapping[str, Any]) -> dict[str, Any]:
    """One row of a table; fields that the schema does not require are left out where nothing was said."""
    values = {field.name: value(field, row.get(field.name)) for field in question.rows}
    needed = _required_fields(question.name)
    return {name: found for name, found in values.items() if found is not None or name in needed}


def _rows_problem(question: Question, rows: Any, answers: Answers) -> str:
    if question.max_items is not None and len(rows) > question.max_items:
        return MESSAGES["too_many"].format(found=len(rows), allowed=question.max_items)
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
    if question.max_items is not None and len(given) > question.max_items:
        return MESSAGES["too_many"].format(found=len(given), allowed=question.max_items)
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


def _question(place: str, section: str, label: str, option: str, example: str) -> Question:
    """The question of a place in the entry, from what the schema says of it."""
    branches = _branches(place)
    rule = branches[0][1]
    stages = tuple(stage for stage, _ in branches if stage) if place.rpartition(".")[2] in _STEPS else ()
    made = _from_rule(place, rule, label)
    explanations = [f"When pruning {stage} training: {_explained(branch)}" for stage, branch in branches if stage]
    return Question(
        **{
            **made,
            "section": section,
            "label": label,
            "help": " ".join(explanations) if len(stages) > 1 and place != "pipeline.schedule" else made["help"],
            "option": option,
            "stages": stages,
            "example": example,
        }
    )


def _branches(place: str) -> list[tuple[str, dict[str, Any]]]:
    """Rules of the schema for a place, each with the pipeline stage for which it stands, or with none."""
    found: list[tuple[str, dict[str, Any]]] = [("", load_schema("entry"))]
    for name in place.split("."):
        found = [
            (stage or branch.get("properties", {}).get("stage", {}).get("const", ""), branch["properties"][name])
            for stage, node in found
            for branch in (_plain(node).get("oneOf") or [_plain(node)])
            if name in branch["properties"]
        ]
    return found


def _plain(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule with references followed and, of "this or null", this; its own description wins."""
    while "$ref" in rule or "anyOf" in rule:
        inner = (
            load_schema("entry")["$defs"][rule["$ref"].rpartition("/")[2]]
            if "$ref" in rule
            else next(part for part in rule["anyOf"] if part.get("type") != "null")
        )
        rule = {**inner, **({"description": rule["description"]} if "description" in rule else {})}
    return dict(rule)


def _from_rule(place: str, rule: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Kind, limits, words and explanation of a place, from its rule."""
    plain = _plain(rule)
    kinds = plain.get("type", "string")
    kind_names = kinds if isinstance(kinds, list) else [kinds]
    nullable = "null" in kind_names or any(part.get("type") == "null" for part in rule.get("anyOf", ()))
    made: dict[str, Any] = {
        "name": place,
        "section": "",
        "label": label,
        "help": _explained(plain),
        "option": "",
        "kind": Kind.TEXT,
        "required": not nullable,
    }
    if place == "pipeline.stage":
        words = tuple(Choice(stage.value, f"{stage.value} training ({stage.code})", stage.meaning) for stage in Stage)
        return made | {"kind": Kind.CHOICE, "choices": words, "help": "When the mask is made, relative to training."}
    if "enum" in plain:
        return made | {"kind": Kind.CHOICE, "choices": _choices(str(rule.get("$ref", "")).rpartition("/")[2])}
    if "boolean" in kind_names:
        words = (Choice("yes", "yes", ""), Choice("no", "no", ""))
        return made | {"kind": Kind.YES_NO, "choices": words, "required": False}
    if "integer" in kind_names:
        return made | {"kind": Kind.WHOLE, "minimum": plain["minimum"], "maximum": plain["maximum"]}
    if "number" in kind_names:
        return made | {"kind": Kind.FRACTION}
    if "array" in kind_names:
        return made | _list_rule(place, plain, nullable=nullable)
    single_line = not str(plain.get("pattern", "")).startswith("^[^\\u0000-\\u0009")
    kind = Kind.TEXT if single_line else Kind.LONG
    meaning = plain.get("description", "") if not str(plain.get("pattern", "^[^")).startswith("^[^") else ""
    return made | {
        "kind": kind,
        "required": not nullable and place != "code.url",
        "pattern": plain.get("pattern"),
        "pattern_meaning": meaning or _PATTERN_MEANINGS[kind.value],
        "max_length": plain.get("maxLength"),
    }


def _explained(rule: Mapping[str, Any]) -> str:
    """What the schema says of a place, without what concerns only those who write JSON."""
    text = re.sub(r"[;,.]? ?\bnull\b.*$", "", str(rule.get("description", ""))).strip()
    return text if text.endswith(".") or not text else f"{text}."


def _list_rule(place: str, plain: Mapping[str, Any], *, nullable: bool) -> dict[str, Any]:
    item, least = plain["items"], plain.get("minItems", 0)
    if "properties" in item:
        needed = item["required"]
        rows = []
        for name, rule in item["properties"].items():
            label, example = _ROW_LABELS[name]
            made = _from_rule(name, rule, label)
            rows.append(Question(**{**made, "example": example, "required": made["required"] and name in needed}))
        return {"kind": Kind.ROWS, "required": False, "max_items": plain.get("maxItems"), "rows": tuple(rows)}
    if "$ref" in item:
        words = _choices(item["$ref"].rpartition("/")[2])
        return {
            "kind": Kind.CHOICES,
            "required": not nullable,
            "choices": words,
            "allows_nothing": nullable and least == 0,
        }
    text = _from_rule(place, item, "")
    limits = {name: text[name] for name in ("pattern", "pattern_meaning", "max_length")}
    return {"kind": Kind.LINES, "required": least > 0, "max_items": plain.get("maxItems"), **limits}


def _choices(kind: str) -> tuple[Choice, ...]:
    """The words of a list of the schema, with their meanings."""
    return tuple(Choice(word.value, getattr(word, "label", word.value), _meaning(word)) for word in _WORDS[kind])


def _meaning(word: StrEnum) -> str:
    """What a word means; for a training objective, the paper that defines it."""
    if isinstance(word, Objective):
        reference = load_references()[word.citation] if word.citation else None
        if reference is None:
            return ""
        others = " et al." if len(reference.authors) > 1 else ""
        return f"{reference.authors[0]}{others}, {reference.year}"
    return str(getattr(word, "meaning", ""))


def _required_fields(place: str) -> frozenset[str]:
    return frozenset(load_schema("entry")["properties"][place]["items"]["required"])
