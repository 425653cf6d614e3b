"""Networks from checkpoints: strict, with the layout chosen by the method or found by its tensors.

A checkpoint fits a layout when, wrappers and masks accounted for, its tensors are exactly those of the layout, by name
and shape. There is no partial loading, so no weight is ever left at its random initialisation.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import is_lazy

from apsite.catalogue import load_catalogue
from apsite.errors import CheckpointError, NetworkError
from apsite.evaluation.checkpoints.factories import build_network
from apsite.evaluation.checkpoints.fitting import is_narrower, multiply_own_masks, plain_layers, resize
from apsite.evaluation.checkpoints.matching import Match, best_match
from apsite.evaluation.checkpoints.networks.layers import NEUTRAL_MASK, Normalisation, Normalise
from apsite.evaluation.checkpoints.networks.registry import Layout, TensorSpec, layouts, layouts_of, method_layouts
from apsite.evaluation.checkpoints.published import fetch_checkpoint
from apsite.evaluation.checkpoints.reading import CheckpointFile, read_checkpoint
from apsite.evaluation.checkpoints.stored_masks import Resolved, multiply_masks
from apsite.keys import ModelKey
from apsite.progress import Reporter
from apsite.vocabulary import Architecture, Dataset, Structure

IN_MEMORY = "in memory"
"""Layout and format that a record names for a network that came from no file."""


@dataclass(frozen=True)
class Declared:
    """The declared properties of a checkpoint.

    Attributes:
        architecture: Network family, or a factory as ``path/to/file.py:factory`` or ``package.module:factory``.
        method: Method key or name, which decides between layouts that have the same tensors.
        dataset: Decides the size of the images, the classes and the constants of layouts that normalise inside.
        structure: What was pruned; ``None`` for a dense network or if nothing is declared.
        sparsity: Declared sparsity, a fraction; required where a checkpoint holds scores instead of zeros.
        layout: Name of a registered layout, to choose it explicitly.
    """

    architecture: str
    method: str | None = None
    dataset: Dataset = Dataset.CIFAR10
    structure: Structure | None = None
    sparsity: float | None = None
    layout: str | None = None

    @classmethod
    def of(cls, key: ModelKey, factory: str | None = None, layout: str | None = None) -> Declared:
        """What a model key declares; `factory` builds the network in place of the registered ones."""
        sparsity = key.sparsity if key.structure else None
        return cls(factory or key.architecture, key.method, key.dataset, key.structure, sparsity, layout)

    @property
    def by_factory(self) -> bool:
        """Whether the user's own function builds the network."""
        return ":" in self.architecture

    @property
    def family(self) -> Architecture:
        """The registered network family.

        Raises:
            NetworkError: If there is no layout of that name.
        """
        if self.architecture not in tuple(Architecture):
            raise NetworkError(
                f"architecture {self.architecture!r} is not one of {', '.join(Architecture)}, nor a factory such as "
                "path/to/file.py:factory or package.module:factory"
            )
        return Architecture(self.architecture)

    def layouts(self) -> list[Layout]:
        """The named layout, or all registered ones of the family for the dataset.

        Raises:
            CheckpointError: If there is none for the dataset.
            NetworkError: If the family is unknown, or the named layout is not one of its layouts for the dataset.
        """
        there = [one for one in layouts_of(self.family) if one.fits(self.dataset)]
        if not there:
            raise CheckpointError(f"no layout of {self.architecture} is for {self.dataset}. {_OWN_FACTORY}")
        named = [one for one in there if self.layout in (None, one.name)]
        if not named:
            known = ", ".join(one.name for one in there)
            raise NetworkError(
                f"layout {self.layout!r} is not one of those for {self.architecture} and {self.dataset}: {known}"
            )
        return named


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with the weights of a checkpoint.

    Attributes:
        network: In evaluation mode, float32, on the CPU; from images in [0, 1] to logits. Masks and scores are
            multiplied out, so pruned weights are zeros of ordinary layers.
        file: The checkpoint.
        layout: Name of the registered layout, or of the function that built the network, without its folder.
        notes: What was done on the way and what a reader of the results should know, one sentence each.
        factory_sha256: Hash of the file of that function; ``None`` for a registered layout or a network in memory.
    """

    network: nn.Module
    file: CheckpointFile
    layout: str
    notes: tuple[str, ...] = ()
    factory_sha256: str | None = None

    @property
    def own_code(self) -> bool:
        """Whether the network is not one of ours but of somebody's own code."""
        return self.layout not in layouts()


