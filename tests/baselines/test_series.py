"""A series of baselines: from one file to records, resumable, and the same when it is made again."""

import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from apsite.baselines import series as series_module
from apsite.baselines.criteria.terms import BaselineCriterion
from apsite.baselines.finetuning import Source, prune
from apsite.baselines.series import REPORT, Places, run_series
from apsite.baselines.series_file import read_series
from apsite.baselines.training import recipe_of
from apsite.documents.json_files import read_json
from apsite.errors import EvaluationError
from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.evaluation.checkpoints.packed import read_about, write_checkpoint
from apsite.evaluation.checkpoints.reading import read_checkpoint
from apsite.evaluation.runs.manifest import Status
from apsite.keys import ModelKey
from apsite.progress import Reporter
from apsite.protocol import Settings
from apsite.vocabulary import Dataset, Locality, Objective
from tests.builders import record_document, write_document
from tests.evaluation_fixtures import Listening

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
    path = tmp_path / "tiny.toml"
    path.write_text(FILE, encoding="utf-8")
    return read_series(path)


def test_a_series_ends_with_records_checkpoints_and_costs(series, places, tmp_path):
    outcomes = list(run_series(series, places, Reporter()))
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
    report = read_json(tmp_path / "tiny" / REPORT)
    assert report["planned"] == {DENSE: 2, LAMP: 2, L1: 2}
    models = report["models"]
    assert list(models) == [DENSE, LAMP, L1]
    assert models[LAMP]["before"]["n_samples"] == models[LAMP]["half"]["n_samples"] == 2
    assert 0 <= models[LAMP]["finetuning"]["seconds"] < 600  # two steps can take less than the 0.1 s that are kept
    assert models[LAMP]["finetuning"]["recipe"] == asdict(series.finetuning)
    log = Listening()
    again = list(run_series(series, places, log))
    assert [one.status for one in again] == [Status.SKIPPED] * 3
    assert not any("AT-Fast" in line or "AutoAttack" in line for line in log.lines)


