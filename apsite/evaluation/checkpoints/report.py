"""A report on a checkpoint, without attacks: which layout it has, how sparse it is, what it costs, how it behaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from apsite.errors import ApsiteError, CheckpointError, NetworkError
from apsite.evaluation.attacks.execution import as_inputs
from apsite.evaluation.checkpoints.audit import SparsityFinding, check_pattern, check_sparsity, check_weights
from apsite.evaluation.checkpoints.behaviour import check_behaviour
from apsite.evaluation.checkpoints.loading import (
    IN_MEMORY,
    Declared,
    LoadedNetwork,
    explain_layouts,
    in_memory,
    open_network,
)
from apsite.evaluation.checkpoints.networks.registry import Layout
from apsite.evaluation.checkpoints.reading import CheckpointFile, read_checkpoint
from apsite.evaluation.testsets.datasets import TEST_SETS, ImageSet, embedded_images, load_test_set, usual_folder
from apsite.keys import check_declared
from apsite.records import CheckpointAudit, EvaluationWarning
from apsite.records.census import membership
from apsite.records.patterns import Pattern, declared_pattern
from apsite.results import zero_shares
from apsite.vocabulary import Architecture, Dataset, Structure

_SMALL = 64
"""Most pixels on a side of images of which many are run at once."""


@dataclass(frozen=True)
class OtherLayout:
    """A registered layout and why it was not used: tensors in numbers, and with some of their names."""

    name: str
    architecture: Architecture
    summary: str
    reason: str


@dataclass(frozen=True)
class CheckpointReport:
    """What is known about a checkpoint without attacking it.

    Attributes:
        path: The file.
        size: Its bytes.
        sha256: Its hash, in hexadecimal.
        format: How it is written, such as ``safetensors``.
        container: Key of the file under which the tensors were; ``bare`` if there was none.
        architecture: What was asked for: a network family, or the specification of a factory.
        dataset: Dataset whose images the network takes.
        structure: Declared structure; ``None`` for a dense network or if nothing was declared.
        declared: Declared sparsity, a fraction; ``None`` if nothing was declared.
        layout: Registered layout that was used; ``None`` for a factory's network, or if nothing fits.
        others: The layouts that were not used, the nearest first; empty for a factory's network.
        family: Registered network family that it is of, for the images of the dataset; ``None`` if it is of none.
        narrowed: Whether it has fewer filters or channels than the dense network of that family.
        counts: Zeros, parameters and multiply-accumulates; ``None`` if nothing fits or the network fails.
        finding: Measured sparsity and the share that matches the declared one; ``None`` as `counts`, or if refused.
        shares: Removed share of the dense network by what was removed: ``weights`` (zero or gone), ``removed_weights``
            (of removed filters, channels and kernels), ``filters``, ``channels``, ``kernels``; empty as `counts`.
        inputs: On which images it was run; empty as long as nothing fits.
        warnings: What a reader of its results should know.
        notes: What was done to load it, one sentence each.
        refusals: Why it would not be evaluated, one message each; empty if it would be.
    """

    path: Path
    size: int
    sha256: str
    format: str
    container: str
    architecture: str
    dataset: Dataset
    structure: Structure | None
    declared: float | None
    layout: str | None = None
    others: tuple[OtherLayout, ...] = ()
    family: Architecture | None = None
    narrowed: bool = False
    counts: CheckpointAudit | None = None
    finding: SparsityFinding | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    inputs: str = ""
    warnings: tuple[EvaluationWarning, ...] = ()
    notes: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether `apsite eval` would refuse it."""
        return bool(self.refusals)

    def to_json(self) -> dict[str, Any]:
        """Document with the same names; paths and words as text."""
        return {**asdict(self), "path": str(self.path), "refused": self.refused}


