"""`apsite audit` as a user runs it, and the function behind it."""

import json

import pytest
import torch

from apsite.errors import CheckpointError, NetworkError
from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.evaluation.checkpoints.report import audit
from apsite.evaluation.runs.demonstration import network_path
from apsite.records.census import layout_macs
from apsite.vocabulary import Architecture, Dataset, Structure

DEMO = [network_path(), "--arch", "resnet8"]
DECLARED = ["--structure", "unstructured", "--sparsity", "0.90"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Function that saves a network of a layout, changed by a function, and gives the file."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def save(name, change=None):
        torch.manual_seed(0)
        layout = layouts()[name]
        state = layout.build(layout.datasets[0]).state_dict()
        if change is not None:
            with torch.no_grad():
                change(state)
        path = folder / f"{name}_{'plain' if change is None else change.__name__}.pt"
        torch.save({"state_dict": state}, path)
        return path

    return save


def test_the_report_says_what_the_checkpoint_is(run):
    result = run("audit", *DEMO, *DECLARED)
    assert result.stderr == ""
    for text in (
        "1,661,312 bytes, safetensors",
        "Sparsity measured    │ 90.00% of the weights are removed",
        "+0.00 points, by weights",
        "0 of 768 (0.00%)",
        "412,586, of which 42,650 are not zero",
        "13.9 M dense, 2.9 M effective",
        "suitable for the attacks (on embedded test images)",
    ):
        assert text in result.stdout
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.stdout.splitlines() if "│" in line]
    assert ["layer3.0.conv2", "230,400", "221,615", "96.19%", "0 of 160", "0 of 160"] in rows
    assert ["base_resnet18", "66 missing; 46 misshapen"] in rows


def test_the_report_as_json_holds_the_same(run):
    result = run("audit", *DEMO, *DECLARED, "--json")
    report = json.loads(result.stdout)
    assert report["layout"] == "resnet8"
    assert report["refused"] is False
    counts = report["counts"]
    assert counts["weights"] == sum(layer["weights"] for layer in counts["layers"])
    assert counts["zero_weights"] == sum(layer["zero_weights"] for layer in counts["layers"])
    assert report["finding"]["measured"] == counts["zero_weights"] / counts["weights"]
    assert counts["macs"] == layout_macs("resnet8")
    assert {other["name"] for other in report["others"]} | {"resnet8"} == {
        name for name, layout in layouts().items() if Dataset.CIFAR10 in layout.datasets
    }
    assert all(other["reason"] for other in report["others"])
    assert run("audit", *DEMO, *DECLARED, "--json").stdout == result.stdout


def test_a_wrong_sparsity_is_refused_with_everything_that_was_measured(run):
    """The tables are printed all the same; the exit code and one line say that it would be refused."""
    result = run("audit", *DEMO, "--structure", "unstructured", "--sparsity", "0.95", code=1)
    assert result.stderr.startswith("Error: declared sparsity is 95.00% but 90.00% of the weights are removed")
    assert "221,615" in result.stdout
    as_json = run("audit", *DEMO, "--structure", "unstructured", "--sparsity", "0.95", "--json", code=1)
    report = json.loads(as_json.stdout)
    assert report["refused"] is True
    assert report["finding"] is None
    assert report["counts"]["zero_weights"] > 0


def test_nothing_needs_to_be_declared(run):
    result = run("audit", *DEMO)
    assert "nothing declared (dense)" in result.stdout
    assert "90.00% of the weights are removed" in result.stdout
    assert "Sparsity difference" not in result.stdout


def test_a_checkpoint_of_another_network_says_which_it_is(run):
    result = run("audit", network_path(), "--arch", "resnet18", code=1)
    assert "It fits resnet8 (resnet8): declare that instead" in result.stderr
    assert "none fits" in result.stdout
    assert "fits, but is of resnet8; declare that instead" in result.stdout
    assert "66 missing; 46 misshapen" in result.stdout
    assert "Layers" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere.pt", "--arch", "resnet8"], 1, "no such file"),
        ([network_path(), "--arch", "alexnet"], 1, "is not one of resnet18"),
        ([*DEMO, "--layout", "base_vgg16_bn"], 1, "is not one of those for resnet8"),
        ([*DEMO, "--sparsity", "0.9"], 2, "give both --structure and --sparsity"),
        ([*DEMO, "--structure", "structured"], 2, "give both"),
        ([network_path()], 2, "--arch"),
    ],
)
def test_bad_input_ends_with_one_clear_line(run, arguments, code, message):
    result = run("audit", *arguments, code=code)
    assert message in result.stderr
    assert result.stdout == ""


