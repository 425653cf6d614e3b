"""Per-sample files that are damaged, or that a record contradicts."""

from __future__ import annotations

import shutil
import struct
import zipfile

import numpy as np

from tests.builders import REMOVED
from tests.corpus.cases import sampled, several
from tests.submissions import RECORD, SAMPLES, SECOND, N, arrays, at, edit, members, packed, raw, write

AFTER = [f"robust_after_{attack}" for attack in ("apgd_ce", "apgd_t", "fab_t", "square")]


def shifted(content: bytes, hidden: bytes) -> bytes:
    """Bytes between the members and their list, which readers of zip archives jump over."""
    start = int.from_bytes(content[-6:-2], "little")
    return content[:start] + hidden + content[start:-6] + (start + len(hidden)).to_bytes(4, "little") + content[-2:]


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
    sampled("labels of another set", arrays(label=at(0, 1)), "label", "1 of 10000 labels are not those of the official files, first at index 0, 1 in place of 3"),
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
    sampled("labels in another order", arrays(label=lambda a: np.roll(a, 1)), "label", "labels are not those of the official files"),
    sampled("labels sorted", arrays(label=np.sort), "label", "labels are not those of the official files"),
    sampled("two labels swapped", arrays(label=lambda a: at(0, a[1])(at(1, a[0])(a.copy()))), "label", "2 of 10000 labels are not"),
    sampled("distance beyond images", arrays(distance=at(1, 1e30)), "distance", "holds a distance above 1"),
    sampled("distance just above 1", arrays(distance=at(1, 1.001)), "distance", "holds a distance above 1"),
    sampled("search on wrong samples", arrays(tuning=lambda a: at(8, True)(at(0, False)(a))), "tuning", "marks samples that are misclassified"),
    sampled("search on no samples", several(arrays(tuning=np.zeros(N, bool)), edit(RECORD, ("results.attacks[hofmn].search.samples", 0))),
            "tuning", "marks 0 samples; a search takes 64 here"),
    sampled("search on fewer samples", several(arrays(tuning=at(0, False)), edit(RECORD, ("results.attacks[hofmn].search.samples", 63))),
            "tuning", "marks 63 samples; a search takes 64 here"),
    sampled("search on all samples", several(arrays(tuning=lambda a: np.arange(N) % 10 < 8),
            edit(RECORD, ("results.attacks[hofmn].search.samples", 8_000))), "tuning", "marks 8000 samples; a search takes 64 here"),
    sampled("search not marked", arrays(tuning=None), "tuning", "is missing, though HO-FMN searched for its parameters"),
    sampled("search that found far less", edit(RECORD, ("results.attacks[hofmn].search.best_median", 0.01)), "distance",
            "where the search found 0.0100 in fewer steps"),
    sampled("three attacks in the file only", arrays(robust_after_fab_t=None), "aa_robust", "has no flags of fab-t"),
    sampled("Square alone", several(arrays(robust_after_fab_t=None, robust_after_apgd_ce=None, robust_after_apgd_t=None), edit(RECORD,
            ("results.attacks[autoattack].stages", [{"attack": "square", "attacked": 8_000, "broken": 4_800, "robust_after": 3_200}]))),
            "aa_robust", "has no flags of apgd-ce, apgd-t, fab-t, without which AutoAttack is not standard"),
    sampled("no flags of single attacks", several(arrays(**dict.fromkeys(AFTER, None)), edit(RECORD, ("results.attacks[autoattack].stages", REMOVED))),
            "aa_robust", "has no flags of apgd-ce, apgd-t, fab-t, square"),
    sampled("name cut at NUL", raw(lambda a: a.replace(b"aa_robust.npy", b"aa_rob.npy\0xx")), "", "is not plain text"),
    sampled("part of a split archive", raw(lambda a: a[:-18] + b"\1\0" + a[-16:]), "", "it holds more than its members"),
    sampled("page in front", raw(lambda a: b"<html></html>" + a), "", "is HTML or XML, not .npz"),
    sampled("other data in front", raw(lambda a: bytes(100) + a), "", "it holds more than its members"),
    sampled("other data behind", raw(lambda a: a + bytes(9_000_000)), "", "it is not a zip archive, or holds more than its members"),
    sampled("comment behind", raw(lambda a: a[:-2] + b"\5\0hello"), "", "it is not a zip archive, or holds more than its members"),
    sampled("text between members", raw(lambda a: shifted(a, b"hidden")), "", "it holds more than its members"),
    sampled("empty member beside the arrays", packed({"note": b""}), "", "is not an array; the names of arrays end in .npy"),
    sampled("list of 200,000 members", raw(lambda a: a[:-22] + b"PK\5\6" + bytes(4) + b"\x40\x0d" * 2 + a[-10:]), "", "is not a readable .npz file"),
    sampled("bytes of flags other than 0 and 1", members(lambda name, a: a[:-1] + b"\xff" if name == "aa_robust.npy" else a), "",
            "aa_robust holds flags that are neither 0 nor 1"),
    sampled("all flags 255", members(lambda name, a: a[:128] + a[128:].replace(b"\1", b"\xff") if b"|b1" in a else a), "",
            "holds flags that are neither 0 nor 1"),
    sampled("words in a header", members(lambda name, a: a.replace(b", }  ", b", }#x") if name == "label.npy" else a), "",
            "label has a header that holds more than type, order and shape"),
    sampled("big-endian", arrays(index=lambda a: a.astype(">i4")), "index", "is >i4 of shape (10000,); int32"),
    sampled("over ten megabytes", write(SAMPLES, b"PK\x03\x04" + b"\0" * 10_000_001), "", "is over 10,000,000 bytes"),
]  # fmt: skip
