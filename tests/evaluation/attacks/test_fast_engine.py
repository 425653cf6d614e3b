"""The fast engine: the reference's verdicts in exact mode, and verdicts that nothing but the sample decides."""

import numpy as np
import pytest
import torch
from pyautoattack.fab_projections import projection_linf

from apsite.evaluation.attacks.autoattack import ReferenceEngine, is_adversarial
from apsite.evaluation.attacks.execution import CountedNetwork, as_inputs
from apsite.evaluation.attacks.fast import apgd, fab, square
from apsite.evaluation.attacks.fast.engine import FastEngine
from apsite.evaluation.attacks.fast.fab import project_linf
from apsite.evaluation.attacks.fast.noise import BatchNoise, SampleNoise
from apsite.evaluation.attacks.fast.rows import note_fooled
from apsite.evaluation.attacks.fast.square import QUERIES, square_side
from apsite.evaluation.attacks.simplification import simplified
from apsite.vocabulary import Attack
from tests.evaluation_fixtures import TinyNetwork

CPU = torch.device("cpu")
EPSILON = 8 / 255
FRAGILE = slice(0, 1)
"""Of the samples of `problem`, one that every attack breaks."""
FEW_STEPS = 8


@pytest.fixture(scope="module")
def problem(images):
    """The demonstration network and three images that it classifies correctly, not all of them robust."""
    from apsite.evaluation.checkpoints.loading import load_network
    from apsite.evaluation.runs.demonstration import network_path

    network = CountedNetwork(load_network(network_path(), architecture="resnet8"))
    x, y = as_inputs(images.images[:24], CPU), torch.from_numpy(images.labels[:24])
    index = (network(x).argmax(1) == y).nonzero().squeeze(1)[:3]
    return network, x[index], y[index], index.tolist()


@pytest.fixture(scope="module")
def quick_problem(images):
    """A tiny network and six images with the classes that it gives them, some of them robust at 1/255."""
    network = CountedNetwork(TinyNetwork())
    x = as_inputs(images.images[:6], CPU)
    return network, x, network(x).argmax(1), list(range(6))


def engines(network, epsilon=EPSILON, **options):
    return (ReferenceEngine(network, epsilon, 0, CPU), FastEngine(network, epsilon, 0, rows=64, **options))


@pytest.mark.parametrize(
    ("named", "epsilon"), [("quick_problem", 1 / 255), pytest.param("problem", EPSILON, marks=pytest.mark.slow)]
)
def test_flags_after_every_stage_equal_the_reference_in_exact_mode(named, epsilon, request):
    network, x, y, index = request.getfixturevalue(named)
    reference, ours = engines(network, epsilon, exact=True)
    robust = torch.ones(len(x), dtype=torch.bool)
    broken_by = {}
    for attack in Attack:
        left = robust.nonzero().squeeze(1)
        theirs = is_adversarial(network, x[left], reference.perturb(attack, x[left], y[left], []), y[left], epsilon)
        chosen = [index[int(position)] for position in left]
        mine = is_adversarial(network, x[left], ours.perturb(attack, x[left], y[left], chosen), y[left], epsilon)
        assert torch.equal(theirs, mine), attack
        robust[left[theirs]] = False
        broken_by[attack] = int(theirs.sum())
    assert broken_by[Attack.APGD_CE] > 0
    assert robust.any()


@pytest.mark.parametrize("attack", [Attack.APGD_CE, Attack.APGD_T, Attack.FAB_T])
def test_images_equal_the_reference_in_exact_mode(problem, attack, monkeypatch):
    """Not only the verdicts: every adversarial image, to rounding, for the attacks that follow gradients.

    FAB is compared after a few steps: its projection sums in another order, and a hundred steps make more of that.
    """
    network, *samples, index = problem
    x, y = (values[FRAGILE] for values in samples)
    reference, ours = engines(network, exact=True)
    monkeypatch.setattr(fab, "STEPS", FEW_STEPS)
    monkeypatch.setattr(reference._suite.fab, "n_iter", FEW_STEPS)
    theirs, mine = reference.perturb(attack, x, y, []), ours.perturb(attack, x, y, index[FRAGILE])
    assert not torch.equal(theirs, x)
    assert float((theirs - mine).abs().max()) < 1e-5


