"""Verifying a record: what is run again, what agrees, and what a forged record meets."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from apsite.documents.json_files import read_json, write_json
from apsite.errors import ApsiteError, DatasetError, EvaluationError
from apsite.evaluation.runs.demonstration import network_path, request
from apsite.evaluation.runs.evaluate import run_request
from apsite.evaluation.runs.verification import draw, verify_record, write_verification
from apsite.progress import Reporter
from apsite.protocol import Preset, Settings
from apsite.records import Passes, read_record
from apsite.results import results_of
from apsite.samples import read_samples, write_samples
from apsite.validation import plausibility_problems, samples_problems
from apsite.validation.runs import PHASES
from apsite.vocabulary import AttackName, ProvenanceKind

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
        path, checkpoint or network_path(), **{"data_dir": "embedded", "run_dir": path.parents[2] / "runs", **options}
    )


def changed(path, change):
    document = read_json(path)
    change(document)
    write_json(path, document)


def test_an_honest_record_is_verified(path):
    """Every sample that it counts as robust is attacked again, for so few could verify nothing."""
    before, content = read_record(path), path.read_bytes()
    finding = verify(path, by="a maintainer")
    found = finding.verification
    assert finding.verified
    assert (found.samples, found.clean_differences, found.by) == (24, 0, "a maintainer")
    robust = {one.attack: round(24 * one.robust_accuracy) for one in before.results.attacks}
    assert robust[AttackName.HOFMN] > 0
    assert [(one.attack, one.claimed, one.drawn, one.broken) for one in found.attacks] == [
        (attack, count, count, 0) for attack, count in robust.items()
    ]
    assert all(one.detectable_inflation == (1 / 24 if one.claimed else 0) for one in found.attacks)
    assert path.read_bytes() == content
    write_verification(path, finding)
    after = read_record(path)
    assert (after.provenance.kind, after.verification) == (ProvenanceKind.VERIFIED, found)
    assert after.results == before.results
    assert plausibility_problems(path, after) == []
    assert samples_problems(path, after)[0] == []
    assert not list((path.parents[2] / "runs").glob("*/*.npz"))


def forge(path, how):
    """A record whose per-sample file was changed and whose figures were counted from it."""
    record, samples = read_record(path), read_samples(path.with_suffix(".npz"))
    samples = how(samples)
    digest = write_samples(path.with_suffix(".npz"), samples)
    results = results_of(samples, SHORT.epsilon_value(record.dataset))
    hofmn = dataclasses.replace(
        record.results.hofmn,
        search=dataclasses.replace(record.results.search, best_median=1.0),
        **{name: getattr(results.hofmn, name) for name in ("robust_accuracy", "median_distance", "not_found")},
    )
    results = dataclasses.replace(results, attacks=tuple(a for a in (results.autoattack, hofmn) if a))
    costs = {"passes": dict.fromkeys(PHASES, Passes(300_000, 0)), "seconds": dict.fromkeys(PHASES, 1.0)}
    files = dataclasses.replace(record.samples, sha256=digest)
    record = dataclasses.replace(record, results=results, samples=files, **costs)
    from apsite.records import record_to_json

    write_json(path, record_to_json(record))
    assert samples_problems(path, record)[0] == []


def more_robust(samples, spared=()):
    """Every correctly classified sample is claimed to be robust, but for the spared ones, which keep their results."""
    changed = samples.clean_correct.copy()
    changed[list(spared)] = False
    return dataclasses.replace(
        samples,
        aa_robust=samples.aa_robust | changed,
        distance=np.where(changed, 1, samples.distance).astype(np.float32),
        robust_after={attack: flags | changed for attack, flags in samples.robust_after.items()},
    )


def test_a_forged_record_is_found_out(path):
    forge(path, more_robust)
    finding = verify(path)
    claimed = int(read_samples(path.with_suffix(".npz")).clean_correct.sum())
    assert [objection.split(";")[0] for objection in finding.objections] == [
        f"verification.attacks[{one.attack}].broken: {one.broken} of {claimed} samples that the record counts as robust"
        " broke"
        for one in finding.verification.attacks
    ]
    with pytest.raises(ValueError, match="only a re-run without objections"):
        write_verification(path, finding)


def test_results_prepared_for_a_known_seed_are_found_out(path):
    """All samples that seed 0 does not draw are falsified: nobody who verifies draws by a seed that others know."""
    samples = 2
    prepared = draw(read_record(path), read_samples(path.with_suffix(".npz")), samples, 0)
    spared = np.flatnonzero(np.any(list(prepared.values()), axis=0))
    forge(path, lambda results: more_robust(results, spared))
    seeds = {verify(path, samples=samples).verification.seed for _ in range(3)}
    assert len(seeds) == 3
    for seed in (None, 0):  # whatever is drawn, two samples verify nothing, and all of them show the forgery
        finding = verify(path, samples=samples, seed=seed)
        assert not finding.verified
        assert any("samples detect no inflation below" in objection for objection in finding.objections)
    assert any("broke; at most 1 may" in objection for objection in verify(path).objections)


def test_other_clean_results_are_found_out(path):
    """One sample that is wrong without an attack is stated as correct, and broken by every attack."""

    def one_more(samples):
        wrong = np.flatnonzero(~samples.clean_correct)[0]
        clean, distance = samples.clean_correct.copy(), samples.distance.copy()
        clean[wrong], distance[wrong] = True, 0.001
        return dataclasses.replace(samples, clean_correct=clean, distance=distance)

    forge(path, one_more)
    (objection,) = verify(path, samples=1).objections[:1]
    assert objection.endswith("1 of 24 samples are classified correctly in only one of the two runs; at most 0 may be")


def test_a_wrong_sparsity_is_found_out(path):
    """The measured sparsity is measured again, however well the counts of the record fit each other."""

    def forge_audit(document):
        audit = document["audit"]
        layer = max(audit["layers"], key=lambda one: one["weights"] - one["zero_weights"])
        for counts in (audit, layer):
            counts["zero_weights"] += 4_000
        audit["nonzero_parameters"] -= 4_000
        document["sparsity"]["measured"] = audit["zero_weights"] / audit["weights"]

    honest = read_record(path).sparsity.measured
    changed(path, forge_audit)
    finding = verify(path)
    stated = finding.record.sparsity.measured
    assert finding.objections == (f"sparsity.measured: {stated} is not what the checkpoint has, {honest}",)


def test_the_draw_follows_from_the_seed(path):
    """It is among the samples that the record counts as robust, and all of them are equally likely."""
    record, samples = read_record(path), read_samples(path.with_suffix(".npz"))
    drawn = [draw(record, samples, 2, seed)[AttackName.HOFMN] for seed in range(300)]
    robust = samples.robust(AttackName.HOFMN, SHORT.epsilon_value(record.dataset))
    assert all(flags.sum() == 2 and not (flags & ~robust).any() for flags in drawn)
    share = np.mean(drawn, axis=0)[robust]
    assert share == pytest.approx(2 / robust.sum(), abs=0.1)
    assert np.array_equal(draw(record, samples, 2, 5)[AttackName.HOFMN], drawn[5])
    assert draw(record, samples, 1000, 5)[AttackName.HOFMN].sum() == robust.sum()


def test_an_interrupted_verification_resumes_with_its_seed(path):
    class StoppedError(Exception):
        pass

    class Stopping(Reporter):
        seeds = ()

        def say(self, message):
            self.seeds = (*self.seeds, *re.findall(r"seed (\d+) drew", message))

        def finish(self, summary):
            raise StoppedError

    reporter = Stopping()
    for _ in range(2):
        with pytest.raises(StoppedError):
            verify(path, reporter=reporter)
    first, second = map(int, reporter.seeds)
    assert first == second == verify(path).verification.seed
    assert verify(path).verification.seed != first


def test_another_checkpoint_is_refused(path, tmp_path):
    state = load_file(network_path())
    state["linear.bias"][0] += 1
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(EvaluationError, match="is not the checkpoint of the record"):
        verify(path, tmp_path / "other.safetensors")
    with pytest.raises(ApsiteError, match="no such file"):
        verify(path, tmp_path / "absent.pt")


def test_other_data_is_refused(path, tmp_path):
    changed(path, lambda document: document["data"].update(sha256=hashlib.sha256(b"others").hexdigest()))
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
        (lambda d: d["settings"].update(batch_size=0), "batch_size must be a whole number from 1 on"),
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
    assert verify(path, factory=f"{source}:make").verified
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
    assert finding.verified
    assert [one.attack for one in finding.verification.attacks] == [AttackName.HOFMN]


def test_settings_survive_a_record():
    from apsite.vocabulary import Dataset

    for settings in (*(Settings.of(preset, epsilon="8/255") for preset in Preset), SHORT):
        assert Settings.from_scalars(settings.as_scalars(Dataset.CIFAR10)) == settings
