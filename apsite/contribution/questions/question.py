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
class Other:
    """A term in the contributor's own words: its regular expression, and what that means."""

    pattern: str
    meaning: str


@dataclass(frozen=True)
class Question:
    """One question, from the schema of entries; within rows, one field of a row."""

    name: str  # place of the answer in the entry, such as paper.title; within rows, the field
    section: str  # heading under which it is asked; empty within rows
    label: str
    help: str
    option: str  # of `apsite new`, without dashes
    kind: Kind
    required: bool  # otherwise no answer means "not specified"
    choices: tuple[Choice, ...] = ()
    other: Other | None = None  # how a term in the contributor's own words is written, where one is allowed
    allows_nothing: bool = False  # whether "no such step" is an answer
    stages: tuple[str, ...] = ()  # pipeline stages at which it is asked; empty for all
    pattern: str | None = None  # regular expression of a text
    pattern_meaning: str = ""
    format: str | None = None  # rule of a text, of `apsite.documents.texts`
    max_length: int | None = None  # characters of a text, or of each line
    max_items: int | None = None  # lines or rows
    minimum: int | None = None  # of a whole number
    maximum: int | None = None
    example: str = ""
    rows: tuple[Question, ...] = ()  # the questions of one row