@pytest.mark.parametrize("attack", [Attack.APGD_CE, Attack.APGD_T])
@pytest.mark.parametrize("lanes", [1, 2])
def test_a_verdict_depends_on_neither_batch_nor_order_nor_lanes(problem, attack, lanes):
    network, x, y, index = problem
    surrogate = CountedNetwork(simplified(network.network, x).network)
    whole = FastEngine(network, EPSILON, 0, rows=64, surrogate=surrogate, lanes=lanes)
    small = FastEngine(network, EPSILON, 0, rows=18, surrogate=surrogate)
    flags = is_adversarial(network, x, whole.perturb(attack, x, y, index), y, EPSILON)
    turned = torch.arange(len(x) - 1, -1, -1)
    again = small.perturb(attack, x[turned], y[turned], [index[int(position)] for position in turned])
    assert torch.equal(is_adversarial(network, x[turned], again, y[turned], EPSILON)[turned], flags)


@pytest.mark.parametrize("attack", list(Attack))
def test_looking_seldom_changes_no_verdict(problem, attack, monkeypatch):
    """As on a GPU, where fooled samples stay in the batch until the next look, and are not lost."""
    network, x, y, index = problem
    engine = FastEngine(network, EPSILON, 0, rows=64)
    monkeypatch.setattr(fab, "STEPS", FEW_STEPS)
    monkeypatch.setattr(square, "QUERIES", 150)
    flags = is_adversarial(network, x, engine.perturb(attack, x, y, index), y, EPSILON)
    for module in (apgd, fab, square):
        monkeypatch.setattr(module, "look_every", lambda device: 7)
    assert torch.equal(is_adversarial(network, x, engine.perturb(attack, x, y, index), y, EPSILON), flags)
    assert flags.any() or attack is Attack.SQUARE


@pytest.mark.parametrize("attack", list(Attack))
@pytest.mark.parametrize("engine_of", [ReferenceEngine, FastEngine])
def test_attacks_on_a_linear_network_fail_below_the_distance_and_succeed_above(
    one_boundary, grey_images, attack, engine_of
):
    """A budget of 0.9 of the exact distance breaks nothing; 1.2 of it (3 for the black-box attack) everything."""
    labels = one_boundary(grey_images).argmax(1)
    exact = one_boundary.distances(grey_images, labels)
    for factor, expected in ((0.9, False), (3.0 if attack is Attack.SQUARE else 1.2, True)):
        for position in exact.argsort()[20 : 21 if engine_of is ReferenceEngine else 24]:  # that one takes long
            x, y, epsilon = grey_images[position, None], labels[position, None], float(exact[position]) * factor
            option = {"rows": 16} if engine_of is FastEngine else {"device": CPU}
            engine = engine_of(CountedNetwork(one_boundary), epsilon, 0, **option)
            perturbed = engine.perturb(attack, x, y, [int(position)])
            assert bool(is_adversarial(one_boundary, x, perturbed, y, epsilon)) is expected


@pytest.mark.parametrize(("earlier", "closest", "gradients", "expected"), [
    (1.51, 1.51, (1.0, 2.0), True),
    (1.51, 1.49, (1.0, 2.0), False),
    (9.0, 8.11, (1.0, 2.0), True),
    (9.0, 8.09, (1.0, 2.0), False),
    (np.inf, 9.0, (1.0, 2.0), False),
    (np.inf, np.inf, (1.0, 2.0), False),
    (9.0, 9.0, (1.0, 19.9), True),
    (9.0, 9.0, (1.0, 20.1), False),
    (9.0, 9.0, (2.0, 0.0), False),
    (9.0, 9.0, (0.0, 0.0), False),
    (9.0, 9.0, (1.0, np.nan), False),
])  # fmt: skip
def test_a_row_is_hopeless_if_far_away_and_settled_with_gradients_that_never_vanish(
    earlier, closest, gradients, expected
):
    """Never if it came a tenth nearer, or if a gradient was below a twentieth of another: it is masked."""
    first, second = map(torch.tensor, gradients)
    distances = torch.tensor(closest * EPSILON), torch.tensor(earlier * EPSILON)
    assert (
        bool(fab.hopeless(*distances, torch.minimum(first, second), torch.maximum(first, second), EPSILON)) is expected
    )


