"""Networks from checkpoints: strict, with the layout chosen by the method or found by its tensors.

A checkpoint fits a layout when, wrappers and masks accounted for, its tensors are exactly those of the layout, by name
and shape. There is no partial loading, so no weight is ever left at its random initialisation.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from apsite.errors import CheckpointError, NetworkError
from apsite.evaluation.checkpoints.matching import Match, best_match
from apsite.evaluation.checkpoints.networks.layers import NEUTRAL_MASK, Normalisation, Normalise, multiply_out
from apsite.evaluation.checkpoints.networks.registry import (
    Layout,
    TensorSpec,
    layouts,
    layouts_of,
    method_layouts,
    published_method,
)
from apsite.evaluation.checkpoints.reading import Checkpoint, read_checkpoint
from apsite.evaluation.checkpoints.stored_masks import Resolved, multiply_masks
from apsite.vocabulary import Architecture, Dataset


@dataclass(frozen=True)
class FittedNetwork:
    """A network with the weights of a checkpoint.

    Attributes:
        network: In evaluation mode, float32, on the CPU; from images in [0, 1] to logits. Masks and scores are
            multiplied out, so pruned weights are zeros of ordinary layers.
        layout: Name of the registered layout; empty for a factory's network.
        notes: What was done on the way and what a reader of the results should know, one sentence each.
    """

    network: nn.Module
    layout: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayoutFit:
    """How well a checkpoint fits one registered layout.

    Attributes:
        layout: The layout.
        fits: Whether all its tensors are there, and nothing else.
        distance: Number of tensors that do not fit.
        summary: Why it does not fit, in numbers; empty if it fits.
        reason: The same with some of the names.
    """

    layout: Layout
    fits: bool
    distance: int
    summary: str
    reason: str


def load_network(
    checkpoint: str | Path,
    *,
    architecture: str | Architecture,
    method: str | None = None,
    dataset: str | Dataset = Dataset.CIFAR10,
    sparsity: float | None = None,
    layout: str | None = None,
    unsafe: bool = False,
) -> nn.Module:
    """The pruned network of a checkpoint, in evaluation mode, float32, on the CPU.

    Args:
        checkpoint: A safetensors file, or one that ``torch.save`` wrote.
        architecture: ``resnet18``, ``vgg16``, ``resnet50`` or ``resnet8``, the name of a registered layout, or your own
            factory as ``path/to/file.py:factory`` or ``package.module:factory``.
        method: Method key or name, which decides between layouts that have the same tensors.
        dataset: Decides the constants of layouts that normalise inside the network.
        sparsity: Declared sparsity, a fraction. Needed only where a checkpoint holds scores instead of zeros.
        layout: Name of a registered layout, to choose it explicitly.
        unsafe: Allow the file to execute code; see :func:`apsite.evaluation.checkpoints.reading.read_checkpoint`.

    Returns:
        A network from images ``(n, 3, height, width)`` in [0, 1] to logits ``(n, classes)``.

    Raises:
        CheckpointError: If the file cannot be read or does not fit exactly.
        NetworkError: If the architecture or layout is unknown, or the factory fails.
        ValueError: If `dataset` is not one of the known words.
    """
    file = read_checkpoint(Path(checkpoint), unsafe=unsafe)
    if ":" in architecture:
        return fit_factory(file, load_factory(architecture), sparsity=sparsity).network
    words = {word.value: word for word in Architecture}
    if architecture in words:
        family = words[architecture]
    elif architecture in layouts():
        family, layout = layouts()[architecture].architecture, layout or architecture
    else:
        raise NetworkError(
            f"architecture {architecture!r} is not one of {', '.join(words)}, a registered layout, or a factory such "
            "as path/to/file.py:factory"
        )
    return fit_layout(file, family, method, Dataset(dataset), sparsity=sparsity, layout=layout).network


def fit_layout(
    checkpoint: Checkpoint,
    architecture: Architecture,
    method: str | None = None,
    dataset: Dataset = Dataset.CIFAR10,
    *,
    sparsity: float | None = None,
    layout: str | None = None,
) -> FittedNetwork:
    """The network of a registered layout with the weights of a checkpoint.

    A named layout is used or refused. Otherwise a layout of the method's published checkpoints comes first, and then
    any layout of the architecture whose tensors are exactly those of the file. When several fit and give different
    outputs, the file alone cannot tell, and that is an error.

    Args:
        checkpoint: What :func:`apsite.evaluation.checkpoints.reading.read_checkpoint` gave.
        architecture: Network family.
        method: Method key or name.
        dataset: Decides the constants of layouts that normalise inside the network.
        sparsity: Declared sparsity, a fraction; ``None`` or 0 for a dense network.
        layout: Name of a layout.

    Raises:
        CheckpointError: If nothing fits, or more than one thing does. The message names the best layout and what is
            missing, unexpected or misshapen.
        NetworkError: If `layout` is not registered, or is of another architecture or dataset.
    """
    resolved = multiply_masks(checkpoint.state, sparsity)
    candidates = [one for one in layouts_of(architecture) if dataset in one.datasets]
    published = [one.name for one in method_layouts(method, architecture)] if method else []
    if layout is not None:
        if layout not in {one.name for one in candidates}:
            known = ", ".join(one.name for one in candidates) or "none"
            raise NetworkError(f"layout {layout!r} is not one of those for {architecture} and {dataset}: {known}")
        candidates = [layouts()[layout]]
    elif not candidates:
        raise CheckpointError(f"{checkpoint.path}: no layout of {architecture} is for {dataset}. {_OWN_FACTORY}")
    fitting = []
    for one in candidates:
        own = one.name == layout or one.name in published
        match = _match(checkpoint, resolved, one, dataset, own=own)
        if match.fits and (own or not one.named_only):
            fitting.append((one, match))
    preferred = [pair for pair in fitting if pair[0].name in published] or fitting
    if not preferred:
        raise CheckpointError(_misfit(checkpoint, architecture, dataset, sparsity, layout, method))
    chosen, match = preferred[0]
    different = [one.name for one, other in preferred if not _same_outputs(chosen, match, one, other, dataset)]
    if different:
        raise CheckpointError(
            f"{checkpoint.path}: fits the layouts {', '.join([chosen.name, *different])}, with the same tensors and "
            "different outputs (normalisation of the inputs). Say which with --layout, or name a method that has one."
        )
    if chosen.needs_sparsity and sparsity is None:
        raise CheckpointError(
            f"{checkpoint.path}: layout {chosen.name} holds scores, from which the declared sparsity makes the mask. "
            "Declare the sparsity."
        )
    notes = [*checkpoint.notes, *match.notes]
    if published and chosen.name not in published:
        notes.append(f"Not the layout of {published_method(method or '')}'s published checkpoints; {chosen.name} fits.")
    if chosen.note:
        notes.append(chosen.note)
    with torch.random.fork_rng(devices=[]):
        network = chosen.build(dataset, sparsity)
    return FittedNetwork(_filled(network, match, notes), chosen.name, tuple(notes))


def explain_layouts(
    checkpoint: Checkpoint, dataset: Dataset | None = None, *, sparsity: float | None = None
) -> tuple[LayoutFit, ...]:
    """How well a checkpoint fits every registered layout, the best first.

    Args:
        checkpoint: The file.
        dataset: Look at the layouts of this dataset only.
        sparsity: Declared sparsity, a fraction.
    """
    resolved = multiply_masks(checkpoint.state, sparsity)
    fits = []
    for layout in layouts().values():
        if dataset is None or dataset in layout.datasets:
            match = _match(checkpoint, resolved, layout, dataset or layout.datasets[0], own=False)
            fits.append(LayoutFit(layout, match.fits, match.distance, match.summary, match.reason))
    return tuple(sorted(fits, key=lambda fit: fit.distance))


def load_factory(spec: str) -> Callable[[], nn.Module]:
    """The function that a factory specification names.

    Args:
        spec: ``path/to/file.py:factory`` or ``package.module:factory``. The function takes no arguments and gives a
            network from images in [0, 1] to logits. Its module is executed. The folder of the file, or the working
            directory, is searched for what it imports.

    Raises:
        NetworkError: If there is no such file, module or function, or importing it fails.
    """
    source, _, name = spec.rpartition(":")
    if not source or not name.isidentifier():
        raise NetworkError(f"{spec}: a factory is written path/to/file.py:factory or package.module:factory")
    is_file = source.endswith(".py") or "/" in source
    if is_file and not Path(source).is_file():
        raise NetworkError(f"{spec}: there is no file {source}")
    folder = Path(source).resolve().parent if is_file else Path.cwd()
    try:
        with _importable(folder):
            if is_file:
                found = importlib.util.spec_from_file_location(_module_name(source), source)
                assert found is not None
                assert found.loader is not None
                module = importlib.util.module_from_spec(found)
                sys.modules[found.name] = module  # dataclasses and pickles look their module up
                found.loader.exec_module(module)
            else:
                module = importlib.import_module(source)
    except (Exception, SystemExit) as error:  # the module is the user's program
        sys.modules.pop(_module_name(source), None)
        raise NetworkError(f"{spec}: importing it failed: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        offered = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise NetworkError(f"{spec}: no function {name!r} in {source}; it has {', '.join(offered) or 'none'}")

    def build() -> nn.Module:
        try:
            with _importable(folder), torch.random.fork_rng(devices=[]):
                network = function()
        except (Exception, SystemExit) as error:  # as above
            raise NetworkError(f"{spec}: building the network failed: {type(error).__name__}: {error}") from error
        if not isinstance(network, nn.Module):
            raise NetworkError(f"{spec}: gave a {type(network).__name__}, not a torch.nn.Module")
        return network

    return build


def fit_factory(
    checkpoint: Checkpoint, factory: Callable[[], nn.Module], *, sparsity: float | None = None
) -> FittedNetwork:
    """The network of a factory with the weights of a checkpoint, as strictly as for a registered layout.

    Args:
        checkpoint: The file.
        factory: Gives the network, with any weights.
        sparsity: Declared sparsity, a fraction; used only where a checkpoint holds scores instead of zeros.

    Raises:
        CheckpointError: If the tensors are not exactly those of the network.
    """
    network = factory().cpu().float()
    state = network.state_dict()
    if not state:
        raise NetworkError("the factory's network has no parameters; return one whose state dict the checkpoint fills")
    expected = {name: TensorSpec(tuple(value.shape), value.dtype) for name, value in state.items()}
    match = best_match(checkpoint.state, multiply_masks(checkpoint.state, sparsity), expected, aliases=_aliases(state))
    if not match.fits:
        raise CheckpointError(
            f"{checkpoint.path}: does not fit the network of the factory: {match.reason}. Change the factory so that "
            "its network has exactly the tensors of the file."
        )
    notes = [*checkpoint.notes, *match.notes]
    return FittedNetwork(_filled(network, match, notes), "", tuple(notes))


_OWN_FACTORY = "For another network give a factory, --arch path/to/file.py:factory."


def _match(checkpoint: Checkpoint, resolved: Resolved, layout: Layout, dataset: Dataset, *, own: bool) -> Match:
    """The best reading of a checkpoint for a layout.

    Args:
        checkpoint: The file.
        resolved: Its tensors with masks multiplied out.
        layout: The layout.
        dataset: Decides the layout's normalisation.
        own: Whether the layout is the method's or was named. Then a file without MAD's masks fits MAD's layouts, as in
            the method's own test, which ignores them.
    """
    expected = layout.tensors()
    masks = {name: spec for name, spec in expected.items() if name.rpartition(".")[2].startswith("mask_")}
    unmasked = own and bool(masks) and not any(name.rpartition(".")[2].startswith("mask_") for name in checkpoint.state)
    if unmasked:
        expected = {name: spec for name, spec in expected.items() if name not in masks}
    groups = _layout_aliases(layout)
    own_prefixes = [layout.prefix] if layout.prefix else ["model."] if groups else []
    match = best_match(checkpoint.state, resolved, expected, aliases=groups, own_prefixes=own_prefixes)
    inside = layout.normalisation_of(dataset)
    if match.normalisation and inside and not _close(match.normalisation, inside):
        problem = f"normalisation in the file {_constants(match.normalisation)}, in the layout {_constants(inside)}"
        return _changed(match, problems=(*match.problems, problem))
    if match.fits and unmasked:
        neutral = {name: torch.full(spec.shape, NEUTRAL_MASK) for name, spec in masks.items()}
        note = "The file has no masks; every mask was set to 1."
        return _changed(match, tensors={**match.tensors, **neutral}, notes=(*match.notes, note))
    return match


def _changed(match: Match, **changes: object) -> Match:
    return Match(**{**vars(match), **changes})


def _filled(network: nn.Module, match: Match, notes: list[str]) -> nn.Module:
    """The network with the tensors of an exact match, ready to be evaluated; adds to `notes`."""
    network.load_state_dict(dict(match.tensors), strict=True)
    weakened = sum(
        int(((functional.softplus(value) < 0.5) & (match.tensors[name.replace(".mask_", ".")] != 0)).sum())
        for name, value in match.tensors.items()
        if name.rpartition(".")[2] == "mask_weight"
    )
    replaced = multiply_out(network)
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
    """Whether two normalisations have the same constants up to the rounding of float32."""
    pairs = zip((*one.mean, *one.std), (*other.mean, *other.std), strict=True)
    return all(abs(a - b) <= 1e-6 for a, b in pairs)


def _constants(normalisation: Normalisation) -> str:
    return f"(mean {list(normalisation.mean)}, std {list(normalisation.std)})"


@cache
def _layout_aliases(layout: Layout) -> tuple[tuple[str, ...], ...]:
    """Names that stand for one tensor in checkpoints of a layout."""
    with torch.device("meta"):
        return _aliases(layout.build(layout.datasets[0]).state_dict(keep_vars=True))


def _aliases(state: dict[str, Tensor]) -> tuple[tuple[str, ...], ...]:
    """Groups of two or more names of a state dict that hold one and the same tensor object or storage."""
    groups: dict[object, list[str]] = {}
    for name, value in state.items():
        identity = id(value) if value.is_meta or value.numel() == 0 else (value.data_ptr(), value.shape, value.stride())
        groups.setdefault(identity, []).append(name)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)


def _misfit(
    checkpoint: Checkpoint,
    architecture: Architecture,
    dataset: Dataset,
    sparsity: float | None,
    layout: str | None,
    method: str | None,
) -> str:
    """Message for a checkpoint that fits nothing it may fit."""
    fits = explain_layouts(checkpoint, dataset, sparsity=sparsity)
    wanted = [fit for fit in fits if fit.layout.architecture is architecture and layout in (None, fit.layout.name)]
    best, *others = wanted
    what = f"layout {layout}" if layout else f"any layout of {architecture}"
    lines = [f"{checkpoint.path}: does not fit {what} ({len(checkpoint.state)} tensors)."]
    elsewhere = [fit.layout for fit in fits if fit.fits and fit not in wanted]
    for family in sorted({one.architecture for one in elsewhere}):
        names = ", ".join(one.name for one in elsewhere if one.architecture is family)
        lines.append(f"It fits {family} ({names}): declare that instead.")
    lines.append(f"Best is {best.layout.name}: {best.reason or 'it fits, but only when asked for by name'}.")
    if others:
        lines.append(f"The others: {'; '.join(f'{fit.layout.name} {fit.summary}' for fit in others)}.")
    if not elsewhere:
        lines.append(_OWN_FACTORY)
    return " ".join(lines)


def _module_name(source: str) -> str:
    """Name under which a factory's file is imported; no module of that name can be found otherwise."""
    return f"apsite_factory_{Path(source).stem}"


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Search `folder` for imports first while the context lasts."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
