"""Compare records with their per-sample files: every number recomputed, hashes, and the range of the samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from apsite.errors import DocumentError
from apsite.official_sets import official_labels
from apsite.protocol import APB_1_ATTACKS, SearchBatch
from apsite.records import EvaluationRecord
from apsite.records.ranked_images import ranked_images, split_of
from apsite.results import differs, numbers, results_of
from apsite.samples import SampleResults, read_samples_and_hash
from apsite.samples import samples_path as place_of
from apsite.vocabulary import AttackName, Protocol, ProvenanceKind, epsilon_value

_AGAIN = "write both files with `apsite eval`"


def samples_problems(path: Path, record: EvaluationRecord) -> tuple[list[DocumentError], SampleResults | None]:
    """Differences between a record and its per-sample file, and what that holds, if it can be read."""
    samples_path = path.with_suffix(".npz")
    if record.samples is None:
        unused = DocumentError(samples_path, "", "no record refers to it; remove it or run `apsite eval` again")
        return [unused] if samples_path.exists() else [], None
    # A record in history/ keeps its content, so it names the file as it was called when the record was current.
    name = f"{record.model_key}.npz"
    if record.samples.file != name:
        return [DocumentError(path, "samples.file", f"{record.samples.file!r} must be {name!r}")], None
    samples_path = place_of(path, record.samples.sha256, record.samples.url)
    if record.samples.url is not None and not samples_path.exists():
        return [], None  # it was checked before a maintainer moved it, and its hash is checked when it is fetched
    try:
        samples, actual = read_samples_and_hash(samples_path)
    except DocumentError as error:
        return [error], None
    problems = [DocumentError(path, *found) for found in _contradictions(record, samples)]
    if actual != record.samples.sha256:
        problems.append(DocumentError(path, "samples.sha256", f"does not match the file, whose SHA-256 is {actual}"))
    own = () if record.provenance.kind is ProvenanceKind.PUBLISHED else (_complete, _tuning)
    problems += [
        DocumentError(samples_path, *found) for rule in (_out_of_range, *own) for found in rule(record, samples)
    ]
    return problems, samples


def _contradictions(record: EvaluationRecord, samples: SampleResults) -> Iterator[tuple[str, str]]:
    """Numbers of a record that its samples do not give, as pairs of place and problem."""
    results = record.results
    claims: dict[str, tuple[AttackName, ...]] = {results.place(one.attack): (one.attack,) for one in results.attacks}
    if results.joint is not None:
        claims["results.joint"] = APB_1_ATTACKS
    for place, attacks in claims.items():
        lacking = " and ".join(attack.array for attack in attacks if samples.of(attack) is None)
        if lacking:
            yield place, f"is stated, but the per-sample file lacks {lacking}; write both with `apsite eval`"
    for attack in results.stages:
        if attack not in samples.robust_after:
            yield results.stage_place(attack), "is stated, but the per-sample file has no flags of this attack"
    split, own = split_of(record.dataset, samples.index), record.provenance.kind is not ProvenanceKind.PUBLISHED
    if own and record.data is not None and record.data.split != split:
        yield "data.split", f"{record.data.split!r} is not {split!r}, which the per-sample file holds; {_AGAIN}"
    for place, stated, counted in recounted(record, samples):
        if stated != counted and (stated is None or counted is None or differs(stated, counted)):
            yield place, f"{stated} contradicts the per-sample file, which gives {counted}"


def recounted(record: EvaluationRecord, samples: SampleResults) -> list[tuple[str, float | None, float | None]]:
    """Numbers of a record next to the same numbers counted from its samples: place, stated, counted."""
    results, epsilon = record.results, record.threat_model.epsilon
    given = results_of(
        samples, None if epsilon is None else epsilon_value(epsilon), without_tuning=record.leaves_out_tuning
    )
    stated, counted = numbers(results), numbers(given)
    if samples.tuning is not None and results.search is not None and not record.leaves_out_tuning:
        place = f"{results.place(AttackName.HOFMN)}.search.samples"
        counted[place], stated[place] = int(samples.tuning.sum()), results.search.samples
    return [(place, stated.get(place), count) for place, count in counted.items()]


def _out_of_range(record: EvaluationRecord, samples: SampleResults) -> Iterator[tuple[str, str]]:
    """Samples and classes that the test set does not have, as pairs of array and problem."""
    dataset, counts = record.dataset, record.dataset.class_counts
    if not samples.indexed and record.provenance.kind is not ProvenanceKind.PUBLISHED:
        yield "label", "is -1, unknown; only imported distance files may leave it open"
    ranked = ranked_images(dataset)
    if record.protocol is Protocol.APB_1 and ranked is not None and not np.array_equal(samples.index, ranked):
        yield "index", f"is not that of the {len(ranked)} images of {dataset.label} that rank; see docs/protocol.md"
    if samples.index[-1] >= dataset.test_samples:
        yield "index", f"{samples.index[-1]} is outside the test set of {dataset.test_samples} images"
    if not samples.indexed:
        return
    if samples.label.max() >= len(counts):
        top = len(counts) - 1
        yield "label", f"{samples.label.max()} is not a valid class of {dataset.label}, which has 0 to {top}"
        return
    official = official_labels(dataset)
    known = record.protocol is Protocol.APB_1 or (record.data is not None and record.data.known)
    if official is not None and known and samples.index[-1] < len(official):
        wrong = samples.label != official[samples.index]
        for position in np.flatnonzero(wrong)[:1]:
            first, count = samples.index[position], f"{wrong.sum()} of {len(wrong)} labels"
            at = f"first at index {first}, {samples.label[position]} in place of {official[first]}"
            yield "label", f"{count} are not those of the official files, {at}; {_AGAIN}"
            return
    found = np.bincount(samples.label, minlength=len(counts))
    for label in np.flatnonzero(found > np.array(counts))[:1]:
        wrong = f"{found[label]} samples are of class {label}, but the test set has {counts[label]}"
        yield "label", f"{wrong}; the labels are not those of the official files"


def _complete(record: EvaluationRecord, samples: SampleResults) -> Iterator[tuple[str, str]]:
    """Arrays that every run writes, and the samples that the record says."""
    missing = [one.value for one in record.stages if one not in samples.robust_after]
    if samples.aa_robust is not None and missing:
        yield "aa_robust", f"has no flags of {', '.join(missing)}, without which AutoAttack is not standard; {_AGAIN}"
    if samples.distance is not None and samples.tuning is None and record.results.search is not None:
        yield "tuning", f"is missing, though HO-FMN searched for its parameters; {_AGAIN}"


def _tuning(record: EvaluationRecord, samples: SampleResults) -> Iterator[tuple[str, str]]:
    """The samples that the search took are those that the settings give, and no easier than it found them."""
    hofmn, settings, tuning = record.results.hofmn, record.settings or {}, samples.tuning
    search, size = record.results.search, settings.get("search_samples")
    if hofmn is None or search is None or tuning is None or samples.distance is None or not isinstance(size, int):
        return
    if settings.get("search_batch") == SearchBatch.ROTATING:
        if (tuning != (np.arange(len(tuning)) < search.trials * size)).any():
            yield (
                "tuning",
                f"does not mark the first {search.trials * size} samples, which a rotating search takes; {_AGAIN}",
            )
        return
    if (tuning & ~samples.clean_correct).any():
        yield "tuning", f"marks samples that are misclassified without an attack, which the search leaves out; {_AGAIN}"
    expected = min(size, int(samples.clean_correct.sum()))
    if tuning.sum() != expected:
        yield "tuning", f"marks {tuning.sum()} samples; a search takes {expected} here; {_AGAIN}"
    if tuning.any() and (hofmn.steps or 0) >= search.steps:
        median = min(1.0, float(np.median(samples.distance[tuning])))
        if median > _FARTHER * search.best_median:
            found = f"median distance {median:.4f} where the search found {search.best_median:.4f} in fewer steps"
            yield "distance", f"of the samples that the search took has {found}; {_AGAIN}"


_FARTHER = 2.0
"""Factor by which the median distance of the samples of the search may exceed what the search found."""
