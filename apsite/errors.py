"""Errors that a user can fix. Each message says where, what was found, what is allowed and how to fix it."""

from __future__ import annotations

from pathlib import Path


class ApsiteError(Exception):
    """Something the user can fix; the command line prints it as one ``Error: ...`` line and exits with 1.

    All errors of this package are of this class, except those of a wrong call, which are :class:`ValueError` or
    :class:`TypeError`.

    >>> import apsite
    >>> try:
    ...     apsite.load_catalogue("nowhere")
    ... except apsite.ApsiteError as error:
    ...     print(str(error).partition(";")[0])
    nowhere: has no folder 'entries'
    """


class DocumentError(ApsiteError):
    """A JSON document is unreadable, breaks its schema, or contradicts another file.

    Attributes:
        path: The file.
        field: Where in the file, such as ``specifics.structure[0]``; empty for the file as a whole.
        problem: What was found, what is allowed and how to fix it.
    """

    def __init__(self, path: Path, field: str, problem: str) -> None:
        # A contributed file may have any name; a line feed or an escape sequence in it must not reach the terminal.
        shown = str(path) if str(path).isprintable() else ascii(str(path))
        super().__init__(f"{shown}: {field}: {problem}" if field else f"{shown}: {problem}")
        self.path = path
        self.field = field
        self.problem = problem


class CheckpointError(ApsiteError):
    """A checkpoint cannot be read, or does not fit the declared architecture or sparsity."""


class DatasetError(ApsiteError):
    """A dataset is missing, incomplete or not of its official format."""


class NetworkError(ApsiteError):
    """A network does not behave as the protocol needs: logits of the right shape, finite, deterministic."""


class EvaluationError(ApsiteError):
    """An evaluation cannot start, continue or store its result."""
