"""From a request to a record: the one path of the command line, of lists of models and of programs."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from apsite import records
from apsite.documents.json_files import atomic_file
from apsite.documents.schema import load_schema
from apsite.documents.texts import person_problem, text_problem, url_problem
from apsite.errors import CheckpointError, EvaluationError
from apsite.evaluation.attacks.execution import as_inputs, device_errors, predict
from apsite.evaluation.attacks.precision import arithmetic
from apsite.evaluation.attacks.search import Trial, best_of
from apsite.evaluation.checkpoints.audit import (
    SparsityFinding,
    check_census,
    check_pattern,
    check_sparsity,
    check_weights,
)
from apsite.evaluation.checkpoints.behaviour import check_behaviour
from apsite.evaluation.checkpoints.loading import Declared, LoadedNetwork, open_network
from apsite.evaluation.checkpoints.reading import read_checkpoint
from apsite.evaluation.runs.environment import choose_device, describe
from apsite.evaluation.runs.planning import Plan, most_passes, plan_of
from apsite.evaluation.runs.ray_pool import RayPool, WorkersKind, parse_workers
from apsite.evaluation.runs.run_state import RunState
from apsite.evaluation.runs.runner import Outcome, run
from apsite.evaluation.runs.worker import Pool, Worker
from apsite.evaluation.testsets.datasets import EMBEDDED, ImageSet, load_test_set
from apsite.keys import ModelKey
from apsite.progress import Reporter
from apsite.protocol import (
    FIXED_CONFIGURATION,
    NEUTRAL,
    SPARSITY_LIMIT,
    TARGETS,
    EngineName,
    Precision,
    Sample,
    Scalar,
    Settings,
    at_bounds,
)
from apsite.records import CheckpointAudit, EvaluationRecord, EvaluationWarning, Results
from apsite.records.patterns import Pattern, declared_pattern
from apsite.records.ranked_images import split_of
from apsite.results import results_of, warnings_of
from apsite.samples import SampleResults, write_samples
from apsite.vocabulary import Attack, AttackName, Dataset, Granularity, ProvenanceKind, Structure

RUNS = Path(".apsite") / "runs"
"""Where the state of unfinished runs is kept, below the working directory."""


@dataclass(frozen=True)
class Request:
    """What to evaluate, and where things are; :func:`apsite.evaluate_samples` explains what it shares with this.

    Attributes:
        checkpoint: Checkpoint file.
        key: Identity of the model.
        workers: Who attacks: ``local``, ``ray`` or ``ray:<number>``.
    """

    checkpoint: Path
    key: ModelKey
    factory: str | None = None
    layout: str | None = None
    granularity: Granularity | None = None
    data_dir: Path | str = EMBEDDED
    settings: Settings = field(default_factory=Settings)
    output: Path | None = Path("evaluations")
    device: str | None = None
    workers: str = WorkersKind.LOCAL
    run_dir: Path = RUNS
    fresh: bool = False
    overwrite: bool = False
    state: str | None = None
    url: str | None = None
    pattern: str | None = None
    source: str = records.AUTHORS
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse at once what `apsite validate` would refuse after the run.

        Raises:
            EvaluationError: If the unit is not what the structure removes, the pattern is not one or not declared for
                semi-structured pruning only, neither settings nor dataset state ε, or a URL or text is not allowed.
        """
        self.settings.epsilon_text(self.key.dataset)
        if self.data_dir == EMBEDDED:  # a part of the set, of which a run takes the first images
            object.__setattr__(self, "settings", replace(self.settings, sample=Sample.FIRST))
        for name in ("checkpoint", "data_dir", "output", "run_dir"):
            if "\0" in str(getattr(self, name)):
                raise EvaluationError(
                    f"{name} {str(getattr(self, name))!r} has a NUL character, which no path may have"
                )
        if isinstance(self.notes, str) or not all(isinstance(text, str) for text in (self.source, *self.notes)):
            raise EvaluationError(
                f"source must be a text and notes a list of texts, not {self.source!r}, {self.notes!r}"
            )
        if self.granularity is not None and self.granularity.structure is not self.key.structure:
            allowed = ", ".join(word for word in Granularity if word.structure is self.key.structure) or "none"
            raise EvaluationError(
                f"granularity {self.granularity.value!r} is not what {self.key} prunes; allowed: {allowed}"
            )
        try:
            declared_pattern(self.key.structure, self.pattern)
        except ValueError as error:
            raise EvaluationError(str(error)) from None
        rule = load_schema("record")["properties"]["checkpoint"]["properties"]["url"]["anyOf"][0]
        if self.url is not None:
            fits = len(self.url) <= rule["maxLength"] and re.fullmatch(rule["pattern"].removesuffix("$"), self.url)
            wrong = url_problem(self.url) if fits else f"is not an allowed URL: {rule['description']}"
            if wrong:
                raise EvaluationError(f"--checkpoint-url {self.url!r} {wrong}")
        texts = [("source", self.source, person_problem(self.source))]
        texts += [("note", note, text_problem(note)) for note in self.notes]
        for name, text, wrong in texts:
            if wrong:
                raise EvaluationError(f"{name} {text[:80]!r} {wrong}")

    @property
    def target(self) -> Path | None:
        """Where the record goes; ``None`` if nothing is written."""
        return None if self.output is None else self.output / self.key.method / f"{self.key}.json"


