"""The training recipe: masks are kept, attacks stay in the ball, runs can be repeated."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from apsite.baselines.criteria.magnitude import lamp_scores
from apsite.baselines.pruning import global_masks, prunable_weights
from apsite.baselines.training import (
    OBJECTIVES,
    Recipe,
    adversarial_images,
    augment,
    learning_rates,
    resolve_precision,
    train,
)
from apsite.errors import EvaluationError
from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.evaluation.runs.run_state import RunState
from apsite.progress import Reporter
from apsite.vocabulary import Dataset, Objective
from tests.evaluation_fixtures import Listening

SHORT = Recipe(epochs=2, peak_learning_rate=0.05, steps=2, step_size=6 / 255, batch_size=16, seed=3)


def fresh():
    torch.manual_seed(0)
    return layouts()["resnet8"].build(Dataset.CIFAR10)


@pytest.fixture
def network():
    return fresh()


def run(network, images, **options):
    train(network, images.images[:64], images.labels[:64], SHORT, **options)


def test_training_under_a_mask_keeps_every_pruned_weight_at_zero(network, images):
    masks = global_masks(lamp_scores(prunable_weights(network)), 0.9)
    before = {name: value.detach().clone() for name, value in prunable_weights(network).items()}
    run(network, images, masks=masks)
    for name, value in prunable_weights(network).items():
        assert torch.equal(value == 0, ~masks[name])
        assert not torch.equal(value, before[name] * masks[name])
    assert not network.training


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_same_seed_gives_the_same_network(images, objective):
    """Two runs with one seed end with equal weights, another seed with others."""
    recipe = replace(SHORT, objective=objective, steps=1, epochs=1)
    ends = []
    for seed in (3, 3, 4):
        network = fresh()
        train(network, images.images[:32], images.labels[:32], replace(recipe, seed=seed))
        ends.append(network.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert not torch.equal(ends[0]["conv1.weight"], ends[2]["conv1.weight"])


class Interrupting(Reporter):
    def __init__(self, after):
        self.after = after

    def advance(self, done, note=""):
        if done == self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", [2, 4, 7])
def test_an_interrupted_run_ends_like_one_that_was_not(images, tmp_path, after):
    """Within the first epoch, at its end and in the second: the same weights, under a mask."""
    whole, parts = fresh(), fresh()
    masks = global_masks(lamp_scores(prunable_weights(whole)), 0.9)
    run(whole, images, masks=masks)
    with RunState(tmp_path, {"run": after}) as state:
        with pytest.raises(KeyboardInterrupt):
            run(parts, images, masks=masks, state=state, save_every=0, reporter=Interrupting(after))
        again = fresh()
        run(again, images, masks=masks, state=state, save_every=0)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())


def test_a_run_that_is_trained_is_not_trained_again(images, tmp_path):
    """When what comes after it fails, on a full disk for example, the weights are still there."""
    whole, again, reporter = fresh(), fresh(), Listening()
    with RunState(tmp_path, {"run": 0}) as state:
        run(whole, images, state=state, save_every=1e9)
        run(again, images, state=state, reporter=reporter)
    assert reporter.steps == []
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_is_that_of_the_paper(images, objective):
    """Madry et al. and Wong et al.: the cross-entropy of attacked images. Zhang et al., equation 5: that of clean
    images, and beta times the divergence of the probabilities of attacked images from theirs."""
    recipe = replace(SHORT, objective=objective, epochs=1, steps=1, trades_beta=5.0)
    reporter = Listening()
    train(fresh(), images.images[:16], images.labels[:16], recipe, precision="float32", reporter=reporter)
    random = torch.Generator().manual_seed(recipe.seed)
    order = torch.randperm(16, generator=random)
    x, y = torch.from_numpy(images.images[:16])[order].float() / 255, torch.from_numpy(images.labels[:16])[order]
    x = augment(x, random).contiguous(memory_format=torch.channels_last)
    start = torch.empty_like(x)
    if objective is Objective.TRADES:
        start.normal_(0, 0.001, generator=random)
    else:
        start.uniform_(-recipe.epsilon, recipe.epsilon, generator=random)
    network = fresh().to(memory_format=torch.channels_last).eval().requires_grad_(False)
    attacked = adversarial_images(network, x, y, recipe, start, torch.float32)
    p = network.train()(x).double().softmax(1)
    q = network(attacked).double().softmax(1)
    robust = q if objective is not Objective.TRADES else p
    expected = -robust[range(16), y].log().mean()
    if objective is Objective.TRADES:
        expected = expected + 5 * (p * (p.log() - q.log())).sum(1).mean()
    stated = float(reporter.lines[0].partition("loss ")[2].partition(",")[0])
    assert stated == pytest.approx(float(expected), abs=1e-4)


def test_progress_is_reported(network, images):
    reporter = Listening()
    run(network, images, reporter=reporter)
    assert reporter.steps == list(range(1, 9))
    assert [line.partition(":")[0] for line in reporter.lines] == ["epoch 1", "epoch 2"]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_adversarial_images_stay_in_the_ball_and_raise_the_loss(network, images, objective):
    """The attack used in training respects the budget and [0, 1], and makes the loss larger."""
    recipe = replace(SHORT, objective=objective, steps=1 if objective is Objective.AT_FAST else 3)
    x, y = torch.from_numpy(images.images[:16]).float() / 255, torch.from_numpy(images.labels[:16])
    network.eval().requires_grad_(False)
    start = torch.empty_like(x).normal_(0, 0.001, generator=torch.Generator().manual_seed(0))
    attacked = adversarial_images(network, x, y, recipe, start, torch.float32)
    assert float((attacked - x).abs().max()) <= SHORT.epsilon + 1e-6
    assert 0 <= float(attacked.min()) <= float(attacked.max()) <= 1
    clean, logits = network(x), network(attacked)
    if objective is Objective.TRADES:
        begun = network((x + start).clamp(0, 1))
        apart = [
            torch.nn.functional.kl_div(one.log_softmax(1), clean.softmax(1), reduction="sum") for one in (begun, logits)
        ]
        assert apart[1] > 10 * apart[0]
    else:
        loss = torch.nn.functional.cross_entropy
        assert loss(logits, y) > loss(clean, y)


def test_the_learning_rate_goes_up_and_down_in_straight_lines():
    """One cycle: 4 % of the peak at first, the peak after 30 %, almost zero at the end."""
    rates = learning_rates(Recipe(epochs=10, peak_learning_rate=0.2, steps=1), 10)
    assert rates[0] == pytest.approx(0.2 / 25)
    assert max(rates) == rates[29] == pytest.approx(0.2)
    assert rates[-1] < 1e-5
    assert all(a < b for a, b in pairwise(rates[:30]))
    assert all(a > b for a, b in pairwise(rates[29:]))


def test_mixed_precision_is_chosen_where_the_device_has_it(monkeypatch):
    """Emulated bfloat16 is many times slower than float32."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    assert resolve_precision("auto", torch.device("cpu")) is torch.float32
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": True})
    assert resolve_precision("auto", torch.device("cpu")) is torch.bfloat16
    assert resolve_precision("float32", torch.device("cpu")) is torch.float32
    with pytest.raises(EvaluationError, match="'half' is not one of auto, float32, bfloat16"):
        resolve_precision("half", torch.device("cpu"))


