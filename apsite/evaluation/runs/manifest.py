"""Evaluating a list of models: a TOML file with the options of ``apsite eval`` by name, run one after the other.

The page on evaluating, ``docs/evaluate.md``, has an example.
"""

from __future__ import annotations

import contextlib
import hashlib
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from apsite.errors import ApsiteError, EvaluationError
from apsite.evaluation.checkpoints.loading import Declared
from apsite.evaluation.runs.evaluate import RUNS, Evaluation, Request, run_request
from apsite.evaluation.runs.ray_pool import WorkersKind, cluster, parse_workers
from apsite.evaluation.testsets.datasets import EMBEDDED, usual_folder
from apsite.keys import ModelKey
from apsite.progress import Reporter
from apsite.protocol import EARLIER, NEUTRAL, EngineName, Precision, Preset, Sample, Settings
from apsite.records import EvaluationRecord, read_record
from apsite.records.patterns import declared_pattern
from apsite.vocabulary import Architecture, Dataset, Granularity, ProvenanceKind, Structure, epsilon_value

Options = Mapping[str, Any]
"""Options of ``apsite eval`` by name, with ``_`` for ``-``; what is not there, or ``None``, has its default."""

REQUIRED = ("checkpoint", "method", "dataset", "arch")
IDENTITY = (*REQUIRED, "as", "structure", "sparsity", "pattern", "granularity", "layout", "checkpoint_url")
"""Options that say which model is evaluated; the others say how and where."""

_WORDS: dict[str, tuple[str, ...]] = {
    "structure": tuple(Structure),
    "granularity": tuple(Granularity), "protocol": tuple(Preset), "engine": tuple(EngineName),
    "precision": tuple(Precision),
}  # fmt: skip
_BUILDS = f"{', '.join(Architecture)}, or other:NAME (letters, digits and hyphens) for any other network"
_PATHS = ("checkpoint", "data_dir", "output", "run_dir")
_TEXTS = (
    "pattern",
    "method",
    "arch",
    "as",
    "layout",
    "state",
    "device",
    "attacks",
    "epsilon",
    "checkpoint_url",
    "workers",
)
_COUNTS = {"n_examples": 1, "first": 1, "batch_size": 1, "seed": 0}
_FLAGS = ("overwrite", "resume", "remove_channels", "fab_drop_rows")
NAMES = ("dataset", *_WORDS, *_PATHS, *_TEXTS, *_COUNTS, *_FLAGS, "sparsity")


class OptionsError(EvaluationError):
    """Options that contradict each other, or of which one is missing."""


