"""FAB, targeted, l-inf: small steps onto the linearised boundary, biased towards the clean image.

Source: Croce and Hein, *Minimally distorted Adversarial Examples with a Fast Adaptive Boundary Attack*, ICML 2020.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from apsite.evaluation.attacks.execution import input_gradient
from apsite.evaluation.attacks.fast.rows import DROP_SHARE, PerRow, look_every, note_fooled
from apsite.protocol import FAB_DROP_DISTANCE, FAB_DROP_FALL, FAB_DROP_GRADIENT, FAB_DROP_STEP

STEPS = 100
_ALPHA_MAX, _OVERSHOOT, _BACK = 0.1, 1.05, 0.9
_ROUNDS_ON_CPU, _ROUNDS_ON_GPU = 40, 12
"""Most rounds of Newton's method. A CPU stops as soon as all rows have converged; asking would synchronise a GPU, so
that one always makes the same number: attacks took up to 6, random planes in 150,528 dimensions up to 12."""


def project_linf(points: Tensor, normals: Tensor, offsets: Tensor) -> Tensor:
    """Smallest l-inf move that takes each point to its hyperplane without leaving [0, 1].

    The move of size ``m`` shortens the gap by ``sum |w_i| min(m, room_i)``, a concave, piecewise linear function of
    ``m``, so Newton's method from the left reaches the solution in a few rounds, with no sorting.

    Args:
        points: Shape ``(n, d)``, in [0, 1].
        normals: Normal vectors ``w``, shape ``(n, d)``.
        offsets: The hyperplanes are ``w.z = offset``, shape ``(n,)``.

    Returns:
        Moves of shape ``(n, d)``; where a hyperplane cannot be reached, the move that comes nearest to it.
    """
    gap = (normals * points).sum(1) - offsets
    oriented = torch.where((gap >= 0)[:, None], normals, -normals)
    weight = oriented.abs()
    room = torch.where(oriented > 0, points, 1 - points)
    gap = gap.abs()
    tiny, zero = torch.finfo(points.dtype).tiny, weight.new_zeros(())
    reach = weight * room
    size = gap / weight.sum(1).clamp_min(tiny)
    on_cpu = points.device.type == "cpu"
    for _ in range(_ROUNDS_ON_CPU if on_cpu else _ROUNDS_ON_GPU):
        free = room > size[:, None]
        missing = gap - torch.where(free, zero, reach).sum(1)
        further = torch.maximum(size, missing / torch.where(free, weight, zero).sum(1).clamp_min(tiny))
        size, before = further, size
        if on_cpu and bool((size - before <= 1e-7 * size).all()):
            break
    blocked = reach.sum(1) <= gap
    size = torch.where(blocked, torch.ones_like(size), size)
    return -oriented.sign() * torch.minimum(room, size[:, None])


def fab_targeted(
    network: nn.Module, images: Tensor, labels: Tensor, owner: Tensor, targets: Tensor, epsilon: float, found: Tensor,
    adversarial: Tensor, *, to_the_end: bool = False, dropped: Tensor | None = None,
) -> None:  # fmt: skip
    """Attack rows until each has its 100 steps, is hopeless, or its sample is fooled within ε.

    The arguments are those of :func:`apsite.evaluation.attacks.fast.apgd.apgd`, but that `adversarial` has the closest
    adversarial image so far of each fooled sample. `dropped` counts the hopeless rows of each sample that are given up,
    shape ``(samples,)``, and is changed in place; for ``None`` no row is given up.
    """
    clean, own = images[owner], labels[owner]
    gap, gradient, _ = _linearise(network, clean, own, targets)
    no = torch.zeros(len(owner), dtype=torch.bool, device=images.device)
    norm, nothing = gradient.flatten(1).abs().sum(1), torch.full_like(gap, torch.inf)
    rows = _Rows(
        owner=owner, targets=targets, clean=clean, own=own, point=clean, gap=gap, gradient=gradient, crossed=no,
        waiting=no, steps=torch.zeros_like(owner), best=clean, closest=nothing, improved=no,
        earlier=nothing, weakest=norm, strongest=norm, hopeless=no,
    )  # fmt: skip
    every = look_every(images.device)
    for number in itertools.count():
        if number % every == 0:
            back = _look(rows, found, adversarial, dropped, to_the_end=to_the_end)
            if not len(rows.owner):
                return
        _advance(network, rows, back, epsilon)
        if dropped is not None and number < 2 * FAB_DROP_STEP:  # a step takes two passes at most
            _judge(rows, epsilon)


@dataclass
class _Rows(PerRow):
    """State of every row that is still attacked; all tensors have one entry per row.

    `crossed`: whether the last step crossed the boundary. `waiting`: whether the gap and the gradient at the point are
    still to be computed, which ends the step. `best` is the closest adversarial image within ε, `closest` the distance
    of the closest one at all, and `improved` says whether there is one within ε that is not noted yet. `earlier` is
    what `closest` was ten steps before :data:`apsite.protocol.FAB_DROP_STEP`, `weakest` and `strongest` the smallest
    and largest l1 norm that the gradient has had until then, and `hopeless` whether the row is given up.
    """

    owner: Tensor
    targets: Tensor
    clean: Tensor
    own: Tensor
    point: Tensor
    gap: Tensor
    gradient: Tensor
    crossed: Tensor
    waiting: Tensor
    steps: Tensor
    best: Tensor
    closest: Tensor
    improved: Tensor
    earlier: Tensor
    weakest: Tensor
    strongest: Tensor
    hopeless: Tensor


def _look(rows: _Rows, found: Tensor, adversarial: Tensor, dropped: Tensor | None, *, to_the_end: bool) -> Tensor:
    """Note what was found, drop the rows that are finished; this synchronises the GPU.

    Returns the numbers of the rows whose last step crossed the boundary.
    """
    fresh = rows.improved.nonzero().squeeze(1)
    note_fooled(rows.owner[fresh], rows.best[fresh], found, adversarial)
    rows.improved = torch.zeros_like(rows.improved)
    finished = (rows.steps >= STEPS) | rows.hopeless
    if not to_the_end:
        finished = finished | found[rows.owner]
    if bool(finished.float().mean() >= DROP_SHARE):
        if dropped is not None:
            dropped.index_add_(0, rows.owner, rows.hopeless.long())
        rows.keep((~finished).nonzero().squeeze(1))
    return rows.crossed.nonzero().squeeze(1)


def _advance(network: nn.Module, rows: _Rows, back: Tensor, epsilon: float) -> None:
    """One step of every row; no shape depends on what is found, so a GPU is not synchronised.

    A row that has crossed the boundary once mostly does so again and is then pulled back. So the prediction of the rows
    `back` is made first, and the gradient only where they end up. For the others prediction and gradient come from one
    pass; those that cross wait for the next one, which computes their gradient where they were pulled back to.
    """
    tried = _step(rows.point, rows.clean, rows.gap, rows.gradient)
    tried = torch.where(_wide(rows.waiting), rows.point, tried)
    again = torch.zeros_like(rows.waiting)
    if len(back):
        with torch.no_grad():
            again = again.index_copy(0, back, network(tried[back]).argmax(1) != rows.own[back])
    move = tried - rows.clean
    pulled = rows.clean + move * _BACK
    point = torch.where(_wide(again), pulled, tried)
    rows.gap, rows.gradient, wrong = _linearise(network, point, rows.own, rows.targets)
    first = (wrong & ~rows.waiting).index_fill(0, back, 0)
    distance = move.abs().amax(dim=(1, 2, 3))
    closer = (again | first) & (distance < rows.closest) & (rows.steps < STEPS) & ~rows.hopeless
    inside = closer & (distance <= epsilon)
    rows.best = torch.where(_wide(inside), tried, rows.best)
    rows.closest = torch.where(closer, distance, rows.closest)
    rows.improved = rows.improved | inside
    rows.point = torch.where(_wide(first), pulled, point)
    rows.crossed = again | rows.waiting
    rows.waiting = first
    rows.steps = rows.steps + ~first


def _judge(rows: _Rows, epsilon: float) -> None:
    """Note what decides whether a row is hopeless, and decide after its step :data:`FAB_DROP_STEP`; shapes stay."""
    norm, done = rows.gradient.flatten(1).abs().sum(1), ~rows.waiting
    early = done & (rows.steps <= FAB_DROP_STEP)
    rows.weakest = torch.where(early, torch.minimum(rows.weakest, norm), rows.weakest)
    rows.strongest = torch.where(early, torch.maximum(rows.strongest, norm), rows.strongest)
    rows.earlier = torch.where(done & (rows.steps == FAB_DROP_STEP - 10), rows.closest, rows.earlier)
    given_up = hopeless(rows.closest, rows.earlier, rows.weakest, rows.strongest, epsilon)
    rows.hopeless = rows.hopeless | (done & (rows.steps == FAB_DROP_STEP) & given_up)


def hopeless(closest: Tensor, earlier: Tensor, weakest: Tensor, strongest: Tensor, epsilon: float) -> Tensor:
    """Rows that will not come within ε, by :data:`apsite.protocol.FAB_DROP_DISTANCE`; arguments as in :class:`_Rows`.

    Never a row without an adversarial image, one whose distance still falls, or one whose gradients are masked.
    """
    far = (closest > FAB_DROP_DISTANCE * epsilon) & closest.isfinite()
    settled = closest > (1 - FAB_DROP_FALL) * earlier
    return far & settled & (weakest > FAB_DROP_GRADIENT * strongest)


def _wide(flags: Tensor) -> Tensor:
    """Flags of rows in the shape of their images."""
    return flags.view(-1, 1, 1, 1)


def _step(point: Tensor, clean: Tensor, gap: Tensor, gradient: Tensor) -> Tensor:
    """Move onto the linearised boundary, from the point and from the clean image, and mix both."""
    rows = len(point)
    normals = gradient.flatten(1)
    offsets = (normals * point.flatten(1)).sum(1) - gap
    both = torch.cat([point.flatten(1), clean.flatten(1)])
    moves = project_linf(both, normals.repeat(2, 1), offsets.repeat(2))
    sizes = moves.abs().amax(1).clamp_min(1e-8)
    here, there = sizes[:rows], sizes[rows:]
    alpha = (here / (here + there)).clamp(0, _ALPHA_MAX).view(-1, 1, 1, 1)
    from_point = point + _OVERSHOOT * moves[:rows].view_as(point)
    from_clean = clean + _OVERSHOOT * moves[rows:].view_as(point)
    return (from_point * (1 - alpha) + from_clean * alpha).clamp(0, 1)


def _linearise(network: nn.Module, point: Tensor, own: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Difference of target and own logit, its gradient, and whether the point is misclassified."""
    variable = point.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = network(variable)
        difference = (logits.gather(1, targets[:, None]) - logits.gather(1, own[:, None])).squeeze(1)
        gradient = input_gradient(difference.sum(), variable)
    return difference.detach(), gradient, logits.detach().argmax(1) != own
