"""A corpus of bad submissions: each is refused, with a message that names file and field, with no traceback."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from apsite.cli import cli
from tests.builders import METHOD, RIVAL, entry_document, own_document, record_document, write_data
from tests.repositories import commit, git
from tests.submissions import (
    ENTRY,
    FOLDER,
    MODELS,
    OTHERS_ENTRY,
    OTHERS_MODEL,
    OTHERS_RECORD,
    PUBLISHED,
    PUBLISHED_MODEL,
    RECORD,
    REMOVED,
    SAMPLES,
    SECOND,
    N,
    Spoil,
    arrays,
    at,
    edit,
    full_run,
    packed,
    submission,
    verdicts,
    write,
    write_json,
)

LIMIT = 2.0
"""Seconds that one submission may take."""


@dataclass(frozen=True)
class Bad:
    """A way to be wrong: what is done, and the file, the field and a part of the message that must be reported."""

    name: str
    spoil: Spoil
    path: str
    field: str
    message: str


def entry(field: str, value: Any, message: str, place: str | None = None) -> Bad:
    """A wrong field of the entry."""
    return Bad(
        f"entry {field}={value!r:.70}", edit(ENTRY, (field, value)), ENTRY, field if place is None else place, message
    )


def record(field: str, value: Any, message: str, place: str | None = None) -> Bad:
    """A wrong field of a record."""
    return Bad(
        f"record {field}={value!r:.70}",
        edit(RECORD, (field, value)),
        RECORD,
        field if place is None else place,
        message,
    )


def text(name: str, content: bytes | str, message: str, path: str = ENTRY) -> Bad:
    """A file with other content."""
    return Bad(name, write(path, content), path, "", message)


def sampled(name: str, spoil: Spoil, field: str, message: str, path: str = SAMPLES) -> Bad:
    """A wrong per-sample file, or a record that it contradicts."""
    return Bad(f"samples {name}", spoil, path, field, message)


def several(*spoils: Spoil) -> Spoil:
    """One after the other."""

    def spoil(root: Path) -> None:
        for one in spoils:
            one(root)

    return spoil


def move(source: str, target: str) -> Spoil:
    """Rename a file."""

    def spoil(root: Path) -> None:
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        (root / source).rename(root / target)

    return spoil


def remove(*names: str) -> Spoil:
    """Remove files."""
    return several(*((lambda root, name=name: (root / name).unlink()) for name in names))


def link(name: str, target: str) -> Spoil:
    """A symbolic link in place of a file."""

    def spoil(root: Path) -> None:
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)

    return spoil


ENTRIES = [
    entry("schema_version", 2, "2 is not 1"),
    entry("schema_version", REMOVED, "lacks 'schema_version'", ""),
    entry("key", "Tiny", "'Tiny' does not have the form needed here: <Name>_<FirstAuthor>"),
    entry("key", f"{METHOD}x", "does not match the file name; rename one"),
    entry("key", "Tïny_Doe2024Small", "does not have the form needed here"),
    entry("name", "", "is empty"),
    entry("name", "x" * 41, "has 41 characters; at most 40 are allowed"),
    entry("name", "Ti\nny", "does not have the form needed here"),
    entry("name", "Ti\u202eny", "does not have the form needed here"),
    entry("aliases", "Tiny", "'Tiny' is not of type array"),
    entry("aliases", [RIVAL], f"{RIVAL!r} already belongs to", "aliases[0]"),
    entry("aliases", ["rival_roe2023OLD"], "already belongs to", "aliases[0]"),
    entry("aliases", ["a b"], "does not have the form needed here", "aliases[0]"),
    entry("aliases", ["a", "a"], "names something twice"),
    entry("aliases", [f"a{number}" for number in range(11)], "has 11 members; at most 10 are allowed"),
    entry("baseline", "yes", "'yes' is not of type boolean"),
    entry("paper.title", "", "is empty"),
    entry("paper.title", None, "null is not of type string"),
    entry("paper.authors", [], "is empty; give at least one"),
    entry("paper.authors", "Jane Doe", "'Jane Doe' is not of type array"),
    entry("paper.year", "2024", "'2024' is not of type integer"),
    entry("paper.year", 1024, "1024 is below the minimum 1980"),
    entry("paper.year", 2021, "2021 is far from 2024 in the key; mend the one that is wrong"),
    entry("paper.url", "http://example.org", "does not have the form needed here"),
    entry("paper.url", "javascript:alert(1)", "does not have the form needed here"),
    entry("paper.url", "https://example.org/\" onclick=\"x", "does not have the form needed here"),
    entry("paper.url", "https://user@example.org/", "does not have the form needed here"),
    entry("paper.url", "https://example.org/\x1fa", "does not have the form needed here"),
    entry("paper.bibtex", "Doe, 2024", "is not one BibTeX entry"),
    entry("paper.bibtex", "@article{Doe2024Small, title = {Small}", "is not one BibTeX entry"),
    entry("paper.bibtex", "@article{a, title={x}}\n@article{b, title={y}}", "holds more than one BibTeX entry"),
    entry("paper.doi", "10.1/x", "has unknown 'doi'; known are title, authors", "paper"),
    entry("code", "https://example.org", "is not of type object or null"),
    entry("code.url", "git@example.org:x.git", "does not have the form needed here"),
    entry("pipeline", {"stage": "before"}, "lacks 'pruning', 'training', 'schedule'"),
    entry("pipeline.stage", "later", "'later' is not 'after' or 'before' or 'during'"),
    entry("pipeline.pretraining", ["AT"], "'AT' is not one of 'AT-PGD', 'TRADES', 'MART'", "pipeline.pretraining[0]"),
    entry("pipeline.finetuning", "TRADES", "'TRADES' is not of type array or null"),
    entry("pipeline.schedule", ["twice"], "'twice' is not one of 'one-shot', 'iterative'", "pipeline.schedule[0]"),
    entry("pipeline.schedule", [], "is empty; give at least one"),
    entry("specifics.structure", ["filters"], "'filters' is not one of 'unstructured', 'structured'", "specifics.structure[0]"),
    entry("specifics.structure", [], "is empty; give at least one"),
    entry("specifics.structure", ["structured"], "names 'weight', but specifics.structure is not", "specifics.granularity"),
    entry("specifics.granularity", ["filter"], "lacks 'weight', which is what unstructured pruning removes"),
    entry("specifics.granularity", ["weight", "filter"], "names a unit of structured pruning"),
    entry("specifics.granularity", "n.s.", "'n.s.' is not of type array or null"),
    entry("specifics.locality", ["globally"], "'globally' is not one of 'local', 'global'", "specifics.locality[0]"),
    entry("specifics.criterion", "magnitude", "'magnitude' is not one of 'LWM', 'SOLWM', 'RELWM'"),
    entry("specifics.criterion", "lwm", "'lwm' is not one of 'LWM'"),
    entry("audit.autoattack", "yes", "'yes' is not of type boolean or null"),
    entry("reported[0].robust_accuracy", 47.1, "47.1 is above the maximum 1; accuracies and sparsities are fractions"),
    entry("reported[0].sparsity", -0.1, "-0.1 is below the minimum 0"),
    entry("reported[0].dataset", "mnist", "'mnist' is not one of 'cifar10', 'svhn', 'imagenet'"),
    entry("checkpoints[0].model_key", OTHERS_MODEL, "is not a model of this method"),
    entry("checkpoints[0].url", "https://", "does not have the form needed here"),
    entry("checkpoints[0].sha256", "abc", "'abc' does not have the form needed here"),
    Bad(
        "entry the same model twice",
        edit(ENTRY, ("checkpoints", [{"model_key": MODELS[90], "url": f"hf://a/b/{n}.pt", "sha256": None} for n in "12"])),
        ENTRY, "checkpoints[1].model_key", "is listed more than once; keep one, or say in notes how they differ",
    ),
    Bad(
        "entry one file for two models",
        edit(ENTRY, ("checkpoints", [{"model_key": MODELS[n], "url": "hf://a/b/c.pt", "sha256": None} for n in (90, 95)])),
        ENTRY, "checkpoints[1].url", f"is also that of {MODELS[90]}; two models need two files",
    ),
    Bad(
        "entry contradicts itself about PGD",
        edit(ENTRY, ("audit.pgd", False), ("audit.pgd_over_10_iterations", True)),
        ENTRY, "audit.pgd_over_10_iterations", "is true, but audit.pgd says that PGD was not run; set it to null",
    ),
    entry("notes", ["x" * 1001], "has 1,001 characters; at most 1,000 are allowed", "notes[0]"),
    entry("notes", ["a"] * 31, "has 31 members; at most 30 are allowed"),
    entry("changes", [{"date": "2026-02-31", "kind": "corrected", "reason": "x"}], "is not a day of the calendar", "changes[0].date"),
    entry("rank", 1, "has unknown 'rank'", ""),
]  # fmt: skip

WORDS = [
    record("schema_version", "1", "'1' is not 1"),
    record("model_key", MODELS[95], "does not match the file name"),
    record("model_key", f"{METHOD}_R18_CIFAR10_US_0", "does not have the form needed here"),
    record("model_key", f"{METHOD}_R34_CIFAR10_US_90", "architecture 'R34' is not one of R18, V16, R50, R8"),
    record("method", RIVAL, "does not match the folder"),
    record("protocol", "apb-2", "'apb-2' is not one of 'apb-1', 'piras-2024', 'custom'"),
    record("protocol", "apb-1 ", "is not one of 'apb-1'"),
    record("dataset", "svhn", "'svhn' contradicts the model key, which says 'cifar10'"),
    record("architecture", "vgg16", "'vgg16' contradicts the model key, which says 'resnet18'"),
    record("structure", "structured", "'structured' contradicts the model key, which says 'unstructured'"),
    record("granularity", "filter", "'filter' is not what unstructured pruning removes; 'weight' or null is"),
    record("granularity", "weights", "'weights' is not one of 'weight', 'filter', 'channel', 'kernel'"),
    record("sparsity.declared", 90, "90 is above the maximum 1; accuracies and sparsities are fractions"),
    record("sparsity.declared", 0.95, "0.95 contradicts the model key, which says 0.9"),
    record("threat_model.norm", "l2", "'l2' is not one of 'linf', null"),
    record("threat_model.epsilon", "0.031", "'0.031' does not have the form needed here"),
    record("threat_model.epsilon", 0.03137, "0.03137 is not of type string or null"),
    record("results.clean_accuracy", 80.0, "80.0 is above the maximum 1"),
    record("results.clean_accuracy", "0.8", "'0.8' is not of type number or null"),
    record("results.autoattack", REMOVED, "lacks 'autoattack'", "results"),
    record("results.autoattack.attacks", [], "has unknown 'attacks'", "results.autoattack"),
    record("warnings", "none", "'none' is not of type array"),
    record("checkpoint.url", "ftp://example.org/x", "does not have the form needed here"),
    record("checkpoint.url", "/home/jane/model.pt", "does not have the form needed here"),
    record("checkpoint.sha256", "A" * 64, "does not have the form needed here"),
    record("settings.note", "x" * 301, "has 301 characters; at most 300 are allowed"),
    record("environment", {f"v{number}": 1 for number in range(61)}, "has 61 members; at most 60 are allowed"),
    record("environment.path", ["/home"], "is not of type string or number or boolean or null"),
    record("provenance.kind", "peer-reviewed", "'peer-reviewed' is not one of 'published', 'submitted', 'verified'"),
    record("provenance.source", "", "is empty"),
    record("provenance.date", "01/02/2026", "does not have the form needed here"),
    record("provenance.date", "2026-02-30", "'2026-02-30' is not a day of the calendar"),
    record("provenance.date", "2099-01-01", "'2099-01-01' is in the future"),
    record("samples.file", "../../../etc/passwd.npz", "does not have the form needed here"),
    record("samples.file", f"{MODELS[95]}.npz", f"must be '{MODELS[90]}.npz'"),
    record("leader", True, "has unknown 'leader'", ""),
]  # fmt: skip

DEEP = "[" * 13 + "]" * 13
RAW = [
    text("no JSON", "not json", "is not JSON: Expecting value at line 1"),
    text("empty file", "", "is not JSON"),
    text("half a file", json.dumps(entry_document())[:200], "is not JSON"),
    text("a list", "[]", "holds a JSON list; an object is needed"),
    text("a trailing comma", '{"a": 1,}', "is not JSON"),
    text("a comment", '{"a": 1} // x', "is not JSON"),
    text("NaN", '{"a": NaN}', "holds NaN, which is not a JSON number; use null"),
    text("Infinity", '{"a": -Infinity}', "holds -Infinity, which is not a JSON number"),
    text("a huge number", '{"a": 1e999}', "which is too large"),
    text("a huge integer", '{"a": ' + "9" * 5_000 + "}", "holds a whole number of 5000 digits, which is too large"),
    text("a name twice", '{"key": 1, "key": 2}', "names 'key' twice in one object; keep one of them"),
    text("a name twice deep inside", '{"a": {"b": [{"c": 1, "c": 1}]}}', "names 'c' twice"),
    text("deep nesting", '{"a": ' + DEEP + "}", "is nested deeper than 12 levels"),
    text("nesting without end", "[" * 200_000, "is nested deeper than 12 levels"),
    text("objects without end", '{"a":' * 100_000, "is nested deeper than 12 levels"),
    text("half a surrogate", '{"a": "\\ud800"}', "holds half a surrogate pair"),
    text("Latin-1", '{"a": "ü"}'.encode("latin-1"), "is not UTF-8 (byte 7); save it as UTF-8"),
    text("a byte order mark", b"\xef\xbb\xbf{}", "is UTF-8 text with a byte order mark, not JSON; save it without"),
    text("UTF-16", '{"a": 1}'.encode("utf-16"), "is UTF-16 text, not JSON; save it as UTF-8"),
    text("a null byte", '{"a": "\x00"}', "is not JSON"),
    text("over a megabyte", "{" + " " * 1_000_000 + "}", "has 1,000,002 bytes; at most 1,000,000 are allowed"),
    text("record with NaN", '{"results": NaN}', "holds NaN", RECORD),
    text("record with a name twice", '{"results": {}, "results": {}}', "names 'results' twice", RECORD),
    text("a pickle", pickle.dumps({"key": METHOD}), "is a pickle, not JSON; pickles are never read"),
    text("an old pickle", pickle.dumps({"key": METHOD}, protocol=2), "is a pickle, not JSON"),
    text("a zip archive", b"PK\x03\x04" + b"\0" * 30, "is a zip archive, not JSON; put JSON there"),
    text("a picture", b"\x89PNG\r\n\x1a\n", "is a PNG image, not JSON"),
    text("a page", "<!doctype html><title>Quota exceeded</title>", "is HTML or XML, not JSON; an address may have given"),
    text("a program", b"\x7fELF\x02\x01\x01", "is a program, not JSON; nothing is executed here"),
    text("a script", "#!/bin/sh\nrm -rf /\n", "is a script, not JSON; nothing is executed here"),
    text("a gzip file", b"\x1f\x8b\x08\x00", "is a gzip file, not JSON"),
    text("a pointer of LFS", "version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS, not JSON", RECORD),
    text("pickle as samples", pickle.dumps([1]), "is a pickle, not .npz; pickles are never read", SAMPLES),
    text("NumPy array as samples", b"\x93NUMPY\x01\x00", "is a single NumPy array, not .npz", SAMPLES),
    text("JSON as samples", "{}", "is JSON, not .npz; write it with `apsite eval`", SAMPLES),
    text("HDF5 as samples", b"\x89HDF\r\n", "is an HDF5 file, not .npz", SAMPLES),
    text("page as samples", "<html>", "is HTML or XML, not .npz", SAMPLES),
]  # fmt: skip

IDENTITY = [
    Bad("record in another method's folder", move(RECORD, f"evaluations/{RIVAL}/{MODELS[90]}.json"),
        f"evaluations/{RIVAL}/{MODELS[90]}.json", "method", f"{METHOD!r} does not match the folder {RIVAL!r}"),
    Bad("record under another name", move(RECORD, f"{FOLDER}/model.json"), f"{FOLDER}/model.json", "model_key",
        "does not match the file name 'model.json'; rename one"),
    Bad("entry under another name", move(ENTRY, "entries/Tiny.json"), "entries/Tiny.json", "key",
        "does not match the file name; rename one to match the other"),
    Bad("record without an entry", remove(ENTRY), RECORD, "method", f"{METHOD!r} has no entry; add entries/{METHOD}.json"),
    Bad("samples without a record", remove(RECORD), SAMPLES, "", "has no record beside it; add the .json"),
    Bad("record without samples", remove(SAMPLES), SAMPLES, "", "is not a readable .npz file"),
    Bad("text file", write("entries/notes.txt", "x"), "entries/notes.txt", "", "does not belong here; entries/ holds"),
    Bad("checkpoint", write(f"{FOLDER}/model.pt", b"PK\x03\x04"), f"{FOLDER}/model.pt", "", "does not belong here"),
    Bad("hidden file", write("entries/.json", "{}"), "entries/.json", "", "does not belong here"),
    Bad("hidden record", write(f"{FOLDER}/.x.json", "{}"), f"{FOLDER}/.x.json", "", "does not belong here"),
    Bad("capital suffix", move(ENTRY, f"entries/{METHOD}.JSON"), f"entries/{METHOD}.JSON", "", "does not belong here"),
    Bad("too deep", write(f"{FOLDER}/more/x.json", "{}"), f"{FOLDER}/more/x.json", "", "does not belong here"),
    Bad("too high", write("evaluations/x.json", "{}"), "evaluations/x.json", "", "does not belong here"),
    Bad("folder named as a file", lambda root: (root / "entries" / "x.json").mkdir(), "entries/x.json", "",
        "is a folder that does not belong here"),
    Bad("link to a file", link(RECORD, "/etc/passwd"), RECORD, "", "is a symbolic link; links are not allowed here"),
    Bad("link to samples", link(SAMPLES, f"{MODELS[95]}.npz"), SAMPLES, "", "is a symbolic link"),
    Bad("link to a folder", link("evaluations/Link_Doe2024Small", FOLDER), "evaluations/Link_Doe2024Small", "",
        "is a symbolic link; links are not allowed here"),
    Bad("pipe", several(remove(ENTRY), lambda root: os.mkfifo(root / ENTRY)), ENTRY, "", "is not an ordinary file"),
    Bad("unknown citation", edit(PUBLISHED, ("provenance.source", "Nobody2020Nothing")), PUBLISHED, "provenance.source",
        "'Nobody2020Nothing' is neither in the reference list nor a method key; cite a known paper"),
]  # fmt: skip

SAMPLED = [
    sampled("flag turned", arrays(aa_robust=at(0, False)), "aa_robust", "does not equal the flags after the last attack"),
    sampled("all flags turned", arrays(aa_robust=at(0, False), robust_after_square=at(0, False)),
            "results.autoattack.robust_accuracy", "contradicts the per-sample file, which gives 0.3199", RECORD),
    sampled("distance moved", arrays(distance=at(1, 0.001)), "results.hofmn.robust_accuracy",
            "contradicts the per-sample file", RECORD),
    sampled("clean flag turned", arrays(clean_correct=at(8, True), distance=at(8, 0.001)), "results.clean_accuracy",
            "0.8 contradicts the per-sample file, which gives 0.8001", RECORD),
    sampled("robust and wrong", arrays(aa_robust=at(8, True)), "aa_robust", "names samples robust that are wrong"),
    sampled("robust again", arrays(robust_after_apgd_t=at(49, True)), "robust_after_apgd-t", "that were already broken"),
    sampled("index twice", arrays(index=at(5, 4)), "index", "must be ascending with no duplicate, from 0 on"),
    sampled("index negative", arrays(index=at(0, -1)), "index", "must be ascending with no duplicate, from 0 on"),
    sampled("index backwards", arrays(index=lambda a: a[::-1].copy()), "index", "must be ascending"),
    sampled("index beyond", arrays(index=at(-1, N)), "index", "10000 is outside the test set of 10000 images"),
    sampled("label beyond", arrays(label=at(0, 10)), "label", "10 is no class of CIFAR-10, which has 0 to 9"),
    sampled("label unknown", arrays(label=at(0, -1)), "label", "must be 0 or more, or -1 for all samples"),
    sampled("labels unknown", arrays(label=np.full(N, -1, np.int16)), "label", "is -1, unknown; an own run knows"),
    sampled("labels of another set", arrays(label=at(0, 1)), "label", "1001 samples are of class 1, but the test set has"),
    sampled("distance NaN", arrays(distance=at(0, np.nan)), "distance", "holds a negative or NaN value"),
    sampled("distance negative", arrays(distance=at(0, -1.0)), "distance", "holds a negative or NaN value"),
    sampled("distance 0 of a correct one", arrays(distance=at(1, 0.0)), "distance", "must be 0 exactly where"),
    sampled("tuning more", arrays(tuning=at(5000, True)), "results.hofmn.search.samples",
            "64 contradicts the per-sample file, which gives 65", RECORD),
    sampled("no flags", arrays(aa_robust=None), "aa_robust", "does not equal the flags after the last attack"),
    sampled("no distances", arrays(distance=None), "results.hofmn", "is stated, but the per-sample file lacks", RECORD),
    sampled("no index", arrays(index=None), "index", "is missing from the file"),
    sampled("float64", arrays(distance=lambda a: a.astype(np.float64)), "distance", "is float64 of shape (10000,); float32"),
    sampled("integers for flags", arrays(aa_robust=lambda a: a.astype(np.int8)), "aa_robust", "is int8 of shape"),
    sampled("shorter", arrays(label=lambda a: a[:-1]), "label", "of shape (9999,); int16 of shape (10000,) is needed"),
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
    sampled("zip bomb", packed({"index.npy": b"\0" * 25_000_000}), "", "more than 20,000,000 bytes or too many arrays"),
    sampled("many arrays", packed({f"a{n}.npy": b"x" for n in range(50)}), "", "or too many arrays inside"),
    sampled("array of terabytes", packed({"index.npy": b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
            + b"{'descr': '<i4', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + b"\n"}),
            "", "is not a readable .npz file"),
    sampled("over ten megabytes", write(SAMPLES, b"PK\x03\x04" + b"\0" * 10_000_001), "", "is over 10,000,000 bytes"),
]  # fmt: skip

FIGURES = [
    record("results.autoattack.robust_accuracy", 0.9, "0.9 exceeds the clean accuracy 0.8"),
    record("results.autoattack.robust_accuracy", 0.33, "0.33 contradicts the per-sample file, which gives 0.32"),
    record("results.hofmn.robust_accuracy", 0.81, "0.81 exceeds the clean accuracy 0.8"),
    record("results.joint.robust_accuracy", 0.5, "0.5 exceeds results.autoattack.robust_accuracy"),
    record("results.clean_accuracy", 0.9, "0.9 contradicts the per-sample file, which gives 0.8"),
    record("results.clean_accuracy", None, "None contradicts the per-sample file, which gives 0.8"),
    record("results.n_samples", 9_999, "9999 is not the whole test set of 10000; such a run has protocol 'custom'"),
    record("results.n_samples", 10_001, "10001 exceeds the test set of 10000 images"),
    record("results.hofmn", None, "is missing; apb-1 has both attacks"),
    record("results.autoattack", None, "is missing; apb-1 has both attacks"),
    record("results.joint", None, "None contradicts the per-sample file", "results.joint.robust_accuracy"),
    record("results.autoattack.per_attack.square.broken", 7, "7 contradicts the per-sample file"),
    record("results.autoattack.per_attack.square.attacked", 7, "7 is not the sum of broken 0 and robust_after"),
    record("results.autoattack.per_attack.apgd-t.attacked", 9, "9 is not what the attack before left robust"),
    record("results.autoattack.per_attack.fab-t", REMOVED, "None contradicts the per-sample file",
           "results.autoattack.per_attack.fab-t.attacked"),
    record("results.hofmn.median_distance", 0.5, "0.5 contradicts the per-sample file"),
    record("results.hofmn.not_found", 0, "0 contradicts the per-sample file, which gives 1"),
    record("results.hofmn.steps", 50, "50 is not apb-1's 200"),
    record("results.hofmn.search.trials", 4, "4 is not apb-1's 32"),
    record("results.hofmn.search.samples", 8, "8 contradicts the per-sample file, which gives 64"),
    record("results.hofmn.parameters.momentum", 0.99, "0.99 is outside apb-1's search, 0 to 0.9"),
    record("results.hofmn.parameters.learning_rate", 1000.0, "1000.0 is outside apb-1's search"),
    record("results.hofmn.search.at_bound", ["momentum"], "lacks 'search-at-bound'", "warnings"),
    record("threat_model.epsilon", "4/255", "apb-1 needs 8/255, not 4/255"),
    record("threat_model.epsilon", "9/8", "epsilon must be in (0, 1], not '9/8'"),
    record("threat_model.epsilon", None, "is missing; records of own runs are written by `apsite eval`"),
    record("settings.search_trials", 8, "8 is not apb-1's 32; a run with other settings has protocol 'custom'"),
    record("settings.attack_steps", "200", "'200' is not apb-1's 200"),
    record("settings.search_batch", "rotating", "'rotating' is not apb-1's; such a run has protocol 'custom'"),
    record("settings.epsilon", "1/255", "'1/255' is not threat_model.epsilon"),
    record("settings", REMOVED, "is missing; records of own runs are written by `apsite eval`"),
    record("audit", REMOVED, "is missing; records of own runs are written by `apsite eval`"),
    record("data", REMOVED, "is missing; records of own runs"),
    record("data.known", False, "lacks 'unknown-data', which follows from data.known; a record keeps its warnings", "warnings"),
    record("samples", REMOVED, "is missing; records of own runs"),
    record("checkpoint.sha256", None, "is missing; records of own runs"),
    record("checkpoint.unsafe_load", True, "lacks 'unsafe-load'", "warnings"),
    record("sparsity.measured", 0.5, "0.5 contradicts audit.zero_weights over audit.weights, 0.9"),
    record("audit.zero_weights", 8_000, "8000 is not the sum over audit.layers, 9000"),
    record("audit.nonzero_parameters", 99_999, "99999 exceeds audit.parameters 10010"),
    record("audit.effective_macs", 5_001, "5001 exceeds audit.macs 5000"),
    record("audit.layers[0].zero_weights", 10_001, "10001 exceeds weights 10000 of this layer"),
    record("audit.sparsity_basis", "filters", "'filters' is not of unstructured pruning; 'weights' is"),
    Bad("dense network declared as pruned",
        edit(RECORD, ("audit.zero_weights", 0), ("audit.layers[0].zero_weights", 0), ("sparsity.measured", 0.0)),
        RECORD, "sparsity.declared", "0.9 is more than 2 points from the measured share of zero weights, 0.0000"),
    Bad("sparsity off by a point, with no warning",
        edit(RECORD, ("audit.zero_weights", 8_900), ("audit.layers[0].zero_weights", 8_900), ("sparsity.measured", 0.89)),
        RECORD, "warnings", "lacks 'sparsity-differs', which follows from sparsity.declared and audit"),
    record("protocol", "piras-2024", "'piras-2024' is for the survey's published figures only"),
    Bad("own figures called published", edit(RECORD, ("provenance.kind", "published"), ("provenance.source", METHOD)),
        RECORD, "protocol", "a published figure was not obtained by apb-1"),
    Bad("one checkpoint for two models",
        edit(SECOND, ("checkpoint.sha256", full_run(90)["checkpoint"]["sha256"])),
        SECOND, "checkpoint.sha256", f"is also that of {MODELS[90]}; two models cannot share one checkpoint"),
    Bad("one run for two models",
        several(lambda root: shutil.copy(root / SAMPLES, root / SECOND.replace(".json", ".npz")),
                edit(SECOND, ("results", full_run(90)["results"]),
                     ("samples.sha256", full_run(90)["samples"]["sha256"]))),
        SECOND, "samples.sha256", f"is also that of {MODELS[90]}; two models cannot share one per-sample file"),
    Bad("two checkpoints only", remove(SECOND, SECOND.replace(".json", ".npz")), RECORD, "protocol",
        "'apb-1' would rank, but Tiny has no network at all three sparsities; nearest is cifar10, resnet18, unstructured, "
        "which lacks 0.95: evaluate these too"),
    Bad("a reduced run among three", edit(SECOND, ("protocol", "custom")), RECORD, "protocol", "which lacks 0.95"),
]  # fmt: skip


def superseding(old: str, model: str, document: dict[str, Any], kept: Callable[[bytes], bytes] = bytes) -> Spoil:
    """A new run in the place of another record."""

    def spoil(root: Path) -> None:
        before = (root / old).read_bytes()
        npz = (root / old).with_suffix(".npz")
        changes = [{"date": "2026-02-01", "kind": "supersedes", "reason": "Better.", "version": 1}]
        history = (root / old).parent / "history"
        history.mkdir()
        (history / f"{model}.1.json").write_bytes(kept(before))
        if npz.exists():
            (history / f"{model}.1.npz").write_bytes(npz.read_bytes())
        write_json(root / old, {**document, "changes": changes})
        write_data(root / "scratch", document)
        made = (root / "scratch" / old).with_suffix(".npz")
        if made.exists():
            made.rename(npz)
        shutil.rmtree(root / "scratch")

    return spoil


def own_run_of_rival(**changes: Any) -> dict[str, Any]:
    """A new run of somebody else's model, by whoever submits."""
    document = own_document(PUBLISHED_MODEL)
    document["provenance"] = {"kind": "submitted", "source": "Jane Doe", "location": None, "date": "2026-01-02"}
    document["checkpoint"]["sha256"] = "c" * 64
    del document["verification"]
    return {**document, **changes}


