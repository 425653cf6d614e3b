"""The questions that describe a method: one list for the form on the site and for `apsite new`.

Words, limits and explanations come from the schema of entries and from the vocabulary (``from_schema``); ``wording``
adds their order and texts. ``answers`` make an entry, ``checks`` say what is wrong with them. The same
answers give the same document, byte for byte, here and in the form's script, which reads :func:`export` and follows the
same rules.

An answer is what a person typed or chose: text for a field, words for a choice, rows for a table. An empty answer
means "not specified".
"""

from __future__ import annotations

from apsite.contribution.questions.answers import asked, clean, document, export, is_empty, suggested_key
from apsite.contribution.questions.checks import answer_problem, problems
from apsite.contribution.questions.from_schema import questions
from apsite.contribution.questions.question import NOTHING, Kind, Question
from apsite.contribution.questions.wording import FIXED, INTRODUCTIONS, RARE

__all__ = [
    "FIXED", "INTRODUCTIONS", "NOTHING", "RARE", "Kind", "Question", "answer_problem", "asked", "clean", "document",
    "export", "is_empty", "problems", "questions", "suggested_key",
]  # fmt: skip
