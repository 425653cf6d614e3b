"""Sparsities with decimals and another ε, from the checkpoint to the pages: shown with a label, and never ranked."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from apsite.baselines.criteria.terms import BaselineCriterion
from apsite.baselines.pruning import apply_masks, masks_for
from apsite.catalogue import load_catalogue
from apsite.comparable import Judge, by_setting, setting_of, unranked
from apsite.evaluation.checkpoints.loading import load_network
from apsite.evaluation.runs.demonstration import network_path
from apsite.samples import read_samples
from apsite.site.charts.curves import leads
from apsite.site.pages import curves, written
from apsite.vocabulary import Locality
from tests.builders import (
    METHOD,
    MODEL,
    RIVAL,
    audit_document,
    changed,
    entry_document,
    measured,
    own_document,
    write_data,
    write_document,
)
from tests.site.conftest import site_facts
from tests.site.synthetic import synthetic_samples, write_synthetic

FINE = f"{METHOD}_R8_CIFAR10_US_93p75"


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """The demonstration's network with 93.75 % of the weights removed, a level of the survey's Table 9."""
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("pruned") / "model.pt"
    network = load_network(network_path(), architecture="resnet8")
    apply_masks(network, masks_for(network, BaselineCriterion.LWM, Locality.GLOBAL, 0.9375))
    torch.save(network.state_dict(), path)
    return path


def test_a_fine_sparsity_and_another_epsilon_go_the_whole_way(run, pruned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path, entry_document())
    declared = ("--arch", "resnet8", "--structure", "unstructured", "--sparsity", "0.9375")
    assert "93.75%, unstructured" in run("audit", pruned, *declared).stdout
    refused = run("audit", pruned, *declared[:-1], "0.9475", code=1)
    assert "declared sparsity is 94.75%" in refused.stderr
    assert "give the right --sparsity (about 0.9375)" in refused.stderr

    options = (*declared, "--method", METHOD, "--dataset", "cifar10", "--data-dir", "embedded", "--n-examples", "2")
    short = ("--protocol", "quick", "--attacks", "hofmn", "--checkpoint-url", "https://example.org/model.pt")
    said = run("eval", pruned, *options, *short, "--epsilon", "2/127", "--quiet").stdout
    assert f"{FINE}: 2 samples, l-inf 2/127" in " ".join(said.split())
    assert "Protocol: custom (ε = 2/127, reduced run, other sparsity: shown, not ranked)" in said
    path = tmp_path / "evaluations" / METHOD / f"{FINE}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["sparsity"]["declared"] == 0.9375
    assert (record["protocol"], record["threat_model"]["epsilon"], record["settings"]["epsilon"]) == (
        "custom", "2/127", "2/127",
    )  # fmt: skip
    found = read_samples(path.with_suffix(".npz"))
    assert record["results"]["attacks"][0]["robust_accuracy"] == np.mean(found.distance > np.float32(2 / 127))
    again = run("eval", pruned, *options, *short, "--epsilon", "4/254", code=1)
    assert "exists already" in again.stderr

    assert run("validate").stdout.endswith(": no problem\n")
    checked = run("submit-check", METHOD).stdout
    assert f"shown, not ranked: {FINE} (ε = 2/127, reduced run, other sparsity)" in checked
    assert "ε 2/127, custom, submitted" in checked
    shown = run("show", METHOD).stdout
    assert "CIFAR-10 ResNet8, ε = 2/127" in shown
    assert "US 93.75 %" in shown
    pages = {page.path: page.text for page in written(site_facts(load_catalogue(tmp_path)))}
    for page in (f"methods/{METHOD}.md", "results.md", "leaderboard.md"):
        assert "ε = 2/127; not ranked" in pages[page], page
    results = pages["results.md"]
    assert f'id="{FINE}"' in results
    assert 'data-sparsity="93.75"' in results
    assert '<input type="checkbox" name="sparsity" value="93.75"> 93.75 %' in results


def test_another_epsilon_works_in_a_manifest(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = f'[[model]]\ncheckpoint = "{network_path()}"\nmethod = "{METHOD}"\ndataset = "cifar10"\narch = "resnet8"\n'
    model += 'structure = "unstructured"\nsparsity = 0.9\n'
    (tmp_path / "bad.toml").write_text(model + "epsilon = 0.03\n")
    refused = run("eval", "--manifest", "bad.toml", code=1)
    assert "epsilon must be a fraction such as '8/255', not 0.03; write '8/255' if that is meant" in refused.stderr
    (tmp_path / "good.toml").write_text(model + 'epsilon = "12/765"\n')
    short = ("--protocol", "quick", "--n-examples", "1", "--attacks", "hofmn", "--data-dir", "embedded", "--quiet")
    run("eval", "--manifest", "good.toml", *short)
    (path,) = tmp_path.glob("evaluations/*/*.json")
    assert json.loads(path.read_text(encoding="utf-8"))["threat_model"]["epsilon"] == "4/255"
    assert "1 skipped" in run("eval", "--manifest", "good.toml", *short).stdout
    other = run("eval", "--manifest", "good.toml", *short, "--epsilon", "8/255", code=1)
    assert "epsilon 4/255 instead of 8/255" in other.stdout


@pytest.mark.parametrize(("share", "accepted"), [(0.995, True), (0.9945, True), (0.991, False)])
def test_the_checks_hold_a_record_to_its_fine_sparsity(run, tmp_path, share, accepted):
    """Of what should remain, 0.5 %, at most half more may be there; 99.1 % passes as 99 %."""
    key = f"{METHOD}_R18_CIFAR10_US_99p5"
    document = own_document(key)
    document["audit"] = audit_document(key, share)
    document["sparsity"] = {"declared": 0.995, "measured": measured(document["audit"])}
    root = write_data(tmp_path, entry_document(), document)
    said = run("validate", "--root", root, code=0 if accepted else 1).stdout
    assert accepted or "sparsity.declared: 0.995 is more than 0.25 points from the measured share" in said


def test_results_at_another_epsilon_are_compared_with_their_like_only(tmp_path):
    """Three models of one method each, two of them at 4/255: a setting has an ε, and no page mixes two."""
    third = "Third_Poe2022Last"
    names = {METHOD: None, RIVAL: "4/255", third: "8/510"}
    write_data(tmp_path, *(entry_document(key) for key in names))
    for seed, (method, epsilon) in enumerate(names.items()):
        key = f"{method}_R18_CIFAR10_US_90"
        document = write_synthetic(tmp_path, key, synthetic_samples(seed), protocol="apb-1")
        if epsilon is not None:
            document = changed(changed(document, "protocol", "custom"), "threat_model.epsilon", epsilon)
            write_document(tmp_path / "evaluations" / method / f"{key}.json", document)
    catalogue = load_catalogue(tmp_path)
    usual, one, two = (catalogue.records[f"{method}_R18_CIFAR10_US_90"] for method in names)
    judge = Judge(catalogue)
    assert [record.epsilon for record in (usual, one, two)] == ["8/255", "4/255", "4/255"]
    assert setting_of(one) == setting_of(two) != setting_of(usual)
    assert judge.between(usual, one) is None
    assert judge.between(one, two) is not None
    assert [record.model_key for group in by_setting(catalogue).values() for record in group] == [MODEL]
    assert unranked(one)[0] == "ε = 4/255"

    facts = site_facts(catalogue)
    settings = curves.settings(catalogue, facts.curves, facts.labels)
    offered = {model.record.method: model for setting in settings for model in setting.models}
    assert [offered[method].usual for method in names] == [True, False, False]
    assert offered[RIVAL].label.endswith(", ε = 4/255")
    assert {stretch.record.model_key for stretch in leads(facts.curves)} == {MODEL}
    (line,) = curves.readout([offered[RIVAL]])
    distances = synthetic_samples(1).distance
    assert line.hofmn == np.mean(distances > np.float32(8 / 255)), "read at the benchmark's ε, as the caption says"
    pages = {page.path: page.text for page in written(facts)}
    compare = pages["compare.md"]
    drawn = r'<td class="ap-compare__result" data-place="\d+" data-method="([^"]*)"[^>]* data-value'
    assert re.findall(drawn, compare) == [METHOD]
    assert "CIFAR-10 ResNet18, ε = 4/255" in pages[f"methods/{RIVAL}.md"]
