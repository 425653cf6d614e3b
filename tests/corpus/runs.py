"""Records whose facts about the run itself cannot be: settings, search, costs, data, hashes, dates, and other runs."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from apsite.official_sets import known_sha256
from apsite.results import numbers, results_of
from apsite.samples import samples_bytes
from apsite.vocabulary import Dataset
from tests.builders import REMOVED, digest
from tests.corpus.cases import Bad, record, several
from tests.submissions import (
    MODELS,
    OTHERS_RECORD,
    PUBLISHED,
    RECORD,
    SAMPLES,
    SECOND,
    N,
    Spoil,
    edit,
    full_run,
    put_samples,
    verdicts,
)

AUTOATTACK, HOFMN = "results.attacks[autoattack]", "results.attacks[hofmn]"
CHECK = f"{AUTOATTACK}.float32_check"
PLACEHOLDER = "is no SHA-256 of a file but a placeholder"
EMPTY = hashlib.sha256().hexdigest()
SIXTY_FOUR = known_sha256(Dataset.CIFAR10, 64)


TWIN = SECOND.replace(".json", ".npz")


def repacked(content: bytes) -> bytes:
    """The same arrays without compression."""
    buffer = io.BytesIO()
    with np.load(io.BytesIO(content)) as archive:
        np.savez(buffer, **archive)
    return buffer.getvalue()


def distances(change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Spoil:
    """The second run with distances that are made of those of the first and its own; the numbers that follow are stated."""

    def spoil(root: Path) -> None:
        mine, theirs = verdicts(95), verdicts(90).distance
        assert mine.distance is not None
        assert theirs is not None
        broken = np.flatnonzero((mine.distance > 0) & np.isfinite(mine.distance))
        made = mine.distance.copy()
        made[broken] = change(made[broken], theirs[(theirs > 0) & np.isfinite(theirs)])
        samples = replace(mine, distance=made)
        put_samples(root, TWIN, samples_bytes(samples))
        counted = numbers(results_of(samples, 8 / 255))
        names = [
            f"{HOFMN}.robust_accuracy",
            f"{HOFMN}.median_distance",
            f"{HOFMN}.not_found",
            "results.joint.robust_accuracy",
            "results.joint.broken_only_by.autoattack",
            "results.joint.broken_only_by.hofmn",
        ]
        edit(SECOND, *((name, counted[name]) for name in names), (f"{HOFMN}.search.best_median", 0.04))(root)

    return spoil


def mixed(mine: np.ndarray, theirs: np.ndarray, share: float) -> np.ndarray:
    """Own distances with a share of the other's among them."""
    count = int(share * len(mine))
    return np.concatenate([theirs[:count], mine[count:]])


def lower_precision(problem: str, place: str, precision: str = "tf32", **check: int) -> Bad:
    """A run in lower precision with its check in float32, or without if there is nothing in it."""
    fields = {"seed": 1, "samples": 300, "broken": 0, **check}
    passes = ("passes.float-check", {"forward": 600, "backward": 300_000}), ("seconds.float-check", 9.0)
    made = ((CHECK, fields), *passes) if check else ()
    spoil = edit(RECORD, ("settings.precision", precision), *made)
    return Bad(f"{precision} with check {check}: {place}", spoil, RECORD, place, problem)


def sampled_at_random(split: str, problem: str, place: str, whole: object = None) -> Bad:
    """Somebody's run on eight images that its settings call a random sample."""
    made = (("results.whole_set", whole),) if whole else ()
    settings = ("settings.n_examples", 8), ("settings.sample", "random")
    spoil = edit(OTHERS_RECORD, *settings, ("data.split", split), *made)
    return Bad(f"random sample, {split}, {whole}: {place}", spoil, OTHERS_RECORD, place, problem)