@dataclass(frozen=True)
class Evaluation:
    """An evaluation that has ended.

    Attributes:
        record: The record; it names the per-sample file only if that was written.
        samples: Results of every sample.
        trials: Trials of the HO-FMN search, in order; empty if there was no search.
        path: Where the record was written; ``None`` if it was not.
    """

    record: EvaluationRecord
    samples: SampleResults
    trials: tuple[Trial, ...]
    path: Path | None


def run_request(
    request: Request, reporter: Reporter | None = None, *, network: LoadedNetwork | None = None,
    images: ImageSet | None = None,
) -> Evaluation:  # fmt: skip
    """Evaluate a network, and write its record and per-sample file if the request names an output.

    `network` is evaluated in place of the request's checkpoint: it is put in evaluation mode, frozen and moved. All of
    `images` are evaluated in place of those in the request's data folder.

    Raises:
        ApsiteError: If the request, the checkpoint, the data or the network is not as it must be. Nothing is left
            half-written; the state of an interrupted run is kept and used by the next call.
        ValueError: If `images` are of another dataset than the request.
    """
    reporter = reporter or Reporter()
    kind, count = parse_workers(request.workers)
    if request.target is not None:
        check_target(request.target, overwrite=request.overwrite)
    request, device, network, images, whole, rest, (audit, finding, warnings, _) = _prepared(
        request, reporter, network, images
    )
    key, settings, evaluated = request.key, request.settings, network.network
    # Other settings may change before an interrupted run is resumed.
    bound = {"engine", "fab_drop_rows", *(["batch_size"] if settings.engine is EngineName.REFERENCE else [])}
    binding = {name: value for name, value in settings.as_scalars(key.dataset).items() if name not in NEUTRAL - bound}
    identity = {
        "checkpoint": network.file.sha256, "state": network.file.container, "layout": network.layout,
        "factory": network.factory_sha256, "data": images.sha256, "dataset": key.dataset.value, "settings": binding,
        "torch": torch.__version__, "version": 1,
    }  # fmt: skip
    with RunState(request.run_dir, identity, fresh=request.fresh, about=f"{key}: {request.checkpoint}") as state:
        if len(state):
            reporter.say(f"resuming: {len(state)} units of work are already done ({state.path})")
        with contextlib.ExitStack() as stack:
            pool: RayPool | None = None

            def hire(worker: Worker) -> Pool:
                nonlocal pool
                example, epsilon = np.asarray(images.images[:8]), settings.epsilon_value(key.dataset)
                memory_format = worker.simplified.memory_format
                pool = RayPool(evaluated, example, settings, epsilon, device.type, count, memory_format)
                reporter.say(f"{stack.enter_context(pool).count} workers, each on its own device ({device.type})")
                return pool

            workers = hire if kind is WorkersKind.RAY else None
            outcome = run(evaluated, images, settings, state, device, reporter, workers=workers, whole=rest)
        described = describe(device) | {"workers": pool.count if pool else 1} | outcome.simplified.as_scalars()
        record, path = _record(request, network, images, audit, finding, warnings, outcome, described, whole), None
        if request.output is not None:
            record, path = write_run(request.output, record, outcome.samples)
        state.clear()
    return Evaluation(record, outcome.samples, outcome.trials, path)