class LayoutFit(NamedTuple):
    """How well a checkpoint fits one registered layout."""

    layout: Layout
    match: Match


def load_network(
    checkpoint: str | Path, *, architecture: str | Architecture | None = None, method: str | None = None,
    dataset: str | Dataset = Dataset.CIFAR10, sparsity: float | None = None, layout: str | None = None,
    state: str | None = None, root: str | Path = ".", choose: int | None = None,
) -> nn.Module:  # fmt: skip
    """The pruned network of a checkpoint, in evaluation mode, float32, on the CPU.

    A model key in place of a file, such as ``HARP_Zhao2023Holistic_R18_CIFAR10_US_90``, fetches the checkpoint that the
    data in `root` names for it, once; the key says all of architecture, method, dataset and sparsity.

    >>> from apsite.evaluation.runs.demonstration import network_path  # the embedded checkpoint
    >>> network = load_network(network_path(), architecture="resnet8")
    >>> tuple(network(torch.zeros(2, 3, 32, 32)).shape)
    (2, 10)

    Args:
        checkpoint: A safetensors file, or one that ``torch.save`` wrote; or a model key, without `architecture`.
        architecture: A network family such as ``resnet18``, the name of a registered layout, or your own factory as
            ``path/to/file.py:factory`` or ``package.module:factory``.
        method: Method key or name, which decides between layouts that have the same tensors.
        dataset: Decides the constants of layouts that normalise inside the network.
        sparsity: Declared sparsity, a fraction. Required only where a checkpoint holds scores instead of zeros.
        layout: Name of a registered layout, to choose it explicitly.
        state: Dotted keys of the state dict to read, where the file holds several.
        root: Folder with the data that model keys are looked up in, such as a checkout of the repository.
        choose: Which checkpoint, from 1, if several are published for a model key.

    Returns:
        A network from images ``(n, 3, height, width)`` in [0, 1] to logits ``(n, classes)``.

    Raises:
        ApsiteError: If nothing is published for a model key, or the file cannot be fetched.
        CheckpointError: If the file cannot be read or does not fit exactly.
        NetworkError: If the architecture or layout is unknown, or the factory fails.
        ValueError: If `dataset` is not one of the known words.
    """
    if architecture is None:
        if Path(checkpoint).exists():
            raise NetworkError(f"{checkpoint}: say which network it holds, such as architecture='resnet18'")
        fetched = fetch_checkpoint(load_catalogue(root), str(checkpoint), Reporter(), choose=choose)
        declared = Declared.of(fetched.key, layout=layout)
        return open_network(read_checkpoint(fetched.path, state=state), declared).network
    if architecture not in tuple(Architecture) and architecture in layouts():
        architecture, layout = layouts()[architecture].architecture, layout or architecture
    declared = Declared(architecture, method, Dataset(dataset), None, sparsity, layout)
    return open_network(read_checkpoint(Path(checkpoint), state=state), declared).network