def audit(
    network: nn.Module | str | Path, *, dataset: str | Dataset = Dataset.CIFAR10,
    architecture: str | Architecture | None = None, method: str | None = None,
    structure: str | Structure | None = None, sparsity: float | None = None, layout: str | None = None,
    state: str | None = None, pattern: str | None = None, data_dir: str | Path | None = None,
) -> CheckpointReport:  # fmt: skip
    """Zeros, parameters, multiply-accumulates and behaviour of a network; nothing is attacked or written.

    >>> from apsite.evaluation.runs.demonstration import network_path  # the embedded checkpoint
    >>> report = audit(network_path(), architecture="resnet8", structure="unstructured", sparsity=0.9)
    >>> f"{report.finding.measured:.2%}", report.refused
    ('90.00%', False)

    Args:
        network: A network in memory or the path of a checkpoint, as in :func:`apsite.evaluate_samples`.
        dataset: Decides the size of the images, the classes and, for checkpoints, the constants of a normalisation.
            One that is not registered, such as ``other:signs``, also takes `data_dir`.
        architecture: What a checkpoint is loaded into: a network family, or a factory as ``file.py:factory`` or
            ``module:factory``. A network in memory needs none.
        method: Method key or name, which decides between layouts with the same tensors.
        structure: Declared structure; give it together with `sparsity`.
        sparsity: Declared sparsity, a fraction; 0 or ``None`` declares nothing.
        layout: Registered parameter layout of a checkpoint, where several fit.
        state: Dotted keys of the state dict to read, where the file holds several.
        pattern: N:M pattern of semi-structured pruning, such as ``2:4``; ``None`` for other pruning.
        data_dir: Test set whose first images the network is run on; ``None`` for embedded or random ones.

    Returns:
        The report. What would make an evaluation refuse the network is in its `refusals`; shares are fractions.

    Raises:
        ApsiteError: If a file cannot be read at all, or the architecture, layout or factory is unknown.
        ValueError: If a word is not one of the known ones, one of `structure` and `sparsity` is given without the
            other, or a checkpoint comes without architecture.
    """
    if (structure is None) != (not sparsity):
        raise ValueError("give both structure and sparsity for a pruned network, neither for a dense one")
    if sparsity:
        check_declared(sparsity)
    expected = declared_pattern(Structure(structure) if structure else None, pattern)
    loaded = in_memory(network) if isinstance(network, nn.Module) else None
    if architecture is None and loaded is None:
        raise ValueError("a checkpoint needs an architecture, such as 'resnet18' or 'file.py:factory'")
    dataset, images = Dataset(dataset), None
    if data_dir is not None or not dataset.registered:
        whole = load_test_set(dataset, data_dir or usual_folder(dataset))
        dataset, images = whole.dataset, whole.first(min(_images_of(whole.dataset), len(whole)))
    declared = Declared(
        architecture or IN_MEMORY, method, dataset, Structure(structure) if structure else None,
        sparsity or None, layout,
    )  # fmt: skip
    file = loaded.file if loaded else read_checkpoint(Path(network), state=state)  # type: ignore[arg-type]
    report = CheckpointReport(
        file.path, file.size, file.sha256, file.format, file.container, declared.architecture, declared.dataset,
        declared.structure, declared.sparsity, notes=file.notes,
    )  # fmt: skip
    if loaded is not None:
        return _measured(report, loaded, expected, images)
    try:
        loaded = open_network(file, declared)
    except CheckpointError as error:
        others = () if declared.by_factory else _others(file, declared, None)
        return replace(report, others=others, refusals=(str(error),))
    if not declared.by_factory:
        report = replace(report, layout=loaded.layout, others=_others(file, declared, loaded.layout))
    return _measured(replace(report, notes=loaded.notes), loaded, expected, images)


def _others(file: CheckpointFile, declared: Declared, chosen: str | None) -> tuple[OtherLayout, ...]:
    """Registered layouts that were not used, those of the asked family first."""
    fits = explain_layouts(file, declared.dataset, sparsity=declared.sparsity)
    others = []
    for layout, match in sorted(fits, key=lambda fit: fit[0].architecture != declared.architecture):
        if layout.name == chosen:
            continue
        why = _why_unused(layout, declared.architecture, chosen) if match.fits else ""
        others.append(OtherLayout(layout.name, layout.architecture, why or match.summary, why or match.reason))
    return tuple(others)


def _why_unused(layout: Layout, architecture: str, chosen: str | None) -> str:
    if layout.architecture != architecture:
        return f"fits, but is of {layout.architecture}; declare that instead"
    if layout.named_only:
        return "fits; used only if named with --layout"
    return f"fits as well; {chosen} comes first" if chosen else "fits; ask for it by name"


def _measured(
    report: CheckpointReport, loaded: LoadedNetwork, pattern: Pattern | None, some: ImageSet | None
) -> CheckpointReport:
    """The report with what running the network shows."""
    images, labels, inputs = _images(report.dataset, some)
    network = loaded.network.cpu()
    refusals: list[str] = []
    warnings: list[EvaluationWarning] = []
    try:
        warnings, notes = check_behaviour(network, images, labels, report.dataset.classes)
        report = replace(report, notes=(*report.notes, *notes))
    except NetworkError as error:
        refusals.append(str(error))
    try:
        counts, found = check_weights(network, images, own_code=loaded.own_code, pattern=pattern)
    except NetworkError:  # it fails; check_behaviour has said so
        return replace(report, inputs=inputs, refusals=tuple(refusals))
    families = [
        (one, known)
        for one in Architecture
        if (known := membership(counts.layers, counts.macs, one, report.dataset)) is not None
    ]
    # A whole network of one family may also be a narrower one of another.
    family, member = min(families, key=lambda pair: pair[1].narrowed, default=(None, None))
    finding, dense = None, member.census if member else None
    removed = zero_shares(counts, Structure.STRUCTURED, dense)
    shares = zero_shares(counts, None, dense) | {"removed_weights": removed.pop("weights")} | removed
    try:
        if pattern is not None:
            check_pattern(network, counts, pattern)
        finding, differing = check_sparsity(counts, report.structure, report.declared or 0.0, dense)
        warnings = [*differing, *found, *warnings]
    except ApsiteError as error:
        refusals.append(str(error))
    if finding is not None and report.structure is not None:
        counts = replace(counts, sparsity_basis=finding.basis)
    return replace(
        report, family=family, narrowed=bool(member and member.narrowed), counts=counts,
        finding=finding, shares=shares, inputs=inputs, warnings=tuple(warnings), refusals=tuple(refusals),
    )  # fmt: skip


def _images_of(dataset: Dataset) -> int:
    """Number of images to run a network on."""
    return 64 if max(dataset.shape) <= _SMALL else 8


def _images(dataset: Dataset, some: ImageSet | None) -> tuple[Tensor, Tensor, str]:
    """Images to run a network on, their labels, and what they are."""
    count, inputs = _images_of(dataset), f"images of {some.source}" if some else "embedded test images"
    if some is None and TEST_SETS[dataset].embedded is not None:
        some = embedded_images(dataset).first(count)
    if some is not None:
        return as_inputs(some.images[:], torch.device("cpu")), torch.from_numpy(some.labels), inputs
    images = torch.rand((count, *dataset.shape), generator=torch.Generator().manual_seed(0))
    return images, torch.arange(count) % dataset.classes, "random images in [0, 1]"
