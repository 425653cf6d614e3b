"""Time and memory of `apsite validate` and `apsite build` on synthetic catalogues.

Every two models of a setting are compared by a paired test, so the build is measured up to a number of records.

Every record is a whole run of protocol apb-1 with its per-sample file, which is the most work that a record can be; the
numbers are drawn at random and mean nothing. Twelve records make a method: two networks, two structures, three
sparsities.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from apsite.documents.json_files import write_json
from apsite.entries import entry_from_json
from apsite.keys import ModelKey
from apsite.official_sets import known_sha256, official_labels
from apsite.protocol import FIXED_CONFIGURATION
from apsite.records import (
    AttackCount,
    AttackResult,
    Checkpoint,
    CheckpointAudit,
    EvaluatedData,
    EvaluationRecord,
    EvaluationWarning,
    FixedConfiguration,
    JointResult,
    LayerAudit,
    Passes,
    Provenance,
    Results,
    SamplesFile,
    SearchResult,
    Sparsity,
    ThreatModel,
    write_record,
)
from apsite.records.census import censuses
from apsite.results import warnings_of
from apsite.samples import SampleResults, write_samples
from apsite.validation.runs import PHASES
from apsite.vocabulary import (
    Architecture,
    Attack,
    AttackName,
    Dataset,
    Granularity,
    Protocol,
    ProvenanceKind,
    Structure,
)
from benchmarks.page_weights import PageWeights, page_weights
from benchmarks.timing import CommandTime

NETWORKS = (Architecture.RESNET18, Architecture.VGG16)
STRUCTURES = [structure for structure in Structure if structure.sparsities]
PER_METHOD = len(NETWORKS) * len(STRUCTURES) * 3
N = Dataset.CIFAR10.test_samples
SETTINGS = {
    "preset": "apb-1", "seed": 0, "batch_size": 128, "attacks": "autoattack,hofmn", "engine": "reference",
    "epsilon": "8/255", "search_trials": 32, "search_samples": 64, "search_steps": 100, "attack_steps": 200,
    "fixed_configuration": True, "n_examples": None,
}  # fmt: skip
IMAGES = known_sha256(Dataset.CIFAR10, N)
LABELS = official_labels(Dataset.CIFAR10)


def write_catalogue(root: Path, count: int) -> None:
    """Write `count` records, and the entries that they need, below `root`."""
    generator = np.random.default_rng(0)
    (root / "entries").mkdir(parents=True)
    for number, start in enumerate(range(0, count, PER_METHOD), 1):
        method = f"Synthetic{number:04}_Doe2024Method"
        write_json(root / "entries" / f"{method}.json", entry_document(method))
        models = itertools.product(NETWORKS, STRUCTURES, range(3))
        for network, structure, place in itertools.islice(models, min(PER_METHOD, count - start)):
            sparsity = structure.sparsities[place]
            key = ModelKey.of(method, network, Dataset.CIFAR10, structure, sparsity)
            record, samples = run(key, generator)
            path = root / "evaluations" / record.path
            digest = write_samples(path.with_suffix(".npz"), samples)
            write_record(
                root / "evaluations", EvaluationRecord(**{**vars(record), "samples": SamplesFile(f"{key}.npz", digest)})
            )


def entry_document(key: str) -> dict[str, object]:
    """Entry of a synthetic method."""
    document: dict[str, object] = {
        "schema_version": 1,
        "key": key,
        "name": key.split("_", maxsplit=1)[0],
        "aliases": [],
        "baseline": False,
        "paper": {
            "title": f"A synthetic method called {key}",
            "authors": ["Jane Doe"],
            "venue": "Nowhere",
            "year": 2024,
            "url": "https://example.org/paper",
            "bibtex": f"@misc{{{key}, title = {{A synthetic method}}}}",
        },
        "code": None,
        "pipeline": {"stage": "after", "pretraining": ["AT-PGD"], "finetuning": ["TRADES"], "schedule": ["one-shot"]},
        "specifics": {
            "structure": ["unstructured", "structured"],
            "granularity": ["weight", "filter"],
            "locality": ["global"],
            "criterion": "LIS",
        },
        "audit": None,
        "reported": [],
        "notes": [],
        "sources": dict.fromkeys(("name", "paper", "pipeline", "specifics"), "invented"),
    }
    entry_from_json(document)
    return document


def run(key: ModelKey, generator: np.random.Generator) -> tuple[EvaluationRecord, SampleResults]:
    """Record and per-sample results of an invented run."""
    clean = generator.random(N) < generator.uniform(0.7, 0.9)
    after = {}
    left = clean
    for attack, kept in zip(Attack, (generator.uniform(0.5, 0.7), 0.95, 0.999, 0.998), strict=True):
        left = left & (generator.random(N) < kept)
        after[attack] = left
    distance = np.where(clean, generator.gamma(2.0, 0.012, N), 0).astype(np.float32)
    distance[left] = np.maximum(distance[left], np.float32(8.1 / 255))
    distance[clean & (distance == 0)] = 1e-3
    tuning = np.zeros(N, dtype=np.bool_)
    tuning[np.flatnonzero(clean)[:64]] = True
    samples = SampleResults(np.arange(N, dtype=np.int32), LABELS, clean, left, distance, tuning, after)
    beyond = distance > np.float32(8 / 255)
    stages, before = [], int(clean.sum())
    for attack, flags in after.items():
        stages.append(AttackCount(attack, before, before - int(flags.sum()), int(flags.sum())))
        before = int(flags.sum())
    audit = pruned(key)
    record = EvaluationRecord(
        key=key,
        protocol=Protocol.APB_1,
        granularity=Granularity.WEIGHT if key.structure is Structure.UNSTRUCTURED else Granularity.FILTER,
        sparsity=Sparsity(key.sparsity, audit.zero_weights / audit.weights),
        threat_model=ThreatModel("linf", "8/255"),
        results=Results(
            N,
            int(clean.sum()) / N,
            (
                AttackResult(AttackName.AUTOATTACK, int(left.sum()) / N, tuple(stages)),
                AttackResult(
                    AttackName.HOFMN,
                    int(beyond.sum()) / N,
                    parameters={"learning_rate": 1.0, "momentum": 0.5, "weight_decay": 0.1, "dampening": 0.1},
                    median_distance=float(np.median(distance[clean].astype(np.float64))),
                    not_found=0,
                    search=SearchResult(32, 64, 100, 0.03, ()),
                    steps=200,
                    fixed_configuration=FixedConfiguration(FIXED_CONFIGURATION, 0),
                ),
            ),
            JointResult(
                int((beyond & left).sum()) / N,
                {AttackName.AUTOATTACK: int((beyond & ~left).sum()), AttackName.HOFMN: int((~beyond & left).sum())},
            ),
        ),
        checkpoint=Checkpoint(
            "https://example.org/model.pt",
            hashlib.sha256(str(key).encode()).hexdigest(),
            10**7,
            "resnet18",
            "safetensors",
        ),
        provenance=Provenance(ProvenanceKind.SUBMITTED, "Jane Doe", None, "2026-01-01"),
        warnings=(EvaluationWarning("synthetic", "These numbers were drawn at random."),),
        environment={"torch": "2.13.0", "device": "cuda"},
        audit=audit,
        settings=SETTINGS,
        passes={phase: Passes(30_000_000, 10_000_000) for phase in PHASES},
        seconds=dict.fromkeys(PHASES, 600.0),
        data=EvaluatedData("whole test set", IMAGES, known=True),
    )
    return replace(record, warnings=(*record.warnings, *warnings_of(record))), samples


def pruned(key: ModelKey) -> CheckpointAudit:
    """Audit of the registered network of a model, with the declared share of the filters of each layer zero."""
    census = censuses(key.architecture, key.dataset)[0]
    filters = [round(one.filters * key.sparsity) for one in census.layers]
    zeros = [empty * one.weights // one.filters for one, empty in zip(census.layers, filters, strict=True)]
    layers = tuple(
        LayerAudit(f"{place}", one.weights, zero, one.filters, empty, one.channels, 0, 0, zero, one.kind, *one[3:])
        for place, (one, zero, empty) in enumerate(zip(census.layers, zeros, filters, strict=True))
    )
    weights, zero = census.count("weights"), sum(zeros)
    removed = sum(empty for one, empty in zip(census.layers, filters, strict=True) if one.kernel)
    return CheckpointAudit(
        weights + 10_000, weights - zero + 10_000, weights, zero, census.macs,
        round(census.macs * (1 - key.sparsity)), removed, census.count("filters"), layers, 0, census.count("channels"),
        "weights",
    )  # fmt: skip


def measure(records: int, command: list[str]) -> CommandTime:
    """Run a command of apsite in a separate process.

    Raises:
        SystemExit: If it fails.
    """
    start = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([sys.executable, "-m", "apsite", *command], stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"apsite {' '.join(command)} failed:\n{output.read().decode()[-2000:]}")
    peak = usage.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
    return CommandTime(command[0], records, round(seconds, 2), round(usage.ru_utime + usage.ru_stime, 2), round(peak))


def measurements(
    counts: Sequence[int], build_up_to: int, folder: Path | None = None
) -> Iterator[CommandTime | PageWeights]:
    """`validate`, and `build` and what its pages weigh up to a number of records, on catalogues of some sizes.

    Args:
        counts: Numbers of records.
        build_up_to: Largest catalogue whose pages are built.
        folder: Where catalogues are kept, and reused; ``None`` to delete them.
    """
    with tempfile.TemporaryDirectory() as temporary:
        for count in counts:
            root = (folder or Path(temporary)) / f"{count}-records"
            if not root.exists():
                print(f"writing {count:,} records", file=sys.stderr)
                write_catalogue(root, count)
            yield measure(count, ["validate", "--root", str(root)])
            if count <= build_up_to:
                output = Path(temporary) / f"{count}-build"
                yield measure(count, ["build", "--root", str(root), "--output", str(output)])
                yield page_weights(output / "site", count)