def submodule(root: Path) -> None:
    """A commit of another repository in place of a folder."""
    head = git(root, "rev-parse", "HEAD")
    git(root, "update-index", "--add", "--cacheinfo", f"160000,{head},evaluations/{METHOD}/sub")
    (root / FOLDER / "sub").mkdir()


def many(root: Path) -> None:
    """More files than one change may have."""
    for number in range(401):
        write(f"evaluations/{METHOD}/x{number}.json", "{}")(root)


CHANGE = {"date": "2026-02-01", "reason": "A reason."}
PROPOSALS = [
    Bad("code too", write("apsite/validation/gate.py", "x = 1\n"), "apsite/validation/gate.py", "",
        "is no data, but this change has data too; it may touch entries/ and evaluations/ only"),
    Bad("workflow too", write(".github/workflows/ci.yml", "on: push\n"), ".github/workflows/ci.yml", "", "is no data"),
    Bad("documentation too", write("README.md", "Better.\n"), "README.md", "", "is no data, but this change has data too"),
    Bad("new file at the top", write("entries.json", "{}"), "entries.json", "", "is no data"),
    Bad("file removed elsewhere", remove("README.md"), "README.md", "", "is no data"),
    record("provenance.kind", "verified", "'verified' is a maintainer's word; a new run is 'submitted' until they ran it"),
    record("verification", {"date": "2026-01-02", "samples": 512, "agreement": 1.0}, "is a maintainer's; remove it"),
    record("changes", [{**CHANGE, "kind": "retracted"}], "belongs to a record that was published before", "changes[0]"),
    Bad("verified with disagreement",
        edit(RECORD, ("provenance.kind", "verified"), ("verification", {"date": "2026-01-02", "samples": 9, "agreement": 0.9})),
        RECORD, "verification.agreement", "0.9 is below 0.99; such a re-run does not verify a record"),
    Bad("verified before it ran",
        edit(RECORD, ("provenance.kind", "verified"), ("verification", {"date": "2025-01-02", "samples": 9, "agreement": 1.0})),
        RECORD, "verification.date", "'2025-01-02' is before the run itself"),
    Bad("verified on more samples than there are",
        edit(RECORD, ("provenance.kind", "verified"), ("verification", {"date": "2026-01-02", "samples": N + 1, "agreement": 1})),
        RECORD, "verification.samples", "10001 exceeds the 10000 samples of the record"),
    Bad("new figure of the survey", write(
        f"{FOLDER}/{METHOD}_V16_SVHN_US_99.json", json.dumps(record_document(f"{METHOD}_V16_SVHN_US_99"))),
        f"{FOLDER}/{METHOD}_V16_SVHN_US_99.json", "protocol", "'piras-2024' is for the survey's figures, which are all here"),
    Bad("figure of another paper that would rank",
        edit(PUBLISHED, ("provenance.source", METHOD)), PUBLISHED, "protocol",
        f"'piras-2024' is for the figures of Piras2024Adversarial, not of {METHOD}; use 'custom'"),
    Bad("survey's figure at another budget", edit(PUBLISHED, ("threat_model.epsilon", "1/255")), PUBLISHED,
        "threat_model.epsilon", "piras-2024 needs 8/255 or null, not 1/255; use 'custom'"),
    Bad("others' figure changed", edit(PUBLISHED, ("results.clean_accuracy", 0.79)), PUBLISHED, "results",
        "differs from main; a published record stays as it is"),
    Bad("others' warning removed", edit(OTHERS_RECORD, ("warnings", [])), OTHERS_RECORD, "warnings", "differs from main"),
    Bad("others' source changed", edit(OTHERS_RECORD, ("provenance.source", "Jane Doe")), OTHERS_RECORD, "provenance",
        "differs from main; a published record stays as it is"),
    Bad("others' record verified", edit(OTHERS_RECORD, ("provenance.kind", "verified"),
        ("verification", {"date": "2026-01-02", "samples": 8, "agreement": 1.0})), OTHERS_RECORD, "provenance", "differs"),
    Bad("others' checkpoint swapped", edit(OTHERS_RECORD, ("checkpoint.sha256", "d" * 64)), OTHERS_RECORD,
        "checkpoint.sha256", "differs from main; another file needs a new run"),
    Bad("others' unpinned address moved", edit(PUBLISHED, ("checkpoint.url", "https://evil.example/x.pt")), PUBLISHED,
        "checkpoint.url", "differs, and no SHA-256 says which file is meant; only a maintainer's change"),
    Bad("others' record retracted", edit(PUBLISHED, ("changes", [{**CHANGE, "kind": "retracted"}])), PUBLISHED,
        "changes[0].kind", "'retracted' is a maintainer's; 'corrected' is allowed. Open an issue"),
    Bad("others' record disputed", edit(PUBLISHED, ("changes", [{**CHANGE, "kind": "disputed"}])), PUBLISHED,
        "changes[0].kind", "'disputed' is a maintainer's"),
    Bad("others' record removed", remove(PUBLISHED), PUBLISHED, "", "was removed; results stay readable"),
    Bad("others' record moved", move(PUBLISHED, PUBLISHED.replace("_90", "_95")), PUBLISHED, "", "was removed"),
    Bad("others' entry removed", remove(OTHERS_ENTRY), OTHERS_ENTRY, "", "was removed; a method stays listed"),
    Bad("others' method hidden", edit(OTHERS_ENTRY, ("baseline", True)), OTHERS_ENTRY, "baseline",
        "true was false, which decides who ranks"),
    Bad("others' alias removed", edit(OTHERS_ENTRY, ("aliases", [])), OTHERS_ENTRY, "aliases",
        "lacks 'Rival_Roe2023Old', under which people find the method"),
    Bad("others' entry disputed", edit(OTHERS_ENTRY, ("changes", [{**CHANGE, "kind": "disputed"}])), OTHERS_ENTRY,
        "changes[0].kind", "'disputed' is a maintainer's"),
    Bad("others' run replaced", superseding(OTHERS_RECORD, OTHERS_MODEL, {
        **own_run_of_rival(), "model_key": OTHERS_MODEL, "architecture": "resnet18",
        "samples": {**own_document(OTHERS_MODEL)["samples"]}}),
        OTHERS_RECORD, "provenance.source", "'Jane Doe' is not 'Richard Roe', whose run this would replace"),
    Bad("history forged", superseding(PUBLISHED, PUBLISHED_MODEL, own_run_of_rival(), lambda old: old.replace(b"0.4", b"0.1")),
        f"evaluations/{RIVAL}/history/{PUBLISHED_MODEL}.1.json", "", "must hold what stood at evaluations/"),
    Bad("history reformatted", superseding(PUBLISHED, PUBLISHED_MODEL, own_run_of_rival(), lambda old: old + b"\n"),
        f"evaluations/{RIVAL}/history/{PUBLISHED_MODEL}.1.json", "", "byte for byte; `apsite supersede` puts it there"),
    Bad("history not kept", several(superseding(PUBLISHED, PUBLISHED_MODEL, own_run_of_rival()),
        remove(f"evaluations/{RIVAL}/history/{PUBLISHED_MODEL}.1.json")), PUBLISHED, "changes[0].version",
        "the older version is not there as history/"),
    Bad("history invented", write(f"evaluations/{RIVAL}/history/{PUBLISHED_MODEL}.1.json",
        json.dumps(record_document(PUBLISHED_MODEL, robust=0.1))), f"evaluations/{RIVAL}/history/{PUBLISHED_MODEL}.1.json", "",
        "is version 1, but the current record is version 1"),
    Bad("history of nothing", write(f"{FOLDER}/history/{MODELS[90]}.1.json", json.dumps(full_run(90))),
        f"{FOLDER}/history/{MODELS[90]}.1.json", "", "was never published: main has no evaluations/"),
    Bad("superseded by a verified run", superseding(PUBLISHED, PUBLISHED_MODEL, own_document(PUBLISHED_MODEL)), PUBLISHED,
        "provenance.kind", "'verified' is a maintainer's word"),
    Bad("superseded by a figure", superseding(PUBLISHED, PUBLISHED_MODEL, record_document(PUBLISHED_MODEL, robust=0.7)),
        PUBLISHED, "provenance.kind", "'published' cannot supersede a record; a new run is 'submitted'"),
    Bad("version skipped", several(superseding(PUBLISHED, PUBLISHED_MODEL, own_run_of_rival()),
        edit(PUBLISHED, ("changes[0].version", 2))), PUBLISHED, "changes[0].version", "2 is not the version that stands in main, 1"),
    Bad("executable", lambda root: (root / RECORD).chmod(0o755) or git(root, "add", RECORD), RECORD, "",
        "is marked as executable, which no data file is"),
    Bad("submodule", submodule, f"{FOLDER}/sub", "", "is a submodule; data are ordinary files"),
    Bad("too many files", many, ".", "", "data files change; at most 400 at once, so split the change"),
]  # fmt: skip

