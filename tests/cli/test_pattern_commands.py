"""N:M patterns in the commands, the checks and the pages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from apsite.baselines.pruning import apply_masks, pattern_masks
from apsite.catalogue import load_catalogue
from apsite.evaluation.checkpoints.loading import load_network
from apsite.evaluation.runs.demonstration import network_path
from apsite.records import record_from_json
from apsite.records.patterns import Pattern
from apsite.validation import plausibility_problems
from tests.builders import changed

METHOD = "LWM_Han2015Learning"
MODEL = f"{METHOD}_R8_CIFAR10_SS_50"
DECLARED = ("--structure", "semi-structured", "--pattern", "2:4", "--sparsity", "0.50")
NAMED = ("--method", METHOD, "--dataset", "cifar10", "--arch", "resnet8")


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """The demonstration's network with dense weights, and the same pruned to 2:4."""
    folder = tmp_path_factory.mktemp("pattern")
    built = load_network(network_path(), architecture="resnet8")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.dim() > 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) / 200)
    torch.save(built.state_dict(), folder / "dense.pt")
    apply_masks(built, pattern_masks(built, Pattern(2, 4)))
    torch.save(built.state_dict(), folder / "pruned.pt")
    return folder


def test_prune_keeps_the_largest_of_every_group(run, pruned, tmp_path):
    """The command writes what the function does, which keeps at least as much magnitude as any other choice."""
    options = ("--arch", "resnet8", "--criterion", "lwm", "--sparsity", "0.50", "--pattern", "2:4")
    run("prune", pruned / "dense.pt", *options, "--locality", "local", "-o", tmp_path / "x.safetensors")
    written, dense = (load_network(path, architecture="resnet8").state_dict() for path in
                      (tmp_path / "x.safetensors", pruned / "dense.pt"))  # fmt: skip
    name = "layer2.0.conv1.weight"
    for kept, groups in zip(*(one[name].movedim(1, -1).reshape(-1, 4) for one in (written, dense)), strict=True):
        assert kept.count_nonzero() == 2
        assert kept.abs().sum() == groups.abs().topk(2).values.sum()
    assert torch.equal(written["conv1.weight"], dense["conv1.weight"])
    refused = run("prune", pruned / "dense.pt", *options, "--locality", "global", "-o", tmp_path / "y", code=2)
    assert "--pattern 2:4 goes with --criterion lwm --locality local --sparsity 0.5" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("audit", "x.pt", "--arch", "resnet8", *DECLARED[:2], "--sparsity", "0.5"), 2, "give a pattern such as 2:4"),
        (("audit", "x.pt", "--arch", "resnet8", *DECLARED, "--structure", "structured"), 2, "none with another"),
        (("eval", "x.pt", *NAMED, *DECLARED[:2], "--sparsity", "0.5"), 2, "give a pattern such as 2:4"),
        (("eval", "x.pt", *NAMED, *DECLARED, "--pattern", "4:2"), 2, "'4:2' is not N:M"),
        (("eval", "x.pt", *NAMED, "--pattern", "2:4"), 2, "none with another structure"),
    ],
)
def test_a_pattern_and_its_structure_go_together(run, arguments, code, message):
    assert message in run(*arguments, code=code).stderr


def test_a_pattern_from_the_audit_to_the_page(run, pruned, tmp_path, monkeypatch, repository):
    """Audit, evaluation, list of models, verification, checks and the page of the method say the same."""
    monkeypatch.chdir(tmp_path)
    shown = run("audit", pruned / "pruned.pt", "--arch", "resnet8", *DECLARED).stdout
    assert "2:4, in layers with 99.40% of the weights" in shown
    assert "conv1, linear" in shown
    wrong = run("audit", pruned / "dense.pt", "--arch", "resnet8", *DECLARED, code=1).stderr
    assert wrong.startswith("Error: no layer follows 2:4")
    assert len(wrong.splitlines()) == 1
    quick = "--data-dir", "embedded", "--protocol", "quick", "--n-examples", "4", "--attacks", "hofmn", "--quiet"
    result = run("eval", pruned / "pruned.pt", *NAMED, *DECLARED, *quick)
    assert "Pattern 2:4, measured in layers with 99.40% of the weights; shown, not ranked" in " ".join(
        result.stdout.split()
    )
    path = Path("evaluations", METHOD, f"{MODEL}.json")
    document = json.loads(path.read_text())
    assert (document["audit"]["pattern"], round(document["audit"]["pattern_share"], 4)) == ("2:4", 0.994)
    Path("models.toml").write_text(
        f"""[[model]]
        checkpoint = "{pruned / "pruned.pt"}"
        method = "LWM_Han2015Learning"
        dataset = "cifar10"
        arch = "resnet8"
        structure = "semi-structured"
        pattern = "2:4"
        sparsity = 0.50
        data_dir = "embedded"
        protocol = "quick"
        n_examples = 4
        attacks = "hofmn"
        """
    )
    assert "1 skipped" in run("eval", "--manifest", "models.toml", "--quiet").stdout
    run("verify", path, "--checkpoint", pruned / "pruned.pt", "--data-dir", "embedded", "--quiet")
    _refuses_what_is_not_so(path, document)
    _is_on_the_page(repository)


def _refuses_what_is_not_so(path, document):
    """Each change of the record is found; the record itself has no problem."""
    layer = document["audit"]["layers"][1]
    groups = layer["weights"] // 4
    cases = [
        ("audit.pattern_share", 1.0, "audit.pattern_share", "1.0 contradicts audit.layers"),
        ("audit.pattern", "1:4", "audit.layers[1].broken_groups", f"0 of {groups} groups contradicts"),
        ("audit.pattern", "4:2", "audit.pattern", "'4:2' is not N:M"),
        ("audit.layers[1].broken_groups", 1, "audit.pattern", "2:4 is not what layer1.0.conv1 follows"),
        ("audit.layers[1].broken_groups", groups + 1, "audit.layers[1].broken_groups", "is not a count of"),
        ("audit.layers[0].broken_groups", 0, "audit.layers[0].broken_groups", "is not a count of no groups"),
    ]
    assert plausibility_problems(path, record_from_json(document)) == []
    for field, value, place, problem in cases:
        found = plausibility_problems(path, record_from_json(changed(document, field, value)))
        assert any(one.field == place and problem in one.problem for one in found), (field, value, found)
    missing = changed(document, "audit.pattern")
    assert plausibility_problems(path, record_from_json(missing))[0].problem.startswith("give a pattern such as 2:4")
    other = record_from_json({**document, "structure": "unstructured", "model_key": MODEL.replace("_SS_", "_US_")})
    assert "none with another structure" in plausibility_problems(path, other)[0].problem


def _is_on_the_page(repository):
    """The method page says that the pattern was measured, and that the model does not rank."""
    from tests.site.conftest import page_text, site_facts

    shutil.copytree(repository / "entries", "entries")
    facts = site_facts(load_catalogue(Path()))
    page = page_text(facts, f"methods/{METHOD}.md")
    assert "2:4, measured; not ranked" in page
    stated = page.partition("multiply-accumulates have a non-zero weight. ")[2].partition("</p>")[0]
    assert stated == "Pattern 2:4, measured: layers with 99.40 % of the weights follow it; left dense: conv1, linear."
    assert "2:4, measured; not ranked" in page_text(facts, "results.md")
