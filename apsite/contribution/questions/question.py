"""What a question is, and how it can be answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Answers = Mapping[str, Any]

NOTHING = "none"
"""The value for "no such step", which differs from "not specified"."""


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
    """A value to choose, its label, and its meaning or definition."""

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
        required: Whether an answer is required; otherwise none means "not specified".
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