CORPUS = [*ENTRIES, *WORDS, *RAW, *IDENTITY, *SAMPLED, *FIGURES, *PROPOSALS]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The submission before it is spoilt; never changed."""
    return submission(tmp_path_factory.mktemp("good") / "repository")


@pytest.fixture
def root(good: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(good, tmp_path / "repository", symlinks=True))


def checked(root: Path, *arguments: str) -> tuple[int, list[dict[str, str]]]:
    """Exit code and problems of ``apsite validate --changed-since main``, with paths relative to the repository."""
    command = ["validate", "--root", str(root), "--changed-since", "main", "--format", "json", *arguments]
    result = CliRunner().invoke(cli, command, prog_name="apsite")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    problems = json.loads(result.stdout)["problems"]
    return result.exit_code, [{**one, "path": os.path.relpath(one["path"], root)} for one in problems]


def test_the_corpus_is_large_and_has_no_case_twice() -> None:
    """At least 150, besides those that are generated."""
    assert len(CORPUS) >= 150
    assert len({one.name for one in CORPUS}) == len(CORPUS)


def test_the_submission_is_good_before_it_is_spoilt(root: Path) -> None:
    """Uncommitted and committed; so each case below is refused for what was done to it."""
    assert checked(root) == (0, [])
    commit(root)
    assert checked(root) == (0, [])
    assert checked(root, "--maintainer") == (0, [])


@pytest.mark.parametrize("bad", CORPUS, ids=lambda bad: bad.name)
def test_a_bad_submission_is_refused(root: Path, bad: Bad) -> None:
    """With the expected message at the expected file and field, within two seconds."""
    bad.spoil(root)
    start = time.perf_counter()
    code, problems = checked(root)
    seconds = time.perf_counter() - start
    assert code == 1
    here = [one["problem"] for one in problems if (one["path"], one["field"]) == (bad.path, bad.field)]
    assert any(bad.message in problem for problem in here), problems
    for one in problems:
        assert not one["path"].startswith("..")
        assert one["problem"]
        assert one["problem"].isprintable()
        assert len(one["problem"]) < 2_000
    assert seconds < LIMIT


def test_what_a_maintainer_may_do_is_not_refused(root: Path) -> None:
    """Verify, retract, correct a figure with a word on it, touch other files; `verified` alone makes the difference."""
    edit(
        RECORD,
        ("provenance.kind", "verified"),
        ("verification", {"date": "2026-01-02", "samples": 9, "agreement": 1.0}),
    )(root)
    edit(OTHERS_RECORD, ("changes", [{**CHANGE, "kind": "retracted"}]))(root)
    edit(PUBLISHED, ("results.clean_accuracy", 0.79), ("changes", [{**CHANGE, "kind": "corrected"}]))(root)
    edit(OTHERS_ENTRY, ("aliases", []))(root)
    write("README.md", "Better.\n")(root)
    assert checked(root, "--maintainer") == (0, [])
    code, problems = checked(root)
    assert code == 1
    assert {one["path"] for one in problems} == {RECORD, OTHERS_RECORD, PUBLISHED, OTHERS_ENTRY, "README.md"}


def test_a_maintainers_word_does_not_make_figures_true(root: Path) -> None:
    """What is wrong in itself is wrong for everybody; a silent change of figures too."""
    edit(PUBLISHED, ("results.clean_accuracy", 0.79))(root)
    edit(RECORD, ("results.clean_accuracy", 0.7))(root)
    _, problems = checked(root, "--maintainer")
    assert {(one["path"], one["field"]) for one in problems} == {
        (PUBLISHED, "results"),
        (RECORD, "results.clean_accuracy"),
    }
    (silent,) = [one["problem"] for one in problems if one["path"] == PUBLISHED]
    assert "changes does not say why; add a change of kind 'corrected'" in silent


def test_what_a_contributor_may_edit_is_not_refused(root: Path) -> None:
    """Words: notes, a pinned file's address, the entry; and a change that says so."""
    edit(OTHERS_ENTRY, ("paper.venue", "NeurIPS"), ("changes", [{**CHANGE, "kind": "corrected"}]))(root)
    edit(OTHERS_RECORD, ("notes", ["Better."]), ("checkpoint.url", "https://example.org/moved.pt"))(root)
    edit(PUBLISHED, ("granularity", "weight"))(root)
    assert checked(root) == (0, [])


