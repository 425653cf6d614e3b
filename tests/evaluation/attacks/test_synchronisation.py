"""What the attacks make the host wait for on a GPU, counted on a pretended device: looks, and nothing between them."""

import pytest
import torch

from apsite.evaluation.attacks.autoattack import is_adversarial
from apsite.evaluation.attacks.execution import CountedNetwork
from apsite.evaluation.attacks.fast import apgd, fab, square
from apsite.evaluation.attacks.fast.engine import FastEngine
from apsite.evaluation.attacks.fast.fab import project_linf
from apsite.evaluation.attacks.fast.rows import look_every
from apsite.evaluation.attacks.fmn import FmnParameters, fmn_attack
from apsite.vocabulary import Attack
from tests.evaluation_fixtures import LinearNetwork
from tests.pretended_device import NAME, watched

STEPS = 35
EVERY = look_every(torch.device(NAME))
WAITS_A_LOOK = {Attack.APGD_CE: 4, Attack.APGD_T: 4, Attack.FAB_T: 5, Attack.SQUARE: 5}
"""At most, if a look finds fooled samples and drops rows."""


class Stepped(torch.nn.Module):
    """A network that notes, at each of its passes of one kind, how often the host has waited, and the batch size."""

    def __init__(self, network, log, *, with_gradient):
        super().__init__()
        self.network, self.log, self.with_gradient = network, log, with_gradient
        self.waits, self.rows = [], []

    def forward(self, x):
        if torch.is_grad_enabled() is self.with_gradient:
            self.waits.append(len(self.log.waits))
            self.rows.append(len(x))
        return self.network(x)


@pytest.fixture(scope="module")
def samples(grey_images):
    """A network on the device, ten images with their classes, and an ε between their distances to the boundary."""
    network = LinearNetwork(10, boundaries="many")
    x = grey_images[:10]
    labels = network(x).argmax(1)
    epsilon = float(network.distances(x, labels).median())
    return network, x, labels, epsilon


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(apgd, "STEPS", STEPS)
    monkeypatch.setattr(fab, "STEPS", STEPS)
    monkeypatch.setattr(square, "QUERIES", 4 * STEPS)


@pytest.mark.parametrize("attack", list(Attack))
def test_the_host_waits_at_looks_only_and_shapes_change_there_only(samples, attack):
    network, x, y, epsilon = samples
    here = FastEngine(CountedNetwork(network), epsilon, 0, 128).perturb(attack, x, y, range(10))
    network, x, y = LinearNetwork(10, boundaries="many").to(NAME), x.to(NAME), y.to(NAME)
    with watched() as log:
        stepped = Stepped(network, log, with_gradient=attack is not Attack.SQUARE)
        engine = FastEngine(CountedNetwork(network), epsilon, 0, 128, surrogate=CountedNetwork(stepped))
        perturbed = engine.perturb(attack, x, y, range(10))
    waits = [after - before for before, after in zip(stepped.waits, stepped.waits[1:], strict=False)]
    assert len(waits) > EVERY
    assert max(waits) <= WAITS_A_LOOK[attack]
    looks = set(range(0, len(waits), EVERY))
    assert {number for number, count in enumerate(waits) if count} <= looks
    assert {number for number, rows in enumerate(stepped.rows[1:]) if rows != stepped.rows[number]} <= looks
    broken = is_adversarial(network, x, perturbed, y, epsilon).cpu()
    assert torch.equal(broken, is_adversarial(samples[0], samples[1], here, samples[2], epsilon))
    assert broken.any() or attack is Attack.SQUARE
    assert not broken.all()


def test_fmn_never_lets_the_host_wait(samples):
    network, x, y, _ = samples
    network, x, y = LinearNetwork(10, boundaries="many").to(NAME), x.to(NAME), y.to(NAME)
    parameters = [FmnParameters(0.1, 0.5, 0.01, 0.1)] * len(x)
    with watched() as log:
        stepped = Stepped(network, log, with_gradient=True)
        _, found = fmn_attack(stepped, x, y, parameters, STEPS)
    assert len(set(stepped.waits)) == 1
    assert log.waits[stepped.waits[0] :] == []
    assert bool(found.all())


def test_a_projection_never_lets_the_host_wait():
    """As many rounds as the CPU may need are made unseen; it stops once it has converged."""
    generator = torch.Generator().manual_seed(0)
    points, normals = torch.rand(50, 3072, generator=generator), torch.randn(50, 3072, generator=generator)
    room = torch.where(normals > 0, points, 1 - points)
    share = 1 - torch.logspace(-5, 0, 50)  # of the farthest plane that can be reached, up to all of it
    offsets = (normals * points).sum(1) - share * (normals.abs() * room).sum(1)
    moves = project_linf(points, normals, offsets)
    with watched() as log:
        there = project_linf(points.to(NAME), normals.to(NAME), offsets.to(NAME))
        copies = len(log.waits)
    assert copies == 3
    assert torch.allclose(there.cpu(), moves, atol=1e-6)
