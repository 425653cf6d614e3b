"""`apsite prune` and `apsite finetune` as a user runs them, on a dense ResNet8 and a tiny training set."""

import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from apsite.baselines.criteria.terms import BaselineCriterion
from apsite.baselines.finetuning import Source, load
from apsite.baselines.pruning import prunable_weights
from apsite.baselines.training import OBJECTIVES, PRECISIONS
from apsite.cli.baselines import baselines, finetune, prune
from apsite.errors import EvaluationError
from apsite.evaluation.checkpoints.factories import build_network
from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.evaluation.checkpoints.reading import read_checkpoint
from apsite.evaluation.runs.manifest import ModelOutcome, Status
from apsite.vocabulary import Dataset

TOTAL, FILTERS = 411_040, 768


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """Checkpoint of an untrained ResNet8."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("dense") / "dense.safetensors"
    save_file(layouts()["resnet8"].build(Dataset.CIFAR10).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def training_set(tmp_path_factory):
    """Five batches of eight random images in the official binary layout."""
    folder = tmp_path_factory.mktemp("data") / "cifar-10-batches-bin"
    folder.mkdir()
    rows = np.random.default_rng(0).integers(0, 256, (40, 3073), dtype=np.uint8)
    rows[:, 0] %= 10
    for number in range(5):
        rows[8 * number : 8 * number + 8].tofile(folder / f"data_batch_{number + 1}.bin")
    return folder.parent


def pruned(run, dense, output, *options, code=0):
    return run("prune", dense, "--arch", "resnet8", "-o", output, *options, code=code)


@pytest.mark.parametrize(
    ("criterion", "locality", "sparsity", "zero"),
    [
        ("lwm", "global", "0.9", 369_936),
        ("lamp", "global", "0.99", 406_930),
        ("random", "global", "0.95", 390_488),
        ("lwm", "global", "0.995", 408_985),  # 411,040 (1 - 0.995) = 2,055.2 stay
        ("lwm", "global", "0.9375", 385_350),
        # 864, 3 x 9,216, 18,432, 2,048, 36,864, ... each rounded for itself
        ("lwm", "local", "0.9", None),
    ],
)
def test_an_audit_confirms_the_exact_number_of_zero_weights(run, dense, tmp_path, criterion, locality, sparsity, zero):
    path = tmp_path / "pruned.safetensors"
    result = pruned(run, dense, path, "--criterion", criterion, "--locality", locality, "--sparsity", sparsity)
    report = run(
        "audit", path, "--arch", "resnet8", "--structure", "unstructured", "--sparsity", sparsity, "--json"
    )  # fmt: skip
    counts = json.loads(report.stdout)["counts"]
    assert counts["weights"] == TOTAL
    if zero is None:
        for layer in counts["layers"]:
            assert layer["weights"] - layer["zero_weights"] == int(layer["weights"] * 0.1 + 1e-6)
        zero = counts["zero_weights"]
    assert counts["zero_weights"] == zero
    assert f"Zero weights: {zero:,} of {TOTAL:,}" in result.stdout


@pytest.mark.parametrize(
    ("sparsity", "locality", "zero"), [("0.5", "local", 384), ("0.75", "local", 576), ("0.9", "global", 692)]
)
def test_an_audit_confirms_the_exact_number_of_removed_filters(run, dense, tmp_path, sparsity, locality, zero):
    """Exactly ``floor(768 (1 - sparsity))`` filters stay; the audit accepts the declared sparsity by its filters."""
    path = tmp_path / "pruned.safetensors"
    options = ("--criterion", "filter-l1", "--locality", locality, "--sparsity", sparsity)
    assert f"Zero filters: {zero} of {FILTERS}" in pruned(run, dense, path, *options, "--packed", "--half").stdout
    report = json.loads(
        run("audit", path, "--arch", "resnet8", "--structure", "structured", "--sparsity", sparsity, "--json").stdout
    )
    assert (report["counts"]["zero_filters"], report["refused"]) == (zero, False)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--criterion", "lamp", "--locality", "local", "--sparsity", "0.9"), "lamp finds a sparsity for each layer"),
        (("--criterion", "lwm", "--locality", "local", "--sparsity", "0.9", "--layout", "x"), "layout 'x' is not one"),
        (("--criterion", "lwm", "--locality", "local", "--sparsity", "0.9999"), "leaves none"),
        (
            ("--criterion", "lwm", "--locality", "local", "--sparsity", "0.9", "--arch", "resnet9"),
            "'resnet9' is not one of resnet18, vgg16, resnet50, resnet8",
        ),
    ],
)
def test_what_cannot_be_pruned_is_one_error_line(run, dense, tmp_path, options, reason):
    result = pruned(run, dense, tmp_path / "out.safetensors", *options, code=1)
    assert result.stderr.startswith("Error: ")
    assert reason in result.stderr
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("command", [("prune", "--criterion", "lwm", "--locality", "local", "--sparsity", "0.9"),
                                     ("finetune",)])  # fmt: skip
def test_the_checkpoint_to_start_from_is_kept(run, dense, tmp_path, command):
    link = tmp_path / "link.safetensors"
    link.symlink_to(dense)
    content = dense.read_bytes()
    for output in (dense, link):
        result = run(command[0], dense, "--arch", "resnet8", "-o", output, *command[1:], code=1)
        assert "is the input checkpoint; choose another --output" in result.stderr
    assert dense.read_bytes() == content


def test_an_output_that_cannot_be_written_is_known_before_training(run, dense, tmp_path):
    (tmp_path / "file").touch()
    result = run(
        "finetune", dense, "--arch", "resnet8", "--data-dir", tmp_path, "-o", tmp_path / "file/x.safetensors", code=1
    )  # fmt: skip
    assert "file is not a writable folder" in result.stderr


def test_a_pruned_network_is_not_pruned_again(run, dense, tmp_path):
    """Its zeros would be counted twice."""
    options = ("--criterion", "lwm", "--locality", "global", "--sparsity", "0.5")
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    pruned(run, dense, first, *options)
    result = pruned(run, first, second, *options, code=1)
    assert "is pruned already; give the dense network. Of 411,040 weights" in result.stderr
    assert "205,520 are zero, in 10 tensors" in result.stderr


@pytest.fixture
def chance(dense, tmp_path):
    """The same network with three weights at zero, as they may be drawn or become in half precision."""
    state = {name: value.clone() for name, value in read_checkpoint(dense).state.items()}
    state["conv1.weight"].view(-1)[:3] = 0
    path = tmp_path / "chance.safetensors"
    save_file(state, path)
    return path


@pytest.mark.parametrize("criterion", ["lwm", "lamp", "random"])
def test_zeros_by_chance_make_no_difference(run, chance, tmp_path, criterion):
    """They go first, so that the sparsity is as exact as ever."""
    path = tmp_path / "pruned.safetensors"
    result = pruned(run, chance, path, "--criterion", criterion, "--locality", "global", "--sparsity", "0.01")
    assert "Zero weights: 4,111 of 411,040" in result.stdout


def test_fewer_zeros_than_there_are_cannot_be_asked_for(run, chance, tmp_path):
    result = pruned(
        run, chance, tmp_path / "x", "--criterion", "lwm", "--locality", "global", "--sparsity", "0.000002", code=2
    )
    assert "must be a percentage from 1 to 99.99 with at most two decimals" in result.stderr
    assert not (tmp_path / "x").exists()


def test_a_new_weight_that_is_zero_by_chance_is_trained_like_the_others(run, training_set, tmp_path):
    """A VGG16 drawn from seed 1 has one; it would stay zero for ever as a part of a mask."""
    new = load(Source("vgg16", layout="base_vgg16_bn"), 1).network
    assert sum(int((weight == 0).sum()) for weight in prunable_weights(new).values()) == 1
    result = run(
        "finetune", "--arch", "vgg16", "--layout", "base_vgg16_bn", "--data-dir", training_set, "--objective",
        "AT-Fast", "--epochs", 1, "--batch-size", 16, "--n-train", 16, "--seed", 1, "--run-dir", tmp_path / "runs",
        "-o", tmp_path / "dense.safetensors",
    )  # fmt: skip
    assert "0 values stay zero" in result.stderr
    assert "Zero weights: 0 of" in result.stdout


@pytest.mark.parametrize(
    ("criterion", "sparsity", "options"),
    [
        ("lamp", "0.95", ("--objective", "AT-Fast", "--epsilon", "4/255")),
        ("filter-l1", "0.75", ("--steps", "2", "--packed", "--half")),
    ],
)
def test_fine_tuning_keeps_every_zero_and_moves_the_rest(
    run, dense, training_set, tmp_path, criterion, sparsity, options
):
    before, after = tmp_path / "pruned.safetensors", tmp_path / "tuned.safetensors"
    locality = "global" if criterion == "lamp" else "local"
    pruned(run, dense, before, "--criterion", criterion, "--locality", locality, "--sparsity", sparsity)
    command = (
        "finetune", before, "--arch", "resnet8", "--data-dir", training_set, "--epochs", 1, "--batch-size", 16,
        "--run-dir", tmp_path / "runs", "--json", "-o", after, *options,
    )  # fmt: skip
    result = run(*command)
    one, two = read_checkpoint(before).state, read_checkpoint(after).state
    for name, value in one.items():
        if name.endswith("weight"):
            assert torch.equal(two[name] == 0, value == 0), name
            assert not torch.equal(two[name], value), name
    document = json.loads(result.stdout)
    assert document["sha256"] == read_checkpoint(after).sha256
    assert document["about"]["source_sha256"] == read_checkpoint(before).sha256
    content = after.read_bytes()
    run(*command)
    assert after.read_bytes() == content


NETWORKS = """
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

