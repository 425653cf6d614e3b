"""FAB, targeted, l-inf: small steps onto the linearised boundary, biased towards the clean image.

Source: Croce and Hein, *Minimally distorted Adversarial Examples with a Fast Adaptive Boundary Attack*, ICML 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from apsite.evaluation.attacks.execution import input_gradient
from apsite.evaluation.attacks.fast.rows import DROP_SHARE, look_every, note_fooled

STEPS = 100
_ALPHA_MAX, _OVERSHOOT, _BACK = 0.1, 1.05, 0.9
_ROUNDS = 40


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
    tiny = torch.finfo(points.dtype).tiny
    size = gap / weight.sum(1).clamp_min(tiny)
    every = look_every(points.device)
    for number in range(_ROUNDS):
        reached = (weight * torch.minimum(room, size[:, None])).sum(1)
        slope = (weight * (room > size[:, None])).sum(1)
        growth = torch.where(slope > 0, (gap - reached) / slope.clamp_min(tiny), torch.zeros_like(gap)).clamp_min(0)
        size = size + growth
        if number % every == every - 1 and bool((growth <= 1e-7 * size).all()):
            break
    blocked = (weight * room).sum(1) <= gap
    size = torch.where(blocked, torch.ones_like(size), size)
    return -oriented.sign() * torch.minimum(room, size[:, None])


def fab_targeted(
    network: nn.Module, images: Tensor, labels: Tensor, owner: Tensor, targets: Tensor, epsilon: float, found: Tensor,
    adversarial: Tensor, *, to_the_end: bool = False,
) -> None:  # fmt: skip
    """Attack rows until each has its 100 steps or its sample is fooled within ε.

    The arguments are those of :func:`apsite.evaluation.attacks.fast.apgd.apgd`, but that `adversarial` has the closest
    adversarial image so far of each fooled sample.
    """
    clean, own = images[owner], labels[owner]
    point = clean
    gap, gradient, _ = _linearise(network, point, own, targets)
    crossed = torch.zeros(len(owner), dtype=torch.bool, device=images.device)
    closest = torch.full((len(owner),), torch.inf, device=images.device)
    every = look_every(images.device)
    for step in range(STEPS):
        if step % every == 0 and not to_the_end:
            finished = found[owner]
            if bool(finished.float().mean() >= DROP_SHARE):
                kept = (~finished).nonzero().squeeze(1)
                owner, targets, clean, own, point, gap, gradient, crossed, closest = (
                    values[kept] for values in (owner, targets, clean, own, point, gap, gradient, crossed, closest)
                )
            if not len(owner):
                return
        point = _step(point, clean, gap, gradient)
        # A row that has crossed the boundary once mostly does so again and is then pulled back: its prediction alone is
        # needed here. For the others prediction and gradient come from one pass.
        wrong = torch.zeros_like(crossed)
        stay, back = (~crossed).nonzero().squeeze(1), crossed.nonzero().squeeze(1)
        gap, gradient = gap.clone(), gradient.clone()
        if len(stay):
            gap[stay], gradient[stay], wrong[stay] = _linearise(network, point[stay], own[stay], targets[stay])
        if len(back):
            with torch.no_grad():
                wrong[back] = network(point[back]).argmax(1) != own[back]
        hit = wrong.nonzero().squeeze(1)
        if len(hit):
            distance = (point[hit] - clean[hit]).abs().amax(dim=(1, 2, 3))
            inside = hit[(distance <= epsilon) & (distance < closest[hit])]
            closest[hit] = torch.minimum(closest[hit], distance)
            note_fooled(owner[inside], point[inside], found, adversarial)
            point = point.index_copy(0, hit, clean[hit] + (point[hit] - clean[hit]) * _BACK)
        stale = (wrong | crossed).nonzero().squeeze(1)
        if len(stale):
            gap[stale], gradient[stale], _ = _linearise(network, point[stale], own[stale], targets[stale])
        crossed = wrong


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