def plan_request(request: Request, reporter: Reporter | None = None) -> Plan:
    """What :func:`run_request` would take: it audits the network and times passes, and neither attacks nor writes.

    Clean accuracy is estimated from at most :data:`_ESTIMATED` samples.

    Raises:
        ApsiteError: As :func:`run_request` before its attacks.
    """
    request, device, network, images, _, rest, _ = _prepared(request, reporter or Reporter(), None, None)
    settings = request.settings
    with device_errors(device), arithmetic(Precision.FLOAT32):
        epsilon = settings.epsilon_value(request.key.dataset)
        worker = Worker(network.network, np.asarray(images.images[:8]), settings, epsilon, device)
        some = images.take(np.unique(np.linspace(0, len(images) - 1, _ESTIMATED).astype(int)))
        _, predicted = predict(worker.network, some.images, device, settings.rows)
        correct = round(float(np.mean(predicted == some.labels)) * len(images))
        passes = most_passes(settings, worker.engine.cost, dict.fromkeys(settings.attacks, correct), search=True)
        kind, count = parse_workers(request.workers)
        here = torch.cuda.device_count() or 1
        passes = {"clean": len(rest or images), **passes}
        return plan_of(worker, len(images), correct, passes, count or here if kind is WorkersKind.RAY else 1)


_ESTIMATED = 256
"""Samples from which a plan estimates how many are classified correctly."""


class _Prepared(NamedTuple):
    """What a run begins with: the request as it will be run, its network on the device, and its images.

    `whole` is the set that the images are from, `rest` what clean accuracy is measured on if not on them alone.
    """

    request: Request
    device: torch.device
    network: LoadedNetwork
    images: ImageSet
    whole: ImageSet
    rest: ImageSet | None
    audited: AuditedModel


def _prepared(
    request: Request, reporter: Reporter, network: LoadedNetwork | None, images: ImageSet | None
) -> _Prepared:
    """Images, checkpoint and audit of a request."""
    device = choose_device(request.device)
    settings = request.settings.on(device.type)
    file = read_checkpoint(request.checkpoint, state=request.state) if network is None else network.file
    whole = load_test_set(request.key.dataset, request.data_dir) if images is None else images
    key = _with_images(request.key, whole, settings)
    if network is None:
        network = open_network(file, Declared.of(key, request.factory, request.layout))
    rest = None
    if images is None:
        images, sample = whole.chosen(settings.n_examples, settings.sample)
        settings = replace(settings, sample=sample)
        rest = whole.first(None) if whole.complete and len(images) < whole.dataset.ranked_samples else None
    network.network.eval().to(device)
    reporter.say(f"{request.checkpoint.name}: {network.file.format}, layout {network.layout}")
    audited = audit_model(network, key, whole, device, declared_pattern(key.structure, request.pattern))
    audit = audited.audit
    reporter.say(
        f"{audit.parameters:,} parameters, {audited.finding.measured:.2%} of the weights are removed, "
        f"{audit.effective_macs / 1e6:.1f} of {audit.macs / 1e6:.1f} M multiply-accumulates remain"
    )
    for warning in audited.warnings:
        reporter.say(f"warning: {warning.message}")
    network = replace(network, notes=(*network.notes, *audited.notes))
    return _Prepared(replace(request, key=key, settings=settings), device, network, images, whole, rest, audited)