class Masked(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("weight_mask", torch.ones_like(self.weight))

    def forward(self, x):
        return nn.functional.linear(x, self.weight * self.weight_mask, self.bias)

class Own(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))

    def forward(self, x):
        return x @ self.weight

class Hidden(Own):
    def forward(self, x):
        return x @ self.effective_weight()

    def effective_weight(self):
        return self.weight * (self.weight > 0)

class Attention(nn.Module):
    def __init__(self, size, outputs):
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(8, 1, batch_first=True), nn.Linear(size, outputs)

    def forward(self, x):
        y = x.view(len(x), -1, 8)
        return self.out(self.attention(y, y, y)[0].flatten(1))

def network(make):
    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), make(192, 16), nn.ReLU(), nn.Linear(16, 10))

def plain(): return network(nn.Linear)
def masked(): return network(Masked)
def own(): return network(Own)
def hidden(): return network(Hidden)
def attention(): return network(Attention)
def pruned(): return network(lambda *sizes: prune.identity(nn.Linear(*sizes), "weight"))
def normed(): return network(lambda *sizes: parametrizations.weight_norm(nn.Linear(*sizes)))
"""


def zero_weights(run, checkpoint, factory):
    audited = json.loads(run("audit", checkpoint, "--arch", factory, "--json").stdout)
    return audited["counts"]["zero_weights"]


@pytest.mark.parametrize(
    ("name", "pruned"),
    [
        ("plain", "weight"),
        ("masked", "weight_mask"),
        ("own", "weight"),
        ("attention", "attention.in_proj_weight"),
        ("pruned", "weight_mask"),
        ("normed", "parametrizations.weight.original1"),
    ],
)
def test_fine_tuning_keeps_zeros_wherever_a_network_has_them(run, training_set, tmp_path, name, pruned):
    """In a mask of torch.nn.utils.prune or of its own layers, in parameters of other names, and under a norm."""
    (tmp_path / "networks.py").write_text(NETWORKS)
    factory, before, after = f"{tmp_path / 'networks.py'}:{name}", tmp_path / "a.pt", tmp_path / "b.safetensors"
    state = dict(build_network(factory).network.state_dict())
    state[f"2.{pruned}"] = state[f"2.{pruned}"].clone()
    state[f"2.{pruned}"].view(-1)[::2] = 0
    zeros = state[f"2.{pruned}"].numel() // 2
    torch.save(state, before)
    assert zero_weights(run, before, factory) == zeros > 0
    run(
        "finetune", before, "--arch", factory, "--data-dir", training_set, "--epochs", 1, "--batch-size", 16,
        "--objective", "AT-Fast", "--run-dir", tmp_path / "runs", "-o", after,
    )  # fmt: skip
    assert zero_weights(run, after, factory) == zeros


def test_zeros_that_training_would_fill_are_refused_before_it(run, training_set, tmp_path):
    """A layer that computes them in its forward pass holds no zero that could be kept."""
    (tmp_path / "networks.py").write_text(NETWORKS)
    factory = f"{tmp_path / 'networks.py'}:hidden"
    state = dict(build_network(factory).network.state_dict())
    state["4.weight"][0] = 0
    torch.save(state, tmp_path / "a.pt")
    result = run(
        "finetune", tmp_path / "a.pt", "--arch", factory, "--data-dir", training_set, "-o", tmp_path / "b", code=1
    )
    assert re.search(r"a.pt: 1,\d{3} of its zero weights are computed in the forward pass", result.stderr)
    assert not (tmp_path / "b").exists()


def test_without_a_checkpoint_a_dense_network_is_trained(run, training_set, tmp_path):
    path = tmp_path / "dense.safetensors"
    result = run(
        "finetune", "--arch", "resnet8", "--data-dir", training_set, "--objective", "AT-Fast", "--epochs", 1,
        "--batch-size", 16, "--n-train", 32, "--seed", 5, "--precision", "float32", "--run-dir", tmp_path / "runs",
        "-o", path,
    )  # fmt: skip
    assert "AT-Fast, 1 step, 1 epoch of 32 training images, float32 on cpu; 0 values stay zero" in result.stderr
    assert "Zero weights: 0 of 411,040" in result.stdout


def test_a_missing_training_set_says_where_to_get_it(run, dense, tmp_path):
    result = run(
        "finetune", dense, "--arch", "resnet8", "--data-dir", tmp_path, "-o", tmp_path / "x.safetensors", code=1
    )
    assert "has no CIFAR-10 training set; fetch it with `apsite data fetch cifar10`" in result.stderr


def test_a_damaged_training_set_is_one_error_line(run, dense, training_set, tmp_path):
    for number in range(1, 6):
        content = (training_set / "cifar-10-batches-bin" / f"data_batch_{number}.bin").read_bytes()
        (tmp_path / f"data_batch_{number}.bin").write_bytes(content[: -1 if number == 5 else None])
    result = run(
        "finetune", dense, "--arch", "resnet8", "--data-dir", tmp_path, "-o", tmp_path / "x.safetensors", code=1
    )
    assert "data_batch_5.bin: has 24,583 bytes, which is not a multiple of 3073" in result.stderr


@pytest.mark.parametrize("layout", ["mad_resnet18", "rst_resnet18"])
def test_layouts_of_masks_or_scores_are_refused(run, training_set, tmp_path, layout):
    """Their zeros would not be zeros of the file."""
    result = run(
        "finetune", "--arch", "resnet18", "--layout", layout, "--data-dir", training_set, "-o", tmp_path / "x", code=1
    )  # fmt: skip
    assert "makes its weights of masks or scores" in result.stderr


LEARNING = ("--epochs", 1, "--batch-size", 8, "--n-train", 16)


@pytest.mark.parametrize(("criterion", "zero"), [("lis", 369_936), ("filter-hgm", 692)])
def test_a_learned_criterion_prunes_to_the_exact_count_and_says_how_it_learned(
    run, dense, training_set, tmp_path, criterion, zero
):
    """The same command gives the same bytes; the weights that stay are those of the dense network."""
    path = tmp_path / "pruned.safetensors"
    options = ("--criterion", criterion, "--locality", "global", "--sparsity", "0.9", *LEARNING, "--data-dir",
               training_set, "--run-dir", tmp_path / "runs", "--json")  # fmt: skip
    result = pruned(run, dense, path, *options)
    document, content = json.loads(result.stdout), path.read_bytes()
    assert document["audit"]["zero_weights" if criterion == "lis" else "zero_filters"] == zero
    assert document["about"]["recipe"]["objective"] == "AT-Fast"
    assert f"{criterion}, global: AT-Fast, 1 step, 1 epoch of 16 training images" in result.stderr
    before = read_checkpoint(dense).state
    for name, value in read_checkpoint(path).state.items():
        assert torch.equal(value, torch.where(value == 0, value, before[name])), name
    pruned(run, dense, path, *options)
    assert path.read_bytes() == content


def test_only_criteria_that_learn_take_images(run, dense, training_set, tmp_path):
    options = ("--criterion", "lamp", "--locality", "global", "--sparsity", "0.9", "--epochs", 2)
    result = pruned(run, dense, tmp_path / "x", *options, code=2)
    assert "--epochs is for the criteria that learn from training images (lis," in result.stderr
    assert "lamp takes no images" in result.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--sparsity", "0.9999", "--locality", "local"), "leaves none"),
        (("--sparsity", "0.9", "--locality", "local", "--data-dir", "."), "has no CIFAR-10 training set"),
        (("--sparsity", "0.9", "--locality", "local", "--n-train", 4), "in batches of 8; there are 40"),
    ],
)
def test_what_cannot_be_learned_is_one_error_line(run, dense, training_set, tmp_path, monkeypatch, options, reason):
    monkeypatch.chdir(tmp_path)
    usual = ("--criterion", "lis", "--data-dir", training_set, *LEARNING, "--run-dir", "runs", "--quiet")
    result = pruned(run, dense, tmp_path / "x", *usual, *options, code=1)
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1
    assert reason in result.stderr
    assert not (tmp_path / "x").exists()


def test_the_guide_has_each_criterion_with_its_term_and_cost(repository):
    """The table of the guide is that of the code."""
    guide = (repository / "docs/baselines-guide.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (\w*) ?\| (.+?) \| (\d+) \|", guide, re.MULTILINE)
    table = [(one.value, one.term or "", one.removes, str(one.epochs)) for one in BaselineCriterion]
    assert [(name, term, what.partition(":")[0].partition(", by")[0], n) for name, term, what, n in rows] == table


def test_the_options_are_the_words_of_the_library():
    """Help needs no torch, so the command line spells them itself."""
    choices = {option.name: getattr(option.type, "choices", None) for option in (*prune.params, *finetune.params)}
    assert list(choices["criterion"]) == [one.value for one in BaselineCriterion]
    assert list(choices["objective"]) == [one.value for one in OBJECTIVES]
    assert list(choices["precision"]) == list(PRECISIONS)


def test_a_series_names_its_models(run, tmp_path, repository):
    result = run(
        "baselines", repository / "baselines/resnet18.toml", "--model", "LAMP_Lee2021Layer_R8_CIFAR10_US_90",
        "--root", repository, "--data-dir", tmp_path, "--work", tmp_path, "--output", tmp_path, code=1
    )  # fmt: skip
    assert "is not a model of" in result.stderr
    assert "LAMP_Lee2021Layer_R18_CIFAR10_US_90" in result.stderr
    assert not list(tmp_path.iterdir())


def test_each_of_several_series_makes_the_models_that_are_its_own(run, tmp_path, repository, monkeypatch):
    """One that has none of them is left out; what is done is told when the next one ends in an error."""
    asked = []

    def recorded(series, places, reporter, *, only, fresh):
        asked.append((series.path.stem, list(only)))
        if series.path.stem == "vgg16":
            raise EvaluationError("the disk is full")
        yield ModelOutcome(series.dense, Status.SKIPPED, None, None, "its record is there")

    monkeypatch.setattr("apsite.baselines.series.run_series", recorded)
    files = [repository / f"baselines/{name}.toml" for name in ("resnet8", "resnet18", "vgg16")]
    first, last = "LAMP_Lee2021Layer_R18_CIFAR10_US_90", "L1_Li2017Pruning_V16_CIFAR10_S_50"
    options = ("--root", repository, "--data-dir", tmp_path, "--work", tmp_path, "--output", tmp_path)
    result = run("baselines", *files, "--model", last, "--model", first, *options, code=1)
    assert asked == [("resnet18", [first]), ("vgg16", [last])]
    assert "1 models: 0 done, 1 skipped" in result.stdout
    assert "Error: the disk is full" in result.stderr


def test_a_dense_checkpoint_is_for_one_series(run, tmp_path, repository):
    """Two would write to the same folder, from networks of two architectures."""
    files = [repository / f"baselines/{name}.toml" for name in ("resnet18", "vgg16")]
    for option in ("--dense", "--checkpoints"):
        result = run("baselines", *files, option, tmp_path / "x", code=2)
        assert "--dense and --checkpoints are for a single SERIES" in result.stderr


def test_three_baselines_from_a_dense_checkpoint_are_one_command(run, dense, training_set, tmp_path, repository):
    """As `make three-baselines` gives it, here on few images: three checkpoints, three audited records, one table."""
    text = (repository / "baselines/resnet8.toml").read_text(encoding="utf-8")
    text = text.replace("n_train = 25600", "n_train = 32\nbatch_size = 16").replace("first = 64", "first = 2")
    (tmp_path / "small.toml").write_text(text.replace("trials = 2", "trials = 1"), encoding="utf-8")
    three = next(line for line in (repository / "Makefile").read_text().splitlines() if line.startswith("THREE"))
    keys = three.partition("?=")[2].split()
    assert len(keys) == 3
    command = (
        "baselines", tmp_path / "small.toml", "--dense", dense, "--checkpoints", tmp_path / "three", "--work",
        tmp_path / "work", "--output", tmp_path / "records", "--data-dir", training_set, "--test-data", "embedded",
        "--root", tmp_path, *(part for key in keys for part in ("--model", key)),
    )  # fmt: skip
    result = run(*command)
    assert "3 models: 3 done" in result.stdout
    assert f"Records: {tmp_path / 'records'}" in result.stdout
    for key in keys:
        (path,) = (tmp_path / "records").glob(f"*/{key}.json")
        record = json.loads(path.read_text(encoding="utf-8"))
        assert record["audit"]["zero_weights"] > 300_000
        assert record["results"]["attacks"][0]["attack"] == "autoattack"
        assert (tmp_path / f"three/{key}.safetensors").is_file()
    assert "3 models: 0 done, 3 skipped" in run(*command).stdout


def test_the_makefile_and_the_guide_use_options_that_there_are(repository):
    known = {name for option in baselines.params for name in option.opts}
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    guide = (repository / "docs/baselines-guide.md").read_text(encoding="utf-8").replace("\\\n", " ")
    calls = [line for line in (makefile + guide).splitlines() if "apsite baselines " in line and "--" in line]
    assert len(calls) == 3
    for call in calls:
        assert set(re.findall(r"(?<=\s)--[a-z-]+", call)) <= known, call
    dense = re.search(r"^DENSE \?= (.+)$", makefile, re.MULTILINE)
    assert (repository / dense[1]).is_file()


def test_a_series_that_is_not_there_is_one_error_line(run, tmp_path):
    result = run("baselines", tmp_path / "none.toml", "--root", tmp_path, code=1)
    assert "none.toml: cannot be read: No such file or directory" in result.stderr
