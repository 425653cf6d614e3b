"""Criteria learned from images: known answers, exact sparsities, the same masks by seed and after an interruption."""

import numpy as np
import pytest
import torch
from torch import nn

from apsite.baselines.criteria.learned import LEARNERS, learned_masks, search_recipe
from apsite.baselines.criteria.magnitude import SCORES
from apsite.baselines.criteria.terms import BaselineCriterion
from apsite.baselines.pruning import apply_masks, kept_count, masks_for, prunable_weights
from apsite.evaluation.runs.run_state import RunState
from apsite.progress import Reporter
from apsite.vocabulary import Locality, Objective, Structure
from tests.baselines.test_training import Interrupting
from tests.pretended_device import NAME

LOCAL, GLOBAL = Locality.LOCAL, Locality.GLOBAL
LEARNED = list(LEARNERS)
WEIGHTS = [one for one in LEARNED if one.structure is Structure.UNSTRUCTURED]
FILTERS = [one for one in LEARNED if one.structure is Structure.STRUCTURED]


@pytest.fixture(scope="module")
def brighter():
    """256 plain images of 8 x 8 pixels: class 0 is more red than green, class 1 the opposite; blue says nothing."""
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (256, 3))
    labels = (colours[:, 1] > colours[:, 0]).astype(np.int64)
    return np.broadcast_to(colours[:, :, None, None], (256, 3, 8, 8)).astype(np.uint8), labels


def search(criterion, epochs, learning_rate, **options):
    return search_recipe(
        criterion, {"epochs": epochs, "learning_rate": learning_rate, "epsilon": "2/255", "step_size": "2/255",
                    "batch_size": 32, "weight_decay": 0.0, **options},
    )  # fmt: skip


def learned(network, criterion, sparsity, data, recipe, locality=GLOBAL):
    """Masks, in the arithmetic that every machine has."""
    return learned_masks(network, criterion, locality, sparsity, *data, recipe, precision="float32")[0]


def linear():
    """Logits of the mean colour, that of blue with the largest weights although it is noise."""
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        network[2].weight.copy_(torch.tensor([[2.0, -2.0, 3.0], [-2.0, 2.0, -3.0]]))
    return network


def test_the_magnitude_removes_what_is_useful():
    """The other way round than the criteria that look at the loss."""
    assert masks_for(linear(), BaselineCriterion.LWM, GLOBAL, 1 / 3)["2.weight"][:, 2].all()


@pytest.mark.parametrize(
    ("criterion", "epochs", "rate"),
    [
        (BaselineCriterion.LIS, 10, 0.5),
        (BaselineCriterion.SOLWM, 20, 0.5),
        (BaselineCriterion.RELWM, 20, 0.5),
        (BaselineCriterion.BCS, 80, 1.0),
    ],
)
def test_the_useless_input_of_a_linear_model_is_removed(brighter, criterion, epochs, rate):
    masks = learned(linear(), criterion, 1 / 3, brighter, search(criterion, epochs, rate))
    assert masks["2.weight"].tolist() == [[True, True, False]] * 2


