"""From a checkpoint to a pruned or a fine-tuned checkpoint on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from apsite.baselines.criteria.learned import learned_masks
from apsite.baselines.criteria.terms import BaselineCriterion
from apsite.baselines.pruning import Masks, apply_masks, masks_for, pattern_masks, prunable_weights, zero_masks
from apsite.baselines.training import Recipe, resolve_precision, train
from apsite.errors import CheckpointError, EvaluationError, NetworkError
from apsite.evaluation.attacks.execution import device_errors, logits_of
from apsite.evaluation.checkpoints.audit import audit_network, check_pattern, check_sparsity
from apsite.evaluation.checkpoints.factories import build_network
from apsite.evaluation.checkpoints.loading import Declared, LoadedNetwork, in_memory, open_network
from apsite.evaluation.checkpoints.networks.layers import Normalise, Parametrisation
from apsite.evaluation.checkpoints.networks.registry import Layout, layouts
from apsite.evaluation.checkpoints.packed import write_checkpoint
from apsite.evaluation.checkpoints.reading import read_checkpoint
from apsite.evaluation.runs.environment import choose_device
from apsite.evaluation.runs.evaluate import RUNS, check_target
from apsite.evaluation.runs.run_state import RunState
from apsite.evaluation.testsets.datasets import array_hash, load_training_set
from apsite.progress import Reporter
from apsite.records import CheckpointAudit
from apsite.records.patterns import Pattern
from apsite.vocabulary import Locality, Structure

CHANCE = 0.001
"""Share of zeros that a dense network may have: a weight can be drawn as zero, or become it in half precision."""


@dataclass(frozen=True)
class Source(Declared):
    """A network to start from: what is declared of it, and its weights.

    Attributes:
        checkpoint: Its weights; ``None`` for new ones, of the first layout of the architecture if none is named.
        state: Dotted keys of the state dict to read, where the file holds several.
    """

    checkpoint: Path | None = None
    state: str | None = None


@dataclass(frozen=True)
class Format:
    """How a checkpoint is written: see :func:`apsite.evaluation.checkpoints.packed.write_checkpoint`."""

    half: bool = False
    packed: bool = False


@dataclass(frozen=True)
class Written:
    """A checkpoint on disk: its size in bytes, its zero counts, and what its metadata say of how it was made.

    `seconds` is the wall time of the training, of all parts if it was interrupted; 0 for pruning alone.
    """

    path: Path
    sha256: str
    size: int
    audit: CheckpointAudit
    about: Mapping[str, object] = field(default_factory=dict)
    seconds: float = 0.0


def load(source: Source, seed: int = 0) -> LoadedNetwork:
    """Network of a source, with new weights drawn from `seed` where it has no checkpoint.

    Raises:
        CheckpointError: If the checkpoint cannot be read or does not fit.
        NetworkError: If its weights are made of masks or scores, or its architecture is unknown.
    """
    if source.checkpoint is None:
        return _new(source, seed)
    loaded = open_network(read_checkpoint(source.checkpoint, state=source.state), source)
    if not source.by_factory:
        _check_plain(layouts()[loaded.layout])
    if isinstance(loaded.network, nn.Sequential) and any(isinstance(one, Normalise) for one in loaded.network):
        raise CheckpointError(
            f"{source.checkpoint}: holds constants that normalise the images, which a written checkpoint of layout "
            f"{loaded.layout} would lose; give a factory that normalises inside the network"
        )
    return loaded


def load_dense(source: Source) -> LoadedNetwork:
    """Network of a checkpoint that was not pruned; at most :data:`CHANCE` of its weights are zero.

    Raises:
        ApsiteError: If it cannot be loaded, or is pruned already.
    """
    loaded = load(source)
    masks = zero_masks(loaded.network)
    zero = sum(int((~mask).sum()) for mask in masks.values())
    total = sum(weight.numel() for weight in prunable_weights(loaded.network).values())
    if zero > CHANCE * total:
        raise EvaluationError(
            f"{source.checkpoint}: is pruned already; give the dense network. Of {total:,} weights and what belongs to "
            f"them {zero:,} are zero, in {len(masks)} tensors, of which {next(iter(masks))} is the first"
        )
    return loaded


@dataclass(frozen=True)
class Search:
    """How a criterion is learned from training images; the attributes are arguments of :func:`finetune`."""

    recipe: Recipe
    data_dir: Path
    device: str | None = None
    precision: str = "auto"
    run_dir: Path = RUNS
    fresh: bool = False


def prune(
    source: Source, criterion: BaselineCriterion, locality: Locality, sparsity: float, output: Path, *,
    written: Format = Format(), seed: int = 0, pattern: Pattern | None = None, search: Search | None = None,
    reporter: Reporter | None = None,
) -> Written:  # fmt: skip
    """Mask a dense network exactly to a sparsity, a fraction in (0, 1), and write it.

    With a `pattern` N weights of each group of M stay, those of largest magnitude. A criterion that is learned takes a
    `search`, of which an interrupted one is resumed; the other arguments are those of
    :func:`apsite.baselines.pruning.masks_for`.

    Raises:
        ApsiteError: If the network cannot be loaded or pruned in this way, or the images cannot be read.
    """
    if source.checkpoint is None:
        raise EvaluationError("there is nothing to prune without a checkpoint")
    _check_output(output, source)
    loaded = load_dense(source)
    about = pruning_of(loaded, source, criterion, locality, sparsity, seed, pattern, search)
    if pattern is None:
        masks, structure = masks_for(loaded.network, criterion, locality, sparsity, seed), criterion.structure
    else:
        masks, structure = pattern_masks(loaded.network, pattern), Structure.SEMI_STRUCTURED
    if not criterion.learned:
        return _write_pruned(source, loaded, masks, structure, sparsity, output, written, about, pattern)
    if search is None:
        raise EvaluationError(f"{criterion} is learned from training images; give a search")
    reporter, place = reporter or Reporter(), choose_device(search.device)
    _check_classes(loaded.network, source)
    images, labels = load_training_set(source.dataset, search.data_dir)
    about |= {"environment": _environment(place, search.precision, images, labels)}
    for line in loaded.notes:
        reporter.say(line)
    reporter.say(f"{criterion}, {locality}: {search.recipe.summary}, on {place}")
    with RunState(search.run_dir, about, fresh=search.fresh, about=f"prune: {output}") as state:
        with device_errors(place):
            masks, seconds = learned_masks(
                loaded.network, criterion, locality, sparsity, images, labels, search.recipe, device=place,
                precision=search.precision, state=state, reporter=reporter,
            )  # fmt: skip
        result = _write_pruned(source, loaded, masks, structure, sparsity, output, written, about, pattern)
        state.clear()
    return replace(result, seconds=seconds)


def pruning_of(
    loaded: LoadedNetwork, source: Source, criterion: BaselineCriterion, locality: Locality, sparsity: float,
    seed: int = 0, pattern: Pattern | None = None, search: Search | None = None,
) -> dict[str, object]:  # fmt: skip
    """What decides about a pruned network, for the metadata of its file: the dense network and all settings.

    A file that :func:`prune` wrote has the ``environment`` of a search too, which decides about its rounding only.
    """
    return {
        "made_by": "apsite prune", "dense_sha256": loaded.file.sha256, "layout": loaded.layout,
        "criterion": criterion.value, "locality": locality.value, "sparsity": sparsity,
        **({"pattern": str(pattern)} if pattern else {}), **({"state": source.state} if source.state else {}),
        **({"seed": seed} if criterion is BaselineCriterion.RANDOM else {}),
        **({"recipe": asdict(search.recipe)} if search and criterion.learned else {}),
    }  # fmt: skip


def _write_pruned(
    source: Source, loaded: LoadedNetwork, masks: Masks, structure: Structure, sparsity: float, output: Path,
    written: Format, about: Mapping[str, object], pattern: Pattern | None,
) -> Written:  # fmt: skip
    """Apply masks and write the network, once its sparsity is checked."""
    apply_masks(loaded.network, masks)
    if structure is not Structure.STRUCTURED:
        for name, weight in prunable_weights(loaded.network).items():
            if not torch.equal(weight != 0, masks[name]):
                raise EvaluationError(
                    f"{source.checkpoint}: {name} already has more zeros than {sparsity:.2%} removes; choose a "
                    "higher --sparsity"
                )
    audit = audit_network(loaded.network, torch.zeros(1, *source.dataset.shape), pattern=pattern)
    if pattern is not None:
        check_pattern(loaded.network, audit, pattern)
    check_sparsity(audit, structure, sparsity)
    return _write(output, loaded.network, written, audit, about)


def finetune(
    source: Source, recipe: Recipe, data_dir: Path, output: Path, *, written: Format = Format(),
    device: str | None = None, precision: str = "auto", run_dir: Path = RUNS, fresh: bool = False,
    note: Mapping[str, object] | None = None, reporter: Reporter | None = None,
) -> Written:  # fmt: skip
    """Train a network adversarially and write it, with exactly the zeros of a pruned one.

    An interrupted run, whose state is in `run_dir`, is resumed unless `fresh`. Without a `device` CUDA is used where
    there is one; `precision` is that of :func:`apsite.baselines.training.train`, and `note` joins the file's metadata.

    Raises:
        ApsiteError: If the network, the data or the settings are not as they must be.
    """
    reporter, place = reporter or Reporter(), choose_device(device)
    _check_output(output, source)
    loaded = load(source, recipe.seed)
    masks = {} if source.checkpoint is None else zero_masks(loaded.network)  # a new weight is zero by chance alone
    example = torch.zeros(1, *source.dataset.shape)
    before = audit_network(loaded.network, example).zero_weights if masks else 0
    held = sum(int((~mask).sum()) for name, mask in masks.items() if name in prunable_weights(loaded.network))
    if held < before:
        raise EvaluationError(
            f"{source.checkpoint}: {before - held:,} of its zero weights are computed in the forward pass, where "
            "training would fill them; save the weights that act, and give a factory with ordinary layers"
        )
    _check_classes(loaded.network, source)
    images, labels = load_training_set(source.dataset, data_dir)
    about: dict[str, object] = {
        **(note or {}), "made_by": "apsite finetune",
        "source_sha256": None if source.checkpoint is None else loaded.file.sha256, "layout": loaded.layout,
        **({"state": source.state} if source.state else {}),
        "recipe": asdict(recipe), **_environment(place, precision, images, labels),
    }  # fmt: skip
    removed = sum(int((~mask).sum()) for mask in masks.values())
    for line in loaded.notes:
        reporter.say(line)
    reporter.say(f"{recipe.summary}, {about['precision']} on {place}; {removed:,} values stay zero")
    with RunState(run_dir, about, fresh=fresh, about=f"finetune: {output}") as state:
        with device_errors(place):
            seconds = train(
                loaded.network, images, labels, recipe, masks=masks, device=place, precision=precision, state=state,
                reporter=reporter,
            )  # fmt: skip
        kept, audit = zero_masks(loaded.network), audit_network(loaded.network, example)
        moved = any(name not in kept or not torch.equal(kept[name], mask) for name, mask in masks.items())
        if moved or audit.zero_weights < before:
            raise EvaluationError("training has moved a zero of the mask or made a new one; nothing was written")
        result = _write(output, loaded.network, written, audit, about, seconds)
        state.clear()
    return result


def _environment(
    place: torch.device, precision: str, images: NDArray[np.uint8], labels: NDArray[np.int64]
) -> dict[str, object]:
    """What the arithmetic of a training depends on besides its recipe."""
    return {
        "precision": str(resolve_precision(precision, place)).removeprefix("torch."),
        "training_data_sha256": array_hash(images, labels),
        "threads": torch.get_num_threads() if place.type == "cpu" else None, "device": place.type,
        "torch": torch.__version__,
    }  # fmt: skip


def _check_classes(network: nn.Module, source: Source) -> None:
    """Raise :class:`NetworkError` unless the network has a logit for each class of the dataset."""
    with torch.no_grad():
        outputs = logits_of(network, torch.zeros(1, *source.dataset.shape)).shape[1]
    if outputs != source.dataset.classes:
        raise NetworkError(
            f"the network has logits of {outputs} classes, {source.dataset.label} has {source.dataset.classes}"
        )


def _check_output(output: Path, source: Source) -> None:
    """Check before the training that the result can be written without overwriting the source."""
    check_target(output, overwrite=True)
    if source.checkpoint is not None and output.resolve() == source.checkpoint.resolve():
        raise EvaluationError(f"{output}: is the input checkpoint; choose another --output")


def _write(
    output: Path, network: nn.Module, written: Format, audit: CheckpointAudit, about: Mapping[str, object],
    seconds: float = 0.0,
) -> Written:  # fmt: skip
    try:
        write_checkpoint(output, network.state_dict(), half=written.half, packed=written.packed, about=about)
        content = output.read_bytes()
    except OSError as error:
        raise EvaluationError(f"{output}: cannot be written: {error.strerror}; choose another --output") from None
    return Written(output, hashlib.sha256(content).hexdigest(), len(content), audit, about, seconds)


def _new(source: Source, seed: int) -> LoadedNetwork:
    """A network with new weights, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if source.by_factory:
            network, name, digest = build_network(source.architecture)
            return replace(in_memory(network.float()), layout=name, factory_sha256=digest)
        layout = source.layouts()[0]
        _check_plain(layout)
        return replace(in_memory(layout.build(source.dataset)), layout=layout.name)


def _check_plain(layout: Layout) -> None:
    if layout.parametrisation is not Parametrisation.PLAIN:
        raise NetworkError(
            f"layout {layout.name} makes its weights of masks or scores, which a mask of zeros does not fit; "
            "use a layout with ordinary weights (`apsite models list`)"
        )