class Status(StrEnum):
    """How the evaluation of one model of a list ended."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class ModelOutcome:
    """One model of a list: its record and where that is (``None`` if it failed), and why it was skipped or failed."""

    key: ModelKey
    status: Status
    record: EvaluationRecord | None
    path: Path | None
    reason: str = ""


def request_of(options: Options, resolve: Callable[[str], str] = str) -> Request:
    """Evaluation that options describe, all of :data:`REQUIRED` among them.

    `resolve` gives the method key of a key or alias.

    Raises:
        OptionsError: If options contradict each other.
        ApsiteError: If a value is not one of those allowed.
    """
    given = {name: value for name, value in options.items() if value is not None}
    declared = Declared(given["arch"])
    if not declared.by_factory and "as" in given:
        raise OptionsError("--as is for a factory; a registered --arch already names its network")
    if declared.by_factory and "as" not in given:
        raise OptionsError(f"say with --as which network {given['arch']} builds: {_BUILDS}")
    try:
        architecture = Architecture(given["as"]) if declared.by_factory else declared.family
    except ValueError:
        raise OptionsError(f"--as {given['as']!r} is not one of {_BUILDS}") from None
    structure, sparsity = given.get("structure"), given.get("sparsity", 0.0)
    if (structure is None) != (not sparsity):
        raise OptionsError("give both --structure and --sparsity for a pruned network, neither for a dense one")
    names = ("batch_size", "seed", "engine", "precision", "n_examples", "remove_channels", "fab_drop_rows", "epsilon")
    changes: dict[str, object] = {name: given[name] for name in names if name in given}
    if "first" in given:
        if "n_examples" in given:
            raise OptionsError("give --n-examples for a random sample or --first for the first images, not both")
        changes |= {"n_examples": given["first"], "sample": Sample.FIRST}
    if "attacks" in given:
        changes["attacks"] = tuple(part.strip() for part in given["attacks"].split(","))
    method, dataset = resolve(given["method"]), Dataset(given["dataset"])
    try:
        key = ModelKey.of(method, architecture, dataset, Structure(structure) if structure else None, sparsity)
    except ValueError as error:
        raise ApsiteError(str(error)) from None
    try:
        declared_pattern(key.structure, given.get("pattern"))
    except ValueError as error:
        raise OptionsError(str(error)) from None
    return Request(
        checkpoint=Path(given["checkpoint"]), key=key, factory=given["arch"] if declared.by_factory else None,
        layout=given.get("layout"), granularity=Granularity(given["granularity"]) if "granularity" in given else None,
        data_dir=given.get("data_dir") or usual_folder(dataset),
        settings=Settings.of(Preset(given.get("protocol", Preset.APB_1)), **changes),
        output=Path(given.get("output", "evaluations")), device=given.get("device"),
        workers=given.get("workers", WorkersKind.LOCAL), run_dir=Path(given.get("run_dir", RUNS)),
        fresh=not given.get("resume", True), overwrite=given.get("overwrite", False), state=given.get("state"),
        url=given.get("checkpoint_url"), pattern=given.get("pattern"),
    )  # fmt: skip


def read_manifest(
    path: Path, overrides: Options | None = None, resolve: Callable[[str], str] = str
) -> tuple[Request, ...]:
    """Evaluations that a TOML file lists: tables ``[[model]]``, and ``[defaults]`` for what they share.

    Paths in it are relative to it. `overrides` hold for all models, whatever the file says; their paths stay as they
    are. `resolve` gives the method key of a key or alias.

    Raises:
        EvaluationError: With every problem of the file, one a line: each says where, what was found and what is
            allowed.
    """
    document = read_toml(path)
    problems = [
        f"{path}: {name!r} is not known at the top; a manifest has [[model]] tables and [defaults]"
        for name in document
        if name not in ("model", "defaults")
    ]
    models, defaults = document.get("model"), document.get("defaults", {})
    if not isinstance(models, list) or not models or not all(isinstance(model, dict) for model in models):
        raise EvaluationError(f"{path}: lists no model; add a table [[model]] for each")
    if not isinstance(defaults, dict):
        raise EvaluationError(f"{path}: defaults must be a table, [defaults]")
    problems += [f"{path}: defaults.{problem}" for problem in _problems(defaults)]
    requests: list[Request] = []
    places: dict[Path, int] = {}
    for number, model in enumerate(models, 1):
        where = f"{path}: model {number}"
        options = {**defaults, **model}
        problems += [f"{where}: {problem}" for problem in _problems(model)]
        problems += [f"{where}: {name} is missing" for name in REQUIRED if name not in options]
        if problems:
            continue
        try:
            request = request_of({**_below(path.parent, options), **(overrides or {})}, resolve)
        except ApsiteError as error:
            problems.append(f"{where}: {error}")
            continue
        assert request.target is not None
        first = places.setdefault(request.target, number)
        if first != number:
            problems.append(f"{where}: is {request.key} as model {first} is; both would write {request.target}")
        requests.append(request)
    if problems:
        raise EvaluationError("\n".join(problems))
    return tuple(requests)


def run_manifest(
    requests: Sequence[Request], reporter: Reporter, evaluate: Callable[[Request, Reporter], Evaluation] = run_request
) -> Iterator[ModelOutcome]:
    """Evaluate one model after the other; a failure ends that model only.

    A model is skipped when its output has a record of a run with the same checkpoint and the same settings.
    Any other record in its place is a failure unless the request says to overwrite it.

    Yields:
        The outcome of each model, in order.
    """
    with contextlib.ExitStack() as stack:
        for number, request in enumerate(requests, 1):
            reporter.say(f"model {number} of {len(requests)}: {request.key}")
            try:
                existing = _existing(request)
                if existing is not None:
                    yield ModelOutcome(request.key, Status.SKIPPED, existing, request.target, "its record is there")
                    continue
                if parse_workers(request.workers)[0] is WorkersKind.RAY:
                    stack.enter_context(cluster())  # started once, for this model and those after it
                done = evaluate(request, reporter)
            except ApsiteError as error:
                reporter.say(f"{request.key}: failed: {error}")
                yield ModelOutcome(request.key, Status.FAILED, None, None, str(error))
            else:
                yield ModelOutcome(request.key, Status.DONE, done.record, done.path)


def _existing(request: Request) -> EvaluationRecord | None:
    """Existing record of exactly this evaluation, if any; an error if another record is in its place."""
    target = request.target
    if target is None or request.overwrite or not target.exists():
        return None
    record = read_record(target)
    if record.provenance.kind is ProvenanceKind.PUBLISHED:
        difference = f"a result published by {record.provenance.source}"
    elif record.checkpoint.sha256 != _sha256(request.checkpoint):
        difference = "of another checkpoint"
    else:
        wanted = request.settings.as_scalars(request.key.dataset)
        stated = {**EARLIER, **(record.settings or {})}
        names = [name for name in {**wanted, **stated} if wanted.get(name) != stated.get(name) and name not in NEUTRAL]
        if not names:
            return record
        difference = "made with other settings: " + ", ".join(
            f"{name} {stated.get(name)} instead of {wanted.get(name)}" for name in names
        )
    raise EvaluationError(
        f"{target}: the record there is {difference}; replace it with --overwrite or choose another --output"
    )


def _sha256(path: Path) -> str | None:
    """Hash of a checkpoint; ``None`` if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file says; errors as :class:`EvaluationError`."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise EvaluationError(f"{path}: is not TOML: {error}") from None


