"""`--protocol paper`: the search takes the first samples, and HO-FMN is counted over the others."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from apsite.cli.tables import result_table
from apsite.errors import EvaluationError
from apsite.evaluation.runs import runner
from apsite.evaluation.runs.demonstration import request
from apsite.evaluation.runs.evaluate import run_request
from apsite.evaluation.runs.run_state import RunState
from apsite.evaluation.runs.search_parts import WORST, search_batches
from apsite.metrics import robust_flags
from apsite.progress import Reporter
from apsite.protocol import Preset, SearchBatch, Settings
from apsite.records import read_record
from apsite.samples import read_samples
from apsite.validation import plausibility_problems, recounted, samples_problems
from apsite.vocabulary import Dataset, Protocol

SHORT = Settings.of(
    Preset.PAPER, trials=3, search_samples=4, search_steps=3, attack_steps=5, n_examples=20, attacks=("hofmn",)
)


def test_the_preset_is_the_surveys():
    paper = Settings.of(Preset.PAPER)
    assert (paper.left_out, Settings().left_out) == (2048, 0)
    changed = {"preset": Preset.APB_1, "search_batch": SearchBatch.FIXED, "fixed_configuration": True}
    assert dataclasses.replace(paper, **changed) == Settings()
    assert paper.protocol(Dataset.CIFAR10, 10_000) is Protocol.CUSTOM
    assert (
        dataclasses.replace(Settings(), search_batch=SearchBatch.ROTATING).protocol(Dataset.CIFAR10, 10_000)
        is Protocol.CUSTOM
    )
    assert paper.as_scalars(Dataset.CIFAR10)["search_batch"] == "rotating"
    with pytest.raises(EvaluationError, match="search_batch 'other' is not one of fixed, rotating"):
        Settings(search_batch="other")


def test_each_trial_takes_the_next_samples(demo_network, images, tmp_path, monkeypatch):
    """Every trial attacks the correctly classified ones of its own four samples; all twelve are marked."""
    seen = []

    def watched(clean, settings):
        tuning, batch = search_batches(clean, settings)

        def seeing(number):
            seen.append(batch(number))
            return seen[-1]

        return tuning, seeing

    monkeypatch.setattr(runner, "search_batches", watched)
    with RunState(tmp_path, {}) as state:
        outcome = runner.run(demo_network, images.first(20), SHORT, state, torch.device("cpu"), Reporter())
    clean = outcome.samples.clean_correct
    expected = [np.arange(4 * trial, 4 * trial + 4)[clean[4 * trial : 4 * trial + 4]] for trial in range(3)]
    assert [list(batch) for batch in seen] == [list(batch) for batch in expected]
    assert np.array_equal(outcome.samples.tuning, np.arange(20) < 12)
    assert ((outcome.samples.distance > 0) == clean).all()


def test_a_record_counts_the_other_samples_and_validates(tmp_path):
    """HO-FMN is a share of the eight samples that the search did not take; the recount agrees."""
    base = dataclasses.replace(request(tmp_path, 20), settings=SHORT)
    evaluation = run_request(base)
    record, path = evaluation.record, evaluation.path
    samples = read_samples(path.with_suffix(".npz"))
    assert len(samples) == 20
    assert record.hofmn_samples == 8
    assert record.results.hofmn.robust_accuracy == robust_flags(samples.distance[12:], 8 / 255).mean()
    assert record.protocol is Protocol.CUSTOM
    assert read_record(path).leaves_out_tuning
    assert samples_problems(path, record)[0] == []
    assert plausibility_problems(path, record) == []
    assert any("12 searched samples left out" in str(cell) for cell in result_table(record).columns[0].cells)
    claimed = dataclasses.replace(record, settings={**record.settings, "search_batch": "fixed"})
    assert claimed.hofmn_samples == 20
    counted = {field: (stated, count) for field, stated, count in recounted(claimed, samples)}
    assert counted["results.attacks[hofmn].robust_accuracy"][1] == robust_flags(samples.distance, 8 / 255).mean()


def test_a_ranking_record_cannot_leave_samples_out(tmp_path):
    """The setting means nothing in a record that claims apb-1: its figures must count every sample."""
    record = run_request(dataclasses.replace(request(tmp_path, 20), settings=SHORT)).record
    claimed = dataclasses.replace(record, protocol=Protocol.APB_1)
    assert not claimed.leaves_out_tuning
    assert claimed.hofmn_samples == 20


@pytest.mark.parametrize("count", [11, 12])
def test_too_few_samples_are_refused_at_once(tmp_path, count):
    """If the search took every sample, nothing would be left to count."""
    settings = dataclasses.replace(SHORT, n_examples=count)
    with pytest.raises(EvaluationError, match=r"takes the first 12 samples.*there are only 1[12]"):
        run_request(dataclasses.replace(request(tmp_path, count), settings=settings))
    assert not list(tmp_path.rglob("*.json.*"))


def test_a_trial_without_a_correct_sample_counts_as_the_worst(demo_network, images, tmp_path):
    """It says nothing about its configuration; if no searched sample is correct, that is an error."""
    labels = images.labels.copy()
    clean = demo_network(torch.from_numpy(images.images[:20]).float() / 255).argmax(1).numpy()
    labels[:20] = clean
    labels[:4] = (labels[:4] + 1) % 10
    chosen = dataclasses.replace(images, labels=labels).first(20)
    with RunState(tmp_path / "a", {}) as state:
        outcome = runner.run(demo_network, chosen, SHORT, state, torch.device("cpu"), Reporter())
    assert outcome.trials[0].objective == WORST
    assert outcome.trials[1].objective < WORST
    labels[:12] = (clean[:12] + 1) % 10
    chosen = dataclasses.replace(images, labels=labels).first(20)
    with RunState(tmp_path / "b", {}) as state, pytest.raises(EvaluationError, match="none of the first 12 samples"):
        runner.run(demo_network, chosen, SHORT, state, torch.device("cpu"), Reporter())
