"""Verify a record: classify every sample again, and attack again a random part of those that it counts as robust.

The rule is in :mod:`apsite.validation.verification`. The draw and the attacks have a seed that nobody can know before
the verification runs, so a record cannot be prepared for it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
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
from apsite.evaluation.runs.evaluate import RUNS, AuditedModel, audit_model
from apsite.evaluation.runs.run_state import RunState
from apsite.evaluation.runs.runner import run
from apsite.evaluation.testsets.datasets import ImageSet, load_test_set, usual_folder
from apsite.progress import Reporter
from apsite.protocol import APB_1_ATTACKS, SEARCH_SPACE, SearchBatch, Settings
from apsite.records import (
    EvaluationRecord,
    RepeatedAttack,
    Verification,
    read_record,
    record_to_json,
    with_verification,
)
from apsite.records.patterns import declared_pattern
from apsite.samples import SampleResults, read_samples, samples_path
from apsite.validation import plausibility_problems, samples_problems
from apsite.validation.verification import claims, detectable_inflation, fewest_to_draw
from apsite.vocabulary import AttackName, ProvenanceKind, epsilon_value

_SPARSITY_SLACK = 1e-6


@dataclass(frozen=True)
class Finding:
    """Outcome of a verification: the record with the field ``verification``, and why it does not count as verified.

    `objections` are sentences; there are none if the results are verified.
    """

    record: EvaluationRecord
    verification: Verification
    objections: tuple[str, ...]

    @property
    def verified(self) -> bool:
        """Whether the re-run confirms the record, and would have detected an inflation of one point."""
        return not self.objections


def verify_record(
    path: Path, checkpoint: Path, *, samples: int | None = None, seed: int | None = None, by: str | None = None,
    data_dir: str | Path | None = None, device: str | None = None, factory: str | None = None,
    batch_size: int | None = None, run_dir: Path = RUNS, reporter: Reporter | None = None,
) -> Finding:  # fmt: skip
    """Run an evaluation again, in part and with another seed, and judge its record by it; nothing is written.

    Clean accuracy is computed on every sample. Every attack of the record runs, with the settings that it states, on
    samples drawn from those that the record counts as robust under it; the search of HO-FMN is not repeated.

    Args:
        path: The record, with its per-sample file next to it.
        checkpoint: The file that it is about.
        samples: How many samples to draw for each attack, at most all; ``None`` for the fewest that can verify.
        seed: Seed of the draw and of the attacks, to repeat a verification; ``None`` draws one, as it should be.
        by: Who verifies.
        data_dir: Folder of the dataset, or ``embedded``; ``None`` for the folder that ``apsite data fetch`` fills.
        device: ``cpu`` or ``cuda``; ``None`` for CUDA where there is one.
        factory: Builds the network of a record that names a factory. What a record names is never executed.
        batch_size: Samples attacked together; ``None`` for the default of the device.
        run_dir: Where finished work is kept, so that an interrupted verification resumes, with its seed.
        reporter: Receives the progress.

    Raises:
        ApsiteError: If the record is a published result or breaks a rule of `apsite validate`, the checkpoint, the code
            or the data is another one, or the network cannot be evaluated.
        ValueError: If `samples` is not positive.
    """
    if samples is not None and samples < 1:
        raise ValueError(f"samples must be at least 1, not {samples}")
    reporter = reporter or Reporter()
    record = _own_record(path)
    assert record.samples is not None
    recorded = read_samples(samples_path(path, record.samples.sha256, record.samples.url))
    chosen_device = choose_device(device)
    settings, parameters = _settings(record, batch_size)
    settings = settings.on(chosen_device.type)
    file = _same_checkpoint(record, checkpoint)
    images = _same_images(record, recorded, data_dir)
    model = _network(record, file, factory)
    network = model.network.to(chosen_device)
    pattern = declared_pattern(record.structure, record.audit.pattern if record.audit else None)
    audited = audit_model(model, record.key, images, chosen_device, pattern)
    assert record.samples is not None
    identity = {
        "verification": record.samples.sha256, "checkpoint": file.sha256, "factory": model.factory_sha256,
        "data": images.sha256, "settings": settings.as_scalars(record.dataset), "samples": samples, "seed": seed,
        "parameters": None if parameters is None else parameters.as_dict(), "torch": torch.__version__, "version": 2,
    }  # fmt: skip
    with RunState(run_dir, identity, about=f"verify {record.model_key}: {checkpoint}") as kept:
        seed = _seed(kept, seed)
        drawn = draw(record, recorded, samples, seed)
        counts = ", ".join(f"{int(flags.sum()):,} for {attack.label}" for attack, flags in drawn.items())
        reporter.say(f"{record.model_key}: seed {seed} drew claimed-robust samples: {counts}")
        settings = replace(settings, seed=seed)
        again = run(network, images, settings, kept, chosen_device, reporter, parameters, only=drawn).samples
        kept.clear()
    return judge(path, record, recorded, again, drawn, seed, by, audited)


def draw(
    record: EvaluationRecord, recorded: SampleResults, samples: int | None, seed: int
) -> dict[AttackName, NDArray[np.bool_]]:
    """Flags of the samples to attack again, by attack: the first of those that it counts as robust, in random order.

    `samples` is how many for each attack; ``None`` for the fewest that can verify.
    """
    order, drawn = np.random.default_rng(seed).permutation(len(recorded)), {}
    for attack, (count, of) in claims(record).items():
        robust = _claimed(record, recorded, attack)
        chosen = order[robust[order]][: fewest_to_draw(count, of) if samples is None else samples]
        drawn[attack] = np.zeros(len(recorded), np.bool_)
        drawn[attack][chosen] = True
    return drawn


def judge(
    path: Path, record: EvaluationRecord, recorded: SampleResults, again: SampleResults,
    drawn: Mapping[AttackName, NDArray[np.bool_]], seed: int, by: str | None = None,
    audited: AuditedModel | None = None,
) -> Finding:  # fmt: skip
    """Outcome of a re-run: what broke of the samples drawn, and what of the rule the record does not satisfy.

    `audited` is what the re-run measured on the network; ``None`` leaves that out.
    """
    attacks = []
    for attack, (claimed, of) in claims(record).items():
        count, robust = int(drawn[attack].sum()), _robust(record, again, attack)
        broken = int((drawn[attack] & ~robust).sum())
        attacks.append(RepeatedAttack(attack, claimed, count, broken, detectable_inflation(claimed, count, of)))
    different = int((recorded.clean_correct != again.clean_correct).sum())
    today = datetime.now(UTC).date().isoformat()
    verification = Verification(today, seed, len(again), different, tuple(attacks), by)
    verified, objections = with_verification(record, verification), []
    if audited is not None and record.audit is not None:
        shares = {
            "sparsity.measured": (record.sparsity.measured, audited.finding.measured),
            "audit.pattern_share": (record.audit.pattern_share, audited.audit.pattern_share),
        }
        objections += [
            f"{place}: {stated} is not what the checkpoint has, {found}"
            for place, (stated, found) in shares.items()
            if found is not None and (stated is None or abs(stated - found) > _SPARSITY_SLACK)
        ]
    objections += [f"{problem.field}: {problem.problem}" for problem in plausibility_problems(path, verified)]
    return Finding(verified, verification, tuple(objections))


def write_verification(path: Path, finding: Finding) -> EvaluationRecord:
    """Put the outcome of a verification into its record, atomically.

    Raises:
        ValueError: If the results are not verified.
    """
    if not finding.verified:
        raise ValueError("only a re-run without objections verifies a record")
    write_json(path, record_to_json(finding.record))
    return finding.record


def _seed(kept: RunState, seed: int | None) -> int:
    """The given seed, that of the interrupted verification which is resumed, or a new one that nobody can know."""
    if (unit := kept.get("seed")) is not None:
        return int(unit["value"])
    seed = secrets.randbelow(2**31) if seed is None else seed
    kept.put("seed", value=np.array(seed))
    return seed


def _robust(record: EvaluationRecord, samples: SampleResults, attack: AttackName) -> NDArray[np.bool_]:
    """Whether each sample is robust under an attack, at the ε of the record; none if the attack was not run."""
    text = record.threat_model.epsilon
    robust = samples.robust(attack, None if text is None else epsilon_value(text))
    return np.zeros(len(samples), np.bool_) if robust is None else robust


def _claimed(record: EvaluationRecord, recorded: SampleResults, attack: AttackName) -> NDArray[np.bool_]:
    """Which samples the record counts as robust under an attack."""
    robust = _robust(record, recorded, attack)
    if attack is AttackName.HOFMN and record.leaves_out_tuning and recorded.tuning is not None:
        robust = robust & ~recorded.tuning
    return robust


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
    if results.hofmn is not None and (results.hofmn.parameters or results.hofmn.robust_accuracy):
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
    images = load_test_set(record.dataset, data_dir or usual_folder(record.dataset))
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
    model = open_network(file, Declared.of(record.key, factory, None if layout == IN_MEMORY else layout))
    stated = record.checkpoint.factory_sha256
    if stated is not None and model.factory_sha256 != stated:
        raise EvaluationError(
            f"--arch {factory}: is not the code of the record: its SHA-256 is {model.factory_sha256}, the record has "
            f"{stated}"
        )
    return model