def open_network(file: CheckpointFile, declared: Declared) -> LoadedNetwork:
    """The network of a checkpoint: of a registered layout, or of the user's factory; its tensors must fit exactly.

    A named layout is used or refused. Otherwise a layout of the method's published checkpoints comes first, and then
    any layout of the architecture whose tensors are exactly those of the file, or narrower ones, as filters removed
    from the file leave them. When several fit and give different outputs, the file is ambiguous, and that is an error.

    Raises:
        CheckpointError: If nothing fits, or more than one thing does. The message names the best layout and what is
            missing, unexpected or misshapen.
        NetworkError: If the architecture or layout is unknown, or the factory fails.
    """
    if declared.by_factory:
        return _of_factory(file, declared)
    architecture, dataset, sparsity = declared.family, declared.dataset, declared.sparsity
    resolved = multiply_masks(file.state, sparsity)
    candidates, method = declared.layouts(), declared.method
    published = [one.name for one in method_layouts(method, architecture)] if method else []
    fitting, narrower = [], []
    for one in candidates:
        own = one.name == declared.layout or one.name in published
        match = _match(file, resolved, one, dataset, own=own)
        if own or not one.named_only:
            fitting += [(one, match)] if match.fits else []
            narrower += [(one, match)] if is_narrower(match, one, dataset) else []
    fitting = fitting or narrower
    preferred = [pair for pair in fitting if pair[0].name in published] or fitting
    if not preferred:
        raise CheckpointError(_misfit(file, declared))
    chosen, match = preferred[0]
    different = [one.name for one, other in preferred if not _same_outputs(chosen, match, one, other, dataset)]
    if different:
        raise CheckpointError(
            f"{file.path}: fits the layouts {', '.join([chosen.name, *different])}, with the same tensors and "
            "different outputs (normalisation of the inputs). Say which with --layout, or name a method that has one."
        )
    if chosen.needs_sparsity and sparsity is None:
        raise CheckpointError(
            f"{file.path}: layout {chosen.name} holds scores, from which the declared sparsity makes the mask. "
            "Declare the sparsity."
        )
    notes = [*file.notes, *match.notes]
    if not match.fits:
        notes.append("The network has fewer filters or channels than the dense one: they were removed from the file.")
    if method and published and chosen.name not in published:
        name = method.partition("_")[0]
        notes.append(f"Not the layout of {name}'s published checkpoints; {chosen.name} fits.")
    if chosen.note:
        notes.append(chosen.note)
    with torch.random.fork_rng(devices=[]):
        network = chosen.build(dataset, sparsity)
    if not match.fits:
        resize(network, match.tensors)
        try:
            network(torch.zeros(2, *dataset.shape))
        except (RuntimeError, AssertionError):  # layers of which one does not take what the other gives
            raise CheckpointError(_misfit(file, declared)) from None
    return LoadedNetwork(_filled(network, match, notes), file, chosen.name, tuple(notes))


def _of_factory(file: CheckpointFile, declared: Declared) -> LoadedNetwork:
    built = build_network(declared.architecture)
    network = built.network.cpu().float().eval()
    if not network.state_dict():
        raise NetworkError("the factory's network has no parameters; return one whose state dict the checkpoint fills")
    if any(is_lazy(parameter) for parameter in network.parameters()):
        raise NetworkError(
            "the factory's network has lazy layers without a shape; run it once on an image before it is returned"
        )
    resolved, matches = multiply_masks(file.state, declared.sparsity), list[Match]()
    while True:
        state = network.state_dict()
        expected = {name: TensorSpec(tuple(value.shape), value.dtype) for name, value in state.items()}
        first = next(iter(state))
        prefixes = [first[: at + 1] for at, letter in enumerate(first) if letter == "."]
        prefixes = [prefix for prefix in prefixes if all(name.startswith(prefix) for name in state)]
        matches.append(best_match(file.state, resolved, expected, aliases=_aliases(state), own_prefixes=prefixes))
        if matches[-1].fits or not plain_layers(network):  # a file may have the weights that its layers compute
            break
    match = min(matches, key=lambda one: one.distance)
    if not match.fits:
        raise CheckpointError(
            f"{file.path}: does not fit the network of the factory: {match.reason}. Change the factory so that "
            "its network has exactly the tensors of the file."
        )
    notes = [*file.notes, *match.notes]
    network = _filled(network, match, notes)
    multiply_own_masks(network, declared.dataset, notes)
    return LoadedNetwork(network, file, built.name, tuple(notes), built.sha256)


