"""Proposals that touch what they may not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.builders import METHOD, RIVAL, digest, own_document, record_document, verification, write_data
from tests.corpus.cases import Bad, added, move, record, remove, several
from tests.repositories import git
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
    REDUCED,
    REDUCED_MODEL,
    N,
    Spoil,
    edit,
    full_run,
    write,
    write_json,
)


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


def own_run_of_rival(model: str = PUBLISHED_MODEL, **changes: Any) -> dict[str, Any]:
    """A new run of somebody else's model, by whoever submits."""
    document = own_document(model)
    document["provenance"] = {"kind": "submitted", "source": "Jane Doe", "location": None, "date": "2026-01-02"}
    document["checkpoint"]["sha256"] = digest("another")
    del document["verification"]
    return {**document, **changes}


def without_autoattack() -> dict[str, Any]:
    """The same of a record that few samples support, with HO-FMN only."""
    document = own_run_of_rival(REDUCED_MODEL)
    del document["results"]["attacks"][0], document["results"]["joint"]
    return document


def submodule(root: Path) -> None:
    """A commit of another repository in place of a folder."""
    head = git(root, "rev-parse", "HEAD")
    git(root, "update-index", "--add", "--cacheinfo", f"160000,{head},evaluations/{METHOD}/sub")
    (root / FOLDER / "sub").mkdir()


def many(root: Path) -> None:
    """More files than one change may have."""
    for number in range(401):
        write(f"evaluations/{METHOD}/x{number}.json", "{}")(root)


VERIFIED = verification({"autoattack": 3200, "hofmn": 3400}, N)


def verified(**changes: Any) -> Spoil:
    """The record as a maintainer verified it, but for some fields."""
    return edit(RECORD, ("provenance.kind", "verified"), ("verification", {**VERIFIED, **changes}))


def attacked(**changes: Any) -> Spoil:
    """The same with another outcome of AutoAttack."""
    first, *others = VERIFIED["attacks"]
    return verified(attacks=[{**first, **changes}, *others])


