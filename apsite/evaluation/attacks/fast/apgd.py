"""APGD: projected gradient ascent with momentum whose step size adapts, untargeted (CE) and targeted (DLR).

Source: Croce and Hein, ICML 2020, sections 3 and 4; the schedule of checkpoints is that of their algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from apsite.evaluation.attacks.execution import input_gradient
from apsite.evaluation.attacks.fast.rows import DROP_SHARE, PerRow, look_every, note_fooled

STEPS = 100
_FIRST_CHECK, _SMALLEST_PERIOD, _PERIOD_CUT = 22, 6, 3
_SUCCESS_SHARE = 0.75
_MOMENTUM = 0.75

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each row, shape ``(n,)``; `targets` are not used."""
    return functional.cross_entropy(logits, labels, reduction="none")


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Targeted difference of logits ratio of each row, shape ``(n,)``; it grows towards the target class."""
    top = logits.topk(4, dim=1).values
    own, other = (logits.gather(1, index[:, None]).squeeze(1) for index in (labels, targets))
    return -(own - other) / (top[:, 0] - 0.5 * (top[:, 2] + top[:, 3]) + 1e-12)


@dataclass
class _Rows(PerRow):
    """State of every row that is still attacked; all tensors have one entry per row."""

    owner: Tensor
    images: Tensor
    labels: Tensor
    targets: Tensor
    current: Tensor
    previous: Tensor
    gradient: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    checked_loss: Tensor
    reduced: Tensor
    step_size: Tensor
    history: Tensor
    fooled: Tensor
    fooling: Tensor


def start_points(images: Tensor, uniform: Tensor, epsilon: float) -> Tensor:
    """Random starts on the surface of the ball, clipped to [0, 1]; `uniform` holds draws in [0, 1)."""
    direction = 2 * uniform.to(images.device) - 1
    scale = direction.abs().amax(dim=(1, 2, 3), keepdim=True) + 1e-12
    return (images + epsilon * (direction / scale)).clamp(0, 1)


def apgd(
    network: nn.Module, images: Tensor, labels: Tensor, owner: Tensor, starts: Tensor, targets: Tensor,
    objective: Objective, epsilon: float, found: Tensor, adversarial: Tensor, *, to_the_end: bool = False,
) -> None:  # fmt: skip
    """Attack rows until each has its 100 steps or its sample is fooled.

    `images` and `labels` have one entry per sample; `owner` (the sample of a row), `starts` and `targets` one per row:
    a sample may have several rows, one for each target. An untargeted objective ignores the targets. `found` and
    `adversarial`, see :func:`note_fooled`, are changed in place. `to_the_end` continues with fooled samples, as the
    official code does, which keeps the last image that fools.
    """
    rows = _start(images[owner], labels[owner], owner, starts, targets, epsilon)
    loss = _evaluate(network, rows, objective)
    rows.best_gradient, rows.best_loss, rows.checked_loss = rows.gradient, loss, loss
    period, since_check = _FIRST_CHECK, 0
    every = look_every(images.device)
    for step in range(STEPS):
        if step % every == 0 and not to_the_end:
            _harvest(rows, found, adversarial)
            finished = found[rows.owner]
            if bool(finished.float().mean() >= DROP_SHARE):
                rows.keep((~finished).nonzero().squeeze(1))
            if not len(rows.owner):
                return
        _move(rows, epsilon, _MOMENTUM if step else 1.0)
        loss = _evaluate(network, rows, objective)
        rows.history[:, step] = loss
        better = loss > rows.best_loss
        wide = better.view(-1, 1, 1, 1)
        rows.best = torch.where(wide, rows.current, rows.best)
        rows.best_gradient = torch.where(wide, rows.gradient, rows.best_gradient)
        rows.best_loss = torch.where(better, loss, rows.best_loss)
        since_check += 1
        if since_check == period:
            _check(rows, step, period)
            period = max(period - _PERIOD_CUT, _SMALLEST_PERIOD)
            since_check = 0
    _harvest(rows, found, adversarial)


def _start(images: Tensor, labels: Tensor, owner: Tensor, starts: Tensor, targets: Tensor, epsilon: float) -> _Rows:
    zeros = torch.zeros(len(owner), device=images.device)
    return _Rows(
        owner=owner, images=images, labels=labels, targets=targets, current=starts, previous=starts, gradient=starts,
        best=starts, best_gradient=starts, best_loss=zeros, checked_loss=zeros,
        reduced=torch.ones_like(zeros, dtype=torch.bool),
        step_size=torch.full((len(owner), 1, 1, 1), 2 * epsilon, device=images.device),
        history=torch.zeros(len(owner), STEPS, device=images.device), fooled=torch.zeros_like(zeros, dtype=torch.bool),
        fooling=images,
    )  # fmt: skip


def _evaluate(network: nn.Module, rows: _Rows, objective: Objective) -> Tensor:
    """Loss of the current points; keeps in `rows` the gradient, and the points that are misclassified."""
    point = rows.current.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = network(point)
        loss = objective(logits, rows.labels, rows.targets)
        rows.gradient = input_gradient(loss.sum(), point)
    wrong = logits.detach().argmax(1) != rows.labels
    rows.fooled = rows.fooled | wrong
    rows.fooling = torch.where(wrong.view(-1, 1, 1, 1), rows.current, rows.fooling)
    return loss.detach()


def _harvest(rows: _Rows, found: Tensor, adversarial: Tensor) -> None:
    """Note the samples of the rows that were misclassified at some point; this synchronises the GPU."""
    chosen = rows.fooled.nonzero().squeeze(1)
    note_fooled(rows.owner[chosen], rows.fooling[chosen], found, adversarial)


def _move(rows: _Rows, epsilon: float, momentum: float) -> None:
    """One step along the sign of the gradient with momentum, projected onto the ball and [0, 1]."""
    low, high = rows.images - epsilon, rows.images + epsilon
    inertia = rows.current - rows.previous
    rows.previous = rows.current
    plain = (rows.current + rows.step_size * rows.gradient.sign()).clamp(low, high).clamp(0, 1)
    mixed = rows.current + (plain - rows.current) * momentum + inertia * (1 - momentum)
    rows.current = mixed.clamp(low, high).clamp(0, 1)


def _check(rows: _Rows, step: int, period: int) -> None:
    """Halve the step size of rows that oscillate or make no progress, and send them back to their best point."""
    columns = torch.arange(step - period, step + 1, device=rows.history.device) % STEPS
    recent = rows.history[:, columns]
    rises = (recent[:, 1:] > recent[:, :-1]).sum(1)
    halve = (rises <= period * _SUCCESS_SHARE) | (~rows.reduced & (rows.checked_loss >= rows.best_loss))
    rows.reduced, rows.checked_loss = halve, rows.best_loss
    wide = halve.view(-1, 1, 1, 1)
    rows.step_size = torch.where(wide, rows.step_size / 2, rows.step_size)
    rows.current = torch.where(wide, rows.best, rows.current)
    rows.gradient = torch.where(wide, rows.best_gradient, rows.gradient)
