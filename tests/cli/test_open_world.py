"""What the first version refused, each in the way that the guide for contributors documents."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from apsite.evaluation.checkpoints.loading import load_network
from apsite.evaluation.checkpoints.networks.resnet import ResNet, ResNetLayout
from apsite.evaluation.runs.demonstration import network_path
from apsite.validation import validate
from apsite.vocabulary import Dataset
from tests.builders import METHOD, entry_document, write_data
from tests.cli import test_open_settings, test_own_datasets, test_pattern_commands
from tests.official_sets import WRITERS, write_network

QUICK = ("--protocol", "quick", "--n-examples", "2", "--attacks", "hofmn", "--quiet")


def evaluated(run: Any, tmp_path: Path, checkpoint: Path, *options: object) -> dict[str, Any]:
    """The record that an evaluation writes, which passes the checks."""
    root = write_data(tmp_path / "root", entry_document(METHOD))
    out = ("--root", root, "--output", root / "evaluations", "--run-dir", tmp_path / "runs")
    run("eval", checkpoint, "--method", METHOD, *options, *QUICK, *out)
    assert validate(root).problems == ()
    (path,) = (root / "evaluations" / METHOD).glob("*.json")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def narrow_wrn(folder: Path, dataset: Dataset) -> Path:
    """A WRN-28-4 of which three of four filters of every layer were removed, so that it is fast."""
    torch.manual_seed(0)
    layout = ResNetLayout(widths=(16, 32, 64), blocks=(4, 4, 4), stem=4, preactivation=True, wide=True, classifier="fc")
    torch.save(ResNet(layout, dataset.classes).state_dict(), folder / "wrn.pt")
    return folder / "wrn.pt"


def test_a_registered_wide_network(run: Any, tmp_path: Path) -> None:
    options = ("--dataset", "cifar10", "--arch", "wrn-28-4", "--structure", "structured", "--sparsity", "0.75")
    found = evaluated(run, tmp_path, narrow_wrn(tmp_path, Dataset.CIFAR10), *options, "--data-dir", "embedded")
    assert found["architecture"] == "wrn-28-4"
    assert found["checkpoint"]["layout"] == "wrn_28_4"
    assert found["audit"]["sparsity_basis"] == "filters"


def test_another_network_on_cifar100(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dataset.CIFAR100, "class_counts", (1,) * 100)
    WRITERS[Dataset.CIFAR100](tmp_path, Dataset.CIFAR100)
    checkpoint, factory, sparsity = write_network(tmp_path, Dataset.CIFAR100)
    found = evaluated(
        run, tmp_path, checkpoint, "--dataset", "cifar100", "--arch", factory, "--as", "other:Tiny",
        "--structure", "unstructured", "--sparsity", sparsity, "--data-dir", tmp_path,
    )  # fmt: skip
    assert (found["dataset"], found["architecture"]) == ("cifar100", "other:Tiny")


def test_a_sparsity_with_decimals(run: Any, tmp_path: Path) -> None:
    network = load_network(network_path(), architecture="resnet8")
    weights = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    threshold = magnitudes.sort().values[round(0.995 * len(magnitudes))]
    with torch.no_grad():
        for weight in weights:
            weight[weight.abs() < threshold] = 0
    torch.save(network.state_dict(), tmp_path / "x.pt")
    options = ("--dataset", "cifar10", "--arch", "resnet8", "--structure", "unstructured", "--sparsity", "0.995")
    found = evaluated(run, tmp_path, tmp_path / "x.pt", *options, "--data-dir", "embedded")
    assert found["model_key"].endswith("_R8_CIFAR10_US_99p5")
    assert found["sparsity"]["declared"] == 0.995


@pytest.mark.parametrize(
    ("options", "place", "value"),
    [
        (("--criterion", "other: Fisher information"), "specifics.criterion", "other: Fisher information"),
        (("--pretraining", "AWP"), "pipeline.pretraining", ["AWP"]),
        (("--finetuning", "other: Friendly training"), "pipeline.finetuning", ["other: Friendly training"]),
    ],
)
def test_a_term_of_your_own(run: Any, tmp_path: Path, options: tuple[str, str], place: str, value: Any) -> None:
    (tmp_path / "entries").mkdir()
    (tmp_path / "paper.bib").write_text(
        "@inproceedings{a, title={Wide Networks}, author={Doe, Jane}, booktitle={ICLR}, year={2026}, "
        "url={https://example.org/wide}}"
    )
    described = ("--from-bibtex", tmp_path / "paper.bib", "--name", "Wide", "--stage", "after", "--criterion", "LIS")
    run("new", "--root", tmp_path, "--non-interactive", *described, "--structure", "unstructured", *options)
    assert validate(tmp_path).problems == ()
    found = json.loads((tmp_path / "entries" / "Wide_Doe2026Wide.json").read_text(encoding="utf-8"))
    section, name = place.split(".")
    assert found[section][name] == value
    assert found["sources"][section] == "https://example.org/wide"


REFUSED = {
    "a wide residual network": ("--arch wrn-28-10", test_a_registered_wide_network),
    "a network of no registered family": ("--arch file.py:factory --as other:NAME", test_another_network_on_cifar100),
    "CIFAR-100 or Tiny-ImageNet": ("--dataset cifar100", test_another_network_on_cifar100),
    "a test set of your own": (
        "--dataset other:NAME --data-dir FOLDER --epsilon 8/255",
        test_own_datasets.test_a_set_goes_the_whole_way,
    ),
    "99.5 %": ("--sparsity 0.995", test_a_sparsity_with_decimals),
    "another ε": ("--epsilon 4/255", test_open_settings.test_a_fine_sparsity_and_another_epsilon_go_the_whole_way),
    "2:4": (
        "--structure semi-structured --pattern 2:4",
        test_pattern_commands.test_a_pattern_from_the_audit_to_the_page,
    ),
    "a criterion that no term fits": ('--criterion "other: Fisher information"', test_a_term_of_your_own),
    "adversarial weight perturbation": ("--pretraining AWP", test_a_term_of_your_own),
}
"""What was refused, as the guide names it: the options that it documents, and the test that uses them."""


def test_the_guide_has_a_way_for_everything_that_was_refused(repository: Path) -> None:
    guide = (repository / "docs" / "submitting.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([^|`]+) \| `([^|]+)` \|", guide, re.MULTILINE))
    assert rows.keys() >= REFUSED.keys()
    for case, (options, test) in REFUSED.items():
        assert rows[case] == options
        assert callable(test)
