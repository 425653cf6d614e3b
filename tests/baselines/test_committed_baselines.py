"""The repository's own series: records, checkpoints and costs belong together, and the counts are exact."""

import hashlib
from dataclasses import asdict, astuple, replace

import numpy as np
import pytest
import torch

from apsite.baselines.finetuning import prune
from apsite.baselines.pruning import kept_count, prunable_weights, zero_masks
from apsite.baselines.series import REPORT
from apsite.baselines.series_file import read_series
from apsite.documents.json_files import read_json
from apsite.evaluation.checkpoints.audit import audit_network
from apsite.evaluation.checkpoints.loading import load_network
from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.protocol import Sample
from apsite.records import LayerAudit
from apsite.records.ranked_images import drawn_images
from apsite.samples import read_samples
from apsite.vocabulary import Dataset, Structure

MAX_BYTES = 5_000_000


@pytest.fixture(scope="module", params=["resnet8", "criteria"])
def whole_series(request, repository, benchmark_data):
    return read_series(repository / f"baselines/{request.param}.toml", lambda key: benchmark_data.resolve(key).key)


@pytest.fixture(scope="module")
def series(whole_series):
    """The part whose checkpoints are committed: a series that takes days is committed as it grows."""
    made = tuple(one for one in whole_series.prunings if whole_series.checkpoint(one.key).exists())
    return replace(whole_series, prunings=made)


@pytest.fixture(scope="module")
def recorded(series, benchmark_data):
    """Records of its networks; those of another series may have taken their place."""
    found = [benchmark_data.records[key] for key in series.models if key in benchmark_data.records]
    return [record for record in found if (record.checkpoint.url or "").startswith(f"{series.checkpoint_url}/")]


def test_every_network_of_the_series_is_evaluated_on_the_same_images(series, recorded, repository):
    indices = set()
    for record in recorded:
        settings = series.settings_of(record.key)
        # A model that is to have the whole set has the sample of the others until that run is done.
        whole = settings.n_examples is None and record.protocol.ranks
        assert record.protocol.ranks is whole
        assert record.settings["n_examples"] == (None if whole else series.settings.n_examples)
        assert record.settings["search_trials"] == settings.trials
        samples = read_samples(repository / "evaluations" / record.path.with_suffix(".npz"))
        assert samples.aa_robust is not None
        assert samples.distance is not None
        if whole:
            assert samples.index.tolist() == list(range(Dataset.CIFAR10.test_samples))
        else:
            assert record.settings.get("sample", Sample.FIRST) == series.settings.sample
            indices.add(tuple(samples.index.tolist()))
    random = series.settings.sample is Sample.RANDOM
    count = series.settings.n_examples
    assert indices <= {tuple(drawn_images(Dataset.CIFAR10, count).tolist()) if random else tuple(range(count))}


def test_the_report_has_the_plan_of_the_series(whole_series):
    planned = read_json(whole_series.folder / REPORT).get("planned")
    expected = {str(key): whole_series.settings_of(key).n_examples for key in whole_series.keys}
    assert planned == expected or (planned is None and whole_series.path.stem == "resnet8")  # older than plans


def test_the_stored_checkpoints_are_those_that_were_evaluated(series, recorded):
    for record in recorded:
        content = series.checkpoint(record.key).read_bytes()
        assert record.checkpoint.sha256 == hashlib.sha256(content).hexdigest(), record
        assert record.checkpoint.url == f"{series.checkpoint_url}/{record.key}.safetensors"
    assert sum(path.stat().st_size for path in series.folder.glob("*")) < MAX_BYTES


def test_their_sparsity_is_exact(series):
    """To the weight globally and in every layer, to the channel for filters; half precision has made no zero."""
    total = sum(weight.numel() for weight in prunable_weights(layouts()["resnet8"].build(Dataset.CIFAR10)).values())
    for one in series.prunings:
        weights = prunable_weights(load_network(series.checkpoint(one.key), architecture="resnet8"))
        left = {name: int((weight != 0).sum()) for name, weight in weights.items()}
        if one.key.structure is Structure.STRUCTURED:
            for name, weight in weights.items():
                if name != "linear.weight":
                    channels = int((weight.detach().flatten(1) != 0).any(1).sum())
                    assert channels == kept_count(len(weight), one.key.sparsity), (one.key, name)
        elif one.locality.value == "global":
            assert sum(left.values()) == kept_count(total, one.key.sparsity), one.key
        else:
            for name, weight in weights.items():
                assert left[name] == kept_count(weight.numel(), one.key.sparsity), (one.key, name)


def test_an_audit_confirms_their_records(series, recorded):
    for record in recorded:
        network = load_network(series.checkpoint(record.key), architecture="resnet8")
        stated = replace(record.audit, sparsity_basis=None)
        audit = audit_network(network, torch.zeros(1, 3, 32, 32))
        if stated.layers[0].kind is None:  # older than the census
            audit = replace(audit, layers=tuple(LayerAudit(*astuple(layer)[:7]) for layer in audit.layers))
        assert audit == stated, record


def test_the_masks_are_those_of_pruning_the_dense_network(series, tmp_path):
    """Fine-tuning has changed no mask: pruning the stored dense network again gives the zeros of every stored one."""
    for one in series.prunings:
        if one.search is not None:  # learned on training images
            continue
        path = tmp_path / f"{one.key}.safetensors"
        dense = replace(series.source, checkpoint=series.checkpoint(series.dense))
        prune(dense, one.criterion, one.locality, one.key.sparsity, path)
        again, stored = (load_network(file, architecture="resnet8") for file in (path, series.checkpoint(one.key)))
        expected, found = zero_masks(again), zero_masks(stored)
        assert set(found) == set(expected)
        assert all(torch.equal(found[name], mask) for name, mask in expected.items()), one.key


def test_fine_tuning_made_every_network_more_robust(series, recorded, repository):
    """Against the same network before it, on the same images."""
    if not series.prunings:
        return
    models = read_json(series.folder / REPORT)["models"]
    records = {record.model_key: record for record in recorded}
    for one in series.prunings:
        model = models[str(one.key)]
        if str(one.key) not in records:
            continue
        samples = read_samples(repository / f"evaluations/{one.key.method}/{one.key}.npz")
        count = series.settings.n_examples
        drawn = drawn_images(Dataset.CIFAR10, count) if series.settings.sample is Sample.RANDOM else np.arange(count)
        same = samples.aa_robust[np.isin(samples.index, drawn[: model["before"]["n_samples"]])]
        assert len(same) == model["before"]["n_samples"]
        one_class = model["before"]["clean_accuracy"] == model["before"]["autoattack"]
        if one.search is None and not one_class:  # a learned criterion has trained already
            assert model["before"]["autoattack"] < same.mean(), one.key
        assert model["finetuning"]["recipe"] == asdict(series.finetuning)
        assert model["finetuning"]["precision"] == series.precision
        assert model["finetuning"]["threads"] == series.threads


def test_the_guide_says_what_half_precision_changes(repository):
    reports = [read_json(path)["models"] for path in sorted((repository / "baselines").glob(f"*/{REPORT}"))]
    halves = [model["half"] for models in reports for model in models.values() if "half" in model]
    changed = [half["predictions_changed"] for half in halves]
    assert {half["n_samples"] for half in halves} == {10_000}
    guide = (repository / "docs/baselines-guide.md").read_text(encoding="utf-8")
    assert f"it changes between {min(changed)} and {max(changed)} of 10,000 clean predictions" in guide