def test_weights_without_gradient_go_first(brighter):
    """A unit that is never active has none, however large its weights."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        network[2].weight.abs_()
        network[2].weight[1], network[2].bias[1], network[4].weight[:, 1] = 9.0, -1e3, 9.0
    masks = learned(network, BaselineCriterion.HGM, 0.25, brighter, search(BaselineCriterion.HGM, 1, 0.1))
    assert masks["2.weight"].tolist() == [[row != 1] * 3 for row in range(4)]
    assert masks["4.weight"].tolist() == [[True, False, True, True]] * 2


def filters():
    """Three filters, of which the largest reads blue and the others red and green."""
    network = nn.Sequential(
        nn.Conv2d(3, 3, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2, bias=False)
    )
    with torch.no_grad():
        network[0].weight.copy_(torch.diag(torch.tensor([0.9, 1.0, 2.0]))[:, :, None, None])
        network[4].weight.copy_(torch.tensor([[2.0, -2.0, 1.0], [-2.0, 2.0, -1.0]]))
    return network


def test_the_useless_filter_is_removed_by_its_score(brighter):
    for criterion, expected in ((BaselineCriterion.FILTER_LIS, [True, True, False]),
                                (BaselineCriterion.FILTER_L1, [False, True, True])):  # fmt: skip
        if criterion.learned:
            masks = learned(filters(), criterion, 1 / 3, brighter, search(criterion, 10, 0.5), LOCAL)
        else:
            masks = masks_for(filters(), criterion, LOCAL, 1 / 3)
        assert masks["0.weight"].flatten(1).all(1).tolist() == expected
        assert masks["4.weight"].all(0).tolist() == expected


def test_the_filter_without_gradient_goes_first(brighter):
    """One whose output no later layer reads."""
    network = filters()
    with torch.no_grad():
        network[0].weight[1] = -5.0  # never active behind the rectifier
    recipe = search(BaselineCriterion.FILTER_HGM, 1, 0.1)
    masks = learned(network, BaselineCriterion.FILTER_HGM, 1 / 3, brighter, recipe, LOCAL)
    assert masks["0.weight"].flatten(1).all(1).tolist() == [True, False, True]


class Residual(nn.Module):
    """Two convolutions whose filters are added, and a third."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(n, 8, 3, 1, 1, bias=False) for n in (3, 8, 8))
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(3))
        self.last = nn.Linear(8, 10)

    def forward(self, x):
        x = self.norms[0](self.first(x)).relu()
        y = self.norms[1](self.second(x)).relu()
        return self.last((self.norms[2](self.third(y)) + x).relu().mean((2, 3)))


FILTERS_OF_IT = 24


def small():
    torch.manual_seed(0)
    return Residual()


SHORT = {"epochs": 4, "learning_rate": 0.5, "batch_size": 16}


def run(criterion, locality, images, sparsity=0.75, seed=3, **options):
    """Masks of a small network, and the network itself."""
    network, recipe = small(), search_recipe(criterion, SHORT | {"seed": seed})
    some = images.images[:32, :, ::4, ::4].copy(), images.labels[:32]
    options = {"precision": "float32", "save_every": 0, **options}
    masks, _ = learned_masks(network, criterion, locality, sparsity, *some, recipe, **options)
    return masks, network


def equal(one, other):
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("criterion", WEIGHTS)
def test_the_sparsity_is_exact_in_each_layer_or_in_the_whole(criterion, images):
    local, network = run(criterion, LOCAL, images, 0.93)
    assert {name: int(mask.sum()) for name, mask in local.items()} == {
        name: kept_count(weight.numel(), 0.93) for name, weight in prunable_weights(network).items()
    }
    whole, network = run(criterion, GLOBAL, images, 0.93)
    total = sum(weight.numel() for weight in prunable_weights(network).values())
    assert sum(int(mask.sum()) for mask in whole.values()) == kept_count(total, 0.93)
    apply_masks(network, whole)
    assert all(torch.equal(weight != 0, whole[name]) for name, weight in prunable_weights(network).items())


@pytest.mark.parametrize("criterion", FILTERS)
@pytest.mark.parametrize("locality", Locality)
def test_coupled_filters_go_together_to_the_exact_count(criterion, locality, images):
    masks, network = run(criterion, locality, images, 0.75)
    assert {name: mask.shape for name, mask in masks.items()} == {
        name: mask.shape for name, mask in masks_for(network, BaselineCriterion.FILTER_L1, locality, 0.75).items()
    }
    apply_masks(network, masks)
    filters = [
        module.weight.detach().flatten(1).any(1) for module in network.modules() if isinstance(module, nn.Conv2d)
    ]
    assert sum(int(one.sum()) for one in filters) == kept_count(FILTERS_OF_IT, 0.75)


