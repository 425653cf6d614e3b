"""Networks made to fit the tensors of a file: narrower layers, ordinary layers, masks multiplied in."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from apsite.errors import NetworkError
from apsite.evaluation.checkpoints.matching import Match
from apsite.evaluation.checkpoints.networks.layers import Parametrisation, multiply_out
from apsite.evaluation.checkpoints.networks.registry import Layout
from apsite.evaluation.checkpoints.stored_masks import multiply_masks
from apsite.vocabulary import Dataset


def is_narrower(match: Match, layout: Layout, dataset: Dataset) -> bool:
    """Whether the tensors are those of a layout with fewer filters and channels, as pruning tools leave them."""
    differs = match.missing or match.unexpected or match.problems
    if match.fits or differs or layout.parametrisation is not Parametrisation.PLAIN:
        return False
    shapes = [(tuple(match.tensors[name].shape), spec.shape) for name, spec in layout.tensors(dataset).items()]
    return all(
        len(mine) == len(whole)
        and mine[2:] == whole[2:]
        and all(1 <= one <= most for one, most in zip(mine, whole, strict=True))
        for mine, whole in shapes
    )


def resize(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give the layers of a network the sizes of `tensors`, in place."""
    sizes = {
        nn.Conv2d: ("out_channels", "in_channels"), nn.Linear: ("out_features", "in_features"),
        nn.BatchNorm2d: ("num_features",),
    }  # fmt: skip
    for name, value in tensors.items():
        parent, _, last = name.rpartition(".")
        module = network.get_submodule(parent)
        if last in module._parameters:
            module._parameters[last] = nn.Parameter(torch.empty_like(value))
        else:
            module._buffers[last] = torch.empty_like(value)
        if last == "weight":
            if isinstance(module, nn.Conv2d) and module.groups > 1:  # depthwise: a filter for each channel
                module.groups = len(value)
            for attribute, size in zip(sizes.get(type(module), ()), value.shape, strict=False):
                setattr(module, attribute, size)


def plain_layers(network: nn.Module) -> tuple[str, ...]:
    """Names of the layers of which :func:`multiply_out` made ordinary ones."""
    try:
        return multiply_out(network)
    except Exception as error:  # a parametrisation is the user's program
        raise NetworkError(f"the weights of the network cannot be computed: {type(error).__name__}: {error}") from error


def multiply_own_masks(network: nn.Module, dataset: Dataset, notes: list[str]) -> None:
    """Make the pruned weights zeros of layers that multiply a mask in their forward pass, if no output changes."""
    state = network.state_dict()
    masked = {
        name: value for name, value in multiply_masks(state, None).state.items()
        if name in state and state[name].is_floating_point() and not torch.equal(value, state[name])
    }  # fmt: skip
    if not masked:
        return
    images = torch.rand(2, *dataset.shape, generator=torch.Generator().manual_seed(0))
    dense = {name: state[name].clone() for name in masked}
    try:
        with torch.no_grad():
            before = network(images)
            network.load_state_dict(masked, strict=False)
            same = torch.equal(network(images), before)
    except Exception:  # whatever fails here fails when the network is audited, with a message
        same = False
    if same:
        notes.append(f"Masks of {len(masked)} tensors multiplied in; the network's outputs stay the same.")
    else:
        network.load_state_dict(dense, strict=False)
