"""What criteria learned from images have in common: scores of weights or of channels, and the masks of the highest."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from apsite.baselines.channels import channel_groups
from apsite.baselines.learning import Learner
from apsite.baselines.pruning import Masks, channel_masks, kept_channels, prunable_weights, weight_masks, written_means
from apsite.vocabulary import Locality


class LearnedCriterion(Learner):
    """A learner whose scores make masks of an exact size, of the whole network or of each layer."""

    def __init__(self, locality: Locality, sparsity: float) -> None:
        self.locality, self.sparsity = locality, sparsity

    def attach(self, network: nn.Module, generator: torch.Generator) -> None:
        """Begin with a network."""
        super().attach(network, generator)
        self.weights = prunable_weights(network)

    def gradient(self, name: str) -> Tensor:
        """Gradient of the loss by a weight; zero if the loss does not depend on it."""
        weight = self.weights[name]
        return torch.zeros_like(weight) if weight.grad is None else weight.grad

    @abstractmethod
    def masks(self) -> Masks:
        """Masks of the network by what was learned."""


class WeightCriterion(LearnedCriterion):
    """A criterion of single weights."""

    @abstractmethod
    def scores(self) -> dict[str, Tensor]:
        """Score of each weight, by name; the highest stay."""

    def masks_of(self, scores: Mapping[str, Tensor]) -> Masks:
        """Masks of the highest scores."""
        return weight_masks(scores, self.locality, self.sparsity)

    def masks(self) -> Masks:
        """Masks of the highest scores, weights that are zero already first to go."""
        weights = prunable_weights(self.network)
        scores = {name: score.cpu() for name, score in self.scores().items()}
        return self.masks_of({name: one.masked_fill(weights[name] == 0, -torch.inf) for name, one in scores.items()})


class ChannelCriterion(LearnedCriterion):
    """A criterion of coupled filters."""

    def attach(self, network: nn.Module, generator: torch.Generator) -> None:
        """Begin with a network.

        Raises:
            NetworkError: If its channels cannot be followed.
        """
        super().attach(network, generator)
        self.groups = channel_groups(network)

    @abstractmethod
    def scores(self) -> list[Tensor]:
        """Score of each channel of each group; the highest stay."""

    def written(self, scores: Mapping[str, Tensor]) -> list[Tensor]:
        """Mean score over the weights that write each channel."""
        return written_means(self.groups, scores)

    def kept(self) -> list[Tensor]:
        """Channels of the highest scores, for each group."""
        return kept_channels(self.groups, self.scores(), self.locality, self.sparsity)

    @staticmethod
    def columns(stays: Tensor, weight: Tensor) -> Tensor:
        """Mask of a weight that reads the channels, to be broadcast; a flattened map has several columns each."""
        repeated = stays.to(weight.device).repeat_interleave(weight.shape[1] // len(stays))
        return repeated.view(1, -1, *(1 for _ in weight.shape[2:]))

    def masks(self) -> Masks:
        """Masks of the kept channels."""
        return channel_masks(self.network, self.groups, [stays.cpu() for stays in self.kept()])
