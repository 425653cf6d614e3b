"""The evaluator for programs: networks in memory and checkpoints on disk, by the same path as the command line.

``apsite.evaluate`` and ``apsite.evaluate_samples`` are these functions.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from torch import nn

from apsite.evaluation.checkpoints.loading import IN_MEMORY, in_memory
from apsite.evaluation.runs.evaluate import Evaluation, Request, run_request
from apsite.evaluation.testsets.datasets import EMBEDDED, ImageSet, usual_folder
from apsite.keys import ModelKey
from apsite.progress import Reporter
from apsite.protocol import Settings
from apsite.records import AUTHORS, EvaluationRecord
from apsite.vocabulary import Architecture, Dataset, Granularity, Structure

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def evaluate_samples(
    network: nn.Module | str | Path, *, method: str, dataset: str | Dataset, architecture: str | Architecture,
    structure: str | Structure | None = None, sparsity: float = 0.0, granularity: str | Granularity | None = None,
    factory: str | None = None, layout: str | None = None, data_dir: str | Path | None = None,
    images: ImageSet | None = None, output: str | Path | None = None, overwrite: bool = False,
    device: str | None = None, settings: Settings | None = None, reporter: Reporter | None = None,
    run_dir: str | Path | None = None, fresh: bool = False, state: str | None = None, url: str | None = None,
    source: str = AUTHORS, notes: Sequence[str] = (), pattern: str | None = None,
) -> Evaluation:  # fmt: skip
    """Evaluate a network: audit, clean accuracy, AutoAttack, HO-FMN; record and result of every sample.

    >>> from apsite.evaluation.runs.demonstration import network_path  # the embedded checkpoint
    >>> evaluation = evaluate_samples(
    ...     network_path(), method="LAMP_Lee2021Layer", dataset="cifar10", architecture="resnet8",
    ...     structure="unstructured", sparsity=0.90, data_dir="embedded",
    ...     settings=Settings(n_examples=4, trials=2, search_steps=3, attack_steps=5, attacks=("hofmn",)),
    ... )
    >>> evaluation.samples.distance.shape, len(evaluation.trials)
    ((4,), 2)

    The arguments are those of :func:`evaluate` as well.

    Args:
        network: A network that maps float32 images ``(n, 3, height, width)`` in [0, 1] to logits ``(n, classes)``, or
            the path of a checkpoint. Of a network in memory a copy is evaluated, in evaluation mode; yours stays as
            it is.
        method: Method key, such as ``HARP_Zhao2023Holistic``.
        dataset: A :class:`~apsite.vocabulary.Dataset` or its value, such as ``cifar10``; ``other:NAME`` for a test set
            of your own, which `data_dir` names, with an ε in `settings`.
        architecture: ``resnet18``, ``vgg16``, ``resnet50`` or ``resnet8``: the family that the model key names.
        structure: ``unstructured``, ``structured`` or ``semi-structured``; ``None`` for a dense network.
        sparsity: Declared share of pruned parameters, a fraction such as ``0.90``, ``0.995`` or ``0.9375``, in percent
            with at most two decimals; 0 for a dense network.
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
        run_dir: Where finished work is kept until the end, so that the same call resumes an interrupted one;
            ``None`` keeps nothing.
        fresh: Forget what an interrupted call has finished.
        state: Dotted keys of the state dict to read, where the file holds several.
        url: URL of the checkpoint, for the record.
        source: Who ran the evaluation, for the record.
        notes: Remarks for the record.
        pattern: N:M pattern of semi-structured pruning, such as ``2:4``; ``None`` for other pruning.

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
    structure = Structure(structure) if structure else None
    key = ModelKey.of(method, Architecture(architecture), Dataset(dataset), structure, sparsity)
    if isinstance(network, nn.Module) and (factory or layout or state):
        raise ValueError("factory, layout and state are about checkpoints; the network is already in memory")
    loaded = in_memory(network) if isinstance(network, nn.Module) else None
    kept = tempfile.TemporaryDirectory() if run_dir is None else nullcontext(str(run_dir))
    with kept as folder:
        request = Request(
            checkpoint=Path(IN_MEMORY) if isinstance(network, nn.Module) else Path(network), key=key, factory=factory,
            layout=layout, granularity=Granularity(granularity) if granularity else None,
            data_dir=data_dir or (EMBEDDED if images else usual_folder(key.dataset)),
            settings=settings or Settings(),
            output=None if output is None else Path(output), device=device, run_dir=Path(folder), fresh=fresh,
            overwrite=overwrite, state=state, url=url, source=source, notes=notes, pattern=pattern,
        )  # fmt: skip
        return run_request(request, reporter, network=loaded, images=images)


def _same_arguments(
    function: Callable[_Arguments, object],
) -> Callable[[Callable[..., _Result]], Callable[_Arguments, _Result]]:
    """Decorator for a function that passes its arguments on: type checkers and `inspect` see those of the other."""

    def decorate(wrapper: Callable[..., _Result]) -> Callable[_Arguments, _Result]:
        returned = inspect.signature(wrapper).return_annotation
        wrapper.__signature__ = inspect.signature(function).replace(return_annotation=returned)  # type: ignore[attr-defined]
        return wrapper

    return decorate


@_same_arguments(evaluate_samples)
def evaluate(network: nn.Module | str | Path, **arguments: Any) -> EvaluationRecord:
    """Record of an evaluation under protocol ``apb-1``, or under other settings.

    >>> from apsite.evaluation.runs.demonstration import network_path  # the embedded checkpoint
    >>> settings = Settings(n_examples=4, trials=2, search_steps=3, attack_steps=5, attacks=("hofmn",))
    >>> record = evaluate(
    ...     network_path(), method="LAMP_Lee2021Layer", dataset="cifar10", architecture="resnet8",
    ...     structure="unstructured", sparsity=0.90, data_dir="embedded", settings=settings,
    ... )
    >>> record.model_key, record.protocol.value, record.results.n_samples
    ('LAMP_Lee2021Layer_R8_CIFAR10_US_90', 'custom', 4)

    Args:
        network: A network in memory or the path of a checkpoint.
        **arguments: Those of :func:`evaluate_samples`, which also gives the result of every sample.

    Returns:
        The record. Accuracies are fractions in [0, 1]; distances are in input units, with pixels in [0, 1].
    """
    return evaluate_samples(network, **arguments).record
