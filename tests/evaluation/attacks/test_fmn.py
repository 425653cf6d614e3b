"""FMN: exact distances on linear networks, and what it must never do."""

import math

import pytest
import torch
from torch import nn

from apsite.errors import NetworkError
from apsite.evaluation.attacks.fmn import FmnParameters, distances, dlr_margin, fmn_attack, worst_norms

GENTLE = FmnParameters(learning_rate=8 / 255, momentum=0.5, weight_decay=0.01, dampening=0.0)


@pytest.mark.parametrize("rate", [8 / 255, 0.3, 1.0, 10.0])
@pytest.mark.parametrize("steps", [100, 200])
def test_distances_on_a_linear_network_are_the_closed_form_ones(one_boundary, grey_images, rate, steps):
    labels = one_boundary(grey_images).argmax(1)
    assert set(labels.tolist()) == {0, 1}
    exact = one_boundary.distances(grey_images, labels)
    adversarial, found = fmn_attack(
        one_boundary, grey_images, labels, [FmnParameters(rate, 0.5, 0.01, 0.1)] * len(labels), steps
    )
    ratio = distances(grey_images, adversarial, found) / exact
    assert found.all()
    assert 1 <= float(ratio.min()) <= float(ratio.max()) < 1.01


def test_distances_to_the_nearest_of_several_boundaries(many_boundaries, grey_images):
    """With three classes in reach no distance lands before the nearest boundary, and the median is within 1 % of it."""
    labels = many_boundaries(grey_images).argmax(1)
    adversarial, found = fmn_attack(many_boundaries, grey_images, labels, [GENTLE] * len(labels), 100)
    ratio = distances(grey_images, adversarial, found) / many_boundaries.distances(grey_images, labels)
    assert float(ratio.min()) >= 1
    assert float(ratio.median()) < 1.01


def test_adversarial_images_are_misclassified_and_inside_the_box(demo_network, images):
    x = torch.from_numpy(images.images[:32]).float() / 255
    labels = demo_network(x).argmax(1)
    adversarial, found = fmn_attack(demo_network.requires_grad_(False), x, labels, [GENTLE] * len(labels), 30)
    assert found.float().mean() > 0.9
    assert (demo_network(adversarial[found]).argmax(1) != labels[found]).all()
    assert 0 <= float(adversarial.min()) <= float(adversarial.max()) <= 1
    expected = (adversarial - x).abs().amax(dim=(1, 2, 3))[found]
    assert torch.equal(distances(x, adversarial, found)[found], expected)


class Constant(nn.Module):
    """Always the same logits, with a gradient of zero: no attack can break it."""

    def forward(self, x):
        return torch.tensor([[2.0, 1.0, 0.0]]).expand(len(x), 3) + 0 * x.flatten(1).sum(1, keepdim=True)


def test_a_failed_attack_is_never_a_success():
    """Nothing found means infinite distance and the image itself, not distance zero."""
    x = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    adversarial, found = fmn_attack(Constant(), x, torch.zeros(5, dtype=torch.int64), [GENTLE] * 5, 10)
    assert not found.any()
    assert torch.equal(adversarial, x)
    assert distances(x, adversarial, found).tolist() == [math.inf] * 5


def test_more_steps_do_not_need_a_further_perturbation(many_boundaries, grey_images):
    labels = many_boundaries(grey_images).argmax(1)
    medians = []
    for steps in (20, 200):
        adversarial, found = fmn_attack(many_boundaries, grey_images, labels, [GENTLE] * len(labels), steps)
        medians.append(float(distances(grey_images, adversarial, found).median()))
    assert medians[1] <= medians[0]


def test_channels_last_images_are_projected_all_the_same(demo_network, images):
    x = torch.from_numpy(images.images[:8]).float() / 255
    labels = demo_network(x).argmax(1)
    network = demo_network.requires_grad_(False)
    plain = distances(x, *fmn_attack(network, x, labels, [GENTLE] * len(labels), 20))
    other = x.to(memory_format=torch.channels_last)
    assert torch.allclose(
        plain, distances(other, *fmn_attack(network, other, labels, [GENTLE] * len(labels), 20)), atol=1e-5
    )


def test_dlr_margin_is_positive_exactly_where_the_class_is_right():
    """The margin is signed, blind to scale and shift, and one for the largest logit against a tie of the rest."""
    logits = torch.tensor([[3.0, 1.0, 0.0], [1.0, 3.0, 0.0], [5.0, 1.0, 1.0]])
    labels = torch.tensor([0, 0, 0])
    margin = dlr_margin(logits, labels)
    assert margin.tolist() == pytest.approx([2 / 3, -2 / 3, 1.0])
    assert torch.allclose(dlr_margin(logits * 7 + 3, labels), margin)


def test_two_logits_are_refused():
    with pytest.raises(NetworkError, match="at least 3"):
        dlr_margin(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))


def test_worst_norm_is_the_far_end_of_the_box():
    assert worst_norms(torch.full((2, 3, 2, 2), 0.3)).tolist() == pytest.approx([0.7, 0.7])
