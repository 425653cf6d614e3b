"""Method keys and model keys: how they are written, and what a model key says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeVar

from apsite.vocabulary import OTHER, OTHER_CODE, OTHER_NAME, Architecture, Dataset, Structure

KEY_YEAR = r"(?:19|20)[0-9]{2}"
"""The year within the second part of a method key; the form's script uses the same expression."""

METHOD_KEY = re.compile(
    rf"[A-Za-z0-9][A-Za-z0-9-]{{0,39}}_[A-Z][A-Za-z-]{{0,40}}{KEY_YEAR}[A-Z0-9][A-Za-z0-9-]{{0,40}}"
)
"""``<Name>_<FirstAuthor><Year><FirstTitleWord>``, ASCII only, such as ``HARP_Zhao2023Holistic``."""

_NETWORKS, _DATASETS, _STRUCTURES = (
    "|".join(term.code for term in kind) for kind in (Architecture, Dataset, Structure)
)

OTHER_NETWORK = re.compile(f"{OTHER}{OTHER_NAME}")
"""A network of no registered family, such as ``other:MyNet``."""

_NETWORK = f"{_NETWORKS}|{OTHER_CODE}{OTHER_NAME}"
MODEL_KEY = re.compile(rf"{METHOD_KEY.pattern}_(?:{_NETWORK})_(?:{_DATASETS})_(?:(?:{_STRUCTURES})_[1-9][0-9]?|dense)")
"""``<method key>_<network>_<dataset>_<structure>_<percent>``, or ``_dense`` in place of the last two parts."""

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
        percent: Declared sparsity in whole percent, 1..99; ``None`` for a dense network.
    """

    method: str
    architecture: Architecture
    dataset: Dataset
    structure: Structure | None
    percent: int | None

    def __post_init__(self) -> None:
        if not METHOD_KEY.fullmatch(self.method):
            form = "<Name>_<FirstAuthor><Year><FirstTitleWord>, such as 'HARP_Zhao2023Holistic'"
            raise ValueError(f"method key {self.method!r} is not of the form {form}")
        if (self.structure is None) != (self.percent is None):
            raise ValueError("a dense model has neither structure nor sparsity; a pruned one has both")
        if self.percent is not None and not 1 <= self.percent <= 99:
            raise ValueError(f"declared sparsity must be a whole percentage from 1 to 99, not {self.percent}")

    def __str__(self) -> str:
        head = f"{self.method}_{self.architecture.code}_{self.dataset.code}"
        return f"{head}_dense" if self.structure is None else f"{head}_{self.structure.code}_{self.percent}"

    @property
    def sparsity(self) -> float:
        """Declared sparsity as a fraction; 0 for a dense network."""
        return 0.0 if self.percent is None else self.percent / 100

    @classmethod
    def of(
        cls, method: str, architecture: Architecture, dataset: Dataset, structure: Structure | None, sparsity: float
    ) -> ModelKey:
        """Key of a model described by words and a sparsity fraction, 0 for dense.

        Raises:
            ValueError: If the sparsity is not a whole percentage, or the parts contradict each other.
        """
        try:
            fraction = 0 <= sparsity < 1
        except TypeError:
            fraction = False
        if not fraction:
            raise ValueError(f"sparsity must be a fraction such as 0.90, or 0 for a dense network, not {sparsity!r}")
        percent = round(sparsity * 100)
        if abs(sparsity * 100 - percent) > 1e-6:
            raise ValueError(f"declared sparsity must be a whole percentage such as 0.90, not {sparsity}")
        return cls(method, architecture, dataset, structure, percent if structure or percent else None)

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
            if not re.fullmatch(r"[1-9][0-9]?", parts[5]):
                raise ValueError(f"model key {text!r}: sparsity {parts[5]!r} is not a whole percentage from 1 to 99")
            percent = int(parts[5])
        else:
            pruned = f"<method key>_<{_NETWORKS}>_<{_DATASETS}>_<{_STRUCTURES}>_<percent>"
            dense = "<method key>_<network>_<dataset>_dense"
            raise ValueError(f"model key {text!r} is not of the form {pruned}, or {dense}")
        architecture, dataset = _of_code(Architecture, parts[2], text), _of_code(Dataset, parts[3], text)
        return cls(f"{parts[0]}_{parts[1]}", architecture, dataset, structure, percent)


def _of_code(kind: type[_Term], code: str, text: str) -> _Term:
    """The term that has a code, or an error that lists the known codes."""
    terms = {term.code: term for term in kind}
    if kind is Architecture and OTHER_NETWORK.fullmatch(other := code.replace(OTHER_CODE, OTHER, 1)):
        return kind(other)
    if code not in terms:
        raise ValueError(f"model key {text!r}: {kind.__name__.lower()} {code!r} is not one of {', '.join(terms)}")
    return terms[code]