def _with_images(key: ModelKey, whole: ImageSet, settings: Settings) -> ModelKey:
    """The key, whose dataset knows its images where it is not registered.

    Raises:
        EvaluationError: If the attacks compare more logits than there are classes.
        ValueError: If the images are of another dataset, or one that is not registered does not say its classes.
    """
    dataset = whole.dataset
    if dataset != key.dataset:
        raise ValueError(f"images are of {dataset.value}, not of {key.dataset.value}")
    if dataset.registered:
        return key
    if not dataset.class_counts:
        raise ValueError(f"images of {dataset.value} must state its classes, as those of load_test_set do")
    allowed = {attack.value: least for attack, least in _LEAST_CLASSES.items() if attack in settings.attacks}
    if settings.engine is EngineName.REFERENCE and AttackName.AUTOATTACK in settings.attacks:
        allowed = {**allowed, f"--engine {settings.engine}": TARGETS + 1}
    if lacking := [f"{name} requires {least}" for name, least in allowed.items() if dataset.classes < least]:
        raise EvaluationError(
            f"{dataset.value} has {dataset.classes} classes, and {' and '.join(lacking)} or more; choose others with "
            "--attacks and --engine, or a test set with more classes"
        )
    known = dataset.with_images(dataset.shape, dataset.class_counts, settings.epsilon_text(key.dataset))
    return replace(key, dataset=known)


_LEAST_CLASSES: Mapping[AttackName, int] = {AttackName.AUTOATTACK: 4, AttackName.HOFMN: 3}
"""Logits that the losses of the attacks compare: the targeted DLR of AutoAttack four, the DLR of HO-FMN three."""


class AuditedModel(NamedTuple):
    """What was found before any attack: counts, sparsity, warnings, and what was done to run the network."""

    audit: CheckpointAudit
    finding: SparsityFinding
    warnings: list[EvaluationWarning]
    notes: list[str]


