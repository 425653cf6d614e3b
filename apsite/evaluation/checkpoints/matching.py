"""Whether the tensors of a checkpoint are those of a network, whatever wrapped them when they were saved.

Names may carry the prefixes of wrappers, masks may be stored apart, and a wrapper may hold the constants of a
normalisation. All readings of the names are tried; a fit is exact or it is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from apsite.evaluation.checkpoints.networks.layers import Normalisation
from apsite.evaluation.checkpoints.networks.registry import TensorSpec
from apsite.evaluation.checkpoints.stored_masks import Resolved

PREFIXES = ("module.", "model.", "basic_model.", "net.", "network.", "backbone.", "_orig_mod.", "1.")
"""What wrappers put before the names of tensors; ``1.`` is the network behind a normalisation in a sequence."""

_MEANS = ("mean", "mu", "_mean", "new_mean")
_STDS = ("std", "sigma", "_std", "new_std")


@dataclass(frozen=True)
class Match:
    """How well a state dict fits the tensors that a network expects.

    Attributes:
        tensors: Tensors by the names of the network; complete only if :attr:`fits`.
        missing: Expected names that the file does not have.
        unexpected: Names in the file that the network does not have.
        misshapen: Names whose shapes differ, with both shapes.
        problems: Other reasons against it, such as a mask without its weight.
        normalisation: Constants that a wrapper in the file holds.
        notes: What was done to make it fit, one sentence each.
    """

    tensors: Mapping[str, Tensor]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshapen: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    normalisation: Normalisation | None = None
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether every tensor of the network is in the file and the reverse."""
        return not (self.missing or self.unexpected or self.misshapen or self.problems)

    @property
    def distance(self) -> int:
        """Number of tensors that do not fit; 0 for an exact fit."""
        return len(self.missing) + len(self.unexpected) + len(self.misshapen) + len(self.problems)

    @property
    def summary(self) -> str:
        """Why it does not fit, in numbers; empty if it fits."""
        return "; ".join([*(f"{len(names)} {kind}" for kind, names in self._groups()), *self.problems])

    @property
    def reason(self) -> str:
        """Why it does not fit, with a few of the names; empty if it fits."""
        return "; ".join([*(f"{len(names)} {kind} ({_few(names)})" for kind, names in self._groups()), *self.problems])

    def _groups(self) -> list[tuple[str, tuple[str, ...]]]:
        groups = (("missing", self.missing), ("unexpected", self.unexpected), ("misshapen", self.misshapen))
        return [(kind, names) for kind, names in groups if names]


def best_match(
    stored: Mapping[str, Tensor], resolved: Resolved, expected: Mapping[str, TensorSpec], *,
    aliases: Sequence[Sequence[str]] = (), own_prefixes: Sequence[str] = (),
) -> Match:  # fmt: skip
    """The best reading of a state dict for one network.

    The tensors are tried as stored first, since a network may have masks, then with masks multiplied out. `aliases` are
    groups of expected names of one tensor, of which a file may have any. `own_prefixes` belong to the network and may
    be absent in the file of its inner module.
    """
    best: Match | None = None
    sources: list[tuple[Mapping[str, Tensor], Resolved | None]] = [(stored, None)]
    if resolved.notes or resolved.problems:
        sources.append((resolved.state, resolved))
    for state, rules in sources:
        if rules is not None and rules.problems:
            best = None  # a broken pair of weight and mask explains a misfit better than names left over
        for renamed, constants, notes in _readings(state, own_prefixes):
            match = _compare(renamed, expected, aliases, constants, notes, rules)
            if match.fits:
                return match
            if best is None or match.distance <= best.distance:
                best = match
    assert best is not None
    return best


def _readings(
    state: Mapping[str, Tensor], own_prefixes: Sequence[str]
) -> Iterator[tuple[dict[str, Tensor], Normalisation | None, tuple[str, ...]]]:
    """Ways to read the names: with and without the constants of a wrapper, and with fewer and fewer prefixes."""
    constants, rest = _split_normalisation(state)
    sources = [(dict(state), None)] if constants is None else [(dict(state), None), (rest, constants)]
    for source, found in sources:
        renamed, removed = source, ""
        while True:
            notes = (f"Prefix {removed!r} removed from the names of tensors.",) if removed else ()
            for own in own_prefixes:
                if not any(name.startswith(own) for name in renamed):
                    note = f"Prefix {own!r} added to the names of tensors."
                    yield {own + name: value for name, value in renamed.items()}, found, (*notes, note)
            yield renamed, found, notes
            prefix = next((one for one in PREFIXES if renamed and all(name.startswith(one) for name in renamed)), None)
            if prefix is None:
                break
            renamed = {name.removeprefix(prefix): value for name, value in renamed.items()}
            removed += prefix


def _split_normalisation(state: Mapping[str, Tensor]) -> tuple[Normalisation | None, dict[str, Tensor]]:
    """Constants of a wrapper, if the file holds one pair of them, and the other tensors."""
    pairs = []
    for name, value in state.items():
        parent, _, last = name.rpartition(".")
        if last in _MEANS and value.numel() == 3:
            std = ".".join(filter(None, (parent, _STDS[_MEANS.index(last)])))
            if std in state and state[std].numel() == 3:
                pairs.append((name, std))
    if len(pairs) != 1:
        return None, dict(state)
    mean, std = pairs[0]
    constants = Normalisation(_triple(state[mean]), _triple(state[std]))
    return constants, {name: value for name, value in state.items() if name not in (mean, std)}


def _triple(tensor: Tensor) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 7) for value in tensor.flatten())
    return red, green, blue


def _compare(
    state: dict[str, Tensor], expected: Mapping[str, TensorSpec], aliases: Sequence[Sequence[str]],
    constants: Normalisation | None, notes: tuple[str, ...], rules: Resolved | None,
) -> Match:  # fmt: skip
    """One reading of the names against what is expected."""
    state = dict(state)
    problems = list(rules.problems) if rules else []
    done = [*notes, *(rules.notes if rules else ())]
    completed = 0
    for group in aliases:
        present = [name for name in group if name in state]
        if any(not torch.equal(state[name], state[present[0]]) for name in present[1:]):
            problems.append(f"{_few(present)} are one tensor and hold different values")
        if present and len(present) < len(group):
            state.update((name, state[present[0]]) for name in group)
            completed += 1
    if completed:
        done.append(f"{completed} tensors have two names, of which the file holds one.")
    counters = [name for name in expected if name.endswith("num_batches_tracked") and name not in state]
    if counters and len(counters) == sum(name.endswith("num_batches_tracked") for name in expected):
        state.update((name, torch.zeros((), dtype=torch.int64)) for name in counters)
        done.append("Batch-norm counters set to 0: the file has none, and evaluation does not use them.")
    return Match(
        tensors={name: state[name] for name in expected if name in state},
        missing=tuple(name for name in expected if name not in state),
        unexpected=tuple(name for name in state if name not in expected),
        misshapen=tuple(
            f"{name} {list(state[name].shape)} instead of {list(spec.shape)}"
            for name, spec in expected.items()
            if name in state and tuple(state[name].shape) != spec.shape
        ),
        problems=tuple(problems), normalisation=constants, notes=tuple(done),
    )  # fmt: skip


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown}, ..."
