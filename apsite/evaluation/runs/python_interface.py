"""The evaluator for programs: networks in memory and checkpoints on disk, by the same path as the command line.

``apsite.evaluate``, ``apsite.evaluate_samples`` and ``apsite.audit`` are these functions.
"""

from __future__ import annotations

import copy
import hashlib
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import safetensors.torch
from torch import nn

from apsite.errors import NetworkError
from apsite.evaluation.checkpoints.auditing import CheckpointReport, audit_checkpoint, measured
from apsite.evaluation.checkpoints.loading import FittedNetwork
from apsite.evaluation.checkpoints.reading import Checkpoint
from apsite.evaluation.runs.environment import choose_device
from apsite.evaluation.runs.evaluate import (
    Evaluation,
    LoadedModel,
    Request,
    check_target,
    evaluate_model,
    load_model,
)
from apsite.evaluation.testsets.datasets import ImageSet, load_test_set
from apsite.evaluation.testsets.downloads import data_dir as default_data_dir
from apsite.keys import ModelKey
from apsite.progress import Reporter
from apsite.protocol import Settings
from apsite.records import EvaluationRecord
from apsite.vocabulary import Architecture, Dataset, Granularity, Structure

IN_MEMORY = "in memory"
"""Layout and format that a record names for a network that came from no file."""


def evaluate(
    network: nn.Module | str | Path,
    *,
    method: str,
    dataset: str | Dataset,
    architecture: str | Architecture,
    structure: str | Structure | None = None,
    sparsity: float = 0.0,
    granularity: str | Granularity | None = None,
    factory: str | None = None,
    layout: str | None = None,
    data_dir: str | Path | None = None,
    images: ImageSet | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    device: str | None = None,
    settings: Settings | None = None,
    reporter: Reporter | None = None,
    run_dir: str | Path | None = None,
    fresh: bool = False,
    unsafe: bool = False,
    url: str | None = None,
    source: str = "the authors",
    notes: Sequence[str] = (),
) -> EvaluationRecord:
    """Record of an evaluation under protocol ``apb-1``, or under other settings.

    Arguments and errors are those of :func:`evaluate_samples`, which gives the verdict of every sample as well.

    Returns:
        The record. Accuracies are fractions in [0, 1]; distances are in input units, with pixels in [0, 1].
    """
    return evaluate_samples(
        network, method=method, dataset=dataset, architecture=architecture, structure=structure, sparsity=sparsity,
        granularity=granularity, factory=factory, layout=layout, data_dir=data_dir, images=images, output=output,
        overwrite=overwrite, device=device, settings=settings, reporter=reporter, run_dir=run_dir, fresh=fresh,
        unsafe=unsafe, url=url, source=source, notes=notes,
    ).record  # fmt: skip


