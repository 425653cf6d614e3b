"""Method keys and model keys: how they are spelt, and what a model key says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeVar

from apsite.vocabulary import Architecture, Dataset, Structure

METHOD_KEY = re.compile(r"[A-Za-z0-9-]{1,40}_[A-Z][A-Za-z-]{0,40}(?:19|20)[0-9]{2}[A-Z0-9][A-Za-z0-9-]{0,40}")
"""``<Name>_<FirstAuthor><Year><FirstTitleWord>``, ASCII only, such as ``HARP_Zhao2023Holistic``."""

KEY_YEAR = r"(?:19|20)[0-9]{2}"
"""The year within the second part of a method key; the form's script uses the same expression."""

YEARS_APART = 1
"""A key may carry the year of the preprint and the paper that of the publication."""

_Word = TypeVar("_Word")
_BY_CODE_DATASET = {word.code: word for word in Dataset}
_BY_CODE_ARCHITECTURE = {word.code: word for word in Architecture}
_BY_CODE_STRUCTURE = {word.code: word for word in Structure}


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
            raise ValueError(
                f"method key {self.method!r} is not of the form <Name>_<FirstAuthor><Year><FirstTitleWord>, "
                "such as 'HARP_Zhao2023Holistic'"
            )
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
        cls,
        method: str,
        architecture: Architecture,
        dataset: Dataset,
        structure: Structure | None,
        sparsity: float,
    ) -> ModelKey:
        """Key of a model described by words and a sparsity fraction, 0 for dense.

        Raises:
            ValueError: If the sparsity is not a whole percentage, or the parts contradict each other.
        """
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
            structure = _known(parts[4], _BY_CODE_STRUCTURE, "structure", text)
            if not re.fullmatch(r"[1-9][0-9]?", parts[5]):
                raise ValueError(f"model key {text!r}: sparsity {parts[5]!r} is not a whole percentage from 1 to 99")
            percent = int(parts[5])
        else:
            raise ValueError(
                f"model key {text!r} is not of the form <method key>_<R18|V16|R50|R8>_<CIFAR10|SVHN|ImageNet>_"
                "<US|S>_<percent>, or <method key>_<network>_<dataset>_dense"
            )
        return cls(
            f"{parts[0]}_{parts[1]}",
            _known(parts[2], _BY_CODE_ARCHITECTURE, "architecture", text),
            _known(parts[3], _BY_CODE_DATASET, "dataset", text),
            structure,
            percent,
        )


def _known(code: str, words: dict[str, _Word], part: str, text: str) -> _Word:
    """The word of a code, or an error that lists the codes there are."""
    if code not in words:
        raise ValueError(f"model key {text!r}: {part} {code!r} is not one of {', '.join(words)}")
    return words[code]