def test_a_criterion_is_learned_once(series, places, dense, tmp_path, monkeypatch):
    """What an interruption leaves is resumed, and a finished model needs neither images nor the pruned network."""
    text = FILE.replace('"lamp"', '"lis"') + "[search]\nepochs = 1\nbatch_size = 16\n"
    series.path.write_text(text, encoding="utf-8")
    mine = replace(read_series(series.path), given=dense, folder=tmp_path / "mine")
    search = mine.prunings[0].search
    assert (search.objective, search.epochs, search.batch_size, search.peak_learning_rate) == ("AT-Fast", 1, 16, 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(series_module, "finetune", stop)
        with pytest.raises(KeyboardInterrupt):
            list(run_series(mine, places, Reporter(), only=[LAMP]))
    log = Listening()
    (outcome,) = run_series(mine, places, log, only=[LAMP])
    assert outcome.status is Status.DONE
    assert not any("lis, global" in line for line in log.lines)
    assert "by lis, global, learned with AT-Fast, 1 step, 1 epoch of all training images; " in outcome.record.notes[1]
    model = read_json(tmp_path / "mine" / REPORT)["models"][LAMP]
    assert model["search"]["recipe"]["epochs"] == 1
    assert set(model) == {"search", "finetuning", "half", "criterion", "locality", "before"}
    shutil.rmtree(places.work)
    shutil.rmtree(places.training_data)
    (again,) = run_series(mine, places, Reporter(), only=[LAMP])
    assert again.status is Status.SKIPPED


def stop(*arguments, **options):
    raise KeyboardInterrupt


def test_a_series_that_is_made_again_gives_the_same_networks(series, places, tmp_path):
    """Byte for byte, on one machine with one number of threads."""
    contents = []
    for _ in range(2):
        list(run_series(series, places, Reporter(), only=[L1], fresh=True))
        contents.append((tmp_path / f"tiny/{L1}.safetensors").read_bytes())
    assert contents[0] == contents[1]
    assert not (tmp_path / f"tiny/{LAMP}.safetensors").exists()


def test_checkpoints_of_other_settings_are_not_taken_for_these(series, places, tmp_path):
    """Another recipe in the file is an error for each model, not a quiet mixture."""
    list(run_series(series, places, Reporter(), only=[L1]))
    series.path.write_text(FILE.replace("[evaluation]", "seed = 7\n[evaluation]"), encoding="utf-8")
    (outcome,) = run_series(read_series(series.path), places, Reporter(), only=[L1])
    assert outcome.status is Status.FAILED
    assert "was made with other settings" in outcome.reason


@pytest.fixture
def dense(tmp_path):
    """Checkpoint of an untrained ResNet8, which is no part of the series."""
    torch.manual_seed(0)
    path = tmp_path / "mine.safetensors"
    write_checkpoint(path, layouts()["resnet8"].build(Dataset.CIFAR10).state_dict(), about={})
    return path


def test_a_dense_network_that_is_given_is_pruned_and_never_trained(series, places, dense, tmp_path):
    """Also when all is made anew; the record says from which network its model comes, and claims no address."""
    mine, log, content = replace(series, given=dense, folder=tmp_path / "mine"), Listening(), dense.read_bytes()
    (outcome,) = run_series(mine, places, log, only=[LAMP], fresh=True)
    assert outcome.status is Status.DONE
    sha256 = read_checkpoint(dense).sha256
    assert outcome.record.notes[1].startswith(f"Pruned from the dense network with SHA-256 {sha256} by lamp, global")
    assert outcome.record.checkpoint.url is None
    assert read_about(tmp_path / f"mine/{LAMP}.safetensors")["series"]["pruning"]["dense_sha256"] == sha256
    assert sum("AT-Fast" in line for line in log.lines) == 1
    assert dense.read_bytes() == content
    assert not (tmp_path / "tiny").exists()


def test_a_pruned_network_is_no_dense_one(series, places, dense, tmp_path):
    pruned = tmp_path / "pruned.safetensors"
    prune(Source("resnet8", checkpoint=dense), BaselineCriterion.LWM, Locality.GLOBAL, 0.5, pruned)
    with pytest.raises(EvaluationError, match=r"pruned\.safetensors: is pruned already; give the dense network"):
        list(run_series(replace(series, given=pruned), places, Reporter()))


@pytest.mark.parametrize("step", ["finetune", "write_checkpoint", "_half", "_before", "run_manifest"])
def test_a_series_goes_on_wherever_it_was_interrupted(series, places, dense, tmp_path, monkeypatch, step):
    """Fine-tuning is not done twice, and the report lacks nothing in the end."""
    mine = replace(series, given=dense)

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(series_module, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            list(run_series(mine, places, Reporter(), only=[LAMP]))
    log = Listening()
    (outcome,) = run_series(mine, places, log, only=[LAMP])
    assert outcome.status is Status.DONE
    assert any("AT-Fast" in line for line in log.lines) == (step == "finetune")
    model = read_json(tmp_path / "tiny" / REPORT)["models"][LAMP]
    assert {"finetuning", "half", "before", "criterion", "locality"} == set(model)


def test_a_model_that_is_made_anew_is_measured_anew(series, places, dense, monkeypatch):
    """What the report says of another dense network is forgotten."""
    mine = replace(series, given=dense)
    monkeypatch.setattr(series_module, "_before", lambda *_: {"autoattack": 0.25})
    list(run_series(mine, places, Reporter(), only=[LAMP]))
    monkeypatch.setattr(series_module, "_before", lambda *_: {"autoattack": 0.5})
    list(run_series(mine, places, Reporter(), only=[LAMP]))

    def before():
        return read_json(mine.folder / REPORT)["models"][LAMP]["before"]["autoattack"]

    assert before() == 0.25
    state = read_checkpoint(dense).state
    write_checkpoint(dense, {**state, "conv1.weight": state["conv1.weight"] * 2}, about={})
    (outcome,) = run_series(mine, places, Reporter(), only=[LAMP])
    assert "or from another dense network; remove it or give --fresh" in outcome.reason
    mine.checkpoint(mine.prunings[0].key).unlink()
    (places.records / f"LAMP_Lee2021Layer/{LAMP}.json").unlink()
    list(run_series(mine, places, Reporter(), only=[LAMP]))
    assert before() == 0.5


@pytest.mark.parametrize("fresh", [False, True])
def test_a_published_figure_is_never_replaced(series, places, fresh):
    """It is found out before anything is trained, and the file stays as it is."""
    path = write_document(places.records / f"LAMP_Lee2021Layer/{LAMP}.json", record_document(LAMP))
    content, log = path.read_bytes(), Listening()
    with pytest.raises(EvaluationError, match=r"is a result published by Piras2024Adversarial; .* `apsite supersede`"):
        list(run_series(series, places, log, fresh=fresh))
    assert path.read_bytes() == content
    assert log.lines == []
    assert not series.folder.exists()


def test_a_record_of_another_checkpoint_is_not_replaced_unasked(series, places, dense, tmp_path):
    """As when somebody's own dense network is pruned with the folder of records of the repository."""
    list(run_series(series, places, Reporter(), only=[LAMP]))
    mine, log = replace(series, given=dense, folder=tmp_path / "mine"), Listening()
    with pytest.raises(EvaluationError, match=r"of another checkpoint than .*mine.*; choose another --output"):
        list(run_series(mine, places, log, only=[LAMP]))
    assert log.lines == []
    (outcome,) = run_series(mine, places, log, only=[LAMP], fresh=True)
    assert outcome.status is Status.DONE


def test_what_cannot_be_pruned_is_known_before_the_dense_network_is_trained(series, places, tmp_path):
    series.path.write_text(FILE.replace("[0.75]", "[0.99]"), encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"L1_Li2017Pruning_R8_CIFAR10_S_99: conv1 has 32 filters"):
        list(run_series(read_series(series.path), places, Reporter()))
    assert not (tmp_path / "tiny").exists()


def test_a_damaged_report_is_an_error(series, places, dense):
    """Not a traceback, and it is not written over."""
    mine = replace(series, given=dense)
    mine.folder.mkdir()
    (mine.folder / REPORT).write_text('{"models": []}', encoding="utf-8")
    (outcome,) = run_series(mine, places, Reporter(), only=[LAMP])
    assert "has no models; remove or correct the file" in outcome.reason


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_file_says_in_which_precision_to_train(series, places, dense, precision):
    """So that the numbers do not depend on what the processor can do."""
    series.path.write_text(FILE.replace("threads = 1", f'threads = 1\nprecision = "{precision}"'), encoding="utf-8")
    mine = replace(read_series(series.path), given=dense)
    list(run_series(mine, places, Reporter(), only=[LAMP]))
    assert read_about(mine.checkpoint(mine.prunings[0].key))["precision"] == precision


def test_an_unknown_model_is_an_error(series, places):
    """With those of the series."""
    with pytest.raises(EvaluationError, match=f"it has {DENSE}, {LAMP}, {L1}"):
        list(run_series(series, places, Reporter(), only=["LAMP_Lee2021Layer_R8_CIFAR10_US_90"]))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('arch = "resnet8"', 'arch = "resnet9"', "'resnet9' is not a valid Architecture"),
        ('arch = "resnet8"', "", "the top lacks arch"),
        ("trials = 1", 'whole = ["LAMP"]', f"whole has 'LAMP', which is not a model of this series: {DENSE}, {LAMP}"),
        ("epochs = 1", "epoch = 1", "training has unknown 'epoch'; known are objective, epochs"),
        ("epochs = 1", 'epochs = "one"', "training: epochs must be of type int, not 'one'"),
        ("epochs = 1", "epochs = true", "training: epochs must be of type int, not True"),
        ("epochs = 1", "epochs = 0", "epochs must be at least 1, not 0"),
        ('"lamp"', '"lump"', "'lump' is not a valid BaselineCriterion"),
        ("[0.99]", "[0.99501]", "at most two decimals"),
        ("[0.99]", '["much"]', r"criterion 1: sparsities must be fractions such as \[0.90"),
        ("[0.99]", "[inf]", "criterion 1: sparsities must be fractions"),
        ("n_examples = 2", "n_examples = 0", "n_examples must be at least 1, not 0"),
        ("[0.99]", "[0.99, 0.99]", "the same method, structure and sparsity"),
        ("trials = 1", "trials = 0", "trials must be a whole number from 1 on, not 0"),
        ('"global"', '"local"', "choose --criterion lwm --locality local"),
        ("threads = 1", "threads = 0", "threads must be at least 1, not 0"),
        ("threads = 1", 'precision = "half"', "precision 'half' is not one of auto, float32, bfloat16"),
        ("https://", "http://", "checkpoint_url must start with https://"),
        ('["A test."]', "[1]", "notes must be texts"),
        ("batch_size = 16", "epsilon = 8", "training: epsilon must be of type str, not 8"),
        ("batch_size = 16", 'step_size = "0.01"', "step_size must be a fraction such as '8/255', not '0.01'"),
        ("batch_size = 16", "steps = 0", "AT-Fast takes a single step, not 0"),
        ("batch_size = 16", "n_train = 0", "train_samples must be at least 1, not 0"),
        ("batch_size = 16", "momentum = 0", "momentum must lie between 0 and 1, not at 0"),
        ("batch_size = 16", "weight_decay = -1", "weight_decay must not be negative, and is -1"),
        ("batch_size = 16", "learning_rate = inf", "peak_learning_rate must be positive, not inf"),
        ("batch_size = 16", "seed = -1", "seed must be in 0..2"),
        (
            'objective = "AT-Fast"',
            'objective = "MART"',
            "wrong.toml: objective MART is not one of AT-PGD, TRADES, AT-Fast",
        ),
        ("dataset", "dataset = [", "is not TOML"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, old, new, reason):
    path = tmp_path / "wrong.toml"
    path.write_text(FILE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(EvaluationError, match=reason):
        read_series(path)


def test_the_usual_steps_of_each_objective():
    many, one = recipe_of({}), recipe_of({"objective": "AT-Fast", "seed": 3})
    assert recipe_of({"epsilon": "4/255"}).epsilon == 4 / 255
    assert recipe_of({"trades_beta": 3, "n_train": 20, "epochs": None}).trades_beta == 3
    assert (many.objective, many.steps, many.step_size) == (Objective.AT_PGD, 10, 2 / 255)
    assert (one.objective, one.steps, one.step_size, one.seed) == (Objective.AT_FAST, 1, 10 / 255, 3)


@pytest.mark.parametrize("name", ["resnet8", "resnet18", "vgg16"])
def test_the_series_of_the_repository_are_complete(repository, benchmark_data, name):
    """Four baselines at the three sparsities of the benchmark; on large networks the whole protocol."""
    series = read_series(repository / f"baselines/{name}.toml", lambda key: benchmark_data.resolve(key).key)
    assert len({str(one.key) for one in series.prunings}) == 12
    assert series.author == "the apsite maintainers"
    for one in series.prunings:
        assert one.key.sparsity in one.criterion.structure.sparsities
        assert one.locality in benchmark_data.entries[one.key.method].specifics.locality
        assert one.criterion.structure in benchmark_data.entries[one.key.method].specifics.structure
        assert benchmark_data.entries[one.key.method].baseline
    if name != "resnet8":
        assert series.settings.protocol(series.source.dataset, 10_000).ranks


def test_the_comparison_of_the_criteria_changes_nothing_else(repository, benchmark_data):
    """Every criterion at the three sparsities of its structure, one dense network, one fine-tuning, another seed."""
    first, second = (
        read_series(repository / f"baselines/{name}.toml", lambda key: benchmark_data.resolve(key).key)
        for name in ("criteria", "criteria-seed2")
    )
    ways: dict[tuple[BaselineCriterion, Locality], set[float]] = {}
    for one in first.prunings:
        ways.setdefault((one.criterion, one.locality), set()).add(one.key.sparsity)
        entry = benchmark_data.entries[one.key.method]
        assert entry.baseline
        assert one.locality in entry.specifics.locality
        assert one.criterion.term == entry.specifics.criterion
        assert all(first.finetuning.objective in step.objectives for step in entry.pipeline.steps)
    assert {criterion for criterion, _ in ways} == set(BaselineCriterion)
    assert all(found == set(criterion.structure.sparsities) for (criterion, _), found in ways.items())
    assert {one.key for one in second.prunings} == {one.key for one in first.prunings if one.key.sparsity == 0.95}
    assert replace(second.finetuning, seed=1) == first.finetuning
    assert (second.dense, second.training, second.settings) == (first.dense, first.training, first.settings)
    assert replace(first.settings, n_examples=None) == Settings()
    whole = [one for one in first.models if first.settings_of(ModelKey.parse(one)) == Settings()]
    pruned = "LWM-Global_Han2015Learning_R8_CIFAR10_US_95", "LAMP_Lee2021Layer_R8_CIFAR10_US_95"
    assert whole == [DENSE, *pruned, "L1_Li2017Pruning_R8_CIFAR10_S_90"]
