"""Square: random search over squares, l-inf, without gradients.

Source: Andriushchenko et al., *Square Attack: a query-efficient black-box adversarial attack via random search*, ECCV
2020.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from apsite.evaluation.attacks.fast.rows import PerRow, look_every, note_fooled

QUERIES = 5000
_FIRST_SHARE = 0.8
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_AHEAD_ON_CPU, _AHEAD_ON_GPU = 4, 16
"""Most queries of one sample in one pass. Those after an accepted one are evaluated again, which is
wasted work on a CPU but free on a GPU that is not full."""

_WASTE = 0.25
"""About this share of the queries may be wasted; mostly one in twenty is accepted, at first many more."""

_MEMORY = 0.95


def square_side(query: int, side: int) -> int:
    """Side in pixels of the square of a query; it shrinks on the fixed schedule of the paper."""
    share = _FIRST_SHARE / 2 ** sum(query > limit for limit in _HALVINGS)
    return max(round(math.sqrt(share * side * side)), 1)


def square_attack(
    network: nn.Module, images: Tensor, labels: Tensor, stripes: Tensor, places: Tensor, colours: Tensor,
    epsilon: float, found: Tensor, adversarial: Tensor, rows: int = 1,
) -> None:  # fmt: skip
    """Attack samples until each is fooled or has had its 5,000 queries.

    Where few samples are left a pass takes several queries of each: those that follow an accepted one started from a
    point that is no longer the best, and are asked again. What is asked and accepted is the same as one by one.

    Uniform draws are `stripes`, of the start, shape ``(n, channels, 1, side)``; `places` of the squares, shape
    ``(n or 1, queries, 2)``; and `colours`, the sign of each square and channel, shape ``(n or 1, queries, channels)``.
    `found` and `adversarial`, see :func:`note_fooled`, are changed in place. A pass may take `rows` rows when fewer
    samples are left.
    """
    squares = _Squares.of(places, colours, images, epsilon)
    most = _AHEAD_ON_CPU if images.device.type == "cpu" else _AHEAD_ON_GPU
    every = look_every(images.device)
    with torch.no_grad():
        low, high = (images - epsilon).clamp(0, 1), (images + epsilon).clamp(0, 1)
        best = torch.clamp(images + epsilon * _signs(stripes), low, high)
        state = _Samples(
            owner=torch.arange(len(images), device=images.device), labels=labels.clone(), low=low, high=high, best=best,
            margin=_margin(network(best), labels),
            query=torch.zeros(len(images), dtype=torch.long, device=images.device),
        )  # fmt: skip
        accepted = torch.full((), _WASTE, device=images.device)
        ahead = 1
        for passes in itertools.count():
            if passes % every == 0:
                fooled = state.margin <= 0
                leaving = fooled | (state.query >= QUERIES)
                if bool(leaving.any()):
                    chosen = fooled.nonzero().squeeze(1)
                    note_fooled(state.owner[chosen], state.best[chosen], found, adversarial)
                    state.keep((~leaving).nonzero().squeeze(1))
                if not len(state.owner):
                    return
                ahead = max(1, min(most, rows // len(state.owner), int(_WASTE / max(float(accepted), 1e-3))))
            hits = _ask(network, state, squares, ahead)
            accepted = _MEMORY * accepted + (1 - _MEMORY) * hits


@dataclass
class _Samples(PerRow):
    """State of every sample that is still attacked; all tensors have one entry per sample."""

    owner: Tensor
    labels: Tensor
    low: Tensor
    high: Tensor
    best: Tensor
    margin: Tensor
    query: Tensor


@dataclass(frozen=True)
class _Squares:
    """The squares of all queries.

    Attributes:
        start: First row and column of each, shape ``(n or 1, queries, 2)``.
        length: Side of each, shape ``(queries,)``.
        colour: What each adds to the channels, ``2 * epsilon`` or its negative, shape ``(n or 1, queries, channels)``.
        axis: Rows and columns of an image.
    """

    start: Tensor
    length: Tensor
    colour: Tensor
    axis: Tensor

    @classmethod
    def of(cls, places: Tensor, colours: Tensor, images: Tensor, epsilon: float) -> _Squares:
        """Squares of uniform draws."""
        side = images.shape[-1]
        length = torch.tensor([square_side(query, side) for query in range(QUERIES)], device=images.device)
        start = (places * (side - length)[:, None]).long()
        return cls(start, length, 2 * epsilon * _signs(colours), torch.arange(side, device=images.device))

    def moves(self, owner: Tensor, query: Tensor) -> Tensor:
        """What queries, by sample and number, add to images: shape ``(*query.shape, channels, side, side)``."""
        owner = owner if len(self.start) > 1 else torch.zeros_like(owner)
        start, length = self.start[owner, query], self.length[query]
        first, past = start[..., None], (start + length[..., None])[..., None]
        within = (self.axis >= first) & (self.axis < past)
        inside = within[..., 0, :, None] & within[..., 1, None, :]
        return inside[..., None, :, :] * self.colour[owner, query][..., None, None]


def _ask(network: nn.Module, state: _Samples, squares: _Squares, ahead: int) -> Tensor:
    """Make up to `ahead` queries of every sample from its best point, and go to the first one that is better.

    Returns the share of the samples whose first query was better, a scalar.
    """
    steps = torch.arange(ahead, device=state.query.device)
    query = state.query[:, None] + steps
    there = query < QUERIES
    moves = squares.moves(state.owner[:, None].expand_as(query), query.clamp_max(QUERIES - 1))
    candidates = torch.clamp(state.best[:, None] + moves, state.low[:, None], state.high[:, None])
    labels = state.labels[:, None].expand_as(query)
    margins = _margin(network(candidates.flatten(0, 1)), labels.flatten()).view_as(query)
    better = ((margins < state.margin[:, None]) | (margins <= 0)) & there
    accepted = better.any(1)
    first = better.int().argmax(1)
    samples = torch.arange(len(first), device=first.device)
    state.best = torch.where(accepted.view(-1, 1, 1, 1), candidates[samples, first], state.best)
    state.margin = torch.where(accepted, margins[samples, first], state.margin)
    state.query = torch.where(accepted, state.query + first + 1, state.query + ahead)
    return better[:, 0].float().mean()


def _signs(uniform: Tensor) -> Tensor:
    return (2 * uniform - 1).sign()


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Own logit minus the largest other one, shape ``(n,)``."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -math.inf)
    return (own - others.amax(1, keepdim=True)).squeeze(1)
