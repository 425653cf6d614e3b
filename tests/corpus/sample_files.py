"""Per-sample files that are damaged, or that a record contradicts."""

from __future__ import annotations

import shutil
import struct
import zipfile

import numpy as np

from tests.corpus.cases import sampled
from tests.submissions import RECORD, SAMPLES, SECOND, N, arrays, at, packed, write

SAMPLED = [
    sampled("flag turned", arrays(aa_robust=at(0, False)), "aa_robust", "does not equal the flags after the last attack"),
    sampled("all flags turned", arrays(aa_robust=at(0, False), robust_after_square=at(0, False)),
            "results.attacks[autoattack].robust_accuracy", "contradicts the per-sample file, which gives 0.3199", RECORD),
    sampled("distance moved", arrays(distance=at(1, 0.001)), "results.attacks[hofmn].robust_accuracy",
            "contradicts the per-sample file", RECORD),
    sampled("clean flag turned", arrays(clean_correct=at(8, True), distance=at(8, 0.001)), "results.clean_accuracy",
            "0.8 contradicts the per-sample file, which gives 0.8001", RECORD),
    sampled("robust and wrong", arrays(aa_robust=at(8, True)), "aa_robust", "marks samples as robust that are misclassified"),
    sampled("robust again", arrays(robust_after_apgd_t=at(49, True)), "robust_after_apgd-t", "that were already broken"),
    sampled("index twice", arrays(index=at(5, 4)), "index", "must be ascending with no duplicate, from 0 on"),
    sampled("index negative", arrays(index=at(0, -1)), "index", "must be ascending with no duplicate, from 0 on"),
    sampled("index backwards", arrays(index=lambda a: a[::-1].copy()), "index", "must be ascending"),
    sampled("index beyond", arrays(index=at(-1, N)), "index", "10000 is outside the test set of 10000 images"),
    sampled("label beyond", arrays(label=at(0, 10)), "label", "10 is not a valid class of CIFAR-10, which has 0 to 9"),
    sampled("label unknown", arrays(label=at(0, -1)), "label", "must be 0 or more, or -1 for all samples"),
    sampled("labels unknown", arrays(label=np.full(N, -1, np.int16)), "label", "is -1, unknown; only imported"),
    sampled("labels of another set", arrays(label=at(0, 1)), "label", "1001 samples are of class 1, but the test set has"),
    sampled("distance NaN", arrays(distance=at(0, np.nan)), "distance", "holds a negative or NaN value"),
    sampled("distance negative", arrays(distance=at(0, -1.0)), "distance", "holds a negative or NaN value"),
    sampled("distance 0 of a correct one", arrays(distance=at(1, 0.0)), "distance", "must be 0 exactly where"),
    sampled("tuning more", arrays(tuning=at(5000, True)), "results.attacks[hofmn].search.samples",
            "64 contradicts the per-sample file, which gives 65", RECORD),
    sampled("no flags", arrays(aa_robust=None), "aa_robust", "does not equal the flags after the last attack"),
    sampled("no distances", arrays(distance=None), "results.attacks[hofmn]", "is stated, but the per-sample file lacks", RECORD),
    sampled("no index", arrays(index=None), "index", "is missing from the file"),
    sampled("float64", arrays(distance=lambda a: a.astype(np.float64)), "distance", "is float64 of shape (10000,); float32"),
    sampled("integers for flags", arrays(aa_robust=lambda a: a.astype(np.int8)), "aa_robust", "is int8 of shape"),
    sampled("shorter", arrays(label=lambda a: a[:-1]), "label", "of shape (9999,); int16 of shape (10000,) is required"),
    sampled("two dimensions", arrays(label=lambda a: a.reshape(1, -1)), "label", "of shape (1, 10000)"),
    sampled("unknown array", arrays(logits=np.zeros(N, np.float32)), "logits", "is not a known array; known are index"),
    sampled("objects", arrays(label=np.array([{}] * N, dtype=object)), "", "is not a readable .npz file"),
    sampled("half the samples", arrays(**dict.fromkeys(
        ("index", "label", "clean_correct", "aa_robust", "distance", "tuning", "robust_after_apgd_ce",
         "robust_after_apgd_t", "robust_after_fab_t", "robust_after_square"), lambda a: a[:5000])),
        "results.n_samples", "10000 contradicts the per-sample file, which gives 5000", RECORD),
    sampled("hash", arrays(stated=False, label=lambda a: np.roll(a, 10)), "samples.sha256", "does not match the file", RECORD),
    sampled("another's file", lambda root: shutil.copy(root / SECOND.replace(".json", ".npz"), root / SAMPLES),
            "samples.sha256", "does not match the file, whose SHA-256 is", RECORD),
    sampled("cut", lambda root: (root / SAMPLES).write_bytes((root / SAMPLES).read_bytes()[:-100]), "", "is not a readable"),
    sampled("no arrays", packed({}), "index", "is missing from the file"),
    sampled("no NumPy inside", packed({"index.npy": b"x" * 100}), "", "is not a readable .npz file"),
    sampled("program inside", packed({"index.npy": b"\x93NUMPY\x01\x00", "run.sh": b"#!/bin/sh"}), "", "is not a readable"),
    sampled("path inside", packed({"../../index.npy": b"\x93NUMPY"}), "", "is not a readable .npz file"),
    sampled("unusual compression", packed({"index.npy": b"x"}, zipfile.ZIP_LZMA), "", "compressed in an unusual way"),
    sampled("zip bomb", packed({"index.npy": b"\0" * 25_000_000}), "", "would take 25,000,000 bytes; at most 20,000,000 are allowed"),
    sampled("many arrays", packed({f"a{n}.npy": b"x" for n in range(50)}), "", "it holds 50 arrays; at most 32 are allowed"),
    sampled("array of terabytes", packed({"index.npy": b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
            + b"{'descr': '<i4', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + b"\n"}),
            "", "is not a readable .npz file"),
    sampled("over ten megabytes", write(SAMPLES, b"PK\x03\x04" + b"\0" * 10_000_001), "", "is over 10,000,000 bytes"),
]  # fmt: skip