def in_memory(network: nn.Module) -> LoadedNetwork:
    """A copy of a network in memory, with the hash of its canonical form.

    The canonical form is what ``safetensors.torch.save`` makes of the state dict, every tensor on the CPU, contiguous
    and in its own memory. It depends on names, shapes, types and values alone.

    Raises:
        NetworkError: If the network cannot be copied, or holds tensors that safetensors has no type for.
    """
    try:
        mine = copy.deepcopy(network)
        state = {name: value.detach().cpu().contiguous().clone() for name, value in mine.state_dict().items()}
        canonical = safetensors.torch.save(state)
    except Exception as error:  # copying and saving run foreign code, which may fail in any way
        raise NetworkError(
            f"the network cannot be copied and saved ({type(error).__name__}: {error}); give a checkpoint instead"
        ) from error
    digest = hashlib.sha256(canonical).hexdigest()
    file = CheckpointFile(Path(IN_MEMORY), state, IN_MEMORY, "bare", digest, len(canonical))
    plain_layers(mine.eval())
    return LoadedNetwork(mine, file, IN_MEMORY)


def explain_layouts(
    checkpoint: CheckpointFile, dataset: Dataset | None = None, *, sparsity: float | None = None
) -> tuple[LayoutFit, ...]:
    """How well a checkpoint of the declared sparsity fits every registered layout (of `dataset`), the best first."""
    resolved = multiply_masks(checkpoint.state, sparsity)
    fits = [
        LayoutFit(layout, _match(checkpoint, resolved, layout, dataset or layout.datasets[0], own=False))
        for layout in layouts().values()
        if dataset is None or layout.fits(dataset)
    ]
    return tuple(sorted(fits, key=lambda fit: fit.match.distance))


_OWN_FACTORY = "For another network give a factory, --arch path/to/file.py:factory."


def _match(checkpoint: CheckpointFile, resolved: Resolved, layout: Layout, dataset: Dataset, *, own: bool) -> Match:
    """The best reading of a checkpoint for a layout, which is the method's or was named if it is `own`.

    Then a file without MAD's masks fits MAD's layouts, as in the method's own test, which ignores them.
    """
    expected, stored = layout.tensors(dataset), _without(layout.unused, checkpoint.state)
    masks = {name: spec for name, spec in expected.items() if name.rpartition(".")[2].startswith("mask_")}
    unmasked = own and bool(masks) and not any(name.rpartition(".")[2].startswith("mask_") for name in checkpoint.state)
    if unmasked:
        expected = {name: spec for name, spec in expected.items() if name not in masks}
    groups = _layout_aliases(layout)
    own_prefixes = [layout.prefix] if layout.prefix else ["model."] if groups else []
    resolved = replace(resolved, state=_without(layout.unused, resolved.state))
    match = best_match(stored, resolved, expected, aliases=groups, own_prefixes=own_prefixes)
    if spare := len(checkpoint.state) - len(stored):
        unused = f"{spare} tensors of {', '.join(layout.unused)}, on which no output depends, left out."
        match = replace(match, notes=(*match.notes, unused))
    inside = layout.normalisation_of(dataset)
    if match.normalisation and inside and not _close(match.normalisation, inside):
        problem = f"normalisation in the file {_constants(match.normalisation)}, in the layout {_constants(inside)}"
        return replace(match, problems=(*match.problems, problem))
    if match.fits and unmasked:
        neutral = {name: torch.full(spec.shape, NEUTRAL_MASK) for name, spec in masks.items()}
        note = "The file has no masks; every mask was set to 1."
        return replace(match, tensors={**match.tensors, **neutral}, notes=(*match.notes, note))
    return match