def evaluate_samples(
    network: nn.Module | str | Path,
    *,
    method: str,
    dataset: str | Dataset,
    architecture: str | Architecture,
    structure: str | Structure | None = None,
    sparsity: float = 0.0,
    granularity: str | Granularity | None = None,
    factory: str | None = None,
    layout: str | None = None,
    data_dir: str | Path | None = None,
    images: ImageSet | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    device: str | None = None,
    settings: Settings | None = None,
    reporter: Reporter | None = None,
    run_dir: str | Path | None = None,
    fresh: bool = False,
    unsafe: bool = False,
    url: str | None = None,
    source: str = "the authors",
    notes: Sequence[str] = (),
) -> Evaluation:
    """Evaluate a network: audit, clean accuracy, AutoAttack, HO-FMN; record and verdict of every sample.

    Args:
        network: A network that maps float32 images ``(n, 3, height, width)`` in [0, 1] to logits ``(n, classes)``, or
            the path of a checkpoint. Of a network in memory a copy is evaluated, in evaluation mode; yours stays as
            it is.
        method: Method key, such as ``HARP_Zhao2023Holistic``.
        dataset: ``cifar10``, ``svhn`` or ``imagenet``.
        architecture: ``resnet18``, ``vgg16``, ``resnet50`` or ``resnet8``: the family that the model key names.
        structure: ``unstructured`` or ``structured``; ``None`` for a dense network.
        sparsity: Declared share of pruned parameters, a fraction of whole percent such as ``0.90``; 0 for a dense
            network.
        granularity: ``weight``, ``filter``, ``channel`` or ``kernel``; ``None`` if unknown, and for unstructured
            pruning ``weight``.
        factory: ``path/to/file.py:factory`` or ``module:factory`` that builds the network of a checkpoint.
        layout: Registered parameter layout of a checkpoint, where several fit.
        data_dir: Folder with the official files of the dataset, or ``embedded`` for 256 CIFAR-10 test images;
            ``None`` for the folder that ``apsite data fetch`` fills.
        images: Samples to evaluate instead of those in `data_dir`, from :func:`apsite.load_test_set` with ``first``
            or ``take``; all of them are evaluated.
        output: Folder to write ``<method>/<model key>.json`` and ``.npz`` to; ``None`` writes nothing.
        overwrite: Replace an existing record in `output`.
        device: ``cpu``, ``cuda`` or ``cuda:<number>``; ``None`` for CUDA where there is one.
        settings: How to evaluate; ``None`` for protocol ``apb-1``. See :class:`apsite.Settings`.
        reporter: Receives the progress; ``None`` for silence. See :mod:`apsite.progress`.
        run_dir: Where finished work is kept until the end, so that an interrupted call goes on when it is made again;
            ``None`` keeps nothing.
        fresh: Forget what an interrupted call has finished.
        unsafe: Let a checkpoint execute code while it is loaded; recorded.
        url: Where the checkpoint can be had, for the record.
        source: Who ran the evaluation, for the record.
        notes: Remarks for the record.

    Returns:
        `record`; `samples`, whose arrays have the shape ``(n_samples,)``: ``index`` into the test set, ``label``,
        flags ``clean_correct`` and ``aa_robust``, and ``distance`` (l-inf, in input units with pixels in [0, 1]; 0 =
        wrong with no attack, ``inf`` = attacked and never broken); `trials` of the HO-FMN search; `path` of the
        record.

        For a network in memory the record names the layout and format ``in memory``, and the SHA-256 and size of its
        canonical form: the file that ``safetensors.torch.save_file(network.state_dict(), ...)`` writes, so that the
        hash can be checked once the network is saved that way.

    Raises:
        ApsiteError: If the data is missing, the checkpoint does not fit, the network does not behave as the protocol
            needs (finite, deterministic logits of the right shape), or the measured sparsity is more than two points
            away from the declared one.
        ValueError: If a word is not one of the known ones, or the sparsity and the structure contradict each other.

    Sources: Croce and Hein, *Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks*, ICML 2020; Mura et al., *HO-FMN: Hyperparameter optimization for fast minimum-norm attacks*,
    Neurocomputing 2024; Pintor et al., *Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints*,
    NeurIPS 2021.
    """
    settings = settings or Settings()
    key = ModelKey.of(
        method, Architecture(architecture), Dataset(dataset), Structure(structure) if structure else None, sparsity
    )
    request = Request(
        checkpoint=Path(IN_MEMORY) if isinstance(network, nn.Module) else Path(network),
        key=key,
        factory=factory,
        layout=layout,
        granularity=_granularity(granularity, key.structure),
        data_dir=data_dir if data_dir is not None else default_data_dir(),
        settings=settings,
        output=None if output is None else Path(output),
        device=device,
        fresh=fresh,
        overwrite=overwrite,
        unsafe_load=unsafe,
        url=url,
        source=source,
        notes=tuple(notes),
    )
    if request.target is not None:
        check_target(request.target, overwrite=overwrite)
    choose_device(device)
    if isinstance(network, nn.Module):
        if factory or layout or unsafe:
            raise ValueError("factory, layout and unsafe are about checkpoints; the network is already in memory")
        model = network_in_memory(network)
    else:
        model = load_model(request)
    chosen = images if images is not None else load_test_set(key.dataset, request.data_dir).first(settings.n_examples)
    if chosen.dataset is not key.dataset:
        raise ValueError(f"images are of {chosen.dataset.value}, not of {key.dataset.value}")
    kept: AbstractContextManager[str | Path] = (
        tempfile.TemporaryDirectory() if run_dir is None else nullcontext(run_dir)
    )
    with kept as folder:
        return evaluate_model(model, chosen, replace(request, run_dir=Path(folder)), reporter)