def _problems(table: Mapping[str, object]) -> Iterator[str]:
    """What is wrong with the options of one table, each with what is allowed."""
    for name, value in table.items():
        if name not in NAMES:
            meant = name.replace("-", "_")
            hint = f"write {meant}" if meant in NAMES else f"known are {', '.join(NAMES)}"
            yield f"{name} is not an option; {hint}"
        elif name in _WORDS:
            if value not in _WORDS[name]:
                yield f"{name} {value!r} is not one of {', '.join(_WORDS[name])}"
        elif name == "dataset":
            try:
                Dataset(str(value))
            except ValueError:
                yield f"dataset {value!r} is not one of {', '.join(Dataset)}, or {Dataset.other_meaning()}"
        elif name == "epsilon":
            try:
                epsilon_value(value)  # type: ignore[arg-type]
            except ValueError as error:
                yield str(error)
        elif name in _PATHS or name in _TEXTS:
            if not isinstance(value, str) or not value:
                yield f"{name} must be a text, not {value!r}"
        elif name in _FLAGS:
            if not isinstance(value, bool):
                yield f"{name} must be true or false, not {value!r}"
        elif name in _COUNTS:
            if not isinstance(value, int) or isinstance(value, bool) or value < _COUNTS[name]:
                yield f"{name} must be a whole number from {_COUNTS[name]} on, not {value!r}"
        elif not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
            yield f"{name} must be a fraction such as 0.90, not {value!r}"


def _below(folder: Path, options: Options) -> dict[str, Any]:
    """The options with paths made relative to `folder`, the factory's file among them."""
    placed = dict(options)
    for name in _PATHS:
        if name in placed and not (name == "data_dir" and placed[name] == EMBEDDED):
            placed[name] = str(folder / placed[name])
    source, colon, factory = str(placed["arch"]).rpartition(":")
    if source.endswith(".py") or "/" in source:
        placed["arch"] = f"{folder / source}{colon}{factory}"
    return placed