class Saturated(torch.nn.Module):
    """Outputs whose differences have no gradient left far from the boundary, and the signs of the logits' own."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return torch.tanh(40 * self.network(x))


def test_fab_drops_the_rows_that_are_too_far_away(many_boundaries, grey_images):
    """On a linear network distances are known: results stay, and samples within reach lose no row of their class."""
    x = grey_images[:24]
    labels = many_boundaries(x).argmax(1)
    exact = many_boundaries.distances(x, labels)
    counts, flags, passes = {}, {}, {}
    network, index = CountedNetwork(many_boundaries), list(range(len(labels)))
    for drop in (True, False):
        for factor in (0.01, 0.6, 1.2):
            engine = FastEngine(network, float(exact.median()) * factor, 0, rows=64, drop_rows=drop)
            perturbed = engine.perturb(Attack.FAB_T, x, labels, index)
            flags[drop, factor] = many_boundaries(perturbed).argmax(1) != labels
            counts[drop, factor] = engine.dropped_rows
            taken = network.take_passes()
            passes[drop, factor] = taken.forward + taken.backward
    assert all(torch.equal(flags[True, factor], flags[False, factor]) for factor in (0.01, 0.6, 1.2))
    assert [counts[False, factor] for factor in (0.01, 0.6, 1.2)] == [0, 0, 0]
    beyond = int((exact > float(exact.median()) * 0.01 * 1.5).sum())
    assert counts[True, 0.01] == 2 * beyond
    assert counts[True, 0.01] > counts[True, 0.6] > counts[True, 1.2]
    assert passes[True, 0.01] < 0.35 * passes[False, 0.01]


def test_dropped_rows_depend_on_the_row_alone(many_boundaries, grey_images, monkeypatch):
    """The same count in any batches and lanes, and with other rows that leave them sooner or later."""
    x = grey_images[:24]
    labels = many_boundaries(x).argmax(1)
    epsilon = float(many_boundaries.distances(x, labels).median()) * 0.6
    network, index = CountedNetwork(many_boundaries), list(range(len(labels)))

    def dropped(chosen=slice(None), **options):
        engine = FastEngine(network, epsilon, 0, **({"rows": 64} | options))
        engine.perturb(Attack.FAB_T, x[chosen], labels[chosen], index[chosen])
        return engine.dropped_rows

    whole = dropped()
    assert whole > 0
    assert dropped(rows=18) == dropped(lanes=2) == dropped(slice(0, 9)) + dropped(slice(9, None)) == whole
    monkeypatch.setattr(fab, "look_every", lambda device: 7)
    assert dropped() == whole


def test_no_row_is_dropped_where_gradients_vanish_or_the_mode_is_exact(one_boundary, grey_images):
    labels = one_boundary(grey_images).argmax(1)
    for network, options, expected in (
        (one_boundary, {}, True), (one_boundary, {"exact": True}, False), (Saturated(one_boundary), {}, False),
    ):  # fmt: skip
        engine = FastEngine(CountedNetwork(network), 1e-4, 0, rows=64, **options)
        engine.perturb(Attack.FAB_T, grey_images[:8], labels[:8], list(range(8)))
        assert (engine.dropped_rows > 0) is expected


def test_a_failed_attack_returns_the_clean_image(one_boundary, grey_images):
    x = grey_images[:2]
    engine = FastEngine(CountedNetwork(one_boundary), 1e-6, 0, rows=16)
    assert torch.equal(engine.perturb(Attack.APGD_CE, x, one_boundary(x).argmax(1), [0, 1]), x)


def test_an_adversarial_image_is_that_of_one_row():
    """Several targets that succeed in one step do not mix their pixels, however many threads write."""
    owner = torch.arange(40).repeat_interleave(9)
    points = torch.arange(360.0).view(-1, 1, 1, 1).expand(-1, 3, 96, 96).contiguous()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for _ in range(5):
            found, adversarial = torch.zeros(41, dtype=torch.bool), torch.zeros(41, 3, 96, 96)
            note_fooled(owner, points, found, adversarial)
            assert torch.equal(adversarial[:40], points[::9])
            assert found.tolist() == [True] * 40 + [False]
    finally:
        torch.set_num_threads(before)


def test_projection_equals_the_reference_and_reaches_the_plane():
    """Moves are the reference's to rounding, stay in the box, and reach the plane wherever that is possible."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(200, 60, generator=generator)
    normals = torch.randn(200, 60, generator=generator)
    normals[:, :5] = 0
    shift = torch.randn(200, generator=generator) * torch.logspace(-3, 2, 200)
    offsets = (normals * points).sum(1) + shift
    moves = project_linf(points, normals, offsets)
    assert torch.allclose(moves, projection_linf(points, normals, offsets), atol=1e-5)
    moved = points + moves
    assert -1e-6 <= float(moved.min()) <= float(moved.max()) <= 1 + 1e-6
    room = torch.where((normals > 0) == (shift[:, None] > 0), 1 - points, points)
    possible = (normals.abs() * room).sum(1) > shift.abs()
    assert possible.any()
    assert not possible.all()
    assert torch.allclose((normals * moved).sum(1)[possible], offsets[possible], atol=1e-4)