@pytest.mark.parametrize("criterion", LEARNED)
def test_the_seed_decides_about_the_masks(criterion, images):
    """The same one gives the same masks; of three others at least one gives other masks."""
    first, again, *others = (run(criterion, GLOBAL, images, seed=seed)[0] for seed in (3, 3, 4, 5, 6))
    assert equal(first, again)
    assert not all(equal(first, other) for other in others)


@pytest.mark.parametrize("criterion", LEARNED)
def test_an_interrupted_search_ends_like_one_that_was_not(criterion, images, tmp_path):
    whole, network = run(criterion, GLOBAL, images)
    with RunState(tmp_path, {}) as state:
        with pytest.raises(KeyboardInterrupt):
            run(criterion, GLOBAL, images, state=state, reporter=Interrupting(3))
        parts, resumed = run(criterion, GLOBAL, images, state=state)
    assert equal(whole, parts)
    assert equal(network.state_dict(), resumed.state_dict())


@pytest.mark.parametrize("criterion", LEARNED)
def test_an_accelerator_gives_the_masks_of_the_cpu(criterion, images):
    """One that computes as the CPU does, and refuses what mixes its tensors with those of the CPU."""
    assert equal(run(criterion, LOCAL, images)[0], run(criterion, LOCAL, images, device=torch.device(NAME))[0])


@pytest.mark.parametrize("criterion", LEARNED)
def test_a_criterion_that_only_scores_leaves_the_network_as_it_was(criterion, images):
    """Weights and statistics of batch norm; the others hand over the weights that they have trained."""
    _, network = run(criterion, GLOBAL, images)
    assert equal(network.state_dict(), small().state_dict()) == LEARNERS[criterion].keeps_weights
    assert not network.training


class Counting(Reporter):
    """Counts the weights that are not zero after each step."""

    def __init__(self, network):
        self.network, self.counts = network, []

    def advance(self, done, note=""):
        self.counts.append([int((weight != 0).sum()) for weight in prunable_weights(self.network).values()])


@pytest.mark.parametrize("locality", Locality)
def test_sampling_never_changes_how_many_connections_there_are(locality, images):
    """Of each layer, or of the whole network, where layers exchange them."""
    network = small()
    some, counting = images.images[:64, :, ::4, ::4].copy(), Counting(network)
    recipe = search_recipe(BaselineCriterion.BCS, SHORT)
    learned_masks(network, BaselineCriterion.BCS, locality, 0.75, some, images.labels[:64], recipe, reporter=counting)
    sizes = [weight.numel() for weight in prunable_weights(network).values()]
    assert len(counting.counts) == 16
    if locality is LOCAL:
        assert counting.counts == [[kept_count(size, 0.75) for size in sizes]] * 16
    else:
        assert {sum(counts) for counts in counting.counts} == {kept_count(sum(sizes), 0.75)}
        assert len({tuple(counts) for counts in counting.counts}) > 1


@pytest.mark.parametrize("criterion", [BaselineCriterion.SOLWM, BaselineCriterion.RELWM])
def test_what_will_be_pruned_shrinks_during_the_training(criterion, brighter):
    """The useless weights, which are the largest at first, end far below the others."""
    network = linear()
    learned(network, criterion, 1 / 3, brighter, search(criterion, 20, 0.5))
    weights = network[2].weight.detach().abs()
    assert float(weights[:, 2].max()) < 0.1 * float(weights[:, :2].min())


def test_every_criterion_of_the_survey_is_implemented():
    """What is learned has a learner, what reads the weights alone a score; the epochs are those of the table."""
    assert set(LEARNERS) == {one for one in BaselineCriterion if one.learned}
    assert set(SCORES) | {BaselineCriterion.FILTER_L1} == set(BaselineCriterion) - set(LEARNERS)
    for one in LEARNERS:
        recipe = search_recipe(one, {"epochs": None})
        assert (recipe.objective, recipe.epochs) == (Objective.AT_FAST, one.epochs)
        assert 1 <= recipe.epochs <= 3
    assert {one.term.value for one in BaselineCriterion if one.term} == {
        "LWM", "SOLWM", "RELWM", "LIS", "HGM", "BCS",
    }  # fmt: skip
