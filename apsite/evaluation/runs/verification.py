"""Check a record: repeat its evaluation on a random part of its samples and compare the results.

The rule. A re-run agrees if the record is about this very checkpoint and this very data, the measured sparsity is the
stated one, at most ``DISAGREEMENT_LIMIT`` of the samples have a result (correct; robust under AutoAttack; further than
epsilon under HO-FMN) that differs, and the differences do not go one way: McNemar's exact two-sided test of each result
has a p-value of at least ``VERIFICATION_ALPHA``; see :mod:`apsite.protocol`.

Differences are expected to be rare. HO-FMN is deterministic up to rounding. `pyautoattack` draws its random numbers per
batch, and a part of the samples makes other batches: the union of its attacks is stable, a rare sample is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from apsite.documents.json_files import write_json
from apsite.errors import EvaluationError
from apsite.evaluation.attacks.fmn import FmnParameters
from apsite.evaluation.checkpoints.loading import IN_MEMORY, Declared, LoadedNetwork, open_network
from apsite.evaluation.checkpoints.reading import CheckpointFile, read_checkpoint
from apsite.evaluation.runs.environment import choose_device
from apsite.evaluation.runs.evaluate import RUNS, audit_model
from apsite.evaluation.runs.run_state import RunState
from apsite.evaluation.runs.runner import run
from apsite.evaluation.testsets.datasets import ImageSet, load_test_set
from apsite.evaluation.testsets.downloads import data_dir as default_data_dir
from apsite.metrics import mcnemar_p_value
from apsite.progress import Reporter
from apsite.protocol import APB_1_ATTACKS, DISAGREEMENT_LIMIT, SEARCH_SPACE, VERIFICATION_ALPHA, SearchBatch, Settings
from apsite.records import EvaluationRecord, Verification, read_record, record_to_json, with_verification
from apsite.samples import SampleResults, read_samples
from apsite.validation import plausibility_problems, samples_problems
from apsite.vocabulary import AttackName, ProvenanceKind, epsilon_value

_SPARSITY_SLACK = 1e-6


@dataclass(frozen=True)
class RepeatedResult:
    """One result (``clean``, ``AutoAttack``, ``HO-FMN``) of the record against the same of the re-run.

    `samples` are compared; the other numbers are those that the record, the re-run, or only one of them, calls correct
    or robust.
    """

    result: str
    samples: int
    recorded: int
    rerun: int
    only_recorded: int
    only_rerun: int

    @property
    def agreement(self) -> float:
        """Share of samples with the same result."""
        return 1 - (self.only_recorded + self.only_rerun) / self.samples

    @property
    def p_value(self) -> float:
        """McNemar p-value of the two results."""
        return mcnemar_p_value(self.only_recorded, self.only_rerun)


@dataclass(frozen=True)
class Finding:
    """Outcome of a re-run of some samples of a record.

    Attributes:
        comparisons: One for each result that the record has.
        agreement: Share of samples whose results are all the same.
        objections: Why it does not agree, a sentence each; empty if it does.
    """

    record: EvaluationRecord
    samples: int
    comparisons: tuple[RepeatedResult, ...]
    agreement: float
    objections: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether the re-run confirms the record."""
        return not self.objections


