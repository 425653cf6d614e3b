"""`apsite audit` as a user runs it, and the function behind it."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from apsite.catalogue import load_catalogue
from apsite.errors import CheckpointError, NetworkError
from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.evaluation.checkpoints.report import audit
from apsite.evaluation.runs.demonstration import network_path
from apsite.evaluation.testsets import downloads
from apsite.records.census import layout_macs
from apsite.vocabulary import Architecture, Dataset, Structure
from tests.builders import METHOD, entry_document
from tests.loopback import loopback_server

STRUCTURED = Path(__file__).parent.parent.parent / "baselines/resnet8/L1_Li2017Pruning_R8_CIFAR10_S_50.safetensors"
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


@pytest.mark.slow
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


def method_page(root):
    """Markdown of the page of the only method; the site needs an extra."""
    pytest.importorskip("altair", reason="the site needs the extra 'site'")
    from tests.site.conftest import page_text, site_facts

    return page_text(site_facts(load_catalogue(root)), f"methods/{METHOD}.md")


class TestPublished:
    """`audit --published` on a server in place of Google Drive, with checkpoints of the true formats."""

    @pytest.fixture
    def published(self, tmp_path, monkeypatch, data_folder):
        """Data folder whose entry names nine checkpoints, and the server; the fifth is not there."""
        monkeypatch.setenv("APSITE_CACHE", str(tmp_path / "cache"))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")
        keys = ("R8_CIFAR10_US_90", "R8_CIFAR10_US_95", "R18_CIFAR10_US_90", "R8_CIFAR10_S_50", "R8_CIFAR10_US_99")
        more = ("R8_CIFAR10_US_80", "other-wrn_CIFAR10_US_90", "R8_CIFAR10_SS_90")
        named = [*(f"{METHOD}_{key}" for key in keys), None, *(f"{METHOD}_{key}" for key in more)]
        checkpoints = [
            {"model_key": key, "url": f"gdrive://file-{number}", "sha256": None, "notes": "A file."}
            for number, key in enumerate(named)
        ]
        root = data_folder(entry_document(checkpoints=checkpoints))
        weights = network_path().read_bytes()
        hostile = f"cos\nsystem\n(S'touch {tmp_path / 'sentinel'}'\ntR.".encode()
        with loopback_server() as server:
            monkeypatch.setattr(downloads, "GOOGLE_DRIVE", f"{server.address}/uc")
            server.drive |= {f"file-{number}": weights for number in (1, 2, 5, 7, 8)}
            server.drive |= {"file-3": STRUCTURED.read_bytes(), "file-6": hostile}
            server.serve_large("file-0", weights)
            yield root, server

    def test_each_is_measured_or_its_problem_kept_and_pages_show_both(self, run, published, tmp_path):
        root, server = published
        result = run("audit", "--published", "--root", root, code=1)
        assert result.stdout.startswith("9 published checkpoints: 4 measured, 0 there already, 5 failed\n")
        for text in ("US_95 gdrive://file-1: declared sparsity is 95.00%", "US_99 gdrive://file-4: ", "404"):
            assert text in result.stdout
        assert "9 of 9: " in result.stderr
        assert not (tmp_path / "sentinel").exists()
        assert not list((tmp_path / "cache").rglob("*.checkpoint*"))
        found = {url.removeprefix("gdrive://file-"): one for url, one in load_catalogue(root).measured.items()}
        right, denied, other, structured, missing, nameless, hostile, own, pattern = (
            found[str(number)] for number in range(9)
        )
        assert right.sha256 == hashlib.sha256(network_path().read_bytes()).hexdigest()
        assert (right.problem, right.basis, round(right.measured, 3)) == ("", "weights", 0.9)
        assert round(denied.measured, 3) == 0.9
        assert "resnet8" in other.problem  # the family that would fit
        assert (other.shares, other.sha256) == ({}, right.sha256)
        assert structured.basis in ("removed_weights", "filters", "channels", "kernels")
        assert abs(structured.measured - 0.5) < 0.02
        assert missing.sha256 is None
        assert "404" in missing.problem
        assert (nameless.sha256, nameless.problem, nameless.shares) == (right.sha256, "", {})
        assert own.problem.startswith("its network or dataset is not registered")
        assert (pattern.problem, pattern.shares["weights"]) == ("", right.measured)
        assert hostile.problem.startswith("not a checkpoint")
        assert hostile.sha256 is not None
        assert str(tmp_path) not in "".join(one.problem for one in found.values())
        assert "no problem" in run("validate", "--root", root).stdout

        page = method_page(root)
        assert "declared 90 %, unstructured; measured 90.00 % of the weights" in page
        assert f'<code title="{right.sha256}">' in page
        assert "declared 95 %, unstructured; measured 90.00 % of the weights" in page
        assert "declared 50 %, structured; measured 50" in page
        from apsite.site.downloads import write_downloads

        files = write_downloads(tmp_path / "site", load_catalogue(root))
        assert "data/evaluations/published_checkpoints.json" in [one.path for one in files]

        asked = len(server.ranges_asked)
        server.drive["file-4"] = b"<html>Sign in</html>"
        again = run("audit", "--published", "--root", root, "--quiet", code=1)
        assert again.stdout.startswith("9 published checkpoints: 0 measured, 8 there already, 1 failed\nFailed: ")
        assert "a web page in place of the file" in again.stdout
        assert len(server.ranges_asked) == asked + 2

    def test_it_takes_no_checkpoint_and_damaged_results_are_one_error(self, run, published):
        root, _ = published
        for usage in (("--published", "model.pt"), ("--published", "--arch", "resnet18"), ("model.pt",), ()):
            run("audit", *usage, "--root", root, code=2)
        path = root / "evaluations/published_checkpoints.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            '{"schema_version": 1, "checkpoints": [{"url": "javascript:x", "model_key": "x", "date": "1"}]}'
        )
        problems = run("validate", "--root", root, code=1).stdout
        for place in ("checkpoints[0].url", "checkpoints[0].model_key", "checkpoints[0].date"):
            assert place in problems
        assert "checkpoints[0].url" in run("audit", "--published", "--root", root, code=1).stderr

    def test_nothing_is_shown_before_something_was_measured(self, published):
        root, _ = published
        page = method_page(root)
        assert '<th scope="col">Measured</th>' not in page
        assert "not pinned" in page
