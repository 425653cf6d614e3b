"""Small documents that are right in every respect, and ways to break them in one."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from apsite.keys import ModelKey
from apsite.records.census import censuses
from apsite.samples import SampleResults, samples_bytes
from apsite.validation.verification import breaks_allowed
from apsite.vocabulary import Attack, Structure

Document = dict[str, Any]

METHOD = "Tiny_Doe2024Small"
RIVAL = "Rival_Roe2023Other"
MODEL = f"{METHOD}_R18_CIFAR10_US_90"


class _Removed:
    """What stands for a field that is left out."""

    def __repr__(self) -> str:
        return "removed"  # the same in every process, because names of tests hold it


REMOVED = _Removed()


def digest(text: str) -> str:
    """SHA-256 that is that of something."""
    return hashlib.sha256(text.encode()).hexdigest()


def entry_document(key: str = METHOD, **changes: Any) -> Document:
    """Entry of an A-method, with top-level fields replaced by `changes`."""
    document: Document = {
        "schema_version": 1, "key": key, "name": key.split("_", maxsplit=1)[0], "aliases": [], "baseline": False,
        "paper": {
            "title": "Small Networks", "authors": ["Jane Doe"], "venue": "ICLR", "year": 2024,
            "url": "https://example.org/paper", "bibtex": "@article{Doe2024Small}",
        },
        "code": {"url": "https://example.org/code"},
        "pipeline": {"stage": "after", "pretraining": ["AT-PGD"], "finetuning": ["AT-PGD"], "schedule": ["one-shot"]},
        "specifics": {
            "structure": ["unstructured"], "granularity": ["weight"], "locality": ["global"], "criterion": "LIS",
        },
        "audit": {
            "autoattack": True, "pgd": True, "others": ["CW"], "robustness_curve": False,
            "pgd_over_10_iterations": None,
        },
        "reported": [
            {
                "dataset": "cifar10", "architecture": "resnet18", "structure": "unstructured", "sparsity": 0.9,
                "attack": "PGD", "robust_accuracy": 0.5,
            },
        ],
        "notes": ["A remark."],
        "checkpoints": [{"model_key": f"{key}_R18_CIFAR10_US_90", "url": "hf://jane/tiny/model.pt", "sha256": None}],
        "sources": dict.fromkeys(
            ("name", "paper", "code", "pipeline", "specifics", "audit", "reported", "checkpoints"), "Doe 2024, v1",
        ),
    }  # fmt: skip
    return {**document, **changes}


def record_document(model_key: str = MODEL, *, clean: float | None = 0.8, robust: float | None = 0.4) -> Document:
    """Record of a published figure, its words taken from the model key."""
    key = ModelKey.parse(model_key)
    return {
        "schema_version": 2, "model_key": model_key, "method": key.method, "protocol": "piras-2024",
        "dataset": key.dataset.value, "architecture": key.architecture.value,
        "structure": key.structure.value if key.structure else None, "granularity": None,
        "sparsity": {"declared": key.sparsity, "measured": None},
        "threat_model": {"norm": "linf", "epsilon": key.dataset.epsilon},
        "results": {
            "n_samples": key.dataset.test_samples, "clean_accuracy": clean,
            "attacks": [] if robust is None else [{"attack": "autoattack", "robust_accuracy": robust}],
        },
        "warnings": [], "checkpoint": {"url": None, "sha256": None}, "environment": {},
        "provenance": {
            "kind": "published", "source": "Piras2024Adversarial", "location": "Table 3", "date": "2024-09-02",
        },
    }  # fmt: skip


def reduced_document(model_key: str = MODEL) -> Document:
    """Record of a published figure over few samples, which any own run may replace."""
    return changed(changed(record_document(model_key), "protocol", "custom"), "results.n_samples", 8)


def samples() -> SampleResults:
    """Verdicts of eight samples; :func:`own_document` states the figures that follow from them."""

    def flags(text: str) -> np.ndarray:
        return np.array([letter == "1" for letter in text])

    return SampleResults(
        index=np.arange(8, dtype=np.int32),
        label=np.array([3, 8, 8, 0, 6, 6, 1, 6], dtype=np.int16),
        clean_correct=flags("11111100"),
        aa_robust=flags("11100000"),
        # Of 8/255 = 8.03/256: the first, second and fourth lie beyond it.
        distance=np.array([np.inf, 12 / 256, 4 / 256, 10 / 256, 2 / 256, 4 / 256, 0, 0], dtype=np.float32),
        tuning=flags("11000000"),
        robust_after={
            Attack.APGD_CE: flags("11111000"),
            Attack.APGD_T: flags("11110000"),
            Attack.FAB_T: flags("11110000"),
            Attack.SQUARE: flags("11100000"),
        },
    )


def verification(claimed: dict[str, int], samples: int, **changes: Any) -> Document:
    """A verification in which every sample that a record counts as robust was attacked again and none broke."""
    attacks = [
        {
            "attack": name, "claimed": count, "drawn": count, "broken": 0,
            "detectable_inflation": (breaks_allowed(count) + 1) / samples,
        }
        for name, count in claimed.items()
    ]  # fmt: skip
    return {
        "date": "2026-01-02", "seed": 7, "samples": samples, "clean_differences": 0, "attacks": attacks,
        "by": "a maintainer", **changes,
    }  # fmt: skip


def own_document(model_key: str = MODEL) -> Document:
    """Record of an own, reduced run on the eight samples of :func:`samples`, with every optional field."""
    document = record_document(model_key)
    document.update(
        protocol="custom", granularity="weight",
        results={
            "n_samples": 8, "clean_accuracy": 0.75,
            "attacks": [
                {
                    "attack": "autoattack", "robust_accuracy": 0.375,
                    "stages": [
                        {"attack": "apgd-ce", "attacked": 6, "broken": 1, "robust_after": 5},
                        {"attack": "apgd-t", "attacked": 5, "broken": 1, "robust_after": 4},
                        {"attack": "fab-t", "attacked": 4, "broken": 0, "robust_after": 4},
                        {"attack": "square", "attacked": 4, "broken": 1, "robust_after": 3},
                    ],
                },
                {
                    "attack": "hofmn", "robust_accuracy": 0.375,
                    "parameters": {"learning_rate": 1.5, "momentum": 0.3, "weight_decay": 0.1, "dampening": 0.0},
                    "median_distance": 7 / 256, "not_found": 1,
                    "search": {"trials": 4, "samples": 2, "steps": 10, "best_median": 0.03, "at_bound": ["dampening"]},
                    "steps": 20,
                },
            ],
            "joint": {"robust_accuracy": 0.25, "broken_only_by": {"autoattack": 1, "hofmn": 1}},
        },
        warnings=[{"code": "few-search-samples", "message": "Only 2 samples were there for the search."}],
        notes=["A remark."],
        checkpoint={
            "url": "https://example.org/model.pt", "sha256": digest(model_key), "size": 45_000_000,
            "layout": "resnet18", "format": "safetensors", "unsafe_load": False, "state": "model_ema",
        },
        audit=audit_document(model_key, 0.9002),
        settings={"seed": 0, "preset": "quick", "deterministic": True, "note": None, "epsilon": "8/255"},
        data={"split": "first 8 test samples", "sha256": digest("data"), "known": True, "source": "official files"},
        passes={
            phase: {"forward": forward, "backward": backward}
            for phase, forward, backward in [
                ("clean", 8, 0), ("apgd-ce", 16, 560), ("apgd-t", 16, 3900), ("fab-t", 3200, 4100),
                ("square", 20_000, 0), ("hofmn-search", 8, 80), ("hofmn", 8, 120),
            ]
        },
        seconds=dict.fromkeys(("clean", "apgd-ce", "apgd-t", "fab-t", "square", "hofmn-search", "hofmn"), 1.5),
        samples={"file": f"{model_key}.npz", "sha256": hashlib.sha256(samples_bytes(samples())).hexdigest()},
        environment={"torch": "2.13.0", "device": "cpu"},
        verification=verification({"autoattack": 3, "hofmn": 3}, 8),
        provenance={"kind": "verified", "source": "Jane Doe", "location": None, "date": "2026-01-01"},
    )  # fmt: skip
    document["sparsity"] = {"declared": 0.9, "measured": measured(document["audit"])}
    return document


def audit_document(model_key: str, share: float) -> Document:
    """Audit of the registered network of a model, with a share of the weights of each layer zero."""
    key = ModelKey.parse(model_key)
    census = censuses(key.architecture, key.dataset)[0]
    layers = [
        {
            "name": f"layer{number}", "weights": one.weights, "zero_weights": round(share * one.weights),
            "filters": one.filters, "zero_filters": 0, "channels": one.channels, "zero_channels": 0,
            "kind": one.kind, "kernel": list(one.kernel), "stride": list(one.stride), "groups": one.groups,
        }
        for number, one in enumerate(census.layers)
    ]  # fmt: skip
    if key.structure is Structure.STRUCTURED:
        for layer in layers:
            layer["zero_filters"] = round(share * layer["filters"])
            layer["zero_weights"] = layer["zero_filters"] * layer["weights"] // layer["filters"]
    weights, zero = (sum(layer[name] for layer in layers) for name in ("weights", "zero_weights"))
    return {
        "parameters": weights + 1_000, "nonzero_parameters": weights - zero + 1_000, "weights": weights,
        "zero_weights": zero, "macs": census.macs, "effective_macs": round(census.macs * (1 - share)),
        "zero_filters": sum(layer["zero_filters"] for layer in layers if layer["kernel"]),
        "filters": census.count("filters"), "zero_channels": 0, "channels": census.count("channels"),
        "layers": layers, "sparsity_basis": "filters" if key.structure is Structure.STRUCTURED else "weights",
    }  # fmt: skip


def measured(audit: Document) -> float:
    """Sparsity that an audit measured."""
    return 1 - (audit["weights"] - audit["zero_weights"]) / audit["weights"]


def version_1(document: Document) -> Document:
    """One of the documents above as version 1 of the format had it, with a field for each attack."""
    results = copy.deepcopy(document["results"])
    attacks = {one.pop("attack"): one for one in results.pop("attacks")}
    attacks["autoattack"]["per_attack"] = {one.pop("attack"): one for one in attacks["autoattack"].pop("stages", [])}
    joint = results.pop("joint", None)
    if joint is not None:
        joint |= {f"broken_only_by_{name}": count for name, count in joint.pop("broken_only_by").items()}
    results |= {"autoattack": attacks["autoattack"], "hofmn": attacks.get("hofmn"), "joint": joint}
    return {**document, "schema_version": 1, "results": results}


def changed(document: Document, path: str, value: Any = REMOVED) -> Document:
    """Copy of a document with the value at a place replaced, or removed.

    A place is as in messages: ``specifics.structure[0]``, or ``results.attacks[hofmn].steps``.
    """
    result = copy.deepcopy(document)
    target: Any = {"": result}
    part: Any = ""
    for name in re.findall(r"[^.\[\]]+", path):
        target = target[part]
        part = name
        if isinstance(target, list):
            part = int(name) if name.isdigit() else [item["attack"] for item in target].index(name)
    if value is REMOVED:
        del target[part]
    else:
        target[part] = value
    return result


def write_data(root: Path, *documents: Document) -> Path:
    """Write entries and records where they belong below `root`; own runs get their per-sample file."""
    (root / "entries").mkdir(parents=True, exist_ok=True)
    for document in documents:
        if "model_key" not in document:
            write_document(root / "entries" / f"{document['key']}.json", document)
            continue
        path = root / "evaluations" / document["method"] / f"{document['model_key']}.json"
        write_document(path, document)
        if "samples" in document:
            path.with_suffix(".npz").write_bytes(samples_bytes(samples()))
    return root


def write_document(path: Path, document: Any) -> Path:
    """Write a document wherever a test wants it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path
