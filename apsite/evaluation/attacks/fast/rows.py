"""What attacks share: their state by row, when they look at how far it is, and how they note fooled samples."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

DROP_SHARE = 0.1
"""Share of finished rows from which a batch is made smaller."""

_EVERY_ON_GPU = 10


@dataclass
class PerRow:
    """State of what is still attacked: tensors that all have one entry a row."""

    def keep(self, chosen: Tensor) -> None:
        """Go on with the rows numbered `chosen` only."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[chosen])


def look_every(device: torch.device) -> int:
    """Steps between two looks: a GPU has to finish all that was begun before it can say who is fooled."""
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
    rows = torch.arange(len(owner), device=owner.device)
    first = torch.full((len(found),), len(owner), device=owner.device)
    first = first.scatter_reduce(0, owner, rows, "amin")
    samples = (first < len(owner)).nonzero().squeeze(1)
    adversarial[samples] = points[first[samples]]
    found[samples] = True
