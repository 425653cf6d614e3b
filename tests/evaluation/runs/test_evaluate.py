"""From checkpoint to record: what is refused before it starts, and what a record carries."""

import dataclasses
import subprocess

import pytest
import torch
from safetensors.torch import load_file, save_file

from apsite.errors import CheckpointError, DatasetError, EvaluationError
from apsite.evaluation.attacks.fast import apgd, fab, square
from apsite.evaluation.runs.demonstration import network_path, request
from apsite.evaluation.runs.environment import describe
from apsite.evaluation.runs.evaluate import run_request
from apsite.evaluation.runs.verification import verify_record
from apsite.protocol import Preset, Settings
from apsite.records import read_record
from apsite.samples import read_samples
from apsite.validation import recounted
from apsite.vocabulary import Architecture, Attack, Dataset, Protocol, ProvenanceKind

TINY = Settings.of(Preset.QUICK, n_examples=4, trials=2, search_steps=3, attack_steps=5, attacks=("hofmn",))


def short_request(folder, **changes):
    """The demonstration with only a short HO-FMN on four images."""
    return dataclasses.replace(request(folder, 4), settings=TINY, overwrite=False, **changes)


def test_a_record_carries_everything_and_agrees_with_its_samples(tmp_path):
    evaluation = run_request(short_request(tmp_path))
    record, path = evaluation.record, evaluation.path
    assert read_record(path) == record
    samples = read_samples(path.with_suffix(".npz"))
    assert all(stated == pytest.approx(counted) for _, stated, counted in recounted(record, samples))
    assert record.protocol is Protocol.CUSTOM
    assert record.provenance.kind is ProvenanceKind.SUBMITTED
    assert record.sparsity.measured == pytest.approx(0.9, abs=1e-4)
    assert record.data is not None
    assert record.data.known
    assert record.data.split == "first 4 test samples"
    assert record.audit is not None
    assert record.audit.macs > record.audit.effective_macs > 0
    assert record.settings is not None
    assert record.settings["seed"] == 0
    assert record.environment["torch"] == torch.__version__.split("+")[0] or record.environment["torch"]
    assert record.checkpoint.sha256 is not None
    assert set(record.passes or {}) == {"clean", "hofmn-search", "hofmn"}
    assert list((tmp_path / "runs").glob("*/*.npz")) == []


@pytest.mark.parametrize("drop", [True, False])
def test_a_record_says_how_many_targets_fab_gave_up(tmp_path, monkeypatch, drop):
    """Only where it may give up any; those of the samples that are left robust."""
    for module, name, steps in ((apgd, "STEPS", 3), (fab, "STEPS", 40), (square, "QUERIES", 10)):
        monkeypatch.setattr(module, name, steps)
    settings = Settings(n_examples=4, attacks=("autoattack",), epsilon="1/510", fab_drop_rows=drop)
    results = run_request(dataclasses.replace(request(tmp_path, 4), settings=settings)).record.results
    dropped = {attack: count.dropped_rows for attack, count in results.stages.items()}
    given_up = dropped.pop(Attack.FAB_T)
    assert set(dropped.values()) == {None}
    assert given_up is None if not drop else 0 < given_up <= 9 * results.stages[Attack.FAB_T].robust_after


def test_a_record_says_which_of_several_state_dicts_was_evaluated(tmp_path):
    """Verification reads the same one, with no option."""
    file = load_file(network_path())
    raw = {name: value / 2 if value.is_floating_point() else value for name, value in file.items()}
    torch.save({"net": raw, "ema": file}, tmp_path / "a.pt")
    evaluation = run_request(short_request(tmp_path, checkpoint=tmp_path / "a.pt", state="ema"))
    assert read_record(evaluation.path).checkpoint.state == "ema"
    assert "The state dict under ema was taken; net left aside." in evaluation.record.notes
    found = verify_record(evaluation.path, tmp_path / "a.pt", data_dir="embedded", run_dir=tmp_path / "verified")
    assert found.verified