def test_a_new_run_may_take_the_place_of_a_published_figure(root: Path) -> None:
    """If the figure stays in history/ as it was."""
    superseding(PUBLISHED, PUBLISHED_MODEL, own_run_of_rival())(root)
    assert checked(root) == (0, [])
    commit(root)
    assert checked(root) == (0, [])


def test_history_never_changes(root: Path) -> None:
    """Nor does it go."""
    superseding(PUBLISHED, PUBLISHED_MODEL, own_run_of_rival())(root)
    commit(root)
    git(root, "checkout", "--quiet", "main")
    git(root, "merge", "--quiet", "work")
    git(root, "checkout", "--quiet", "-b", "later")
    kept = f"evaluations/{RIVAL}/history/{PUBLISHED_MODEL}.1.json"
    (root / kept).write_text((root / kept).read_text() + "\n")
    assert [(one["path"], one["problem"][:8]) for one in checked(root)[1]] == [(kept, "differs;")]
    (root / kept).unlink()
    found = {one["path"]: one["problem"] for one in checked(root)[1]}
    assert found[kept] == "was removed; files in history/ never change, so restore it"


def test_a_change_without_data_has_no_data_rules(good: Path, tmp_path: Path) -> None:
    """So that the check can be required of every pull request."""
    root = Path(shutil.copytree(good, tmp_path / "repository"))
    git(root, "stash", "--quiet", "--include-untracked")
    write("apsite/x.py", "x = 1\n")(root)
    assert checked(root) == (0, [])


