"""The repository's own series: records, checkpoints and costs belong together, and the counts are exact."""

import hashlib

import pytest

from apsite.evaluation.loading import load_network
from apsite.evaluation.networks.registry import layouts
from apsite.evaluation.pruning import kept_count, prunable_weights
from apsite.evaluation.series import REPORT, read_series
from apsite.json_files import read_json
from apsite.samples import read_samples
from apsite.vocabulary import Structure

MAX_BYTES = 5_000_000


@pytest.fixture(scope="module")
def series(repository, benchmark_data):
    """The series of the small network."""
    return read_series(repository / "baselines/resnet8.toml", lambda key: benchmark_data.resolve(key).key)


def test_every_network_of_the_series_is_evaluated_on_the_same_images(series, benchmark_data, repository):
    """Thirteen records with per-sample results, all of these settings, none of which ranks."""
    indices = set()
    for key in (series.dense, *(one.key for one in series.prunings)):
        record = benchmark_data.records[str(key)]
        assert not record.protocol.ranks
        assert record.settings["n_examples"] == series.settings.n_examples
        assert record.settings["search_trials"] == series.settings.trials
        samples = read_samples(repository / "evaluations" / record.path.with_suffix(".npz"))
        assert samples.aa_robust is not None
        assert samples.distance is not None
        indices.add(tuple(samples.index.tolist()))
    assert indices == {tuple(range(series.settings.n_examples))}


def test_the_stored_checkpoints_are_those_that_were_evaluated(series, benchmark_data):
    """By their hashes; together they are small."""
    total = 0
    for key in (series.dense, *(one.key for one in series.prunings)):
        content = series.checkpoint(key).read_bytes()
        total += len(content)
        record = benchmark_data.records[str(key)]
        assert record.checkpoint.sha256 == hashlib.sha256(content).hexdigest(), key
        assert record.checkpoint.url == f"{series.checkpoint_url}/{key}.safetensors"
    assert total < MAX_BYTES


def test_their_sparsity_is_exact(series):
    """To the weight globally and in every layer, to the channel for filters; half precision has made no zero."""
    total = sum(weight.numel() for weight in prunable_weights(layouts()["resnet8"].build("cifar10")).values())
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


def test_fine_tuning_made_every_network_more_robust(series, benchmark_data):
    """Against the same network before it. Half precision, in which they are stored and evaluated, changes up to 11 of
    10,000 predictions: of networks near chance, whose classes are close to each other."""
    models = read_json(series.folder / REPORT)["models"]
    for one in series.prunings:
        model, record = models[str(one.key)], benchmark_data.records[str(one.key)]
        assert model["before"]["autoattack"] < record.robust_accuracy, one.key
        assert model["half"]["predictions_changed"] <= model["half"]["n_samples"] / 500
        assert model["finetuning"]["recipe"]["train_samples"] == series.finetuning.train_samples