CHANGE = {"date": "2026-02-01", "reason": "A reason."}
PROPOSALS = [
    Bad("code too", added(write("apsite/validation/gate.py", "x = 1\n")), "apsite/validation/gate.py", "",
        "is outside entries/ and evaluations/; put it into a separate pull request without data"),
    Bad("workflow too", added(write(".github/workflows/ci.yml", "on: push\n")), ".github/workflows/ci.yml", "", "is outside entries/ and evaluations/"),
    Bad("documentation too", write("README.md", "Better.\n"), "README.md", "", "is outside entries/ and evaluations/"),
    Bad("new file at the top", added(write("entries.json", "{}")), "entries.json", "", "is outside entries/ and evaluations/"),
    Bad("file removed elsewhere", remove("README.md"), "README.md", "", "is outside entries/ and evaluations/"),
    record("provenance.kind", "verified", "'verified' is set by maintainers; a new run is 'submitted' until they have re-run it"),
    record("verification", VERIFIED, "is written by maintainers, who run `apsite verify`; remove it"),
    record("changes", [{**CHANGE, "kind": "retracted"}], "belongs to a record that was published before", "changes[0]"),
    Bad("verified before it ran", verified(date="2025-01-02"), RECORD, "verification.date",
        "'2025-01-02' is before the run itself"),
    Bad("verified by an older rule",
        edit(RECORD, ("provenance.kind", "verified"), ("verification", {"date": "2026-01-02", "samples": N, "agreement": 1.0})),
        RECORD, "verification", "lacks 'seed', 'clean_differences', 'attacks'"),
    Bad("verified without a seed", verified(seed=None), RECORD, "verification.seed", "null is not of type integer"),
    *(Bad(f"verified on {count} samples", verified(samples=count), RECORD, "verification.samples",
          f"{count} is not the number of samples of the record, 10000") for count in (4, N - 1, N + 1)),
    Bad("verified with other clean results", verified(clean_differences=11), RECORD, "verification.clean_differences",
        "11 of 10000 samples are classified correctly in only one of the two runs; at most 10 may be"),
    Bad("verified without HO-FMN", verified(attacks=VERIFIED["attacks"][:1]), RECORD, "verification.attacks",
        "are not those of the record in the same order: autoattack, hofmn"),
    *(Bad(f"verified with {field} {value}: {place}", attacked(**{field: value}), RECORD, f"verification.attacks[autoattack].{place}", message)
      for field, value, place, message in (
        ("claimed", 3199, "claimed", "3199 is not what the record states, 3200 of 10000"),
        ("drawn", 3201, "drawn", "3201 is not between broken 0 and claimed 3200"),
        ("broken", 3201, "drawn", "3200 is not between broken 3201 and claimed 3200"),
        ("broken", 14, "broken", "14 of 3200 samples that the record counts as robust broke; at most 13 may"),
        ("detectable_inflation", 0.0001, "detectable_inflation", "0.0001 is not what follows from the draw, 0.0014"),
        ("drawn", 4, "drawn", "4 of 3200 samples detect no inflation below 16.87 points, and less than 1 is required; draw at least 198"),
        ("drawn", 4, "detectable_inflation", "0.0014 is not what follows from the draw, 0.1687"),
      )),
    Bad("new figure of the survey", write(
        f"{FOLDER}/{METHOD}_V16_SVHN_US_99.json", json.dumps(record_document(f"{METHOD}_V16_SVHN_US_99"))),
        f"{FOLDER}/{METHOD}_V16_SVHN_US_99.json", "protocol", "'piras-2024' is for the results of the survey, which are all here"),
    Bad("figure of another paper that would rank",
        edit(PUBLISHED, ("provenance.source", METHOD)), PUBLISHED, "protocol",
        f"'piras-2024' is for results of Piras2024Adversarial, not of {METHOD}; use 'custom'"),
    Bad("survey's figure at another budget", edit(PUBLISHED, ("threat_model.epsilon", "1/255")), PUBLISHED,
        "threat_model.epsilon", "piras-2024 requires 8/255 or null, not 1/255; use 'custom'"),
    Bad("others' figure changed", edit(PUBLISHED, ("results.clean_accuracy", 0.79)), PUBLISHED, "results",
        "differs from main; published results are fixed"),
    *(Bad(f"others' figure changed behind {mark}",
        several(edit(PUBLISHED, ("results.clean_accuracy", 0.79)), lambda root, mark=mark: git(root, "update-index", mark, PUBLISHED)),
        PUBLISHED, "results", "differs from main") for mark in ("--skip-worktree", "--assume-unchanged")),
    Bad("history that git ignores", several(write(".git/info/exclude", "*\n"),
        write(f"{FOLDER}/history/{MODELS[90]}.1.json", json.dumps(full_run(90)))),
        f"{FOLDER}/history/{MODELS[90]}.1.json", "", "was never published: main has no evaluations/"),
    Bad("others' warning removed", edit(OTHERS_RECORD, ("warnings", [])), OTHERS_RECORD, "warnings", "differs from main"),
    Bad("others' source changed", edit(OTHERS_RECORD, ("provenance.source", "Jane Doe")), OTHERS_RECORD, "provenance",
        "differs from main; published results are fixed"),
    Bad("others' record verified", edit(OTHERS_RECORD, ("provenance.kind", "verified"),
        ("verification", own_document()["verification"])), OTHERS_RECORD, "provenance", "differs"),
    Bad("others' checkpoint swapped", edit(OTHERS_RECORD, ("checkpoint.sha256", digest("swapped"))), OTHERS_RECORD,
        "checkpoint.sha256", "differs from main; another file needs a new run"),
    Bad("others' unpinned address moved", edit(PUBLISHED, ("checkpoint.url", "https://evil.example/x.pt")), PUBLISHED,
        "checkpoint.url", "differs, and no SHA-256 identifies the file; only a maintainer may move such a file"),
    Bad("others' record retracted", edit(PUBLISHED, ("changes", [{**CHANGE, "kind": "retracted"}])), PUBLISHED,
        "changes[0].kind", "'retracted' is up to a maintainer; 'corrected' is allowed"),
    Bad("others' record disputed", edit(PUBLISHED, ("changes", [{**CHANGE, "kind": "disputed"}])), PUBLISHED,
        "changes[0].kind", "'disputed' is up to a maintainer"),
    Bad("others' record removed", remove(PUBLISHED), PUBLISHED, "", "was removed; results stay readable"),
    Bad("others' record moved", move(PUBLISHED, PUBLISHED.replace("_90", "_95")), PUBLISHED, "", "was removed"),
    Bad("others' aliases of another type", edit(OTHERS_ENTRY, ("aliases", 5)), OTHERS_ENTRY, "aliases", "5 is not of type array"),
    Bad("others' checkpoint of another type", edit(OTHERS_RECORD, ("checkpoint", ["x"])), OTHERS_RECORD, "checkpoint",
        "is not of type object"),
    Bad("others' entry removed", remove(OTHERS_ENTRY), OTHERS_ENTRY, "", "was removed; a method stays listed"),
    Bad("others' method hidden", edit(OTHERS_ENTRY, ("baseline", True)), OTHERS_ENTRY, "baseline",
        "true was false, which decides who ranks"),
    Bad("own method in the survey", edit(ENTRY, ("in_survey", True)), ENTRY, "in_survey",
        "true is for the methods of the survey, which are all here; set it to false"),
    Bad("others' method in the survey", edit(OTHERS_ENTRY, ("in_survey", True)), OTHERS_ENTRY, "in_survey",
        "was changed, but the survey's methods stay what they are; restore it"),
    Bad("own method as a baseline", edit(ENTRY, ("baseline", True)), ENTRY, "baseline",
        "true is for baselines, which do not rank; a maintainer adds them, so set it to false"),
    Bad("new entry with a past", edit(ENTRY, ("changes", [{**CHANGE, "kind": "corrected"}])), ENTRY, "changes",
        "belongs to an entry that was published before; a new one has none"),
    Bad("others' alias removed", edit(OTHERS_ENTRY, ("aliases", [])), OTHERS_ENTRY, "aliases",
        "lacks 'Rival_Roe2023Old', under which people find the method"),
    Bad("others' entry disputed", edit(OTHERS_ENTRY, ("changes", [{**CHANGE, "kind": "disputed"}])), OTHERS_ENTRY,
        "changes[0].kind", "'disputed' is up to a maintainer"),
    Bad("others' run replaced", superseding(OTHERS_RECORD, OTHERS_MODEL, {
        **own_run_of_rival(), "model_key": OTHERS_MODEL, "architecture": "resnet18",
        "samples": {**own_document(OTHERS_MODEL)["samples"]}}),
        OTHERS_RECORD, "provenance.source", "'Jane Doe' is not 'Richard Roe', whose run this would replace"),
    Bad("history forged", superseding(PUBLISHED, PUBLISHED_MODEL, own_run_of_rival(), lambda old: old.replace(b"0.4", b"0.1")),
        f"evaluations/{RIVAL}/history/{PUBLISHED_MODEL}.1.json", "", "must equal evaluations/"),
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
    Bad("curve of others", write(f"{FOLDER}/curves/{MODELS[90]}.json", json.dumps(
        {**record_document(MODELS[90]), "protocol": "custom"})), f"{FOLDER}/curves/{MODELS[90]}.json", "",
        "comes from a maintainer, who fetches what others have published; leave it as it is"),
    Bad("own run as a curve", write(f"{FOLDER}/curves/{MODELS[90]}.json", json.dumps(full_run(90))),
        f"{FOLDER}/curves/{MODELS[90]}.json", "provenance.kind",
        "'submitted' is not 'published'; curves/ holds imported distance files only"),
    Bad("measured checkpoints", write("evaluations/published_checkpoints.json", '{"schema_version": 1, "checkpoints": []}'),
        "evaluations/published_checkpoints.json", "", "comes from a maintainer"),
    Bad("another file of measurements", write("evaluations/published.json", "{}"), "evaluations/published.json", "",
        "does not belong here"),
    Bad("superseded by a verified run", superseding(PUBLISHED, PUBLISHED_MODEL, own_document(PUBLISHED_MODEL)), PUBLISHED,
        "provenance.kind", "'verified' is set by maintainers"),
    Bad("superseded by a reduced run", superseding(PUBLISHED, PUBLISHED_MODEL, own_run_of_rival()), PUBLISHED,
        "protocol", "'custom' does not rank, unlike version 1, which this one replaces; only a maintainer may decide"),
    Bad("superseded by fewer samples", superseding(PUBLISHED, PUBLISHED_MODEL, own_run_of_rival()), PUBLISHED,
        "results.n_samples", "8 is fewer than the 10000 of version 1"),
    Bad("superseded without AutoAttack", superseding(REDUCED, REDUCED_MODEL, without_autoattack()), REDUCED,
        "results.attacks", "lacks autoattack, unlike version 1"),
    Bad("superseded by an assumed decision", several(superseding(PUBLISHED, PUBLISHED_MODEL, own_run_of_rival()),
        edit(PUBLISHED, ("changes[0].by", "Mary Maintainer"))), PUBLISHED, "changes[0].by",
        "names a maintainer's decision, which only a pull request of theirs can bring; remove it"),
    Bad("superseded by a figure", superseding(PUBLISHED, PUBLISHED_MODEL, record_document(PUBLISHED_MODEL, robust=0.7)),
        PUBLISHED, "provenance.kind", "'published' cannot supersede a record; a new run is 'submitted'"),
    Bad("version skipped", several(superseding(PUBLISHED, PUBLISHED_MODEL, own_run_of_rival()),
        edit(PUBLISHED, ("changes[0].version", 2))), PUBLISHED, "changes[0].version", "2 is not the version in main, 1"),
    Bad("executable", lambda root: (root / RECORD).chmod(0o755) or git(root, "add", RECORD), RECORD, "",
        "is marked as executable, but data files are not"),
    Bad("submodule", submodule, f"{FOLDER}/sub", "", "is a submodule; data files are ordinary files"),
    Bad("too many files", many, ".", "", "data files change; at most 400 at once, so split the change"),
]  # fmt: skip
