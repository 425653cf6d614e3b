"""N:M patterns of semi-structured pruning, and which layers of an audited network follow one.

In a pattern such as 2:4 at most two of every four neighbouring weights along the input dimension of a layer are not
zero. For a convolution that dimension is its input channels: the weights of one filter at one position of the kernel
form a row, which is cut into groups of M. It is the layout of NVIDIA's ASP and of sparse tensor cores.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from apsite.records.counts import CheckpointAudit, LayerAudit
from apsite.vocabulary import Structure


class Pattern(NamedTuple):
    """At most `kept` weights that are not zero in every group of `group` neighbours."""

    kept: int
    group: int

    def __str__(self) -> str:
        return f"{self.kept}:{self.group}"

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Pattern that a text such as ``2:4`` names.

        Raises:
            ValueError: If it is not two whole numbers N:M with 0 < N < M <= 64.
        """
        found = re.fullmatch(r"([1-9][0-9]?):([1-9][0-9]?)", text, re.ASCII)
        pattern = cls(int(found[1]), int(found[2])) if found else None
        if pattern is None or not pattern.kept < pattern.group <= 64:
            raise ValueError(f"pattern {text!r} is not N:M with N weights kept of every M, such as 2:4 or 1:4")
        return pattern

    @property
    def zeros(self) -> int:
        """Zeros that every group has at least."""
        return self.group - self.kept

    def groups(self, layer: LayerAudit) -> int | None:
        """Groups of a layer; ``None`` if its input dimension is not divisible into groups of this size."""
        return None if (layer.channels or 1) % self.group else layer.weights // self.group


def declared_pattern(structure: Structure | None, pattern: str | None) -> Pattern | None:
    """Pattern that a network is declared to have; ``None`` if its pruning is not semi-structured.

    Raises:
        ValueError: If semi-structured pruning comes without a pattern, other pruning with one, or it is not a pattern.
    """
    if (structure is Structure.SEMI_STRUCTURED) != (pattern is not None):
        raise ValueError("give a pattern such as 2:4 with structure semi-structured, and none with another structure")
    return None if pattern is None else Pattern.parse(pattern)


def follows(layer: LayerAudit) -> bool:
    """Whether every group of a layer has the zeros of the pattern."""
    return layer.broken_groups == 0


def may_be_dense(audit: CheckpointAudit) -> list[LayerAudit]:
    """Layers that need not follow a pattern, in their order.

    The first convolution, the last linear layer, layers whose input dimension is not divisible by M, and layers without
    any zero, which were not pruned.
    """
    first = next((layer for layer in audit.layers if layer.kind == "conv"), None)
    last = next((layer for layer in reversed(audit.layers) if layer.kind == "linear"), None)
    return [one for one in audit.layers if one in (first, last) or one.broken_groups is None or not one.zero_weights]


def left_dense(audit: CheckpointAudit) -> list[LayerAudit]:
    """Layers that do not follow the pattern and need not."""
    return [layer for layer in may_be_dense(audit) if not follows(layer)]


def violations(audit: CheckpointAudit) -> list[LayerAudit]:
    """Layers that should follow the pattern and have groups that do not."""
    exempt = may_be_dense(audit)
    return [layer for layer in audit.layers if layer.broken_groups and layer not in exempt]


def pattern_share(audit: CheckpointAudit) -> float:
    """Share of the weights that are in layers that follow the pattern, a fraction."""
    return sum(layer.weights for layer in audit.layers if follows(layer)) / (audit.weights or 1)
