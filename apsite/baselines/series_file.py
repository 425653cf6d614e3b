"""The file of a series of baselines: one dense network, the criteria that prune it, and how all are trained.

``dense`` is the method of the dense network's record, ``[training]`` says how that is trained where it is not there
yet. ``[search]`` has what differs from the usual settings of the criteria that are learned. ``[finetuning]`` is the
same for all pruned networks, so that only the criterion differs. ``[evaluation]`` has what differs from protocol apb-1
on the whole test set; the models of its list ``whole`` are attacked on that set, whatever its ``n_examples``.
``baselines/criteria.toml`` is an example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from apsite.baselines.criteria.learned import search_recipe
from apsite.baselines.criteria.terms import BaselineCriterion
from apsite.baselines.finetuning import Source
from apsite.baselines.pruning import check_locality
from apsite.baselines.training import PRECISIONS, Recipe, recipe_of
from apsite.errors import ApsiteError, EvaluationError
from apsite.evaluation.runs.manifest import read_toml
from apsite.keys import ModelKey
from apsite.protocol import Preset, Sample, Settings
from apsite.records import AUTHORS
from apsite.vocabulary import Architecture, Dataset, Granularity, Locality, Structure

_RECIPE = {
    "objective": str, "epochs": int, "learning_rate": float, "steps": int, "epsilon": str, "step_size": str,
    "batch_size": int, "momentum": float, "weight_decay": float, "trades_beta": float, "n_train": int, "seed": int,
}  # fmt: skip
_EVALUATION = {
    "n_examples": int,
    "first": int,
    "whole": list,
    "engine": str,
    "attacks": str,
    "batch_size": int,
    "seed": int,
    "trials": int,
}
_CRITERION = {"method": str, "criterion": str, "locality": str, "sparsities": list}
_TOP = {
    "dataset": str, "arch": str, "layout": str, "dense": str, "threads": int, "precision": str,
    "checkpoint_url": str, "source": str, "notes": list,
    "training": dict, "search": dict, "finetuning": dict, "evaluation": dict, "criterion": list,
}  # fmt: skip


@dataclass(frozen=True)
class Pruning:
    """One pruned network of a series; `search` says how its criterion is learned, where it is."""

    key: ModelKey
    criterion: BaselineCriterion
    locality: Locality
    search: Recipe | None = None

    @property
    def granularity(self) -> Granularity:
        """Unit that is removed."""
        return Granularity.FILTER if self.criterion.structure is Structure.STRUCTURED else Granularity.WEIGHT


@dataclass(frozen=True)
class Series:
    """What a series file says.

    Attributes:
        folder: Folder of checkpoints and report; by default next to the file, with the file's name.
        source: Network and layout, without a checkpoint.
        training: How the dense network is trained, where it is not there yet.
        threads: Threads of the CPU, which decide about the rounding of its arithmetic; ``None`` for the usual number.
        precision: That of training, as in :func:`apsite.baselines.training.train`.
        checkpoint_url: URL of the folder of the checkpoints, for the records; `author` and `notes` are for them too.
        given: Checkpoint of a dense network to start from, which is never trained; ``None`` for the series' own.
        settings: Of the evaluation of all networks but those of `whole`, which are attacked on the whole test set.
    """

    path: Path
    folder: Path
    source: Source
    dense: ModelKey
    training: Recipe
    finetuning: Recipe
    settings: Settings
    prunings: tuple[Pruning, ...]
    threads: int | None = None
    precision: str = "auto"
    checkpoint_url: str | None = None
    author: str = AUTHORS
    notes: tuple[str, ...] = ()
    given: Path | None = None
    whole: tuple[str, ...] = ()

    def settings_of(self, key: ModelKey) -> Settings:
        """Settings of the evaluation of one network."""
        return replace(self.settings, n_examples=None) if str(key) in self.whole else self.settings

    @property
    def keys(self) -> tuple[ModelKey, ...]:
        """Keys of all networks, the dense one first."""
        return self.dense, *(one.key for one in self.prunings)

    @property
    def models(self) -> tuple[str, ...]:
        """The same as text."""
        return tuple(map(str, self.keys))

    def checkpoint(self, key: ModelKey) -> Path:
        """File of a finished network."""
        if key == self.dense and self.given is not None:
            return self.given
        return self.folder / f"{key}.safetensors"


def read_series(path: Path, resolve: Callable[[str], str] = str) -> Series:
    """Series of a TOML file; `resolve` gives the method key of a key or alias.

    Raises:
        EvaluationError: If it cannot be read, or a name or value is not one of those allowed.
    """
    document = read_toml(path)
    _check(path, "the top", document, _TOP, required=("dataset", "arch", "dense", "criterion"))
    for name in ("training", "search", "finetuning"):
        _check(path, name, document.get(name, {}), _RECIPE)
    _check(path, "evaluation", document.get("evaluation", {}), _EVALUATION)
    try:
        dataset, architecture = Dataset(document["dataset"]), Architecture(document["arch"])
        if not dataset.registered:
            raise ValueError(f"dataset {dataset.value!r} is not registered, so no network is trained on it")
        evaluation = dict(document.get("evaluation", {}))
        for name in ("n_examples", "first"):
            if evaluation.get(name, 1) < 1:
                raise ValueError(f"{name} must be at least 1, not {evaluation[name]}")
        if "first" in evaluation:
            if "n_examples" in evaluation:
                raise ValueError("give n_examples or first, not both")
            evaluation |= {"n_examples": evaluation.pop("first"), "sample": Sample.FIRST}
        if "attacks" in evaluation:
            evaluation["attacks"] = tuple(part.strip() for part in evaluation["attacks"].split(","))
        prunings = []
        for number, table in enumerate(document["criterion"], 1):
            _check(path, f"criterion {number}", table, _CRITERION, required=tuple(_CRITERION))
            if not all(isinstance(sparsity, float) and 0 < sparsity < 1 for sparsity in table["sparsities"]):
                raise ValueError(f"criterion {number}: sparsities must be fractions such as [0.90, 0.95, 0.99]")
            criterion = BaselineCriterion(table["criterion"])
            locality = Locality(table["locality"])
            search = search_recipe(criterion, document.get("search", {})) if criterion.learned else None
            for sparsity in table["sparsities"]:
                key = ModelKey.of(resolve(table["method"]), architecture, dataset, criterion.structure, sparsity)
                prunings.append(Pruning(key, criterion, locality, search))
            check_locality(criterion, locality)
        if len({str(one.key) for one in prunings}) != len(prunings):
            raise ValueError("two criteria have the same method, structure and sparsity")
        dense = ModelKey.of(resolve(document["dense"]), architecture, dataset, None, 0.0)
        whole = tuple(evaluation.pop("whole", ()))
        models = [str(dense), *(str(one.key) for one in prunings)]
        for key in whole:
            if key not in models:
                raise ValueError(
                    f"evaluation: whole has {key!r}, which is not a model of this series: {', '.join(models)}"
                )
        if document.get("threads", 1) < 1:
            raise ValueError(f"threads must be at least 1, not {document['threads']}")
        if document.get("precision", "auto") not in PRECISIONS:
            raise ValueError(f"precision {document['precision']!r} is not one of {', '.join(PRECISIONS)}")
        if not document.get("checkpoint_url", "https://").startswith("https://"):
            raise ValueError(f"checkpoint_url must start with https://, unlike {document['checkpoint_url']!r}")
        if not all(isinstance(note, str) for note in document.get("notes", ())):
            raise ValueError("notes must be texts")
        return Series(
            path=path, folder=path.with_suffix(""),
            source=Source(architecture, dataset=dataset, layout=document.get("layout")),
            dense=dense, whole=whole,
            training=recipe_of(document.get("training", {})), finetuning=recipe_of(document.get("finetuning", {})),
            settings=Settings.of(Preset.APB_1, **evaluation), prunings=tuple(prunings),
            threads=document.get("threads"), precision=document.get("precision", "auto"),
            checkpoint_url=document.get("checkpoint_url"), author=document.get("source", AUTHORS),
            notes=tuple(document.get("notes", ())),
        )  # fmt: skip
    except (ValueError, TypeError, ApsiteError) as error:
        raise EvaluationError(f"{path}: {error}") from None


def _check(path: Path, where: str, table: object, names: Mapping[str, type], required: Sequence[str] = ()) -> None:
    """Refuse unknown names, values of a wrong type, and incomplete tables."""
    if not isinstance(table, dict):
        raise EvaluationError(f"{path}: {where} must be a table")
    for name, value in table.items():
        if name not in names:
            raise EvaluationError(f"{path}: {where} has unknown {name!r}; known are {', '.join(names)}")
        kind = names[name]
        if not isinstance(value, int | float if kind is float else kind) or isinstance(value, bool):
            raise EvaluationError(f"{path}: {where}: {name} must be of type {kind.__name__}, not {value!r}")
    missing = [name for name in required if name not in table]
    if missing:
        raise EvaluationError(f"{path}: {where} lacks {', '.join(missing)}")
