"""Verifying a record: what is run again, what agrees, and what a forged record meets."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from apsite.documents.json_files import read_json, write_json
from apsite.errors import ApsiteError, DatasetError, EvaluationError
from apsite.evaluation.runs.demonstration import network_path, request
from apsite.evaluation.runs.evaluate import run_request
from apsite.evaluation.runs.verification import compare, verify_record, write_verification
from apsite.protocol import DISAGREEMENT_LIMIT, VERIFICATION_ALPHA, Preset, Settings
from apsite.records import read_record
from apsite.results import results_of
from apsite.samples import read_samples, write_samples
from apsite.validation import plausibility_problems, samples_problems
from apsite.vocabulary import ProvenanceKind

# A wide budget breaks every sample at once, so that AutoAttack takes no time.
SHORT = Settings.of(
    Preset.QUICK, n_examples=24, trials=2, search_samples=8, search_steps=3, attack_steps=10, epsilon="48/255"
)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    run_request(dataclasses.replace(request(folder, 24), settings=SHORT))
    return folder / "evaluations"


@pytest.fixture
def path(evaluated, tmp_path):
    shutil.copytree(evaluated, tmp_path / "evaluations")
    return next((tmp_path / "evaluations").glob("*/*.json"))


def verify(path, checkpoint=None, **options):
    return verify_record(
        path,
        checkpoint or network_path(),
        **{"samples": 12, "data_dir": "embedded", "run_dir": path.parents[2] / "runs", **options},
    )


def changed(path, change):
    document = read_json(path)
    change(document)
    write_json(path, document)


def test_an_honest_record_agrees_and_is_marked(path):
    before = read_record(path)
    finding = verify(path)
    assert finding.agrees
    assert finding.agreement == 1
    assert finding.samples == 12
    assert [one.result for one in finding.comparisons] == ["clean", "AutoAttack", "HO-FMN"]
    assert all(one.samples == 12 and one.agreement == one.p_value == 1 for one in finding.comparisons)
    assert read_record(path) == before
    write_verification(path, finding, "a maintainer")
    after = read_record(path)
    assert after.provenance.kind is ProvenanceKind.VERIFIED
    assert (after.verification.samples, after.verification.agreement, after.verification.by) == (12, 1, "a maintainer")
    assert after.results == before.results
    assert plausibility_problems(path, after) == []
    assert samples_problems(path, after) == ([], True)
    assert not list((path.parents[2] / "runs").glob("*/*.npz"))


def forge(path, how):
    """A record whose per-sample file was changed and whose figures were counted from it."""
    record, samples = read_record(path), read_samples(path.with_suffix(".npz"))
    samples = how(samples)
    digest = write_samples(path.with_suffix(".npz"), samples)
    results = results_of(samples, SHORT.epsilon_value(record.dataset))
    hofmn = dataclasses.replace(
        record.results.hofmn,
        **{name: getattr(results.hofmn, name) for name in ("robust_accuracy", "median_distance", "not_found")},
    )
    results = dataclasses.replace(results, attacks=tuple(a for a in (results.autoattack, hofmn) if a))
    record = dataclasses.replace(record, results=results, samples=dataclasses.replace(record.samples, sha256=digest))
    from apsite.records import record_to_json

    write_json(path, record_to_json(record))
    assert samples_problems(path, record) == ([], True)


def more_robust(samples):
    clean = samples.clean_correct
    return dataclasses.replace(
        samples,
        aa_robust=clean.copy(),
        distance=np.where(clean, 1, 0).astype(np.float32),
        robust_after={attack: clean.copy() for attack in samples.robust_after},
    )


def test_a_forged_record_is_found_out(path):
    forge(path, more_robust)
    finding = verify(path, samples=24)
    assert not finding.agrees
    assert "have another result; at most 1% may" in finding.objections[0]
    assert any("AutoAttack: the differences go one way" in objection for objection in finding.objections)
    assert any("HO-FMN: the differences go one way" in objection for objection in finding.objections)
    with pytest.raises(ValueError, match="only a re-run that agrees"):
        write_verification(path, finding)


def test_a_wrong_sparsity_is_found_out(path):
    """The measured sparsity is measured again, however well the counts of the record fit each other."""

    def forge_audit(document):
        audit = document["audit"]
        layer = max(audit["layers"], key=lambda one: one["weights"] - one["zero_weights"])
        for counts in (audit, layer):
            counts["zero_weights"] += 4_000
        document["sparsity"]["measured"] = audit["zero_weights"] / audit["weights"]

    honest = read_record(path).sparsity.measured
    changed(path, forge_audit)
    finding = verify(path, samples=1)
    stated = finding.record.sparsity.measured
    assert finding.objections == (f"The record states a measured sparsity of {stated}; it is {honest}.",)


def test_the_subset_follows_from_the_seed(path):
    def counts(seed):
        return [(one.recorded, one.rerun) for one in verify(path, samples=5, seed=seed).comparisons]

    first = counts(0)
    assert counts(0) == first
    assert any(counts(seed) != first for seed in (1, 2, 3))
    assert verify(path, samples=1000).samples == 24


def paired(differences_against, differences_for, n=2000):
    """Record and re-run verdicts of `n` samples of which some differ."""
    from apsite.records import record_from_json
    from tests.builders import own_document, samples

    base = samples().take(np.zeros(n, int))
    record = record_from_json(own_document())
    flags = np.zeros(n, bool)
    flags[: n // 2] = True
    again = flags.copy()
    again[:differences_against] = False
    again[n - differences_for :] = True
    clean = np.ones(n, bool)
    one, other = (
        dataclasses.replace(base, clean_correct=clean, aa_robust=robust, distance=None, robust_after={})
        for robust in (flags, again)
    )
    return record, one, other


@pytest.mark.parametrize(
    ("against", "for_it", "objections"),
    [
        (0, 0, []),
        (10, 10, []),
        (11, 10, ["21 of 2000 samples"]),
        (7, 0, []),  # p = 0.016
        (8, 0, ["go one way, 8 for the record and 0 against it (p = 0.0078, below 0.01)"]),
        (0, 8, ["go one way"]),
    ],
)
def test_the_rule(against, for_it, objections):
    """At most one sample in a hundred, and not all on one side."""
    assert (DISAGREEMENT_LIMIT, VERIFICATION_ALPHA) == (0.01, 0.01)
    finding = compare(*paired(against, for_it))
    assert len(finding.objections) == len(objections)
    assert all(part in objection for part, objection in zip(objections, finding.objections, strict=True))
    assert finding.agreement == 1 - (against + for_it) / 2000


def test_another_checkpoint_is_refused(path, tmp_path):
    state = load_file(network_path())
    state["linear.bias"][0] += 1
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(EvaluationError, match="is not the checkpoint of the record"):
        verify(path, tmp_path / "other.safetensors")
    with pytest.raises(ApsiteError, match="no such file"):
        verify(path, tmp_path / "absent.pt")


def test_other_data_is_refused(path, tmp_path):
    changed(path, lambda document: document["data"].update(sha256="0" * 64))
    with pytest.raises(EvaluationError, match="the images are not those of the record"):
        verify(path)
    with pytest.raises(DatasetError, match="has no CIFAR-10 test set"):
        verify(path, data_dir=tmp_path)


def test_a_record_that_contradicts_its_samples_is_refused(path):
    changed(path, lambda document: document["results"].update(clean_accuracy=0.99))
    with pytest.raises(ApsiteError, match=r"clean_accuracy: 0\.99 contradicts the per-sample file"):
        verify(path)


def test_published_figures_cannot_be_verified(repository):
    published = sorted((repository / "evaluations").glob("HARP_*/*.json"))[0]
    with pytest.raises(EvaluationError, match="is a result published by Piras2024Adversarial"):
        verify_record(published, network_path())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["settings"].pop("seed"), "settings.seed of the record is None; it must be of type int"),
        (lambda d: d["settings"].update(preset="x"), "preset 'x' is not one of apb-1"),
        (lambda d: d["settings"].update(engine="other"), "engine 'other' is not one of"),
        (lambda d: d["settings"].update(batch_size=0), "batch_size must be at least 1"),
        (
            lambda d: d["results"]["attacks"][-1]["parameters"].pop("momentum"),
            "parameters of the record lacks momentum",
        ),
    ],
)
def test_hostile_settings_are_refused(path, change, message):
    changed(path, change)
    with pytest.raises(EvaluationError, match=message):
        verify(path)


def test_what_a_record_names_is_never_executed(path, tmp_path):
    """A factory in a record is code of its author: it is run only if the maintainer names it."""
    sentinel = tmp_path / "ran"
    source = tmp_path / "mine.py"
    source.write_text(
        f"open({str(sentinel)!r}, 'w').close()\n"
        "from apsite.evaluation.checkpoints.networks.registry import layouts\n"
        "from apsite.vocabulary import Dataset\n"
        "def make():\n"
        "    return layouts()['resnet8'].build(Dataset.CIFAR10, None)\n"
    )
    changed(path, lambda document: document["checkpoint"].update(layout=f"{source}:make"))
    with pytest.raises(EvaluationError, match="built by the author's own code"):
        verify(path)
    assert not sentinel.exists()
    assert verify(path, samples=2, factory=f"{source}:make").agrees
    assert sentinel.exists()


def test_a_record_made_in_memory_is_verified_with_the_saved_network(tmp_path, demo_network):
    """Its hash is that of the safetensors file."""
    import apsite

    settings = dataclasses.replace(SHORT, attacks=("hofmn",), n_examples=4)
    evaluation = apsite.evaluate_samples(
        demo_network, method="LAMP_Lee2021Layer", dataset="cifar10", architecture="resnet8", structure="unstructured",
        sparsity=0.9, data_dir="embedded", settings=settings, output=tmp_path / "evaluations",
    )  # fmt: skip
    save_file(demo_network.state_dict(), tmp_path / "saved.safetensors")
    finding = verify(evaluation.path, tmp_path / "saved.safetensors")
    assert finding.agrees
    assert [one.result for one in finding.comparisons] == ["clean", "HO-FMN"]


def test_settings_survive_a_record():
    from apsite.vocabulary import Dataset

    for settings in (*(Settings.of(preset, epsilon="8/255") for preset in Preset), SHORT):
        assert Settings.from_scalars(settings.as_scalars(Dataset.CIFAR10)) == settings