def test_equal_layouts_are_named_and_the_methods_own_is_used(saved):
    """The layouts of several methods have the same tensors; the method decides, the others are told."""
    report = audit(saved("radmm_resnet18"), architecture="resnet18", method="RADMM")
    assert report.layout == "radmm_resnet18"
    reasons = {other.name: other.reason for other in report.others}
    assert reasons["base_resnet18"] == "fits as well; radmm_resnet18 comes first"
    assert "missing" in reasons["mad_resnet18"]
    assert [other.architecture for other in report.others[:3]] == [Architecture.RESNET18] * 3
    assert report.container == "state_dict"


def test_removed_filters_match_a_structured_sparsity(saved):
    """Half of the filters removed is 50 % by filters, whatever the share of zero weights."""

    def halved(state):
        for value in state.values():
            if value.dim() == 4:
                value[: len(value) // 2] = 0

    report = audit(
        saved("resnet8", halved), architecture="resnet8", structure=Structure.STRUCTURED, sparsity=0.5, dataset="svhn"
    )
    assert not report.refused
    assert report.finding.basis in {"filters", "weights"}
    assert report.counts.zero_filters / report.counts.filters == 0.5
    assert report.inputs == "random images in [0, 1]"


def test_a_network_that_gives_nan_is_refused_and_still_measured(saved):
    """Infinite logits come out of finite weights; both problems of the file are reported together."""

    def exploding(state):
        for name, value in state.items():
            if name.endswith("running_var"):
                value.fill_(1e-38)
            elif value.dim() == 4:
                value.mul_(1e10)

    report = audit(saved("resnet8", exploding), architecture="resnet8", structure="unstructured", sparsity=0.9)
    assert report.refused
    assert len(report.refusals) == 2
    assert "NaN or infinite logits" in report.refusals[0]
    assert "declared sparsity is 90.00%" in report.refusals[1]
    assert report.counts.zero_weights == 0


def test_an_imagenet_network_is_run_on_random_images(saved):
    path = saved("resnet50")
    report = audit(path, architecture="resnet50", dataset="imagenet")
    assert report.layout == "resnet50"
    assert report.counts.macs == layout_macs("resnet50")
    assert {other.name: other.summary for other in report.others} == {
        "resnet50_normalised": "fits; used only if named with --layout"
    }


def test_a_factory_has_no_other_layouts(tmp_path, run):
    (tmp_path / "own.py").write_text(
        "import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10))\n"
    )
    torch.manual_seed(0)
    torch.save({"1.weight": torch.randn(10, 3072), "1.bias": torch.zeros(10)}, tmp_path / "own.pt")
    result = run("audit", tmp_path / "own.pt", "--arch", f"{tmp_path / 'own.py'}:make")
    assert "of the factory" in result.stdout
    assert "30,720" in result.stdout
    assert "Other layouts" not in result.stdout
    refused = run("audit", network_path(), "--arch", f"{tmp_path / 'own.py'}:make", code=1)
    assert "does not fit the network of the factory" in refused.stderr


def test_the_function_raises_for_what_no_report_can_be_made_of(tmp_path):
    (tmp_path / "page.pt").write_bytes(b"<!DOCTYPE html><html></html>")
    with pytest.raises(CheckpointError, match="an HTML page"):
        audit(tmp_path / "page.pt", architecture="resnet8")
    with pytest.raises(NetworkError, match="is not one of"):
        audit(network_path(), architecture="alexnet")
    with pytest.raises(ValueError, match="give both structure and sparsity"):
        audit(network_path(), architecture="resnet8", sparsity=0.9)
    with pytest.raises(ValueError, match="mnist"):
        audit(network_path(), architecture="resnet8", dataset="mnist")
