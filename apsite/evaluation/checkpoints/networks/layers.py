"""Building blocks that the network layouts share: normalisation, and weights that carry a mask or scores.

A pruned weight is stored in one of three ways, see :class:`Parametrisation`. Evaluation needs only the weight that acts
in the forward pass, so :func:`multiply_out` turns every layer back into an ordinary one with the same outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

NEUTRAL_MASK = math.log(math.e - 1)
"""Mask value whose softplus is 1, at which MAD's masks start."""


class Parametrisation(StrEnum):
    """How the convolutions and linear layers of a checkpoint store what is pruned."""

    PLAIN = "plain"
    """Pruned weights are zeros of ``weight``."""
    SOFTPLUS = "softplus"
    """``weight * softplus(mask_weight)``, and the same for biases (MAD)."""
    SCORES = "scores"
    """``weight`` where ``abs(scores)`` is among the highest of its layer, else 0 (RST)."""


@dataclass(frozen=True)
class Normalisation:
    """Constants of ``(x - mean) / std``, one a colour channel, for images in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Normalise(nn.Module):
    """``(x - mean) / std`` per channel. The constants follow the device and are never part of a checkpoint."""

    mean: Tensor
    std: Tensor

    def __init__(self, constants: Normalisation) -> None:
        super().__init__()
        self.constants = constants
        self.register_buffer("mean", torch.tensor(constants.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(constants.std).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images of the shape of `x`, ``(n, 3, height, width)``."""
        return (x - self.mean) / self.std


def normaliser(constants: Normalisation | None) -> nn.Module:
    """First step of a network: :class:`Normalise`, or nothing where images enter as they are."""
    return nn.Identity() if constants is None else Normalise(constants)


class MaskedConv2d(nn.Conv2d):
    """Convolution without bias whose weight does not act as it is stored."""

    def effective_weight(self) -> Tensor:
        """The weight that acts in the forward pass."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """As an ordinary convolution with :meth:`effective_weight`."""
        return functional.conv2d(x, self.effective_weight(), None, self.stride, self.padding)


class SoftplusConv2d(MaskedConv2d):
    """Convolution without bias whose weight is multiplied by the softplus of a mask (MAD)."""

    mask_weight: nn.Parameter

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, padding, bias=False)
        self.mask_weight = nn.Parameter(torch.full_like(self.weight, NEUTRAL_MASK))

    def effective_weight(self) -> Tensor:
        """The weight that acts in the forward pass."""
        return self.weight * functional.softplus(self.mask_weight)


class SoftplusLinear(nn.Linear):
    """Linear layer whose weight and bias are multiplied by the softplus of a mask each (MAD)."""

    mask_weight: nn.Parameter
    mask_bias: nn.Parameter

    def __init__(self, features_in: int, features_out: int) -> None:
        super().__init__(features_in, features_out)
        self.mask_weight = nn.Parameter(torch.full_like(self.weight, NEUTRAL_MASK))
        self.mask_bias = nn.Parameter(torch.full_like(self.bias, NEUTRAL_MASK))

    def effective_weight(self) -> Tensor:
        """The weight that acts in the forward pass."""
        return self.weight * functional.softplus(self.mask_weight)

    def effective_bias(self) -> Tensor:
        """The bias that acts in the forward pass."""
        return self.bias * functional.softplus(self.mask_bias)

    def forward(self, x: Tensor) -> Tensor:
        """As an ordinary linear layer with the effective weight and bias."""
        return functional.linear(x, self.effective_weight(), self.effective_bias())


class ScoredConv2d(MaskedConv2d):
    """Convolution without bias that uses only the weights with the highest scores of the layer (RST).

    The fraction to leave out, in [0, 1), is a setting of the run, not part of a checkpoint.
    """

    scores: nn.Parameter

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int, padding: int, *, sparsity: float
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, padding, bias=False)
        self.sparsity = sparsity
        self.scores = nn.Parameter(torch.empty_like(self.weight))
        nn.init.kaiming_uniform_(self.scores, a=math.sqrt(5))

    def effective_weight(self) -> Tensor:
        """The weight that acts in the forward pass."""
        return self.weight * top_scores(self.scores, self.sparsity)


def top_scores(scores: Tensor, sparsity: float) -> Tensor:
    """Mask of one layer that keeps the highest absolute scores.

    Zeros and ones of the shape and type of `scores`. Exactly ``floor(sparsity * scores.numel())`` are zero, as in
    the published edge-popup rule; among equal scores the first ones are removed.

    Raises:
        ValueError: If `sparsity` is outside [0, 1).
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be in [0, 1), not {sparsity}")
    removed = int(sparsity * scores.numel() + 1e-6)
    mask = torch.ones_like(scores).flatten()
    if removed:
        magnitude = scores.detach().abs().flatten()
        threshold = magnitude.kthvalue(removed).values
        below = magnitude < threshold
        mask[below] = 0
        mask[torch.nonzero(magnitude == threshold).flatten()[: removed - int(below.sum())]] = 0
    return mask.view_as(scores)


