"""What the attacks share: state per row, when to check which samples are fooled, and how to note them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

DROP_SHARE = 0.1
"""Share of finished rows from which a batch is made smaller."""

_EVERY_ON_GPU = 10


@dataclass
class PerRow:
    """State of the rows that are still attacked: tensors with one entry per row."""

    def keep(self, chosen: Tensor) -> None:
        """Keep only the rows numbered `chosen`."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[chosen])


def look_every(device: torch.device) -> int:
    """Steps between two checks of which samples are fooled, each of which synchronises the GPU."""
    return 1 if device.type == "cpu" else _EVERY_ON_GPU


def note_fooled(owner: Tensor, points: Tensor, found: Tensor, adversarial: Tensor) -> None:
    """Note samples with a point that fools the network; of several points of a sample the first row counts.

    Without that choice several rows would write to one image at once, and it could end as a mixture of their pixels.

    Args:
        owner: Sample of each row, shape ``(rows,)``.
        points: Misclassified image of each row, shape ``(rows, 3, height, width)``.
        found: Whether a sample is fooled, shape ``(samples,)``; changed in place.
        adversarial: An adversarial image for each fooled sample; changed in place.
    """
    if not len(owner):
        return
    rows = torch.arange(len(owner), device=owner.device)
    first = torch.full((len(found),), len(owner), device=owner.device)
    first = first.scatter_reduce(0, owner, rows, "amin")
    samples = (first < len(owner)).nonzero().squeeze(1)
    adversarial[samples] = points[first[samples]]
    found[samples] = True