def _without(modules: Sequence[str], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the tensors of some modules, whatever wraps the network."""
    return {name: value for name, value in state.items() if not set(modules) & set(name.split("."))}


def _filled(network: nn.Module, match: Match, notes: list[str]) -> nn.Module:
    """The network with the tensors of an exact match, ready to be evaluated; adds to `notes`."""
    network.load_state_dict(dict(match.tensors), strict=True)
    weakened = sum(
        int(((functional.softplus(value) < 0.5) & (match.tensors[name.replace(".mask_", ".")] != 0)).sum())
        for name, value in match.tensors.items()
        if name.rpartition(".")[2] == "mask_weight"
    )
    replaced = plain_layers(network.eval())
    if replaced:
        notes.append(f"Masks or scores of {len(replaced)} layers multiplied out.")
    if weakened:
        notes.append(f"Masks scale {weakened} weights that are not zero to less than half; they count as non-zero.")
    inside = [module.constants for module in network.modules() if isinstance(module, Normalise)]
    if inside:
        notes.append(f"Inputs are normalised inside the network {_constants(inside[0])}.")
    elif match.normalisation is not None:
        network = nn.Sequential(Normalise(match.normalisation), network)
        notes.append(f"The file's normalisation {_constants(match.normalisation)} is applied before the network.")
    return network.eval()


def _same_outputs(one: Layout, match: Match, other: Layout, other_match: Match, dataset: Dataset) -> bool:
    """Whether two layouts that fit give the same logits, normalisation from the file included."""
    if one.network != other.network:
        return False
    first = one.normalisation_of(dataset) or match.normalisation
    second = other.normalisation_of(dataset) or other_match.normalisation
    return first == second or (first is not None and second is not None and _close(first, second))


def _close(one: Normalisation, other: Normalisation) -> bool:
    """Whether the constants are the same up to the rounding of float32."""
    return all(abs(a - b) <= 1e-6 for a, b in zip(one.mean + one.std, other.mean + other.std, strict=True))


def _constants(normalisation: Normalisation) -> str:
    return f"(mean {list(normalisation.mean)}, std {list(normalisation.std)})"


@cache
def _layout_aliases(layout: Layout) -> tuple[tuple[str, ...], ...]:
    with torch.device("meta"):
        return _aliases(layout.build(layout.datasets[0]).state_dict(keep_vars=True))


def _aliases(state: dict[str, Tensor]) -> tuple[tuple[str, ...], ...]:
    """Groups of two or more names of a state dict that hold one and the same tensor object or storage."""
    groups: dict[object, list[str]] = {}
    for name, value in state.items():
        identity = id(value) if value.is_meta or value.numel() == 0 else (value.data_ptr(), value.shape, value.stride())
        groups.setdefault(identity, []).append(name)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)


def _misfit(file: CheckpointFile, declared: Declared) -> str:
    fits = explain_layouts(file, declared.dataset, sparsity=declared.sparsity)
    wanted = [fit for fit in fits if fit.layout in declared.layouts()]
    best, *others = wanted
    what = f"layout {declared.layout}" if declared.layout else f"any layout of {declared.architecture}"
    lines = [f"{file.path}: does not fit {what} ({len(file.state)} tensors)."]
    elsewhere = [fit.layout for fit in fits if fit.match.fits and fit not in wanted]
    for family in sorted({one.architecture for one in elsewhere}):
        names = ", ".join(one.name for one in elsewhere if one.architecture is family)
        lines.append(f"It fits {family} ({names}): declare that instead.")
    lines.append(f"Best is {best.layout.name}: {best.match.reason or 'it fits, but only if named with --layout'}.")
    if others:
        lines.append(f"The others: {'; '.join(f'{fit.layout.name} {fit.match.summary}' for fit in others)}.")
    if not elsewhere:
        lines.append(_OWN_FACTORY)
    return " ".join(lines)
