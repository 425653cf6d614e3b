"""Method keys and model keys: how they are written, and what a model key says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeVar

from apsite.vocabulary import OTHER, OTHER_CODE, OTHER_NAME, Architecture, Dataset, OpenTerm, Structure

KEY_YEAR = r"(?:19|20)[0-9]{2}"
"""The year within the second part of a method key; the form's script uses the same expression."""

METHOD_KEY = re.compile(
    rf"[A-Za-z0-9][A-Za-z0-9-]{{0,39}}_[A-Z][A-Za-z-]{{0,40}}{KEY_YEAR}[A-Z0-9][A-Za-z0-9-]{{0,40}}"
)
"""``<Name>_<FirstAuthor><Year><FirstTitleWord>``, ASCII only, such as ``HARP_Zhao2023Holistic``."""

_NETWORKS, _DATASETS, _STRUCTURES = (
    "|".join(term.code for term in kind) for kind in (Architecture, Dataset, Structure)
)

_OTHER = f"{OTHER_CODE}{OTHER_NAME}"
PERCENT = re.compile(r"[1-9][0-9]?(?:p[0-9]?[1-9])?")
"""A sparsity in percent with ``p`` for the decimal point, such as ``90``, ``99p5`` or ``93p75``.

Tenths are what methods report; hundredths are there for the survey's 93.75 %. No zero ends it, so that a sparsity has
one text only.
"""
MODEL_KEY = re.compile(
    rf"{METHOD_KEY.pattern}_(?:{_NETWORKS}|{_OTHER})_(?:{_DATASETS}|{_OTHER})_(?:(?:{_STRUCTURES})_{PERCENT.pattern}|dense)"
)
"""``<method key>_<network>_<dataset>_<structure>_<percent>``, or ``_dense`` in place of the last two parts."""

PERCENTAGE = "a percentage from 1 to 99.99 with at most two decimals"
_WRITTEN = "such as 90, 99p5 or 93p75, without a zero at the end"

YEARS_APART = 1
"""A key may carry the year of the preprint and the paper that of the publication."""

_Term = TypeVar("_Term", Architecture, Dataset, Structure)


@dataclass(frozen=True)
class ModelKey:
    """Identity of one evaluated model: which method pruned which network for which dataset, and how far.

    Attributes:
        method: Method key.
        architecture: Network family.
        dataset: Dataset.
        structure: What pruning removed; ``None`` for a dense pretrained network.
        percent: Declared sparsity in percent, from 1 to 99.99 with at most two decimals; an ``int`` where it is whole,
            and ``None`` for a dense network.
    """

    method: str
    architecture: Architecture
    dataset: Dataset
    structure: Structure | None
    percent: float | None

    def __post_init__(self) -> None:
        if not METHOD_KEY.fullmatch(self.method):
            form = "<Name>_<FirstAuthor><Year><FirstTitleWord>, such as 'HARP_Zhao2023Holistic'"
            raise ValueError(f"method key {self.method!r} is not of the form {form}")
        if (self.structure is None) != (self.percent is None):
            raise ValueError("a dense model has neither structure nor sparsity; a pruned one has both")
        if self.percent is not None:
            object.__setattr__(self, "percent", _percent(self.percent / 100))

    def __str__(self) -> str:
        head = f"{self.method}_{self.architecture.code}_{self.dataset.code}"
        return f"{head}_dense" if self.structure is None else f"{head}_{self.structure.code}_{self.percent_code}"

    @property
    def percent_code(self) -> str:
        """Sparsity as the model key writes it, such as ``99p5``; empty for a dense network."""
        return "" if self.percent is None else str(self.percent).replace(".", "p")

    @property
    def sparsity(self) -> float:
        """Declared sparsity as a fraction; 0 for a dense network."""
        return 0.0 if self.percent is None else round(self.percent / 100, 4)

    @property
    def compared(self) -> bool:
        """Whether the sparsity is one of those at which the benchmark compares models of the structure."""
        return self.structure is not None and self.sparsity in self.structure.sparsities

    @classmethod
    def of(
        cls, method: str, architecture: Architecture, dataset: Dataset, structure: Structure | None, sparsity: float
    ) -> ModelKey:
        """Key of a model described by words and a sparsity fraction, 0 for dense.

        Raises:
            ValueError: If the sparsity is no percentage with at most two decimals, or the parts contradict each other.
        """
        try:
            fraction = 0 <= sparsity < 1
        except TypeError:
            fraction = False
        if not fraction:
            raise ValueError(f"sparsity must be a fraction such as 0.90, or 0 for a dense network, not {sparsity!r}")
        pruned = structure is not None or sparsity > 0
        return cls(method, architecture, dataset, structure, _percent(sparsity) if pruned else None)

    @classmethod
    def parse(cls, text: str) -> ModelKey:
        """Read a model key.

        Raises:
            ValueError: If a part is missing or unknown; the message names it and what is allowed.
        """
        parts = text.split("_")
        if len(parts) == 5 and parts[4] == "dense":
            structure, percent = None, None
        elif len(parts) == 6:
            structure = _of_code(Structure, parts[4], text)
            if not PERCENT.fullmatch(parts[5]):
                raise ValueError(f"model key {text!r}: sparsity {parts[5]!r} is not {PERCENTAGE}, {_WRITTEN}")
            percent = float(parts[5].replace("p", "."))
        else:
            pruned = f"<method key>_<{_NETWORKS}>_<{_DATASETS}>_<{_STRUCTURES}>_<percent>"
            dense = "<method key>_<network>_<dataset>_dense"
            raise ValueError(f"model key {text!r} is not of the form {pruned}, or {dense}")
        architecture, dataset = _of_code(Architecture, parts[2], text), _of_code(Dataset, parts[3], text)
        return cls(f"{parts[0]}_{parts[1]}", architecture, dataset, structure, percent)


def check_declared(sparsity: float) -> float:
    """The same sparsity, a fraction, if a model key can state it.

    Raises:
        ValueError: If it is not a percentage from 1 to 99.99 with at most two decimals.

    >>> check_declared(0.9375)
    0.9375
    """
    _percent(sparsity)
    return sparsity


def _percent(sparsity: float) -> float:
    """A fraction in percent as model keys have it: at most two decimals, and an ``int`` where it is whole."""
    percent = round(sparsity * 100, 2)
    if not 1 <= percent < 100 or abs(sparsity * 100 - percent) > 1e-6:
        stated = f"{sparsity:.12g}"
        raise ValueError(f"declared sparsity must be {PERCENTAGE}, such as 0.90, 0.995 or 0.9375, not {stated}")
    return int(percent) if percent.is_integer() else percent


def _of_code(kind: type[_Term], code: str, text: str) -> _Term:
    """The term that has a code, or an error that lists the known codes."""
    terms = {term.code: term for term in kind}
    if issubclass(kind, OpenTerm) and re.fullmatch(_OTHER, code):
        try:
            return kind(code.replace(OTHER_CODE, OTHER, 1))
        except ValueError as error:
            raise ValueError(f"model key {text!r}: {error}") from None
    if code not in terms:
        raise ValueError(f"model key {text!r}: {kind.__name__.lower()} {code!r} is not one of {', '.join(terms)}")
    return terms[code]
