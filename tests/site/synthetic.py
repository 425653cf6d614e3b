"""Records with made-up verdicts on as many samples as a test set has, for pages and tests that need several curves."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from apsite.samples import SampleResults, samples_bytes
from tests.builders import Document, own_document, write_document


def synthetic_samples(seed: int, *, size: int = 2000, clean: float = 0.8, median: float = 8.0) -> SampleResults:
    """Verdicts of samples whose distances, in 255ths, are spread about a median; AutoAttack breaks a few more.

    Args:
        seed: What makes two models differ where all else is equal.
        size: Number of samples.
        clean: Share that is correct with no attack.
        median: Middle of the distances.
    """
    rng = np.random.default_rng(seed)
    hardness = np.random.default_rng(0).gamma(4.0, 1.0, size) / 3.67
    distance = (hardness * median / 255 * rng.normal(1.0, 0.08, size).clip(0.5)).astype(np.float32)
    distance[rng.random(size) < 0.002] = np.inf
    correct = hardness > np.quantile(hardness, 1 - clean)
    distance[~correct] = 0
    luck = rng.random(size)
    return SampleResults(
        index=np.arange(size, dtype=np.int32),
        label=(np.arange(size) % 10).astype(np.int16),
        clean_correct=correct,
        aa_robust=(distance > np.float32(8 / 255)) & (luck > 0.03),
        distance=distance,
        tuning=np.zeros(size, bool),
    )


def write_synthetic(root: Path, model_key: str, samples: SampleResults, *, protocol: str = "custom") -> Document:
    """Write a record whose figures are counted from the samples, with its file, below a data folder; return it."""
    document = own_document(model_key)
    size = len(samples)
    assert samples.aa_robust is not None
    assert samples.distance is not None
    beyond = samples.distance > np.float32(8 / 255)
    document |= {
        "protocol": protocol,
        "results": {
            "n_samples": size,
            "clean_accuracy": int(samples.clean_correct.sum()) / size,
            "attacks": [
                {"attack": "autoattack", "robust_accuracy": int(samples.aa_robust.sum()) / size},
                {"attack": "hofmn", "robust_accuracy": int(beyond.sum()) / size},
            ],
            "joint": {
                "robust_accuracy": int((samples.aa_robust & beyond).sum()) / size,
                "broken_only_by": {
                    "autoattack": int((~samples.aa_robust & beyond).sum()),
                    "hofmn": int((samples.aa_robust & ~beyond).sum()),
                },
            },
        },
    }
    content = samples_bytes(samples)
    document["samples"] = {"file": f"{model_key}.npz", "sha256": hashlib.sha256(content).hexdigest()}
    document.pop("verification")
    document["provenance"] = {"kind": "submitted", "source": "Jane Doe", "location": None, "date": "2026-01-01"}
    path = root / "evaluations" / document["method"] / f"{model_key}.json"
    write_document(path, document)
    path.with_suffix(".npz").write_bytes(content)
    return document


CURVES = {
    "HARP_Zhao2023Holistic_R8_CIFAR10_US_90": (1, 0.82, 9.0),
    "HYDRA_Sehwag2020Hydra_R8_CIFAR10_US_90": (2, 0.86, 7.6),
    "TwinRep_Li2023Learning_R8_CIFAR10_US_90": (3, 0.78, 9.1),
    "RADMM_Ye2019Adversarial_R8_CIFAR10_US_90": (4, 0.84, 6.0),
    "MAD_Lee2022Masking_R8_CIFAR10_US_90": (5, 0.7, 4.0),
}
"""Made-up models of known methods on the small network: seed, clean accuracy and median distance of each."""


def write_curves(root: Path) -> None:
    """Write the models of :data:`CURVES`."""
    for key, (seed, clean, median) in CURVES.items():
        write_synthetic(root, key, synthetic_samples(seed, clean=clean, median=median), protocol="apb-1")
