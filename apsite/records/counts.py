"""What was counted in an evaluated network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerAudit:
    """Shape and zeros of one weight tensor; ``None`` for records that do not state them.

    Attributes:
        name: Its layer, or its own name where the layer is neither a convolution nor linear.
        weights: Weights.
        zero_weights: Those that are exactly zero.
        filters: Filters, which are output channels or units.
        zero_filters: Filters with no weight left.
        channels: Input channels or units of one group.
        zero_channels: Those with no weight left.
        zero_kernels: Kernels of a filter and a channel with no weight left, where a kernel has more than one weight.
        removed_weights: Weights of filters, channels and such kernels with no weight left.
        kind: ``conv``, ``transposed``, ``linear`` or ``other``.
        kernel: Size of a kernel along each dimension; empty for linear layers.
        stride: Steps along the same dimensions.
        groups: Groups of channels that do not see each other.
        broken_groups: Groups of M weights along the input dimension that break the N:M pattern of the network; ``None``
            without a pattern, or if that dimension is not divisible by M.
    """

    name: str
    weights: int
    zero_weights: int
    filters: int | None = None
    zero_filters: int | None = None
    channels: int | None = None
    zero_channels: int | None = None
    zero_kernels: int | None = None
    removed_weights: int | None = None
    kind: str | None = None
    kernel: tuple[int, ...] | None = None
    stride: tuple[int, ...] | None = None
    groups: int | None = None
    broken_groups: int | None = None


@dataclass(frozen=True)
class CheckpointAudit:
    """What was measured on the loaded network.

    Attributes:
        parameters: All parameters.
        nonzero_parameters: Those that are not zero.
        weights: Weights: all parameters of two or more dimensions, without those that no output depends on.
        zero_weights: Those of them that are exactly zero.
        macs: Multiply-accumulates for one image, dense.
        effective_macs: The same without multiplications by zero weights.
        zero_filters: Convolution filters with no weight left.
        filters: Convolution filters.
        layers: The same counts per layer.
        zero_channels: Convolution input channels with no weight left.
        channels: Convolution input channels.
        sparsity_basis: Share that matches the declared sparsity: ``weights``, ``filters``, ``channels`` or ``kernels``.
        pattern: N:M pattern against which a semi-structured network was measured, such as ``2:4``.
        pattern_share: Share of the weights that are in layers that follow it, a fraction.
    """

    parameters: int
    nonzero_parameters: int
    weights: int
    zero_weights: int
    macs: int
    effective_macs: int
    zero_filters: int
    filters: int
    layers: tuple[LayerAudit, ...]
    zero_channels: int | None = None
    channels: int | None = None
    sparsity_basis: str | None = None
    pattern: str | None = None
    pattern_share: float | None = None