def test_squares_shrink_on_the_published_schedule():
    sides = [square_side(query, 32) for query in range(QUERIES)]
    assert sides[0] == 29
    assert sides[11] == 20
    assert sides[-1] == round((0.8 / 128 * 1024) ** 0.5)
    assert sides == sorted(sides, reverse=True)


def test_queries_ahead_are_the_same_queries(problem, monkeypatch):
    """Several queries of a sample in one pass: fewer passes, the same points in the end, those of each sample alone."""
    network, x, y, _ = problem
    monkeypatch.setattr(square, "QUERIES", 120)
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 1, 32), (120, 2), (120, 3))
    draws = [torch.rand(len(x), *shape, generator=generator) for shape in shapes]

    def attacked(chosen: slice, rows: int) -> tuple[torch.Tensor, int]:
        calls = []
        network.listener = calls.append
        found, reached = torch.zeros(len(y[chosen]), dtype=torch.bool), x[chosen].clone()
        # So large a budget that something is found, and the image says which queries were accepted.
        parts = (values[chosen] for values in draws)
        square.square_attack(network, x[chosen], y[chosen], *parts, 4 * EPSILON, found, reached, rows)
        network.listener = None
        assert found.any()
        return reached, len(calls)

    one_by_one, slow = attacked(slice(None), 1)
    ahead, quick = attacked(slice(None), 64)
    assert torch.equal(ahead, one_by_one)
    assert quick < slow
    alone, _ = attacked(FRAGILE, 64)
    assert torch.equal(alone, one_by_one[FRAGILE])


def test_draws_of_a_sample_do_not_depend_on_the_others():
    noise = SampleNoise(0)
    together = noise.uniform(Attack.APGD_T, 3, [5, 9, 2], (4,))
    assert torch.equal(noise.uniform(Attack.APGD_T, 3, [9], (4,))[0], together[1])
    for other in (
        noise.uniform(Attack.APGD_CE, 3, [9], (4,)),
        noise.uniform(Attack.APGD_T, 4, [9], (4,)),
        SampleNoise(1).uniform(Attack.APGD_T, 3, [9], (4,)),
    ):
        assert not torch.equal(other[0], together[1])
    assert 0 <= float(together.min()) <= float(together.max()) < 1


def test_exact_draws_are_those_of_the_official_code():
    torch.manual_seed(7)
    expected = torch.rand(2, 3)
    assert np.array_equal(BatchNoise(7).uniform(Attack.SQUARE, 0, [0, 1], (3,)), expected)
