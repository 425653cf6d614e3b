"""Whether the tensors of a checkpoint are those of a network, whatever wrapped them when they were saved.

Names may carry the prefixes of wrappers, masks may be stored apart, and a wrapper may hold the constants of a
normalisation. All readings of the names are tried; a fit is exact or it is none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from apsite.evaluation.checkpoints.networks.layers import Normalisation
from apsite.evaluation.checkpoints.networks.registry import TensorSpec
from apsite.evaluation.checkpoints.stored_masks import Resolved

_MEANS = ("mean", "mu", "_mean", "new_mean", "means")
_STDS = ("std", "sigma", "_std", "new_std", "stds", "sds")
_NORM_EPSILON = 1e-5
"""What batch norm adds to a variance by default."""
_COUNTERS = ("total_ops", "total_params", "n_averaged", "num_updates", "initted", "step")
"""Single numbers that tools for averaging weights and counting operations leave in a network."""
_TRAINING = ("criterion", "loss", "metric", "accuracy")
"""What names of modules contain that take part in training alone."""
_SYNONYMS = ({"linear", "fc", "classifier", "head", "last_linear"}, {"shortcut", "downsample", "skip"})
"""Names that one layer has in common implementations of a network."""


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
        return self._joined(f"{len(names)} {kind}" for kind, names in self._groups())

    @property
    def reason(self) -> str:
        """Why it does not fit, with a few of the names; empty if it fits."""
        return self._joined(f"{len(names)} {kind} ({_few(names)})" for kind, names in self._groups())

    def _joined(self, groups: Iterable[str]) -> str:
        more = [f"{len(self.problems) - 2} more problems"] if len(self.problems) > 2 else []
        return "; ".join([*groups, *self.problems[:2], *more])

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
        for reading in _readings(state, expected, own_prefixes):
            match = _compare(reading, expected, aliases, rules)
            if match.fits:
                return match
            if best is None or match.distance < best.distance:
                best = match
    assert best is not None
    return best


class _Reading(NamedTuple):
    """Tensors by names that may be those of a network, constants of a wrapper, and what was done or is wrong."""

    state: dict[str, Tensor]
    constants: Normalisation | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def _readings(
    state: Mapping[str, Tensor], expected: Mapping[str, TensorSpec], own_prefixes: Sequence[str]
) -> Iterator[_Reading]:
    """Ways to read the names: with and without the constants of a wrapper, and with fewer and fewer prefixes."""
    whole = _without_training(state, expected)
    split = _split_normalisation(whole)
    for source in (whole, split) if split else (whole,):
        renamed, removed = source.state, ""
        while True:
            notes = (*source.notes, *((f"Prefix {removed!r} removed from the names of tensors.",) if removed else ()))
            for own in own_prefixes:
                if not any(name.startswith(own) for name in renamed):
                    note = f"Prefix {own!r} added to the names of tensors."
                    added = {own + name: value for name, value in renamed.items()}
                    yield source._replace(state=added, notes=(*notes, note))
            yield _with_usual_names(source._replace(state=renamed, notes=notes), expected)
            prefix = _wrapper(renamed, expected)
            if prefix is None:
                break
            renamed = {name.removeprefix(prefix): value for name, value in renamed.items()}
            removed += prefix


def _without_training(state: Mapping[str, Tensor], expected: Mapping[str, TensorSpec]) -> _Reading:
    """Leave aside counters, and what losses and metrics hold, unless the network has them."""

    def is_aside(name: str, value: Tensor) -> bool:
        *modules, last = name.lower().split(".")
        counter = last in _COUNTERS and value.numel() == 1
        if not counter and not (value.dim() < 2 and any(word in part for part in modules for word in _TRAINING)):
            return False
        return not any(name.endswith(one) for one in expected if one.rpartition(".")[2] == name.rpartition(".")[2])

    aside = [name for name, value in state.items() if is_aside(name, value)]
    notes = (f"Left aside, since the network's outputs do not depend on it: {_few(aside)}.",) if aside else ()
    return _Reading({name: value for name, value in state.items() if name not in aside}, notes=notes)


def _wrapper(state: Mapping[str, Tensor], expected: Mapping[str, TensorSpec]) -> str | None:
    """The prefix of all names, or of most of them, which the network does not have."""
    firsts = Counter(name.partition(".")[0] for name in state if "." in name)
    if not firsts:
        return None
    first, count = firsts.most_common(1)[0]
    own = any(name.startswith(f"{first}.") for name in expected)
    hidden = any(name.removeprefix(f"{first}.") in state for name in state if name.startswith(f"{first}."))
    return f"{first}." if count == len(state) or (2 * count > len(state) and not own and not hidden) else None


def _with_usual_names(reading: _Reading, expected: Mapping[str, TensorSpec]) -> _Reading:
    """Layers that are named as in another implementation, under the names that the network has for them."""
    here, there = ({part for name in names for part in name.split(".")} for names in (reading.state, expected))
    words: dict[str, str] = {}
    for group in _SYNONYMS:
        ours, theirs = group & there, group & here - there
        if len(ours) == len(theirs) == 1 and not ours & here:
            words[theirs.pop()] = ours.pop()
    if not words:
        return reading
    state = {".".join(words.get(part, part) for part in name.split(".")): it for name, it in reading.state.items()}
    note = f"Names of layers: {', '.join(f'{one} read as {other}' for one, other in words.items())}."
    return reading._replace(state=state, notes=(*reading.notes, note))


def _split_normalisation(reading: _Reading) -> _Reading | None:
    """The constants of a wrapper, if the file holds one pair of them, apart from the other tensors."""
    state, pairs = reading.state, []
    for name, value in state.items():
        parent, dot, last = name.rpartition(".")
        stds = [f"{parent}{dot}{one}" for one in _STDS] if last in _MEANS else []
        if last == "running_mean" and f"{parent}{dot}weight" not in state:
            stds = [f"{parent}{dot}running_var"]
        std = next((one for one in stds if one in state), None)
        if std is not None:
            means, spread = _triple(value), _triple(state[std])
            if means and spread:
                pairs.append((parent + dot, name, std, means, spread))
    if len(pairs) != 1:
        return None
    ((parent, name, std, means, spread),) = pairs
    used, notes = {name, std}, reading.notes
    if std.endswith("running_var"):
        used.add(f"{parent}num_batches_tracked")
        red, green, blue = (round(math.sqrt(max(one + _NORM_EPSILON, 0)), 7) for one in spread)
        spread = red, green, blue
        notes = (*notes, f"{name} and {std} normalise the images; their epsilon is taken to be {_NORM_EPSILON}.")
    right = all(0 <= one <= 1 for one in means) and all(0 < one <= 1.001 for one in spread)
    problem = (
        f"{name} and {std} hold mean {list(means)}, std {list(spread)}, but images in [0, 1] have a mean in [0, 1] and "
        "a standard deviation above 0 and up to 1: give a factory that prepares images as in training"
    )
    rest = {one: value for one, value in state.items() if one not in used}
    return _Reading(rest, Normalisation(means, spread), notes, () if right else (problem,))


def _triple(tensor: Tensor) -> tuple[float, float, float] | None:
    """One number per colour channel, of a tensor that holds three, one for all, or the same for every pixel."""
    if tensor.dim() > 2 and tensor.numel() and tensor.shape[-3] == 3:
        tensor = tensor[..., :1, :1] if bool((tensor == tensor[..., :1, :1]).all()) else tensor
    if tensor.numel() not in (1, 3) or tensor.is_complex():
        return None
    red, green, blue = (round(float(value), 7) for value in tensor.flatten().expand(3))
    return red, green, blue


def _compare(
    reading: _Reading, expected: Mapping[str, TensorSpec], aliases: Sequence[Sequence[str]], rules: Resolved | None
) -> Match:
    """One reading of the names against what is expected."""
    state = dict(reading.state)
    problems = [*(rules.problems if rules else ()), *reading.problems]
    done = [*reading.notes, *(rules.notes if rules else ())]
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
    tensors = {name: state[name] for name in expected if name in state}
    missing = tuple(name for name in expected if name not in state)
    misshapen = [name for name in tensors if tuple(tensors[name].shape) != expected[name].shape]
    return Match(
        tensors=tensors,
        missing=missing,
        unexpected=tuple(name for name in state if name not in expected),
        misshapen=tuple(
            f"{name} {list(state[name].shape)} instead of {list(expected[name].shape)}" for name in misshapen
        ),
        problems=(
            *problems,
            *_wrong_types(tensors, expected),
            *_hints(missing, [(tuple(tensors[name].shape), expected[name].shape) for name in misshapen]),
        ),
        normalisation=reading.constants,
        notes=tuple(done),
    )


def _wrong_types(tensors: Mapping[str, Tensor], expected: Mapping[str, TensorSpec]) -> list[str]:
    """What is wrong with the types of tensors: weights that are whole numbers, or numbers that would change."""
    problems = []
    for name, value in tensors.items():
        kind = expected[name].dtype
        if value.dtype is kind or (value.is_floating_point() and (kind.is_floating_point or kind.is_complex)):
            continue
        stored = str(value.dtype).removeprefix("torch.")
        if kind.is_floating_point or kind.is_complex:
            problems.append(
                f"{name} holds {stored} numbers; weights must be float32 (or float16, bfloat16, float64). Save the "
                "network before it is quantised or converted"
            )
        elif value.is_complex() or not torch.equal(value.to(kind).to(value.dtype), value):
            problems.append(f"{name} holds {stored} numbers that do not fit its type, {kind}")
    return problems[:1]


def _hints(missing: Sequence[str], shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> Iterator[str]:
    """How a file came to be that misses names, or in which `shapes` differ: stored ones next to expected ones."""
    if missing and all(name.endswith(("running_mean", "running_var")) for name in missing):
        yield "named_parameters() leaves out the running statistics of batch norm: save network.state_dict()"
    if any(len(stored) == 4 and tuple(stored[axis] for axis in (3, 2, 0, 1)) == wanted for stored, wanted in shapes):
        yield (
            "convolutions are stored as [height, width, in, out], as in TensorFlow and JAX: save "
            "weight.permute(3, 2, 0, 1)"
        )
    if any(len(stored) == 2 and stored[::-1] == wanted for stored, wanted in shapes):
        yield "weights of linear layers are stored as [in, out], which is transposed: save weight.T"


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown}, ..."
