"""Every network and every file of the corpora in every command: the right number, or one line, and no traceback."""

from __future__ import annotations

import json
import re
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="running networks needs the extra 'eval'")

import torch
from click.testing import CliRunner

from apsite.cli import cli
from apsite.errors import ApsiteError
from apsite.evaluation.runs.python_interface import evaluate
from apsite.protocol import Settings
from apsite.vocabulary import AttackName
from tests import foreign_networks
from tests.corpus.checkpoints import FACTORIES, FILES, FITTED, OBJECTS, TOTAL
from tests.corpus.outcomes import KINDS, OF_EACH_KIND, OUTCOMES, Outcome, kept, trained

pytestmark = pytest.mark.filterwarnings("ignore")  # what others write warns of much

SETTINGS = Settings(
    n_examples=8, attacks=(AttackName.HOFMN,), trials=1, search_samples=4, search_steps=1, attack_steps=2
)
TRAINING = (
    "--objective", "AT-Fast", "--epochs", 1, "--n-train", 4, "--batch-size", 4, "--device", "cpu", "--precision",
    "float32", "--quiet", "--json",
)  # fmt: skip


def most_are_slow(names, quick):
    """Names as parameters of a test, of which only some run each time."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.fixture(scope="module")
def training_set(tmp_path_factory) -> Path:
    """Forty random images in the official binary layout."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("data")
    rows = np.random.default_rng(0).integers(0, 256, (40, 3073), dtype=np.uint8)
    rows[:, 0] %= 10
    for number in range(5):
        rows[8 * number : 8 * number + 8].tofile(folder / f"data_batch_{number + 1}.bin")
    return folder


def answered(*arguments, refused: str = ""):
    """JSON result of a command that works, and ``None`` of one that has to be `refused` in one line."""
    result = CliRunner().invoke(cli, list(map(str, arguments)), prog_name="apsite")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    if not refused:
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout[result.stdout.index("{\n") :])  # behind what a network prints
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.exit_code == 1
    assert re.search(refused, errors[0])
    assert result.stderr.splitlines() == errors
    assert len(errors) == 1 or arguments[0] == "audit"
    return None


def of_each_layer(result):
    return [(layer["name"], layer["weights"], layer["zero_weights"]) for layer in result["audit"]["layers"]]


def test_the_table_names_networks_once():
    assert sum(map(len, KINDS.values())) == len(OUTCOMES)
    assert set(OUTCOMES) | OF_EACH_KIND <= set(foreign_networks.FACTORIES)


@pytest.mark.parametrize("name", most_are_slow(foreign_networks.FACTORIES, OF_EACH_KIND))
def test_a_network_is_audited_pruned_and_trained_or_answered(name, training_set, tmp_path, monkeypatch):
    """Half of the weights are gone after pruning, and after training the same number of every layer."""
    arch, outcome = f"{foreign_networks.__file__}:{name}", OUTCOMES.get(name, Outcome())
    torch.save(trained(name), tmp_path / "model.pt")
    monkeypatch.chdir(tmp_path)
    answered("audit", "model.pt", "--arch", arch, "--json", refused=outcome.evaluated)
    half = ("--criterion", "lwm", "--locality", "global", "--sparsity", "0.5", "--json")
    pruned = answered("prune", "model.pt", "--arch", arch, *half, "-o", "pruned.pt", refused=outcome.pruned)
    source = "model.pt" if pruned is None else "pruned.pt"
    options = (*TRAINING, "--data-dir", training_set, "-o", "finetuned.pt")
    finetuned = answered("finetune", source, "--arch", arch, *options, refused=outcome.finetuned)
    if pruned is not None:
        audit = pruned["audit"]
        assert audit["zero_weights"] == audit["weights"] - audit["weights"] // 2
    if pruned is not None and finetuned is not None:
        assert of_each_layer(finetuned) == of_each_layer(pruned)