def verify_record(
    path: Path, checkpoint: Path, *, samples: int = 512, seed: int = 0, data_dir: str | Path | None = None,
    device: str | None = None, factory: str | None = None, batch_size: int | None = None, run_dir: Path = RUNS,
    reporter: Reporter | None = None,
) -> Finding:  # fmt: skip
    """Evaluate a random part of a record's samples again, with the record's own parameters; nothing is written.

    Clean accuracy, AutoAttack and the final attack of HO-FMN are run; the search is not repeated.

    Args:
        path: The record, with its per-sample file next to it.
        checkpoint: The file that it is about.
        samples: How many samples, at most all of them.
        seed: Seed of their choice. The attacks have the record's seed.
        data_dir: Folder of the dataset, or ``embedded``; ``None`` for the folder that ``apsite data fetch`` fills.
        device: ``cpu`` or ``cuda``; ``None`` for CUDA where there is one.
        factory: Builds the network of a record that names a factory. What a record names is never executed.
        batch_size: Samples attacked together; ``None`` for the record's.
        run_dir: Where finished work is kept, so that an interrupted verification resumes.
        reporter: Receives the progress.

    Raises:
        ApsiteError: If the record is a published result or breaks a rule of `apsite validate`, the checkpoint or the
            data is another one, or the network cannot be evaluated.
        ValueError: If `samples` is not positive.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, not {samples}")
    reporter = reporter or Reporter()
    record = _own_record(path)
    recorded = read_samples(path.with_suffix(".npz"))
    chosen_device = choose_device(device)
    settings, parameters = _settings(record, batch_size)
    settings = settings.on(chosen_device.type)
    file = _same_checkpoint(record, checkpoint)
    images = _same_images(record, recorded, data_dir)
    chosen = np.sort(np.random.default_rng(seed).choice(len(recorded), min(samples, len(recorded)), replace=False))
    recorded, images = recorded.take(chosen), images.take(chosen)
    model = _network(record, file, factory)
    network = model.network.to(chosen_device)
    _, finding, _ = audit_model(model, record.key, images, chosen_device)
    assert record.samples is not None
    identity = {
        "verification": record.samples.sha256, "checkpoint": file.sha256, "data": images.sha256,
        "settings": settings.as_scalars(record.dataset),
        "parameters": None if parameters is None else parameters.as_dict(), "torch": torch.__version__, "version": 1,
    }  # fmt: skip
    reporter.say(f"{record.model_key}: {len(images)} of {record.results.n_samples} samples again")
    with RunState(run_dir, identity) as kept:
        again = run(network, images, settings, kept, chosen_device, reporter, parameters).samples
        kept.clear()
    return compare(record, recorded, again, finding.measured)


def compare(
    record: EvaluationRecord, recorded: SampleResults, again: SampleResults, sparsity: float | None = None
) -> Finding:
    """Compare the results of a re-run with the record's of the same samples, by the rule of this module.

    `sparsity` is that measured in the re-run; ``None`` leaves it out.
    """
    before, after = _flags(record, recorded), _flags(record, again)
    comparisons, differs, n = [], np.zeros(len(recorded), np.bool_), len(recorded)
    for name, one in before.items():
        other = after[name]
        differs |= one != other
        counts = (int(flags.sum()) for flags in (one, other, one & ~other, other & ~one))
        comparisons.append(RepeatedResult(name, n, *counts))
    different, objections = int(differs.sum()), []
    stated = record.sparsity.measured
    if sparsity is not None and (stated is None or abs(stated - sparsity) > _SPARSITY_SLACK):
        objections.append(f"The record states a measured sparsity of {stated}; it is {sparsity}.")
    if different > DISAGREEMENT_LIMIT * n:
        objections.append(f"{different} of {n} samples have another result; at most {DISAGREEMENT_LIMIT:.0%} may.")
    objections += [
        f"{one.result}: the differences go one way, {one.only_recorded} for the record and {one.only_rerun} against "
        f"it (p = {one.p_value:.2g}, below {VERIFICATION_ALPHA})."
        for one in comparisons
        if one.p_value < VERIFICATION_ALPHA
    ]
    return Finding(record, n, tuple(comparisons), 1 - different / n, tuple(objections))


def write_verification(path: Path, finding: Finding, by: str | None = None) -> EvaluationRecord:
    """Put the outcome of a re-run that agrees into its record, atomically.

    Raises:
        ValueError: If it does not agree.
    """
    if not finding.agrees:
        raise ValueError("only a re-run that agrees verifies a record")
    today = datetime.now(UTC).date().isoformat()
    record = with_verification(finding.record, Verification(today, finding.samples, finding.agreement, by))
    write_json(path, record_to_json(record))
    return record


def _flags(record: EvaluationRecord, samples: SampleResults) -> dict[str, NDArray[np.bool_]]:
    """Whether each sample is correct, and robust under each attack that the record has."""
    text = record.threat_model.epsilon
    epsilon = None if text is None else epsilon_value(text)
    attacks = {result.attack.label: samples.robust(result.attack, epsilon) for result in record.results.attacks}
    return {"clean": samples.clean_correct} | {name: flags for name, flags in attacks.items() if flags is not None}


def _own_record(path: Path) -> EvaluationRecord:
    """Record of a run that passes the checks of `apsite validate`."""
    record = read_record(path)
    if record.provenance.kind is ProvenanceKind.PUBLISHED:
        raise EvaluationError(
            f"{path}: is a result published by {record.provenance.source}, without per-sample results; "
            "evaluate the checkpoint with `apsite eval` instead"
        )
    problems = [*plausibility_problems(path, record), *samples_problems(path, record)[0]]
    if problems:
        raise problems[0]
    return record


def _settings(record: EvaluationRecord, batch_size: int | None) -> tuple[Settings, FmnParameters | None]:
    """Settings of the re-run and the configuration of HO-FMN, from what the record states."""
    stated, results = Settings.from_scalars(record.settings or {}), record.results
    attacks, parameters, steps = [], None, stated.attack_steps
    if results.autoattack is not None:
        attacks.append(AttackName.AUTOATTACK)
    if results.hofmn is not None and results.hofmn.parameters:
        missing = [name for name in SEARCH_SPACE if name not in results.hofmn.parameters]
        if missing:
            raise EvaluationError(
                f"{results.place(AttackName.HOFMN)}.parameters of the record lacks {', '.join(missing)}"
            )
        attacks.append(AttackName.HOFMN)
        parameters = FmnParameters(**{name: float(results.hofmn.parameters[name]) for name in SEARCH_SPACE})
        steps = results.hofmn.steps or steps
    attacks += [result.attack for result in results.attacks if result.attack not in APB_1_ATTACKS]
    if not attacks:
        raise EvaluationError(f"{record.model_key}: the record has no attack that could be run again")
    settings = replace(
        stated, attacks=tuple(attacks), epsilon=record.threat_model.epsilon, n_examples=None, attack_steps=steps,
        batch_size=batch_size or stated.batch_size, search_batch=SearchBatch.FIXED,
    )  # fmt: skip
    return settings, parameters


def _same_checkpoint(record: EvaluationRecord, path: Path) -> CheckpointFile:
    file = read_checkpoint(path, state=record.checkpoint.state)
    if file.sha256 != record.checkpoint.sha256:
        raise EvaluationError(
            f"{path}: is not the checkpoint of the record: its SHA-256 is {file.sha256}, the record has "
            f"{record.checkpoint.sha256}"
        )
    return file


def _same_images(record: EvaluationRecord, recorded: SampleResults, data_dir: str | Path | None) -> ImageSet:
    """The images of the record, found to be the very same by their hash."""
    images = load_test_set(record.dataset, data_dir if data_dir is not None else default_data_dir())
    if recorded.index[-1] >= len(images):
        raise EvaluationError(f"{images.source}: has {len(images)} images; the record has image {recorded.index[-1]}")
    images = images.take(recorded.index)
    assert record.data is not None
    if images.sha256 != record.data.sha256:
        raise EvaluationError(
            f"{images.source}: the images are not those of the record: their hash is {images.sha256}, the record has "
            f"{record.data.sha256}; use the official files"
        )
    return images


def _network(record: EvaluationRecord, file: CheckpointFile, factory: str | None) -> LoadedNetwork:
    """The network of the record. A factory that a record names is never executed, since records are untrusted."""
    layout = record.checkpoint.layout
    if factory is None and layout is not None and ":" in layout:
        raise EvaluationError(
            f"{record.model_key}: the network was built by the author's own code, {layout!r}; read that code, and name "
            "your copy with --arch file.py:factory"
        )
    return open_network(file, Declared.of(record.key, factory, None if layout == IN_MEMORY else layout))