def test_an_existing_record_is_not_replaced_unasked(tmp_path):
    evaluation = run_request(short_request(tmp_path))
    first, path = evaluation.record, evaluation.path
    before = path.read_bytes()
    with pytest.raises(EvaluationError, match="exists already; replace it with --overwrite"):
        run_request(short_request(tmp_path))
    assert path.read_bytes() == before
    again = run_request(dataclasses.replace(short_request(tmp_path), overwrite=True)).record
    assert again.results == first.results
    assert again.samples == first.samples


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state["layer3.0.conv2.weight"].add_(0.01),
            r"declared sparsity is 90\.00% but .* of the weights are removed",
        ),
        (lambda state: state["linear.weight"][0, 0].fill_(float("nan")), r"(?i)nan"),
        (lambda state: state.update({"linear.weight": torch.ones(10, 5)}), r"linear\.weight"),
        (lambda state: state.pop("bn1.bias"), r"bn1\.bias"),
    ],
)
def test_checkpoints_that_are_not_what_they_should_be_are_refused(tmp_path, change, message):
    state = load_file(network_path())
    change(state)
    save_file(state, tmp_path / "changed.safetensors")
    with pytest.raises(CheckpointError, match=message):
        run_request(short_request(tmp_path / "out", checkpoint=tmp_path / "changed.safetensors"))
    assert not list((tmp_path / "out").rglob("*.json"))


@pytest.mark.parametrize(
    ("declared", "right"), [({"percent": 95}, r"about 0\.90"), ({"architecture": Architecture.RESNET18}, "resnet8")]
)
def test_a_wrong_declaration_is_refused_with_the_right_one(tmp_path, declared, right):
    key = dataclasses.replace(request(tmp_path, 1).key, **declared)
    with pytest.raises(CheckpointError, match=right):
        run_request(short_request(tmp_path, key=key))


def test_missing_things_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent\.pt"):
        run_request(short_request(tmp_path, checkpoint=tmp_path / "absent.pt"))
    with pytest.raises(DatasetError, match="has no CIFAR-10 test set"):
        run_request(short_request(tmp_path, data_dir=tmp_path))
    many = dataclasses.replace(short_request(tmp_path), settings=dataclasses.replace(TINY, n_examples=300))
    with pytest.raises(DatasetError, match="choose 1 to 256"):
        run_request(many)


def test_an_unwritable_output_is_found_out_before_the_attack(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="cannot write to"):
        run_request(short_request(tmp_path, output=tmp_path / "file"))


def test_a_network_of_the_author_is_evaluated_through_its_factory(tmp_path):
    source = tmp_path / "mine.py"
    source.write_text(
        "from apsite.evaluation.checkpoints.networks.registry import layouts\n"
        "from apsite.vocabulary import Dataset\n"
        "def make():\n"
        "    return layouts()['resnet8'].build(Dataset.CIFAR10, None)\n"
    )
    evaluation = run_request(short_request(tmp_path, factory=f"{source}:make"))
    assert evaluation.record.results == run_request(short_request(tmp_path / "other")).record.results


def test_the_demonstration_reduces_nothing_but_the_number_of_images(tmp_path):
    """Its settings are those of the protocol, on real images of the package, into a folder of its own."""
    asked = request(tmp_path, 64)
    assert asked.settings == Settings(n_examples=64, sample="first")
    assert asked.settings.protocol(Dataset.CIFAR10, 64) is Protocol.CUSTOM
    assert str(asked.data_dir) == "embedded"
    assert asked.output == tmp_path / "evaluations"


def test_a_record_names_the_commit_of_the_checkout(repository):
    """In a checkout; an unpacked archive of the repository has none."""
    command = ["git", "rev-parse", "HEAD"]
    answer = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert describe(torch.device("cpu"))["commit"] == (answer.stdout.strip() or None)


def test_protocols_follow_from_the_settings():
    """Only the unreduced default on the whole test set is apb-1; seed and batch size are free."""
    whole = Dataset.CIFAR10.test_samples
    assert Settings().protocol(Dataset.CIFAR10, whole) is Protocol.APB_1
    assert Settings(seed=7, batch_size=5).protocol(Dataset.CIFAR10, whole) is Protocol.APB_1
    assert Settings(epsilon="8/255").protocol(Dataset.CIFAR10, whole) is Protocol.APB_1
    assert Settings(epsilon="8/255").protocol(Dataset.IMAGENET, 50_000) is Protocol.CUSTOM
    assert Settings().protocol(Dataset.CIFAR10, 64) is Protocol.CUSTOM
    for changed in ({"trials": 31}, {"attack_steps": 100}, {"attacks": ("autoattack",)}, {"epsilon": "4/255"}):
        assert Settings(**changed).protocol(Dataset.CIFAR10, whole) is Protocol.CUSTOM
    assert Settings.of(Preset.QUICK).protocol(Dataset.CIFAR10, whole) is Protocol.CUSTOM


@pytest.mark.parametrize(
    "changes", [{"attacks": ("pgd",)}, {"attacks": ()}, {"trials": 0}, {"batch_size": -1}, {"seed": -1}]
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(EvaluationError):
        Settings(**changes)
