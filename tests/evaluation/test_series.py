"""A series of baselines: from one file to records, resumable, and the same when it is made again."""

import json

import numpy as np
import pytest

from apsite.errors import EvaluationError
from apsite.evaluation.checkpoints import read_checkpoint
from apsite.evaluation.manifest import Status
from apsite.evaluation.progress import SilentReporter
from apsite.evaluation.series import REPORT, Places, read_series, recipe_of, run_series
from apsite.vocabulary import Objective

FILE = """
dataset = "cifar10"
arch = "resnet8"
dense = "LWM_Han2015Learning"
threads = 1
checkpoint_url = "https://example.org/series"
notes = ["A test."]
[training]
objective = "AT-Fast"
epochs = 1
batch_size = 16
[finetuning]
objective = "AT-Fast"
epochs = 1
batch_size = 16
[evaluation]
n_examples = 2
trials = 1
engine = "fast"
[[criterion]]
method = "LAMP_Lee2021Layer"
criterion = "lamp"
locality = "global"
sparsities = [0.99]
[[criterion]]
method = "L1_Li2017Pruning"
criterion = "filter-l1"
locality = "local"
sparsities = [0.75]
"""
LAMP, L1 = "LAMP_Lee2021Layer_R8_CIFAR10_US_99", "L1_Li2017Pruning_R8_CIFAR10_S_75"
DENSE = "LWM_Han2015Learning_R8_CIFAR10_dense"


@pytest.fixture
def places(tmp_path):
    """A training set of 32 random images, the embedded test images, and folders to write to."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = np.random.default_rng(0).integers(0, 256, (40, 3073), dtype=np.uint8)
    rows[:, 0] %= 10
    for number in range(5):
        rows[8 * number : 8 * number + 8].tofile(folder / f"data_batch_{number + 1}.bin")
    return Places(folder, "embedded", tmp_path / "evaluations", tmp_path / "work", "cpu")


@pytest.fixture
def series(tmp_path):
    """The series of the file above."""
    path = tmp_path / "tiny.toml"
    path.write_text(FILE, encoding="utf-8")
    return read_series(path)


class Log(SilentReporter):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)


def test_a_series_ends_with_records_checkpoints_and_costs(series, places, tmp_path):
    """And a second run finds everything done."""
    outcomes = list(run_series(series, places, SilentReporter()))
    assert [(str(one.key), one.status) for one in outcomes] == [(key, Status.DONE) for key in (DENSE, LAMP, L1)]
    dense, lamp, filters = (one.record for one in outcomes)
    assert dense.structure is None
    assert lamp.sparsity.measured == pytest.approx(0.99, abs=1 / 411_040)
    assert filters.audit.zero_filters == 576
    assert filters.audit.sparsity_basis == "filters"
    assert lamp.checkpoint.url == f"https://example.org/series/{LAMP}.safetensors"
    assert lamp.checkpoint.sha256 == read_checkpoint(tmp_path / f"tiny/{LAMP}.safetensors").sha256
    assert lamp.notes[:2] == (
        "A test.",
        f"Pruned from {DENSE} by lamp, global; fine-tuned with AT-Fast, 1 step, 1 epoch of all training images.",
    )
    models = json.loads((tmp_path / "tiny" / REPORT).read_text(encoding="utf-8"))["models"]
    assert list(models) == [DENSE, LAMP, L1]
    assert models[LAMP]["before"]["n_samples"] == models[LAMP]["half"]["n_samples"] == 2
    assert models[LAMP]["finetuning"]["seconds"] > 0
    log = Log()
    again = list(run_series(series, places, log))
    assert [one.status for one in again] == [Status.SKIPPED] * 3
    assert not any("AT-Fast" in line or "AutoAttack" in line for line in log.lines)


def test_a_series_that_is_made_again_gives_the_same_networks(series, places, tmp_path):
    """Byte for byte, on one machine with one number of threads."""
    contents = []
    for _ in range(2):
        list(run_series(series, places, SilentReporter(), only=[L1], fresh=True))
        contents.append((tmp_path / f"tiny/{L1}.safetensors").read_bytes())
    assert contents[0] == contents[1]
    assert not (tmp_path / f"tiny/{LAMP}.safetensors").exists()


def test_checkpoints_of_other_settings_are_not_taken_for_these(series, places, tmp_path):
    """Another recipe in the file is an error for each model, not a quiet mixture."""
    list(run_series(series, places, SilentReporter(), only=[L1]))
    series.path.write_text(FILE.replace("[evaluation]", "seed = 7\n[evaluation]"), encoding="utf-8")
    (outcome,) = run_series(read_series(series.path), places, SilentReporter(), only=[L1])
    assert outcome.status is Status.FAILED
    assert "was made with other settings" in outcome.reason


def test_an_unknown_model_is_an_error(series, places):
    """With those of the series."""
    with pytest.raises(EvaluationError, match=f"it has {DENSE}, {LAMP}, {L1}"):
        list(run_series(series, places, SilentReporter(), only=["LAMP_Lee2021Layer_R8_CIFAR10_US_90"]))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('arch = "resnet8"', 'arch = "resnet9"', "'resnet9' is not a valid Architecture"),
        ('arch = "resnet8"', "", "the top lacks arch"),
        ("epochs = 1", "epoch = 1", "training has unknown 'epoch'; known are objective, epochs"),
        ("epochs = 1", 'epochs = "one"', "training: epochs must be of type int, not 'one'"),
        ("epochs = 1", "epochs = true", "training: epochs must be of type int, not True"),
        ("epochs = 1", "epochs = 0", "epochs must be at least 1, not 0"),
        ('"lamp"', '"lump"', "'lump' is not a valid NaiveCriterion"),
        ("[0.99]", "[0.995]", "whole percentage"),
        ("[0.99]", '["much"]', r"criterion 1: sparsities must be fractions such as \[0.90"),
        ("[0.99]", "[0.99, 0.99]", "the same method, structure and sparsity"),
        ("trials = 1", "trials = 0", "trials must be at least 1"),
        ("dataset", "dataset = [", "is not TOML"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, old, new, reason):
    """Name, place, and what is allowed."""
    path = tmp_path / "wrong.toml"
    path.write_text(FILE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(EvaluationError, match=reason):
        read_series(path)


def test_the_usual_steps_of_each_objective():
    """Ten steps of two grey levels, or one of ten."""
    many, one = recipe_of({}), recipe_of({"objective": "AT-Fast", "seed": 3})
    assert (many.objective, many.steps, many.step_size) == (Objective.AT_PGD, 10, 2 / 255)
    assert (one.objective, one.steps, one.step_size, one.seed) == (Objective.AT_FAST, 1, 10 / 255, 3)


@pytest.mark.parametrize("name", ["resnet8", "resnet18", "vgg16"])
def test_the_series_of_the_repository_are_complete(repository, benchmark_data, name):
    """Four baselines at the three sparsities of the benchmark; on large networks the whole protocol."""
    series = read_series(repository / f"baselines/{name}.toml", lambda key: benchmark_data.resolve(key).key)
    assert len({str(one.key) for one in series.prunings}) == 12
    for one in series.prunings:
        assert one.key.sparsity in one.criterion.structure.sparsities
        assert one.locality in benchmark_data.entries[one.key.method].specifics.locality
        assert one.criterion.structure in benchmark_data.entries[one.key.method].specifics.structure
        assert benchmark_data.entries[one.key.method].baseline
    if name != "resnet8":
        assert series.settings.protocol(series.source.dataset, 10_000).ranks