CRITERIA = ("lis", "bcs", "filter-lis", "filter-hgm")
QUICK = {
    "lis": ("plain", "transformer", "exits"), "bcs": ("torch_pruned", "own_convolutions"),
    "filter-lis": ("plain", "exits", "exploding"), "filter-hgm": ("shuffled", "detached"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("criterion", "name"),
    [
        pytest.param(criterion, name, marks=() if name in QUICK[criterion] else pytest.mark.slow)
        for criterion in CRITERIA
        for name in foreign_networks.FACTORIES
    ],
)
def test_a_criterion_is_learned_on_a_network_or_answered(criterion, name, training_set, tmp_path, monkeypatch):
    """Weights wherever training works, with its answer elsewhere; filters where channels can be followed too."""
    arch, outcome = f"{foreign_networks.__file__}:{name}", OUTCOMES.get(name, Outcome())
    torch.save(trained(name), tmp_path / "model.pt")
    monkeypatch.chdir(tmp_path)
    half = ("--criterion", criterion, "--locality", "global", "--sparsity", "0.5", "--data-dir", training_set)
    arguments = ("prune", "model.pt", "--arch", arch, *half, *TRAINING, "-o", "pruned.pt")
    if not criterion.startswith("filter"):
        pruned = answered(*arguments, refused=outcome.pruned or outcome.finetuned)
        assert pruned is None or pruned["audit"]["zero_weights"] == (pruned["audit"]["weights"] + 1) // 2
        return
    result = CliRunner().invoke(cli, list(map(str, arguments)), prog_name="apsite")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    if result.exit_code:
        assert result.stderr.startswith("Error: ")
        assert len(result.stderr.splitlines()) == 1
        assert not Path("pruned.pt").exists()
    else:
        audit = json.loads(result.stdout[result.stdout.index("{\n") :])["audit"]
        assert audit["zero_filters"] >= (audit["filters"] + 1) // 2


FOUND = {
    **{f"object: {name}": (name, None, made[1]) for name, made in OBJECTS.items()},
    **{f"file: {name}": (name, None, made[1]) for name, made in FILES.items()},
    **{f"factory: {name}": (name, made[0], made[2]) for name, made in FITTED.items()},
}
"""Name of each file, the factory of its network, and what an audit finds."""


def written(kind: str, name: str, folder: Path) -> Path:
    """One file of the corpus."""
    if kind == "file":
        path = folder / "my model (final) ü #1.pth.tar"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing is deprecated
            FILES[name][0](path)
        return path
    torch.save((OBJECTS[name][0] if kind == "object" else FITTED[name][1])(), folder / "a.pt")
    return folder / "a.pt"


@pytest.mark.parametrize("case", most_are_slow(FOUND, list(FOUND)[::32]))
def test_a_file_is_evaluated_pruned_and_trained_or_answered(case, training_set, tmp_path, monkeypatch):
    """`eval` counts the zeros that an audit finds, and they are those that training keeps."""
    name, factory, found = FOUND[case]
    kind = case.partition(":")[0]
    monkeypatch.chdir(tmp_path)
    path, arch, state = written(kind, name, tmp_path), "resnet8", None
    if factory is not None:
        (tmp_path / "networks.py").write_text(FACTORIES, encoding="utf-8")
        arch = f"{tmp_path / 'networks.py'}:{factory}"
    if kind == "object" and len(OBJECTS[name]) > 2:
        state = OBJECTS[name][2]
    with pytest.raises(ApsiteError) if isinstance(found, str) else nullcontext() as refused:
        record = evaluate(
            path, method="LWM_Han2015Learning", dataset="cifar10", architecture="resnet8", structure="unstructured",
            sparsity=0.9, data_dir="embedded", device="cpu", settings=SETTINGS, run_dir=tmp_path / "runs",
            state=state, factory=None if factory is None else arch,
        )  # fmt: skip
    if refused is None:
        assert (record.audit.zero_weights, record.audit.weights) == (found, TOTAL)
    else:
        assert found in str(refused.value)
        assert "\n" not in str(refused.value)
    expected, chosen = kept(name, found), ("--arch", arch, *(("--state", state) if state else ()))
    commands = {
        "prune": ("--criterion", "lwm", "--locality", "global", "--sparsity", "0.95", "--json"),
        "finetune": (*TRAINING, "--data-dir", training_set),
    }
    for zeros, (command, options) in zip(expected, commands.items(), strict=True):
        refused = re.escape(zeros) if isinstance(zeros, str) else ""
        result = answered(command, path, *chosen, *options, "-o", f"{command}.pt", refused=refused)
        if result is not None:
            assert (result["audit"]["zero_weights"], result["audit"]["weights"]) == (zeros, TOTAL)