def audit_model(
    model: LoadedNetwork, key: ModelKey, images: ImageSet, device: torch.device, pattern: Pattern | None = None
) -> AuditedModel:
    """Counts, family, sparsity and behaviour of a network that is on the device of the attacks.

    Raises:
        ApsiteError: If it does not suit the protocol, is of another family than its key says, or has another sparsity
            or pattern.
    """
    some = images.first(min(64, len(images)))
    x, labels = as_inputs(some.images[:], device), torch.from_numpy(some.labels).to(device)
    with device_errors(device):
        warnings, notes = check_behaviour(model.network, x, labels, images.dataset.classes)
    audit, found = check_weights(model.network, x, own_code=model.own_code, pattern=pattern)
    dense = check_census(audit, key.architecture, key.dataset) if key.architecture.registered else None
    if pattern is not None:
        check_pattern(model.network, audit, pattern)
    finding, sparsity = check_sparsity(audit, key.structure, key.sparsity, dense)
    if key.structure is None and finding.measured > SPARSITY_LIMIT:
        removed = f"{finding.measured:.2%} of its weights are removed"
        raise CheckpointError(f"declared dense, but {removed}; give --structure and --sparsity")
    audit = replace(audit, sparsity_basis=finding.basis if key.structure else None)
    return AuditedModel(audit, finding, [*sparsity, *found, *warnings], notes)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Check before the attacks that the record can be written.

    Raises:
        EvaluationError: If it cannot, or would replace another.
    """
    if target.exists() and not overwrite:
        raise EvaluationError(f"{target}: exists already; replace it with --overwrite or choose another --output")
    existing = next(parent for parent in target.absolute().parents if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise EvaluationError(f"cannot write to {target}: {existing} is not a writable folder; choose another --output")


def _record(
    request: Request, model: LoadedNetwork, images: ImageSet, audit: CheckpointAudit, finding: SparsityFinding,
    warnings: Sequence[EvaluationWarning], outcome: Outcome, environment: Mapping[str, Scalar], whole: ImageSet,
) -> EvaluationRecord:  # fmt: skip
    settings, key, file = request.settings, request.key, model.file
    today, facts = datetime.now(UTC).date().isoformat(), None
    if not key.dataset.registered:
        facts = records.OwnSetFacts(key.dataset.shape, key.dataset.class_counts, whole.sha256)
    split = split_of(key.dataset, images.index)
    checkpoint = records.Checkpoint(
        request.url, file.sha256, file.size, model.layout, file.format, state=request.state,
        factory_sha256=model.factory_sha256,
    )  # fmt: skip
    results = _results(outcome, settings, key.dataset)
    checked = results.autoattack is not None and results.autoattack.checked
    record = EvaluationRecord(
        key=key, protocol=settings.protocol(key.dataset, len(images), checked=checked),
        granularity=request.granularity or (Granularity.WEIGHT if key.structure is Structure.UNSTRUCTURED else None),
        sparsity=records.Sparsity(key.sparsity, finding.measured),
        threat_model=records.ThreatModel("linf", settings.epsilon_text(key.dataset)),
        results=results, checkpoint=checkpoint, warnings=tuple(warnings),
        provenance=records.Provenance(ProvenanceKind.SUBMITTED, request.source, None, today),
        environment=dict(environment), notes=(*request.notes, *model.notes), audit=audit,
        settings=settings.as_scalars(key.dataset),
        data=records.EvaluatedData(split, images.sha256, images.known, images.source, facts),
        passes=outcome.passes, seconds=outcome.seconds,
    )  # fmt: skip
    found = {warning.code: warning for warning in (*warnings, *warnings_of(record))}
    return replace(record, warnings=tuple(found.values()))


def _results(outcome: Outcome, settings: Settings, dataset: Dataset) -> Results:
    """Results of an evaluation: the numbers of its samples, and how HO-FMN was configured."""
    samples, trials = outcome.samples, outcome.trials
    results = results_of(samples, settings.epsilon_value(dataset), without_tuning=settings.left_out > 0)
    results = replace(results, whole_set=outcome.whole_set)
    if settings.drops_rows and results.autoattack is not None:
        stages = (
            replace(count, dropped_rows=outcome.dropped_rows) if count.attack is Attack.FAB_T else count
            for count in results.autoattack.stages
        )
        attacked = replace(results.autoattack, stages=tuple(stages))
        results = replace(results, attacks=(attacked, *results.attacks[1:]))
    if outcome.float32_check is not None:
        checked = replace(results.attacks[0], float32_check=outcome.float32_check)
        results = replace(results, attacks=(checked, *results.attacks[1:]))
    if results.hofmn is None:
        return results
    hofmn = replace(results.hofmn, steps=settings.attack_steps)
    if settings.fixed_configuration and samples.clean_correct.any():
        fixed = records.FixedConfiguration(FIXED_CONFIGURATION, outcome.closer)
        hofmn = replace(hofmn, fixed_configuration=fixed)
    if trials and samples.tuning is not None:
        best = best_of(trials)
        search = records.SearchResult(
            trials=len(trials), samples=settings.search_samples if settings.left_out else int(samples.tuning.sum()),
            steps=settings.search_steps, best_median=best.objective, at_bound=at_bounds(best.parameters.as_dict()),
        )  # fmt: skip
        hofmn = replace(hofmn, parameters=best.parameters.as_dict(), search=search)
    attacks = tuple(hofmn if result is results.hofmn else result for result in results.attacks)
    return replace(results, attacks=attacks)


def write_run(
    output: Path, record: EvaluationRecord, samples: SampleResults, place: Path | None = None
) -> tuple[EvaluationRecord, Path]:
    """The record with the hash of its per-sample file, and its path, once both are written.

    `place` is where it belongs below `output`, if it is not the current record of its model.
    """
    samples_path = (output / (place or record.path)).with_suffix(".npz")
    with atomic_file(samples_path) as temporary:  # takes its place once the record is written
        digest = write_samples(temporary, samples)
        record = replace(record, samples=records.SamplesFile(samples_path.name, digest))
        path = records.write_record(output, record, place)
    return record, path