RUNS = [
    lower_precision("'tf32' is not apb-1's 'float32'", "settings.precision"),
    lower_precision("is missing; a search in lower precision ends with it", CHECK),
    lower_precision("'tf32' is not apb-1's 'float32'", "settings.precision", broken=4),
    lower_precision("'bf16' is not apb-1's 'float32'", "settings.precision", "bf16", broken=0),
    lower_precision("belongs to a search in lower precision", CHECK, "float32", broken=0),
    lower_precision("100 is not the 300 survivors that are checked", f"{CHECK}.samples", samples=100),
    lower_precision("301 exceeds the 300 samples", f"{CHECK}.broken", broken=301),
    lower_precision("0 is that of the search", f"{CHECK}.seed", seed=0),
    Bad("TF32 with a check that was not made", edit(
        RECORD, ("settings.precision", "tf32"), (CHECK, {"seed": 1, "samples": 300, "broken": 1})), RECORD,
        "passes.float-check", "0 in all are fewer than the 299000"),
    record("settings.n_examples", 64, "64 is not results.n_samples 10000"),
    record("settings.n_examples", "all", "'all'", "settings"),
    record("results.whole_set", {"n_samples": N, "clean_accuracy": 0.8}, "10000 is for a run on fewer than 10000",
           "results.whole_set.n_samples"),
    sampled_at_random("first 8 test samples", "is not 'random 8 test samples', which the settings name", "data.split"),
    sampled_at_random("random 8 test samples", "is not 'first 8 test samples', which the per-sample file holds", "data.split"),
    sampled_at_random("random 8 test samples", "is missing; a run on a random sample classifies the whole test set", "results.whole_set"),
    *(
        sampled_at_random("random 8 test samples", problem, f"results.whole_set.{field}", {"n_samples": size, "clean_accuracy": share})
        for size, share, problem, field in (
            (9_999, 0.8, "9999 is for a run on fewer than 10000", "n_samples"),
            (N, 0.0005, "0.0005 is not that of 10000 images of which 8 have 6 right", "clean_accuracy"),
            (N, 0.9999, "0.9999 is not that of 10000 images of which 8 have 6 right", "clean_accuracy"),
            (N, 0.80005, "0.80005 is not that of 10000 images", "clean_accuracy"),
        )
    ),
    record("settings.engine", "magic", "engine 'magic' is not one of fast, reference", "settings"),
    record("settings.engine", None, "settings.engine of the record is None; it must be of type str", "settings"),
    record("settings.precision", "int1", "'int1' is not apb-1's 'float32'"),
    record("settings.seed", 1e300, "must be of type int", "settings"),
    record("settings.seed", -1, "--seed must be from 0 to 2147483647, not -1", "settings"),
    record("settings.seed", 2**40, "--seed must be from 0 to 2147483647", "settings"),
    record("settings.seed", 0.5, "must be of type int", "settings"),
    record("settings.seed", True, "must be of type int", "settings"),
    record("settings.batch_size", -1, "batch_size must be a whole number from 1 on, not -1", "settings"),
    record("settings.batch_size", 0, "batch_size must be a whole number from 1 on, not 0", "settings"),
    record("settings.batch_size", "128", "must be of type int", "settings"),
    record("settings.epsilon", REMOVED, "settings.epsilon of the record is None; it must be of type str", "settings"),
    record("settings.epsilon", "8 / 255", "'8 / 255' is not threat_model.epsilon"),
    record("settings.remove_channels", "no", "must be of type bool", "settings"),
    record("settings.restarts", 5, "is not a setting of `apsite eval`"),
    record("settings.attacks", "autoattack,hofmn,pgd", "'autoattack,hofmn,pgd' is not what results.attacks has"),
    record("settings.search_samples", 8, "8 is not apb-1's 64"),
    record("settings", {}, "is not apb-1's", "settings.preset"),
    record(f"{HOFMN}.parameters", {}, "lacks learning_rate, momentum, weight_decay, dampening, which the search found"),
    record(f"{HOFMN}.parameters", REMOVED, "lacks learning_rate, momentum"),
    record(f"{HOFMN}.parameters.momentum", REMOVED, "lacks momentum, which the search found", f"{HOFMN}.parameters"),
    record(f"{HOFMN}.parameters.dampening", 0.0, "is not what the parameters give, dampening", f"{HOFMN}.search.at_bound"),
    record(f"{HOFMN}.search", REMOVED, "is missing; apb-1 searches for the parameters"),
    record(f"{HOFMN}.search.best_median", 1e308, "1e+308 is not in (0, 1]"),
    record(f"{HOFMN}.search.best_median", 1.5, "1.5 is not in (0, 1]"),
    record(f"{HOFMN}.search.best_median", 0.0, "0.0 is not in (0, 1]"),
    record(f"{HOFMN}.search.best_median", -0.03, "-0.03 is below the minimum 0", "results.attacks[1].search.best_median"),
    record(f"{HOFMN}.search.steps", 10, "10 is not apb-1's 100"),
    record("passes", REMOVED, "is missing; `apsite eval` writes the record of a run"),
    record("passes", {}, "0 in all are fewer than the 10000 that such a run makes", "passes.clean"),
    record("passes", {"autoattack": {"forward": 0, "backward": 0}}, "is not a phase of a run", "passes.autoattack"),
    record("passes.autoattack", {"forward": 0, "backward": 0}, "is not a phase of a run; phases are clean, apgd-ce"),
    record("passes.clean.forward", 9_999, "9999 in all are fewer than the 10000", "passes.clean"),
    record("passes.apgd-ce", {"forward": 1, "backward": 1}, "2 in all are fewer than the 400000"),
    record("passes.apgd-t", {"forward": 0, "backward": 0}, "0 in all are fewer than the 2880000"),
    *(
        Bad(f"{rows} dropped rows of {stage}, {changes}", edit(RECORD, (place, rows), *changes.items()), RECORD, place, problem)
        for stage, rows, problem, changes in (
            ("fab-t", 1, "1 exceeds 0, the most that such a run drops", {"settings.fab_drop_rows": REMOVED}),
            ("fab-t", 1, "1 exceeds 0", {"settings.fab_drop_rows": False}),
            ("fab-t", 1, "1 exceeds 0", {"settings.engine": "reference"}),
            ("fab-t", 28_801, "28801 exceeds 28800", {}),
            ("square", 1, "1 exceeds 0", {}),
        )
        if (place := f"{AUTOATTACK}.stages[{stage}].dropped_rows")
    ),
    record("passes.fab-t", REMOVED, "0 in all are fewer than the 2880000"),
    record("passes.square.forward", 10_000, "10000 in all are fewer than the 16000000", "passes.square"),
    record("passes.hofmn", {"forward": 8_000, "backward": 1_600_000}, "1608000 in all are fewer than the 3200000"),
    record(f"{HOFMN}.fixed_configuration", REMOVED, "is missing, and settings.fixed_configuration is True"),
    record(f"{HOFMN}.fixed_configuration.closer", 8_001, "8001 exceeds the 8000 samples that were attacked"),
    record(f"{HOFMN}.fixed_configuration.parameters.momentum", 0.6, "are not those of the protocol",
           f"{HOFMN}.fixed_configuration.parameters"),
    record("settings.fixed_configuration", REMOVED, "False is not apb-1's True"),
    record("settings.fixed_configuration", False, "is stated, and settings.fixed_configuration is False",
           f"{HOFMN}.fixed_configuration"),
    record("passes.hofmn-search.backward", 100, "are fewer than the 204800", "passes.hofmn-search"),
    record("passes.square.forward", -1, "-1 is below the minimum 0"),
    record("passes.square.forward", 1.8e7, "is not of type integer; write a whole number"),
    record("seconds", REMOVED, "is missing; `apsite eval` writes the record of a run"),
    record("seconds", {}, "is missing, though the phase was run", "seconds.clean"),
    record("seconds.square", 0, "0 is too little time for 18000000 passes"),
    record("seconds.square", -5, "-5 is below the minimum 0"),
    record("seconds.coffee", 5, "is not a phase of a run", "passes.coffee"),
    record("data.split", "test, first 64", "'test, first 64' is not 'whole test set', which the per-sample file holds"),
    record("data.split", "first 64 test samples", "is not 'whole test set'"),
    record("data.split", "training set", "'training set' is not 'whole test set'"),
    record("data.sha256", "0" * 64, f"is not {known_sha256(Dataset.CIFAR10, N)}, that of the official images"),
    record("data.sha256", digest("other images"), "that of the official images, though data.known is true"),
    record("data.sha256", SIXTY_FOUR, "that of the official images, though data.known is true"),
    Bad("official images called unknown", edit(RECORD, ("data.known", False)), RECORD, "data.known", "is false, but data.sha256 is that of the official images; set it to true"),
    Bad("unknown data with a placeholder", edit(RECORD, ("data.known", False), ("data.sha256", "0" * 64)), RECORD,
        "data.sha256", PLACEHOLDER),
    record("checkpoint.sha256", EMPTY, "is the SHA-256 of an empty file"),
    record("checkpoint.sha256", "0" * 64, PLACEHOLDER),
    record("checkpoint.sha256", "a" * 64, PLACEHOLDER),
    record("checkpoint.sha256", "f" * 64, PLACEHOLDER),
    record("checkpoint.sha256", "ab" * 32, PLACEHOLDER),
    record("checkpoint.sha256", "deadbeef" * 8, PLACEHOLDER),
    record("checkpoint.sha256", "0123456789abcdef" * 4, PLACEHOLDER),
    record("checkpoint.sha256", "0" * 63 + "1", PLACEHOLDER),
    record("checkpoint.sha256", "1234567890" * 6 + "1234", PLACEHOLDER),
    record("checkpoint.sha256", known_sha256(Dataset.CIFAR10, N), "is also checkpoint.sha256", "data.sha256"),
    record("checkpoint.sha256", full_run()["samples"]["sha256"], "is also checkpoint.sha256", "samples.sha256"),
    Bad("placeholder of a published result", edit(PUBLISHED, ("checkpoint.sha256", "0" * 64)), PUBLISHED, "checkpoint.sha256", PLACEHOLDER),
    record("checkpoint.size", 0, "0 bytes cannot hold"),
    record("checkpoint.size", 1_000, "1000 bytes cannot hold"),
    record("checkpoint.size", 1e300, "is not of type integer"),
    record("checkpoint.size", REMOVED, "is missing; `apsite eval` writes the record of a run"),
    record("audit.effective_macs", 0, "0 is less than one for each of"),
    record("audit.effective_macs", 1_000, "1000 is less than one for each of"),
    record("audit.nonzero_parameters", full_run()["audit"]["parameters"], "is not from"),
    record("audit.nonzero_parameters", 1, "1 is not from"),
    record("audit.zero_filters", 5, "5 is not the sum over audit.layers, 0"),
    record("audit.filters", 10_000, "10000 is not the sum over audit.layers"),
    record("audit.zero_channels", 7, "7 is not the sum over audit.layers, 0"),
    record("audit.layers[0].zero_filters", 64, "is less than the zero filters, channels and kernels of this layer have",
           "audit.layers[0].zero_weights"),
    record("audit.layers[0].removed_weights", 5_000, "is more than the"),
    record("provenance.date", "2000-01-01", "'2000-01-01' is before 2024-09-02, when the protocol appeared"),
    record("provenance.date", "2024-09-01", "'2024-09-01' is before 2024-09-02"),
    Bad("published before the test set", edit(PUBLISHED, ("provenance.date", "2008-01-01")), PUBLISHED, "provenance.date",
        "'2008-01-01' is before"),
    Bad("published before the paper", edit(PUBLISHED, ("provenance.date", "2019-01-01")), PUBLISHED, "provenance.date", "'2019-01-01' is before"),
    Bad("changed before it was there", edit(OTHERS_RECORD, ("changes", [{"date": "2025-01-01", "kind": "corrected", "reason": "x"}])),
        OTHERS_RECORD, "changes[0].date", "'2025-01-01' is before provenance.date '2026-01-01'"),
    record("changes", [{"date": "2026-02-01", "kind": "supersedes", "reason": "x", "version": 1.0}], "1.0 is not of type integer", "changes[0].version"),
    record("verification", {"date": "2026-01-02", "samples": 9.0, "agreement": 1.0}, "9.0 is not of type integer", "verification.samples"),
    Bad("another's distances", distances(lambda mine, theirs: theirs), TWIN, "distance", f"distances that were compared are also those of {MODELS[90]}"),
    Bad("another's distances in another order", distances(lambda mine, theirs: theirs[::-1]), TWIN, "distance", "two networks do not give the same run"),
    Bad("another's distances by size", distances(lambda mine, theirs: np.sort(theirs)), TWIN, "distance", "distances that were compared are also those of"),
    Bad("half of another's distances", distances(lambda mine, theirs: mixed(mine, theirs, 0.5)), TWIN, "distance", "distances that were compared are also those of"),
    Bad("a quarter of another's distances", distances(lambda mine, theirs: mixed(mine, theirs, 0.25)), TWIN, "distance", "distances that were compared are also those of"),
    Bad("another's run under another hash", several(
        lambda root: shutil.copy(root / SAMPLES, root / TWIN), edit(SECOND, ("results", full_run(90)["results"]),
        ("samples.sha256", full_run(90)["samples"]["sha256"]))), SECOND, "results", f"are those of {MODELS[90]} in every number"),
    Bad("another's run, packed again", several(
        lambda root: put_samples(root, TWIN, repacked((root / SAMPLES).read_bytes())), edit(SECOND, ("results", full_run(90)["results"]))),
        TWIN, "distance", f"distances that were compared are also those of {MODELS[90]}"),
]  # fmt: skip