def audit(
    network: nn.Module | str | Path,
    *,
    dataset: str | Dataset = Dataset.CIFAR10,
    architecture: str | Architecture | None = None,
    method: str | None = None,
    structure: str | Structure | None = None,
    sparsity: float = 0.0,
    layout: str | None = None,
    unsafe: bool = False,
) -> CheckpointReport:
    """Zeros, parameters, multiply-accumulates and behaviour of a network; nothing is attacked or written.

    Args:
        network: A network in memory or the path of a checkpoint, as in :func:`evaluate_samples`.
        dataset: Decides the size of the images, the classes and, for checkpoints, the constants of a normalisation.
        architecture: What a checkpoint is loaded into: a network family, or a factory as ``file.py:factory`` or
            ``module:factory``. A network in memory needs none.
        method: Method key or name, which decides between layouts with the same tensors.
        structure: Declared structure; give it together with `sparsity`.
        sparsity: Declared sparsity, a fraction; 0 declares nothing.
        layout: Registered parameter layout of a checkpoint, where several fit.
        unsafe: Let a checkpoint execute code while it is loaded.

    Returns:
        The report. What would make an evaluation refuse the network stands in its `refusals`; shares are fractions.

    Raises:
        ApsiteError: If a file cannot be read at all, or the architecture, layout or factory is unknown.
        ValueError: If a word is not one of the known ones, one of `structure` and `sparsity` is given without the
            other, or a checkpoint comes without architecture.
    """
    if not isinstance(network, nn.Module):
        if architecture is None:
            raise ValueError("a checkpoint needs an architecture, such as 'resnet18' or 'file.py:factory'")
        return audit_checkpoint(
            network, architecture=architecture, method=method, dataset=dataset, structure=structure,
            sparsity=sparsity or None, layout=layout, unsafe=unsafe,
        )  # fmt: skip
    if (structure is None) != (not sparsity):
        raise ValueError("give both structure and sparsity for a pruned network, neither for a dense one")
    model = network_in_memory(network)
    report = CheckpointReport(
        path=model.file.path,
        size=model.file.size,
        sha256=model.file.sha256,
        format=model.file.format,
        container=model.file.container,
        architecture=architecture or IN_MEMORY,
        dataset=Dataset(dataset),
        structure=Structure(structure) if structure else None,
        declared=sparsity or None,
    )
    return measured(report, FittedNetwork(model.network.cpu(), ""))


def network_in_memory(network: nn.Module) -> LoadedModel:
    """A copy of a network, with the hash of its canonical form.

    The canonical form is what ``safetensors.torch.save`` makes of the state dict, every tensor on the CPU, contiguous
    and with memory of its own. It depends on names, shapes, types and values alone.

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
    file = Checkpoint(
        path=Path(IN_MEMORY),
        state=state,
        format=IN_MEMORY,
        container="bare",
        sha256=hashlib.sha256(canonical).hexdigest(),
        size=len(canonical),
    )
    return LoadedModel(mine.eval(), file, IN_MEMORY, ())


def _granularity(word: str | Granularity | None, structure: Structure | None) -> Granularity | None:
    if word is not None:
        return Granularity(word)
    return Granularity.WEIGHT if structure is Structure.UNSTRUCTURED else None
