"""Masks learned from training images: each criterion with the class that learns it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from apsite.baselines.criteria import bcs, hgm, lis, relwm, solwm
from apsite.baselines.criteria.scoring import LearnedCriterion
from apsite.baselines.criteria.terms import BaselineCriterion
from apsite.baselines.pruning import Masks
from apsite.baselines.training import Recipe, recipe_of, train
from apsite.evaluation.runs.run_state import RunState
from apsite.progress import Reporter
from apsite.vocabulary import Locality, Objective

LEARNERS: Mapping[BaselineCriterion, type[LearnedCriterion]] = {
    BaselineCriterion.LIS: lis.WeightImportance,
    BaselineCriterion.SOLWM: solwm.Admm,
    BaselineCriterion.RELWM: relwm.Lasso,
    BaselineCriterion.HGM: hgm.WeightGradients,
    BaselineCriterion.BCS: bcs.Rewiring,
    BaselineCriterion.FILTER_LIS: lis.ChannelImportance,
    BaselineCriterion.FILTER_HGM: hgm.ChannelGradients,
}
"""What learns each criterion that takes training images."""


def search_recipe(criterion: BaselineCriterion, options: Mapping[str, Any]) -> Recipe:
    """How a criterion is learned, from options as :func:`apsite.baselines.training.recipe_of` takes them.

    Without an option it is the fast single-step training, for the epochs and the learning rate of the criterion.
    """
    given = {name: value for name, value in options.items() if value is not None}
    usual = {
        "objective": Objective.AT_FAST, "epochs": criterion.epochs, "learning_rate": criterion.learning_rate,
    }  # fmt: skip
    return recipe_of(usual | given)


def learned_masks(
    network: nn.Module, criterion: BaselineCriterion, locality: Locality, sparsity: float,
    images: NDArray[np.uint8], labels: NDArray[np.int64], recipe: Recipe, *, device: torch.device | None = None,
    precision: str = "auto", state: RunState | None = None, save_every: float = 60.0, reporter: Reporter | None = None,
) -> tuple[Masks, float]:  # fmt: skip
    """Masks of a criterion that is learned from images, and the seconds that it took.

    The weights of `network` are as before if the criterion only scores them; else they are those that it has trained.
    The other arguments are those of :func:`apsite.baselines.training.train`, and so are the errors.
    """
    learner = LEARNERS[criterion](locality, sparsity)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    seconds = train(
        network, images, labels, recipe, device=device, precision=precision, state=state, save_every=save_every,
        reporter=reporter, learner=learner,
    )  # fmt: skip
    if learner.keeps_weights:
        network.load_state_dict(before)
    return learner.masks(), seconds
