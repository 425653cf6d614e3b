"""The reference engine: the flags of `pyautoattack` itself, verified, with nothing of the caller's changed."""

import numpy as np
import pytest
import torch

from apsite.errors import NetworkError
from apsite.evaluation.attacks.autoattack import ReferenceEngine, is_adversarial
from apsite.evaluation.attacks.execution import CountedNetwork
from apsite.evaluation.runs.run_state import RunState
from apsite.evaluation.runs.runner import run
from apsite.progress import Reporter
from apsite.protocol import Settings
from apsite.vocabulary import Attack

CPU = torch.device("cpu")
EPSILON = 8 / 255


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 64])
def test_flags_equal_those_of_pyautoattack_called_directly(demo_network, images, tmp_path, count):
    from pyautoattack import AutoAttack

    chosen = images.first(count)
    settings = Settings(attacks=("autoattack",), batch_size=64, seed=0, engine="reference")
    with RunState(tmp_path, {"test": "parity"}) as state:
        ours = run(demo_network, chosen, settings, state, CPU, Reporter()).samples
    x = torch.from_numpy(chosen.images).float() / 255
    y = torch.from_numpy(chosen.labels)
    theirs = AutoAttack(demo_network, norm="Linf", eps=EPSILON, seed=0, version="standard", device="cpu")
    adversarial, predicted = theirs.run_standard_evaluation(x, y, batch_size=64)
    assert ours.aa_robust is not None
    assert np.array_equal(ours.aa_robust, (predicted == y).numpy())
    robust_again = (demo_network(adversarial).argmax(1) == y).numpy()
    assert np.array_equal(ours.aa_robust, robust_again)
    assert 0 < int(ours.aa_robust.sum()) < int(ours.clean_correct.sum())


def test_the_random_state_of_the_caller_is_untouched(one_boundary, grey_images):
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    labels = one_boundary(grey_images[:2]).argmax(1)
    engine = ReferenceEngine(CountedNetwork(one_boundary), 0.01, 0, CPU)
    engine.perturb(Attack.APGD_CE, grey_images[:2], labels, [0, 1])
    assert torch.equal(torch.rand(3), expected)


def test_success_needs_the_ball_the_box_and_the_wrong_class(many_boundaries, grey_images):
    """A misclassified image outside the ball or outside [0, 1] is no success, nor is a correct one."""
    labels = many_boundaries(grey_images).argmax(1)
    far = 1 - grey_images
    assert (many_boundaries(far).argmax(1) != labels).any()
    assert not is_adversarial(many_boundaries, grey_images, far, labels, EPSILON).any()
    assert is_adversarial(many_boundaries, grey_images, far, labels, 1.0).any()
    assert not is_adversarial(many_boundaries, grey_images, far + 1, labels, 10.0).any()
    assert not is_adversarial(many_boundaries, grey_images, grey_images, labels, EPSILON).any()


def test_infinite_logits_are_an_error():
    class Broken(torch.nn.Module):
        def forward(self, x):
            return torch.full((len(x), 10), float("nan"))

    x = torch.zeros(1, 3, 4, 4)
    with pytest.raises(NetworkError, match="NaN or infinite"):
        is_adversarial(Broken(), x, x, torch.zeros(1, dtype=torch.int64), EPSILON)
