"""A submission that is right in every respect, in a repository with others' results, and ways to spoil it."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from apsite.official_sets import known_sha256, official_labels
from apsite.protocol import FIXED_CONFIGURATION
from apsite.samples import SampleResults, samples_bytes
from apsite.vocabulary import Attack, Dataset
from tests.builders import (
    METHOD,
    RIVAL,
    Document,
    audit_document,
    changed,
    entry_document,
    measured,
    own_document,
    record_document,
    reduced_document,
    write_data,
)
from tests.repositories import git, repository_with

N = 10_000
MODELS = {percent: f"{METHOD}_R18_CIFAR10_US_{percent}" for percent in (90, 95, 99)}
FOLDER = f"evaluations/{METHOD}"
ENTRY = f"entries/{METHOD}.json"
RECORD = f"{FOLDER}/{MODELS[90]}.json"
SAMPLES = f"{FOLDER}/{MODELS[90]}.npz"
SECOND = f"{FOLDER}/{MODELS[95]}.json"
OTHERS_ENTRY = f"entries/{RIVAL}.json"
OTHERS_MODEL = f"{RIVAL}_R18_CIFAR10_US_90"
OTHERS_RECORD = f"evaluations/{RIVAL}/{OTHERS_MODEL}.json"
PUBLISHED_MODEL = f"{RIVAL}_V16_CIFAR10_US_90"
PUBLISHED = f"evaluations/{RIVAL}/{PUBLISHED_MODEL}.json"
REDUCED_MODEL = f"{RIVAL}_V16_SVHN_US_90"
REDUCED = f"evaluations/{RIVAL}/{REDUCED_MODEL}.json"


Spoil = Callable[[Path], object]


def verdicts(percent: int = 90) -> SampleResults:
    """Verdicts of the whole test set, the fewer robust the sparser the network; no two distances are alike."""
    position = np.arange(N)
    clean = position % 10 < 8
    robust = clean & (position % 100 < 130 - percent)
    after = {Attack.APGD_CE: clean & (position % 100 < 140 - percent)}
    after |= dict.fromkeys((Attack.APGD_T, Attack.FAB_T, Attack.SQUARE), robust)
    # All that AutoAttack left robust, and some more, lie beyond 8/255.
    beyond = clean & (position % 100 < 132 - percent)
    spread = 1 + np.random.default_rng(percent).random(N) / 5
    distance = np.where(clean, np.where(beyond, 12 / 255, 4 / 255) * spread, 0).astype(np.float32)
    distance[0] = np.inf
    tuning = np.zeros(N, dtype=np.bool_)
    tuning[np.flatnonzero(clean)[:64]] = True
    return SampleResults(
        position.astype(np.int32), official_labels(Dataset.CIFAR10), clean, robust, distance, tuning, after
    )


def full_run(percent: int = 90) -> Document:
    """Record of a whole run of protocol apb-1 on :func:`verdicts`, its figures counted here once more."""
    samples, key = verdicts(percent), MODELS[percent]
    assert samples.aa_robust is not None
    assert samples.distance is not None
    stages, before = [], int(samples.clean_correct.sum())
    for attack, flags in samples.robust_after.items():
        after = int(flags.sum())
        count = {"attack": attack.value, "attacked": before, "broken": before - after, "robust_after": after}
        stages.append(count)
        before = after
    beyond = samples.distance > np.float32(8 / 255)
    document = changed(own_document(key), "verification")
    document.update(
        protocol="apb-1",
        results={
            "n_samples": N, "clean_accuracy": int(samples.clean_correct.sum()) / N,
            "attacks": [
                {"attack": "autoattack", "robust_accuracy": int(samples.aa_robust.sum()) / N, "stages": stages},
                {
                    "attack": "hofmn", "robust_accuracy": int(beyond.sum()) / N,
                    "parameters": {"learning_rate": 1.5, "momentum": 0.3, "weight_decay": 0.1, "dampening": 0.1},
                    "median_distance": float(np.median(samples.distance[samples.clean_correct].astype(np.float64))),
                    "not_found": 1,
                    "search": {"trials": 32, "samples": 64, "steps": 100, "best_median": 0.03, "at_bound": []},
                    "steps": 200,
                    "fixed_configuration": {"parameters": dict(FIXED_CONFIGURATION), "closer": 1_000},
                },
            ],
            "joint": {
                "robust_accuracy": int((beyond & samples.aa_robust).sum()) / N,
                "broken_only_by": {
                    "autoattack": int((beyond & ~samples.aa_robust).sum()),
                    "hofmn": int((~beyond & samples.aa_robust).sum()),
                },
            },
        },
        warnings=[],
        settings={
            "preset": "apb-1", "seed": 0, "batch_size": 128, "attacks": "autoattack,hofmn", "engine": "fast",
            "precision": "float32", "remove_channels": True, "fab_drop_rows": True, "epsilon": "8/255",
            "search_trials": 32, "search_samples": 64, "search_batch": "fixed", "search_steps": 100,
            "attack_steps": 200, "fixed_configuration": True, "n_examples": None, "sample": "random",
        },
        samples={"file": f"{key}.npz", "sha256": hashlib.sha256(samples_bytes(samples)).hexdigest()},
        provenance={"kind": "submitted", "source": "Jane Doe", "location": None, "date": "2026-01-01"},
    )  # fmt: skip
    document["data"] |= {"split": "whole test set", "sha256": known_sha256(Dataset.CIFAR10, N)}
    document["passes"] = {
        phase: {"forward": forward, "backward": backward}
        for phase, forward, backward in [
            ("clean", N, 0),
            ("apgd-ce", 20_000, 900_000),
            ("apgd-t", 20_000, 4_000_000),
            ("fab-t", 3_000_000, 4_000_000),
            ("square", 18_000_000, 0),
            ("hofmn-search", 2_048, 204_800),
            ("hofmn", 16_000, 3_200_000),
        ]
    }
    document["audit"] = audit_document(key, percent / 100)
    document["sparsity"] = {"declared": percent / 100, "measured": measured(document["audit"])}
    return document


def others() -> list[Document]:
    """What is published already: another method, a figure from the survey, and somebody's own run."""
    own = changed(own_document(OTHERS_MODEL), "provenance.source", "Richard Roe")
    return [
        entry_document(RIVAL, aliases=["Rival_Roe2023Old"]),
        record_document(PUBLISHED_MODEL),
        reduced_document(REDUCED_MODEL),
        changed(changed(own, "provenance.kind", "submitted"), "verification"),
    ]


