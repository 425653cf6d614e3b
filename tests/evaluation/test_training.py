"""The training recipe: masks are kept, attacks stay in the ball, runs can be repeated."""

import numpy as np
import pytest
import torch

from apsite.evaluation.networks.registry import layouts
from apsite.evaluation.pruning import global_masks, lamp_scores, prunable_weights
from apsite.evaluation.training import Recipe, adversarial_images, augment, train
from apsite.vocabulary import Dataset

SHORT = Recipe(epochs=2, peak_learning_rate=0.05, steps=2, step_size=6 / 255, batch_size=16, seed=3)


@pytest.fixture
def network():
    """An untrained ResNet8."""
    torch.manual_seed(0)
    return layouts()["resnet8"].build(Dataset.CIFAR10)


def run(network, images, **options):
    """Train on the embedded images."""
    return train(network, images.images[:64], images.labels[:64], SHORT, **options)


def test_training_under_a_mask_keeps_every_pruned_weight_at_zero(network, images):
    """After training exactly the masked weights are zero, and the others have moved."""
    masks = global_masks(lamp_scores(prunable_weights(network)), 0.9)
    before = {name: value.detach().clone() for name, value in prunable_weights(network).items()}
    trained = run(network, images, masks=masks)
    for name, value in prunable_weights(trained).items():
        assert torch.equal(value == 0, ~masks[name])
        assert not torch.equal(value, before[name] * masks[name])
    assert not trained.training


def test_the_same_seed_gives_the_same_network(images):
    """Two runs with one seed end with equal weights."""
    ends = []
    for _ in range(2):
        torch.manual_seed(0)
        ends.append(run(layouts()["resnet8"].build(Dataset.CIFAR10), images).state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_progress_is_reported_after_each_epoch(network, images):
    """The report carries epoch, loss and accuracy under attack."""
    reported = []
    run(network, images, report=lambda *values: reported.append(values))
    assert [epoch for epoch, _, _ in reported] == [1, 2]
    assert all(loss > 0 and 0 <= accuracy <= 1 for _, loss, accuracy in reported)


def test_adversarial_images_stay_in_the_ball_and_raise_the_loss(network, images):
    """The attack used in training respects the budget and [0, 1], and makes the loss larger."""
    x, y = torch.from_numpy(images.images[:16]).float() / 255, torch.from_numpy(images.labels[:16])
    network.eval().requires_grad_(False)
    attacked = adversarial_images(network, x, y, SHORT, torch.Generator().manual_seed(0))
    assert float((attacked - x).abs().max()) <= SHORT.epsilon + 1e-6
    assert 0 <= float(attacked.min()) <= float(attacked.max()) <= 1
    loss = torch.nn.functional.cross_entropy
    assert loss(network(attacked), y) > loss(network(x), y)


def test_augmentation_only_shifts_and_flips():
    """Every augmented image is a shifted, perhaps mirrored copy of its own image on a black border."""
    x = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for image, augmented in zip(x, augment(x, torch.Generator().manual_seed(1)), strict=True):
        padded = torch.nn.functional.pad(image, (4, 4, 4, 4))
        shifts = [padded[:, top : top + 32, left : left + 32] for top in range(9) for left in range(9)]
        assert any(torch.equal(augmented, shift) or torch.equal(augmented, shift.flip(2)) for shift in shifts)


def test_images_are_not_changed(network, images):
    """Training reads its data only."""
    before = np.array(images.images[:64])
    run(network, images)
    assert np.array_equal(images.images[:64], before)
