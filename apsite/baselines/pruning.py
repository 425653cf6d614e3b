"""Baseline criteria: which weights or filters a mask keeps.

A criterion scores weights (unstructured) or channels (structured); scores become masks of an exact size. Weights are
those of :func:`prunable_weights`; biases and batch-norm parameters are pruned only where their whole channel is.

How many stay. Of ``n`` weights ``floor(n * (1 - sparsity))`` stay, the ``k`` of the survey's section 2.1. Globally
``n`` counts the weights of all layers together, locally those of each layer, so that every layer has the sparsity.
Filters are counted in the same way, as `apsite audit` counts them: all filters of convolutions.

Coupled filters. Filters whose outputs are added write the same channel, which is gone only when all of them are, so
they are removed together (:mod:`apsite.baselines.channels`). With a removed channel go its filters, the biases and
batch-norm parameters that would keep it from being zero, and the kernels of the next layers that read it, as in Li et
al. 2017. One channel of each group always stays, since a network without a channel gives no output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from apsite.baselines.channels import ChannelGroup, channel_groups
from apsite.baselines.criteria.magnitude import SCORES, lwm_scores
from apsite.baselines.criteria.terms import BaselineCriterion
from apsite.errors import EvaluationError
from apsite.records.patterns import Pattern
from apsite.vocabulary import Locality, Structure

Masks = dict[str, Tensor]
"""Boolean masks by name in the state dict, ``True`` where a value stays."""


def masks_for(
    network: nn.Module, criterion: BaselineCriterion, locality: Locality, sparsity: float, seed: int = 0
) -> Masks:
    """Masks that prune a dense network by a criterion, with `seed` for random scores.

    Every layer, or only the whole network, reaches the sparsity, a fraction in [0, 1). For a criterion that is learned
    from images (:mod:`apsite.baselines.criteria`) they are masks by magnitude, of the same sizes and errors.

    Raises:
        EvaluationError: If LAMP is asked to be local, or a layer would have nothing left.
        NetworkError: If filters are to be removed and the network's channels cannot be followed.
        ValueError: If `sparsity` is outside [0, 1).
    """
    check_locality(criterion, locality)
    if criterion.structure is Structure.STRUCTURED:
        return filter_masks(network, locality, sparsity)
    scores = SCORES.get(criterion, SCORES[BaselineCriterion.LWM])
    return weight_masks(scores(prunable_weights(network), seed), locality, sparsity)


def pattern_masks(network: nn.Module, pattern: Pattern) -> Masks:
    """Masks that keep the N weights of largest magnitude in every group of M along the input dimension.

    The first convolution, the last linear layer, layers whose input dimension is not divisible by M and layers of other
    kinds stay dense.
    Groups are those of :mod:`apsite.records.patterns`; of equal magnitudes the first stays.

    Source: Mishra et al., *Accelerating Sparse Deep Neural Networks*, 2021.
    """
    weights = prunable_weights(network)
    first = next((name for name, weight in weights.items() if weight.dim() > 2), None)
    last = next((name for name, weight in reversed(weights.items()) if weight.dim() == 2), None)
    known = (name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear))
    pruned = {f"{name}.weight" for name in known} - {first, last}
    masks: Masks = {}
    for name, weight in weights.items():
        masks[name] = torch.ones(weight.shape, dtype=torch.bool)
        if name not in pruned or weight.shape[1] % pattern.group:
            continue
        magnitudes = weight.detach().abs().movedim(1, -1)
        groups = magnitudes.reshape(-1, pattern.group)
        largest = torch.sort(groups, descending=True, stable=True).indices[:, : pattern.kept]
        stays = torch.zeros(groups.shape, dtype=torch.bool).scatter_(1, largest, True)
        masks[name] = stays.view(magnitudes.shape).movedim(-1, 1)
    return masks


def check_locality(criterion: BaselineCriterion, locality: Locality) -> None:
    """Raise :class:`EvaluationError` for LAMP within single layers."""
    if criterion is BaselineCriterion.LAMP and locality is Locality.LOCAL:
        raise EvaluationError(
            "lamp finds a sparsity for each layer, which is global pruning; within one layer it orders weights as lwm "
            "does: choose --criterion lwm --locality local for that"
        )


def prunable_weights(network: nn.Module) -> dict[str, Tensor]:
    """Weight tensors, by parameter name, in order of registration.

    They are the weights of convolutions and linear layers, and of other layers every parameter of two or more
    dimensions that is not a scale along one of them.
    """
    found: dict[str, Tensor] = {}
    for path, module in network.named_modules():
        for name, value in module.named_parameters(recurse=False):
            layer = isinstance(module, nn.Conv2d | nn.Linear)
            if name == "weight" if layer else value.dim() > 1 and value.numel() > max(value.shape):
                found[f"{path}.{name}" if path else name] = value
    return found


def weight_masks(scores: Mapping[str, Tensor], locality: Locality, sparsity: float) -> Masks:
    """:func:`global_masks` or :func:`local_masks` of the scores."""
    return global_masks(scores, sparsity) if locality is Locality.GLOBAL else local_masks(scores, sparsity)


def global_masks(scores: Mapping[str, Tensor], sparsity: float) -> Masks:
    """Masks that keep the highest scores over all layers together; a layer may end up empty.

    They have the shapes of `scores`. Exactly :func:`kept_count` of all weights stay; equal scores are broken by
    position, so the result is deterministic.

    Raises:
        ValueError: If `sparsity` is outside [0, 1).
    """
    flat = torch.cat([score.flatten().double() for score in scores.values()])
    keep = kept_count(flat.numel(), sparsity)
    order = torch.sort(flat, descending=True, stable=True).indices
    mask = torch.zeros_like(flat, dtype=torch.bool)
    mask[order[:keep]] = True
    parts = torch.split(mask, [score.numel() for score in scores.values()])
    return {name: part.view_as(score) for (name, score), part in zip(scores.items(), parts, strict=True)}


def local_masks(scores: Mapping[str, Tensor], sparsity: float) -> Masks:
    """Masks that keep the highest scores of each layer, exactly :func:`kept_count` of its weights.

    Raises:
        EvaluationError: If that would leave a layer without any weight.
        ValueError: If `sparsity` is outside [0, 1).
    """
    masks = {}
    for name, score in scores.items():
        _check_something_stays(name, score.numel(), sparsity, "weights")
        masks.update(global_masks({name: score}, sparsity))
    return masks


def filter_masks(network: nn.Module, locality: Locality, sparsity: float) -> Masks:
    """Masks that remove the filters of the lowest L1 norm, coupled ones together.

    The score of a channel is the mean magnitude over all weights that write it, which orders the filters of a layer as
    their L1 norms do and can be compared between layers of different sizes.

    Source: Li et al., *Pruning Filters for Efficient ConvNets*, ICLR 2017; section 3.1 for the criterion and the
    kernels that go with a filter, section 3.3 for coupled filters. The paper prunes coupled filters by the norms of
    the shortcut alone; here all filters of a channel count.

    Raises:
        NetworkError: If the network's channels cannot be followed.
        EvaluationError: If a layer would have no filter left.
        ValueError: If `sparsity` is outside [0, 1).
    """
    groups = channel_groups(network)
    scores = written_means(groups, lwm_scores(prunable_weights(network)))
    return channel_masks(network, groups, kept_channels(groups, scores, locality, sparsity))


def written_means(groups: Sequence[ChannelGroup], scores: Mapping[str, Tensor]) -> list[Tensor]:
    """Mean score over the weights that write each channel: float64 of shape ``(group.size,)`` for each group."""
    return [
        torch.cat([scores[f"{name}.weight"].double().flatten(1) for name in group.writers], 1).mean(1)
        for group in groups
    ]


def kept_channels(
    groups: Sequence[ChannelGroup], scores: Sequence[Tensor], locality: Locality, sparsity: float
) -> list[Tensor]:
    """Which channels of each group stay: those of the highest scores, as boolean tensors.

    Locally every group of channels keeps exactly :func:`kept_count` of them. Globally channels are taken in the order
    of their scores as long as their filters fit into :func:`kept_count` of all filters; that count is met exactly
    unless a group of coupled filters is all that is left to choose from.
    """
    return (_kept_locally if locality is Locality.LOCAL else _kept_globally)(groups, scores, sparsity)


def channel_masks(network: nn.Module, groups: Sequence[ChannelGroup], kept: Sequence[Tensor]) -> Masks:
    """Masks of the kept channels: of the filters, what belongs to them, and the kernels that read them."""
    modules = dict(network.named_modules())
    masks: Masks = {}
    for group, stays in zip(groups, kept, strict=True):
        for name in group.writers:
            _restrict(masks, f"{name}.weight", modules[name].weight, stays, dimension=0)
            _restrict(masks, f"{name}.bias", modules[name].bias, stays, dimension=0)
        for name in group.norms:
            for part in ("weight", "bias", "running_mean"):
                _restrict(masks, f"{name}.{part}", getattr(modules[name], part), stays, dimension=0)
        for name in group.readers:
            _restrict(masks, f"{name}.weight", modules[name].weight, stays, dimension=1)
    return masks


def _kept_locally(groups: Sequence[ChannelGroup], scores: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    kept = []
    for group, score in zip(groups, scores, strict=True):
        _check_something_stays(group.name, group.size, sparsity, "filters")
        kept.append(global_masks({group.name: score}, sparsity)[group.name])
    return kept


def _kept_globally(groups: Sequence[ChannelGroup], scores: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    left = kept_count(sum(group.size * len(group.writers) for group in groups), sparsity)
    kept = [torch.zeros(group.size, dtype=torch.bool) for group in groups]
    ranked = sorted(
        (-value, number, channel) for number, score in enumerate(scores) for channel, value in enumerate(score.tolist())
    )
    first = [(number, int(score.argmax())) for number, score in enumerate(scores)]
    if sum(len(group.writers) for group in groups) > left:
        raise EvaluationError(
            f"{sparsity:.2%} of the filters leaves {left}, fewer than one channel per layer; choose a lower --sparsity"
        )
    for number, channel in [*first, *((number, channel) for _, number, channel in ranked)]:
        cost = len(groups[number].writers)
        if cost <= left and not kept[number][channel]:
            kept[number][channel] = True
            left -= cost
    return kept


def _restrict(masks: Masks, name: str, value: Tensor | None, stays: Tensor, dimension: int) -> None:
    """Take what does not stay out of the mask of one tensor, along one of its dimensions."""
    if value is None:
        return
    mask = masks.setdefault(name, torch.ones(value.shape, dtype=torch.bool))
    repeated = stays.repeat_interleave(value.shape[dimension] // len(stays))  # a flattened map has several columns
    shape = [1] * value.dim()
    shape[dimension] = -1
    mask &= repeated.view(shape)


def _check_something_stays(name: str, count: int, sparsity: float, unit: str) -> None:
    if kept_count(count, sparsity) == 0:
        raise EvaluationError(
            f"{name} has {count} {unit}, of which {sparsity:.2%} locally leaves none; choose a lower --sparsity or "
            "--locality global"
        )


def kept_count(total: int, sparsity: float) -> int:
    """Number of parameters that remain of `total`: ``floor(total * (1 - sparsity))``, safe against rounding noise."""
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be in [0, 1), not {sparsity}")
    return int(total * (1 - sparsity) + 1e-6)


def zero_masks(network: nn.Module) -> Masks:
    """Masks that a pruned network carries in its zeros, so that fine-tuning can keep them.

    Zero weights are pruned. Where nothing is left of a batch-norm channel, neither weight nor bias, or of a filter with
    a zero bias, the channel was removed and stays so.

    Returns:
        Only masks that remove something: empty for a dense network.
    """
    masks: Masks = {name: weight.detach() != 0 for name, weight in prunable_weights(network).items()}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            removed = ~(module.weight.detach() != 0).flatten(1).any(1)
            masks[f"{name}.bias"] = ~(removed & (module.bias.detach() == 0))
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
            stays = (module.weight.detach() != 0) | (module.bias.detach() != 0)
            masks[f"{name}.weight"], masks[f"{name}.bias"] = stays, stays.clone()
    return {name: mask for name, mask in masks.items() if not bool(mask.all())}


def apply_masks(network: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set every value whose mask is ``False`` to exactly zero, in place."""
    state = network.state_dict()  # shares its memory with the network
    for name, mask in masks.items():
        state[name].mul_(mask)