def submission(folder: Path) -> Path:
    """Repository with others' results on ``main``, and the whole submission uncommitted on a branch."""
    repository_with(folder, *others())
    git(folder, "repack", "-a", "-d", "--quiet")  # few files, for it is copied often
    git(folder, "checkout", "--quiet", "-b", "work")
    write_data(folder, entry_document())
    for percent, key in MODELS.items():
        path = folder / FOLDER / f"{key}.json"
        write_json(path, full_run(percent))
        path.with_suffix(".npz").write_bytes(samples_bytes(verdicts(percent)))
    return folder


def write_json(path: Path, document: Any) -> None:
    """Write a document as it stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")


def edit(name: str, *changes: tuple[str, Any]) -> Spoil:
    """Change or remove fields of a document."""

    def spoil(root: Path) -> None:
        document = json.loads((root / name).read_text(encoding="utf-8"))
        for field, value in changes:
            document = changed(document, field, value)
        write_json(root / name, document)

    return spoil


def write(name: str, content: bytes | str) -> Spoil:
    """Put a file there."""

    def spoil(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return spoil


def arrays(name: str = SAMPLES, *, stated: bool = True, **replaced: Any) -> Spoil:
    """Replace, add or (with ``None``) remove arrays of a per-sample file; its hash in the record follows."""

    def spoil(root: Path) -> None:
        with np.load(root / name) as old:
            content = {key: old[key] for key in old.files}
        for key, value in replaced.items():
            if value is None:
                del content[key]
            else:
                content[key] = value(content[key].copy()) if callable(value) else value
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **content)
        put_samples(root, name, buffer.getvalue(), stated=stated)

    return spoil


def put_samples(root: Path, name: str, content: bytes, *, stated: bool = True) -> None:
    """Write a per-sample file, and its hash into the record."""
    (root / name).write_bytes(content)
    if stated:
        edit(name.replace(".npz", ".json"), ("samples.sha256", hashlib.sha256(content).hexdigest()))(root)


def raw(change: Callable[[bytes], bytes]) -> Spoil:
    """Change the bytes of the per-sample file; its hash in the record follows."""
    return lambda root: put_samples(root, SAMPLES, change((root / SAMPLES).read_bytes()))


def members(change: Callable[[str, bytes], bytes]) -> Spoil:
    """Change the members of the per-sample file by name."""

    def spoil(root: Path) -> None:
        with zipfile.ZipFile(root / SAMPLES) as archive:
            changed_members = {name: change(name, archive.read(name)) for name in archive.namelist()}
        packed(changed_members)(root)

    return spoil


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Spoil:
    """Replace the per-sample file by a zip archive with these members."""

    def spoil(root: Path) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        put_samples(root, SAMPLES, buffer.getvalue())

    return spoil


def at(position: int, value: Any) -> Callable[[Any], Any]:
    """Function that sets one element of an array."""

    def change(array: Any) -> Any:
        array[position] = value
        return array

    return change
