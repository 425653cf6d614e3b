"""Square: random search over squares, l-inf, with no gradient.

Source: Andriushchenko et al., *Square Attack: a query-efficient black-box adversarial attack via random search*, ECCV
2020.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

QUERIES = 5000
_FIRST_SHARE = 0.8
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_CHECK_EVERY = 20


def square_side(query: int, side: int) -> int:
    """Side in pixels of the square of a query; it shrinks on the fixed schedule of the paper."""
    share = _FIRST_SHARE / 2 ** sum(query > limit for limit in _HALVINGS)
    return max(round(math.sqrt(share * side * side)), 1)


def square_attack(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    stripes: Tensor,
    places: Tensor,
    colours: Tensor,
    epsilon: float,
    found: Tensor,
    adversarial: Tensor,
) -> None:
    """Attack samples until each is fooled or has had its 5,000 queries; fills `found` and `adversarial`.

    Args:
        network: Network in evaluation mode.
        images: Clean images, shape ``(n, channels, side, side)``.
        labels: Their classes, shape ``(n,)``.
        stripes: Uniform draws for the vertical stripes of the start, shape ``(n, channels, 1, side)``.
        places: Uniform draws for the place of each square, shape ``(n or 1, queries, 2)``.
        colours: Uniform draws for the sign of each square and channel, shape ``(n or 1, queries, channels)``.
        epsilon: Budget in input units.
        found: Whether a sample is fooled, shape ``(n,)``; changed in place.
        adversarial: An adversarial image for each fooled sample; changed in place.
    """
    side = images.shape[-1]
    with torch.inference_mode():
        low, high = (images - epsilon).clamp(0, 1), (images + epsilon).clamp(0, 1)
        best = torch.clamp(images + epsilon * _signs(stripes), low, high)
        labels = labels.clone()
        margin = _margin(network(best), labels)
        rows = torch.arange(len(images), device=images.device)
        axis = torch.arange(side, device=images.device)
        places, colours = places.clone(), 2 * epsilon * _signs(colours)
        for query in range(QUERIES):
            if query % _CHECK_EVERY == 0 or images.device.type == "cpu":
                fooled = margin <= 0
                if bool(fooled.any()):
                    found[rows[fooled]] = True
                    adversarial[rows[fooled]] = best[fooled]
                    kept = ~fooled
                    rows, low, high, best, margin, labels = (
                        values[kept] for values in (rows, low, high, best, margin, labels)
                    )
                    if len(places) > 1 or len(kept) == 1:
                        places, colours = places[kept], colours[kept]
                if not len(rows):
                    return
            length = square_side(query, side)
            corner = (places[:, query] * (side - length)).long()
            down = (axis >= corner[:, :1]) & (axis < corner[:, :1] + length)
            across = (axis >= corner[:, 1:]) & (axis < corner[:, 1:] + length)
            inside = down[:, None, :, None] & across[:, None, None, :]
            candidate = torch.clamp(best + inside * colours[:, query, :, None, None], low, high)
            new_margin = _margin(network(candidate), labels)
            better = (new_margin < margin) | (new_margin <= 0)
            best = torch.where(better.view(-1, 1, 1, 1), candidate, best)
            margin = torch.where(better, new_margin, margin)
        fooled = margin <= 0
        found[rows[fooled]] = True
        adversarial[rows[fooled]] = best[fooled]


def _signs(uniform: Tensor) -> Tensor:
    """-1 or 1 from uniform draws."""
    return (2 * uniform - 1).sign()


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Own logit minus the largest other one, shape ``(n,)``."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -math.inf)
    return (own - others.amax(1, keepdim=True)).squeeze(1)
