"""The memory format of the attacked network: one for a whole run, chosen by a trial only where that is worth it."""

import numpy as np
import pytest
import torch
from torch import nn

from apsite.evaluation.attacks import memory_formats
from apsite.evaluation.attacks.fmn import FmnParameters
from apsite.evaluation.attacks.memory_formats import FormatChoice, MemoryFormat, fastest, format_choice, measured
from apsite.evaluation.attacks.simplification import simplified
from apsite.evaluation.runs.run_state import RunState
from apsite.evaluation.runs.runner import run
from apsite.evaluation.runs.worker import Call, LabelledImages, Work, Worker
from apsite.progress import Reporter
from apsite.protocol import Precision, Settings
from apsite.vocabulary import Attack, AttackName

CPU, GPU = torch.device("cpu"), torch.device("cuda")
LAST, CONTIGUOUS = MemoryFormat.CHANNELS_LAST, MemoryFormat.CONTIGUOUS
SETTINGS = Settings(
    trials=1, search_samples=4, search_steps=2, attack_steps=3, batch_size=16, attacks=(AttackName.HOFMN,)
)


@pytest.mark.parametrize(
    ("device", "precision", "agreed", "choice"),
    [
        (CPU, Precision.FLOAT32, None, FormatChoice(LAST, 64)), (CPU, Precision.BF16, None, FormatChoice(LAST)),
        (GPU, Precision.FLOAT32, None, FormatChoice(CONTIGUOUS)), (GPU, Precision.TF32, None, FormatChoice(LAST)),
        (GPU, Precision.BF16, None, FormatChoice(LAST)), (CPU, Precision.FLOAT32, CONTIGUOUS, FormatChoice(CONTIGUOUS)),
        (GPU, Precision.TF32, CONTIGUOUS, FormatChoice(CONTIGUOUS)),
    ],
)  # fmt: skip
def test_only_float32_on_a_cpu_is_tried_and_only_once_a_run(device, precision, agreed, choice):
    assert format_choice(device, precision, 64, agreed) == choice


@pytest.mark.parametrize(
    ("last", "contiguous", "chosen"), [(1.0, 0.85, CONTIGUOUS), (1.0, 0.95, LAST), (1.0, 2.0, LAST), (None, None, LAST)]
)
def test_only_a_clear_gain_departs_from_the_usual_format(last, contiguous, chosen):
    times = {} if last is None else {LAST: last, CONTIGUOUS: contiguous}
    assert fastest(times, LAST) is chosen


def test_a_trial_times_both_formats_and_changes_nothing(monkeypatch, demo_network):
    """On the number of images of a batch, with the threads of the caller left as they are."""
    threads, x = torch.get_num_threads(), torch.rand(3, 3, 32, 32)
    monkeypatch.setattr(memory_formats, "WORTH_A_TRIAL", 0.0)
    times = measured(demo_network, x, FormatChoice(LAST, 5))
    assert list(times) == [LAST, CONTIGUOUS]
    assert all(0 < seconds < float("inf") for seconds in times.values())
    assert all(value.is_contiguous() for value in demo_network.state_dict().values())
    assert torch.get_num_threads() == threads
    assert measured(demo_network, x, FormatChoice(LAST)) == {}


def test_a_small_network_is_worth_no_trial():
    assert measured(nn.Sequential(nn.Flatten(), nn.Linear(12, 10)), torch.rand(1, 3, 2, 2), FormatChoice(LAST, 2)) == {}


def test_a_network_that_cannot_use_a_format_gets_the_other_one():
    """Maps that are flattened with .view need the usual order; the trial never chooses what gives other logits."""

    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Linear(144, 10)

        def forward(self, x):
            return self.last(self.conv(x).roll(1, 1).view(x.size(0), -1))

    network = Flat().eval().requires_grad_(False)
    for usual in MemoryFormat:
        assert simplified(network, torch.rand(2, 3, 8, 8), choice=FormatChoice(usual)).memory_format is CONTIGUOUS


def test_the_log_and_the_record_state_the_choice_and_the_trial(monkeypatch, demo_network):
    monkeypatch.setattr(memory_formats, "WORTH_A_TRIAL", 0.0)
    found = simplified(demo_network, torch.rand(2, 3, 32, 32), choice=FormatChoice(LAST, 4))
    stated = found.as_scalars()
    assert stated["memory_format"] == found.memory_format.value
    assert stated["memory_format_trial"].startswith("4 images: channels_last ")
    assert found.remarks == [
        f"memory format {found.memory_format}; CPU time of a forward and a gradient pass: {found.timed}"
    ]


def test_all_workers_and_resumed_parts_have_the_format_of_the_first_worker(tmp_path, demo_network, images):
    """Whatever a trial would say now."""
    given, chosen = [], images.first(8)

    def pool(worker):
        given.append(worker.simplified.memory_format)
        raise KeyboardInterrupt

    with RunState(tmp_path, {}) as state:
        state.put("memory-format", value=CONTIGUOUS.value)
        with pytest.raises(KeyboardInterrupt):
            run(demo_network, chosen, SETTINGS, state, CPU, Reporter(), workers=pool)
        outcome = run(demo_network, chosen, SETTINGS, state, CPU, Reporter())
    assert given == [CONTIGUOUS] == [outcome.simplified.memory_format]
    assert outcome.simplified.timed == ""


def test_results_are_the_same_in_both_formats(demo_network, images):
    """But for rounding: robust flags are equal, and distances to half a grey level."""
    some = images.first(8)
    samples = LabelledImages(some.images[:], some.labels, np.arange(8))
    workers = [Worker(demo_network, samples.images, SETTINGS.on("cpu"), 2 / 255, CPU, each) for each in MemoryFormat]
    parameters = FmnParameters(learning_rate=8 / 255, momentum=0.5, weight_decay=0.01, dampening=0.1)
    distances = Call(Work.DISTANCES, samples, trials=(parameters,), steps=10)
    assert [worker.simplified.memory_format for worker in workers] == list(MemoryFormat)
    flags = [worker.run(Call(Work.ATTACK, samples, Attack.APGD_CE)).values for worker in workers]
    assert np.array_equal(*flags)
    assert np.allclose(*(worker.run(distances).values for worker in workers), atol=0.5 / 255)