def test_float32_is_not_tf32(network, images, monkeypatch):
    """torch lets GPUs of NVIDIA round the factors of convolutions to 10 bits unless it is told not to."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    seen = set()
    network.register_forward_hook(lambda *_: seen.add(torch.backends.cudnn.allow_tf32))
    train(network, images.images[:16], images.labels[:16], replace(SHORT, epochs=1, steps=1))
    assert seen == {False}
    assert torch.backends.cudnn.allow_tf32


def test_mixed_precision_trains_too(network, images):
    recipe = replace(SHORT, epochs=1, steps=1)
    train(network, images.images[:16], images.labels[:16], recipe, precision="bfloat16")
    assert all(value.dtype is torch.float32 and bool(value.isfinite().all()) for value in network.parameters())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"objective": Objective.AT_FAST}, "AT-Fast takes a single step, not 2"),
        ({"objective": Objective.MART}, "objective MART is not one of AT-PGD, TRADES, AT-Fast"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"train_samples": 0}, "train_samples must be at least 1, not 0"),
        ({"trades_beta": 0}, "trades_beta must be positive, not 0"),
        ({"peak_learning_rate": 0}, "peak_learning_rate must be positive"),
    ],
)
def test_wrong_recipes_are_refused(settings, reason):
    with pytest.raises(EvaluationError, match=reason):
        replace(SHORT, **settings)


def test_a_diverging_run_says_so(network, images):
    with pytest.raises(EvaluationError, match="choose a lower --learning-rate"):
        train(network, images.images[:64], images.labels[:64], replace(SHORT, peak_learning_rate=1e30))


def test_more_images_than_there_are_is_an_error(network, images):
    for count in (65, 8):
        with pytest.raises(EvaluationError, match="in batches of 16; there are 64, and at least one batch"):
            train(network, images.images[:64], images.labels[:64], replace(SHORT, train_samples=count))


def test_augmentation_only_shifts_and_flips():
    """Every augmented image is a shifted, perhaps mirrored copy of its own image on a black border."""
    x = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for image, augmented in zip(x, augment(x, torch.Generator().manual_seed(1)), strict=True):
        padded = torch.nn.functional.pad(image, (4, 4, 4, 4))
        shifts = [padded[:, top : top + 32, left : left + 32] for top in range(9) for left in range(9)]
        assert any(torch.equal(augmented, shift) or torch.equal(augmented, shift.flip(2)) for shift in shifts)


def test_images_are_not_changed(network, images):
    before = np.array(images.images[:64])
    run(network, images)
    assert np.array_equal(images.images[:64], before)