def test_data_below_the_top_of_a_repository_are_known_as_such(good: Path, tmp_path: Path) -> None:
    """`--root` may be a folder of it; what lies outside is no data."""
    from tests.repositories import repository_with

    top = repository_with(tmp_path / "top")
    data = write_data(top / "benchmark", entry_document(RIVAL))
    commit(top)
    git(top, "checkout", "--quiet", "-b", "work")
    write_data(data, entry_document())
    assert checked(data) == (0, [])
    write_data(top, entry_document())
    code, problems = checked(data)
    assert code == 1
    assert [one["path"] for one in problems] == [f"../entries/{METHOD}.json"]


@pytest.mark.parametrize("name", ["record provenance.kind='verified'", "NaN", "samples zip bomb", "code too", "pipe"])
def test_a_bad_submission_is_refused_by_the_program_itself(root: Path, name: str) -> None:
    """In a process of its own: exit 1, nothing on stderr, one line a problem, within two seconds and its start."""
    (bad,) = [one for one in CORPUS if one.name == name]
    bad.spoil(root)
    command = [sys.executable, "-m", "apsite", "validate", "--root", str(root), "--changed-since", "main"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stderr) == (1, "")
    place = f"{root / bad.path}: {bad.field}: " if bad.field else f"{root / bad.path}: "
    assert any(line.startswith(place) and bad.message in line for line in result.stdout.splitlines())


def test_the_curve_of_every_accepted_file_falls(good: Path) -> None:
    """Monotone by construction: it is counted from distances, none of which may be negative or NaN."""
    from apsite.metrics import robustness_curve

    for percent in MODELS:
        distance = verdicts(percent).distance
        assert distance is not None
        budgets, robust = robustness_curve(distance)
        assert (np.diff(robust) <= 0).all()
        assert (np.diff(budgets) > 0).all()
        assert robust[0] == full_run(percent)["results"]["clean_accuracy"]