@dataclass(frozen=True)
class LayerMaker:
    """Makes the layers of one network with one parametrisation.

    Attributes:
        parametrisation: How convolutions and linear layers store what is pruned.
        sparsity: Fraction that scores leave out; used by :attr:`Parametrisation.SCORES` only.
        affine: Whether batch norm has a weight and a bias.
    """

    parametrisation: Parametrisation = Parametrisation.PLAIN
    sparsity: float = 0.0
    affine: bool = True

    def conv(
        self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, *, bias: bool = False, groups: int = 1
    ) -> nn.Conv2d:
        """Convolution that keeps the resolution at stride 1 (odd kernels)."""
        shape = (channels_in, channels_out, kernel, stride, kernel // 2)
        if self.parametrisation is Parametrisation.PLAIN:
            return nn.Conv2d(*shape, bias=bias, groups=groups)
        if bias:
            raise ValueError(f"no published layout has convolutions with a bias and {self.parametrisation} weights")
        if self.parametrisation is Parametrisation.SOFTPLUS:
            return SoftplusConv2d(*shape)
        return ScoredConv2d(*shape, sparsity=self.sparsity)

    def linear(self, features_in: int, features_out: int) -> nn.Linear:
        """Linear layer with a bias. Scores belong to convolutions only."""
        if self.parametrisation is Parametrisation.SOFTPLUS:
            return SoftplusLinear(features_in, features_out)
        return nn.Linear(features_in, features_out)

    def norm(self, channels: int) -> nn.BatchNorm2d:
        """Batch norm with the usual epsilon, 1e-5."""
        return nn.BatchNorm2d(channels, affine=self.affine)


def multiply_out(network: nn.Module) -> tuple[str, ...]:
    """Replace every layer that carries a mask or scores by an ordinary one with the same outputs, in place.

    Weights that PyTorch computes before each pass, of ``torch.nn.utils.prune``, ``weight_norm``, ``spectral_norm`` and
    parametrisations, become ordinary parameters of the same layer.

    Returns:
        Names of the replaced layers, in order.
    """
    replaced = []
    for name, module in list(network.named_modules()):
        plain = _plain(module)
        if plain is not None:
            parent, _, child = name.rpartition(".")
            network.get_submodule(parent)._modules[child] = plain.train(module.training)
        if plain is not None or _without_hooks(module):
            replaced.append(name)
    return tuple(replaced)


def _without_hooks(module: nn.Module) -> bool:
    """Make parameters of the weights that PyTorch computes for a module; whether there were any."""
    computed = False
    for hook in list(module._forward_pre_hooks.values()):
        for kind, (remove, attribute) in _COMPUTED.items():
            if isinstance(hook, kind):
                remove(module, getattr(hook, attribute))
                computed = True
    for name in list(getattr(module, "parametrizations", ())):
        parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        computed = True
    if computed:
        module._load_state_dict_pre_hooks.clear()  # they convert older files to the names that are gone
    return computed


_COMPUTED: Mapping[type, tuple[Callable[[nn.Module, str], object], str]] = {
    prune.BasePruningMethod: (prune.remove, "_tensor_name"), WeightNorm: (remove_weight_norm, "name"),
    SpectralNorm: (remove_spectral_norm, "name"),
}  # fmt: skip
"""How PyTorch makes a parameter of a weight that a hook computes, and where the hook has its name, by its class."""


def _plain(module: nn.Module) -> nn.Module | None:
    """Ordinary layer equal to one that carries a mask or scores; ``None`` for every other module."""
    plain: nn.Conv2d | nn.Linear
    if isinstance(module, MaskedConv2d):
        padding = module.kernel_size[0] // 2
        shape = (module.in_channels, module.out_channels, module.kernel_size[0], module.stride[0], padding)
        with torch.device("meta"):
            plain = nn.Conv2d(*shape, bias=False)
    elif isinstance(module, SoftplusLinear):
        with torch.device("meta"):
            plain = nn.Linear(module.in_features, module.out_features)
        plain.bias = nn.Parameter(module.effective_bias().detach().clone())
    else:
        return None
    plain.weight = nn.Parameter(module.effective_weight().detach().clone())
    return plain
