"""FAB with and without the rows that it drops: time, results, and how far dropped rows would have come."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from apsite.evaluation.attacks.fast import fab
from apsite.evaluation.runs.worker import Call, LabelledImages, Result, Work, Worker
from apsite.protocol import Settings
from apsite.vocabulary import Attack
from benchmarks.attacks import Case, correct_part
from benchmarks.timing import Row, in_turn

Rows = dict[tuple[int, int], tuple[float, bool]]
"""By image and target: distance of the closest adversarial image, and whether the row was given up."""


@contextlib.contextmanager
def watched() -> Iterator[Rows]:
    """Context whose value has what FAB knew of each row when it left the row."""
    original, seen = fab._Rows.keep, Rows()

    def keep(rows: fab._Rows, chosen: Tensor) -> None:
        states = zip(rows.clean, rows.targets.tolist(), rows.closest.tolist(), rows.hopeless.tolist(), strict=True)
        for image, target, closest, hopeless in states:
            seen[hash(image.cpu().numpy().tobytes()), target] = closest, hopeless
        original(rows, chosen)

    fab._Rows.keep = keep  # type: ignore[method-assign, assignment]
    try:
        yield seen
    finally:
        fab._Rows.keep = original  # type: ignore[method-assign]


def dropped_rows_row(case: Case, device: torch.device, repetitions: int) -> Row:
    """CPU time of FAB on the samples that APGD-CE and APGD-T do not break.

    The fact ``way`` is the largest share of its way from the distance at which it would be dropped down to ε that a
    row made in the rest of its steps, if it was not dropped; at 1 a result could change.
    """
    workers = [
        Worker(copy.deepcopy(case.network).to(device), case.images[:8], settings, case.epsilon, device)
        for settings in (Settings().on(device.type), Settings(fab_drop_rows=False).on(device.type))
    ]
    samples = correct_part(case, device)
    for attack in (Attack.APGD_CE, Attack.APGD_T):
        left = ~workers[0].run(Call(Work.ATTACK, samples, attack)).values.astype(bool)
        samples = LabelledImages(samples.images[left], samples.labels[left], samples.index[left])
    found: dict[int, tuple[Result, Rows]] = {}

    def attack_by(side: int) -> None:
        with watched() as rows:
            found[side] = workers[side].run(Call(Work.ATTACK, samples, Attack.FAB_T)), rows

    times = in_turn(lambda: attack_by(0), lambda: attack_by(1), repetitions, time.process_time)
    (ours, early), (theirs, late) = found[0], found[1]
    given_up = {key: closest for key, (closest, hopeless) in early.items() if hopeless}
    facts = {
        "of": len(case.labels), "samples": len(samples), "rows": len(late), "dropped_rows": ours.dropped_rows,
        "broken": int(theirs.values.sum()), "changed": int((ours.values != theirs.values).sum()),
        "passes_ratio": round(sum(vars(theirs.passes).values()) / sum(vars(ours.passes).values()), 2),
        "way": round(max((then - late[key][0]) / (then - case.epsilon) for key, then in given_up.items()), 2)
        if given_up else 0.0,
    }  # fmt: skip
    return Row("dropped-rows", case.name, "FAB-T", *times, "all rows", facts)
