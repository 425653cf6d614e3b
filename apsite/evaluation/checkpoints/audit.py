"""Properties of a loaded network: its weights and zeros, multiply-accumulates, family and sparsity."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils.flop_counter import FlopCounterMode

from apsite.errors import CheckpointError, NetworkError
from apsite.evaluation.attacks.execution import foreign_code, logits_of
from apsite.protocol import SPARSITY_LIMIT, sparsity_tolerance
from apsite.records import CheckpointAudit, EvaluationWarning, LayerAudit
from apsite.records.census import Census, WeightShape, difference, membership
from apsite.records.patterns import Pattern, follows, pattern_share, violations
from apsite.results import differs, sparsity_warning, zero_shares
from apsite.vocabulary import Architecture, Dataset, Structure


@dataclass(frozen=True)
class SparsityFinding:
    """Measured sparsity and the share that matches the declared one.

    Attributes:
        measured: Fraction of the weights of the dense network that are zero or gone.
        basis: ``weights``, ``filters``, ``channels`` or ``kernels``: the share nearest to the declared sparsity.
        matched: That share.
    """

    measured: float
    basis: str
    matched: float


class _Weight(NamedTuple):
    """A parameter of two or more dimensions: its name, the layer, the parameter, and what acts in the forward pass."""

    name: str
    module: nn.Module
    parameter: nn.Parameter
    value: Tensor
    shape: WeightShape


def audit_network(
    network: nn.Module, example: Tensor, *, unused: Collection[str] = (), pattern: Pattern | None = None
) -> CheckpointAudit:
    """Zero counts and multiply-accumulates of a network in evaluation mode, weight tensor by weight tensor.

    Counts are over all parameters (`parameters`) and over those of two or more dimensions (`weights`);
    multiply-accumulates are those for `example`, one image of shape ``(1, 3, height, width)``. Tensors that are
    `unused`, see :func:`unused_weights`, are left out of all counts. With a `pattern` the groups that break it are
    counted as well.
    """
    positions, macs = _passes(network, example)
    weights, audits = _weights(network), []
    macs -= sum(one.value.numel() * positions.get(one.module, 0) for one in weights if one.name in unused)
    effective = macs
    for name, module, _, value, shape in (one for one in weights if one.name not in unused):
        zero = _by_filters(value, shape) == 0
        effective -= int(zero.sum()) * positions.get(module, 0)
        area = prod(shape.kernel)
        filters, channels = zero.flatten(1).all(1), zero.transpose(0, 1).flatten(1).all(1)
        kernels = zero.flatten(2).all(2) if area > 1 else torch.zeros_like(zero.reshape(zero.shape[:2]))
        gone = filters[:, None] | channels | kernels
        audits.append(LayerAudit(
            name, value.numel(), int(zero.sum()), shape.filters, int(filters.sum()), shape.channels,
            int(channels.sum()), int(kernels.sum()), int(gone.sum()) * area, shape.kind, shape.kernel,
            shape.stride, shape.groups, _broken_groups(zero, pattern),
        ))  # fmt: skip
    convolutions = [audit for audit in audits if audit.kernel]
    own = {id(one.parameter): one.value for one in weights}
    left_out = {id(one.parameter) for one in weights if one.name in unused}
    parameters = [own.get(id(one), one) for one in network.parameters() if id(one) not in left_out]
    audit = CheckpointAudit(
        parameters=sum(value.numel() for value in parameters),
        nonzero_parameters=sum(int((value != 0).sum()) for value in parameters),
        weights=sum(audit.weights for audit in audits), zero_weights=sum(audit.zero_weights for audit in audits),
        macs=macs, effective_macs=effective, layers=tuple(audits),
        zero_filters=sum(audit.zero_filters or 0 for audit in convolutions),
        filters=sum(audit.filters or 0 for audit in convolutions),
        zero_channels=sum(audit.zero_channels or 0 for audit in convolutions),
        channels=sum(audit.channels or 0 for audit in convolutions),
    )  # fmt: skip
    return replace(audit, pattern=str(pattern), pattern_share=pattern_share(audit)) if pattern else audit


def check_weights(
    network: nn.Module, images: Tensor, *, own_code: bool, pattern: Pattern | None = None
) -> tuple[CheckpointAudit, list[EvaluationWarning]]:
    """Counts of a network, and warnings of weights that are there and do nothing.

    Only a network of somebody's `own_code` can have tensors that no output depends on; they are not counted.
    """
    warnings, unused = [], unused_weights(network, images) if own_code else []
    if unused:
        message = f"No output depends on {', '.join(unused[:5])}{' and others' if len(unused) > 5 else ''}"
        warnings.append(EvaluationWarning("unused-weights", f"{message}: {len(unused)} tensors are not counted."))
    audit = audit_network(network, images[:1], unused=unused, pattern=pattern)
    tiny = tiny_weights(network, images)
    if tiny:
        share = (
            f"{tiny:,} of {audit.weights:,} weights are below 1e-8 of the largest of their layer and change no logit"
        )
        warnings.append(
            EvaluationWarning("tiny-weights", f"{share}; only those that are exactly zero count as pruned.")
        )
    return audit, warnings


def check_pattern(network: nn.Module, audit: CheckpointAudit, pattern: Pattern) -> None:
    """Refuse a network, audited with an N:M pattern, that does not follow it.

    Raises:
        CheckpointError: If a group of a layer that was pruned breaks the pattern, or no layer follows it.
    """
    required = [layer for layer in audit.layers if follows(layer)] + violations(audit)
    if not required:
        raise CheckpointError(
            f"no layer follows {pattern}: none with zeros has an input dimension that is divisible by {pattern.group}; "
            "check that this is the pruned checkpoint, or declare its structure"
        )
    broken = {layer.name: layer for layer in violations(audit)}
    if not broken:
        return
    one = next(one for one in _weights(network) if one.name in broken)
    zeros = _grouped(_by_filters(one.value, one.shape) == 0, pattern).sum(-1)
    *at, group = (zeros < pattern.zeros).nonzero()[0].tolist()
    channels = f"inputs {group * pattern.group} to {(group + 1) * pattern.group - 1}"
    place = f"filter {at[0]}{f', kernel position {tuple(at[1:])}' if at[1:] else ''}, {channels}"
    share = sum(layer.broken_groups or 0 for layer in required) / sum(pattern.groups(one) or 0 for one in required)
    raise CheckpointError(
        f"the network does not follow {pattern}: in {one.name}, {place}, {int(zeros[(*at, group)])} of {pattern.group} "
        f"weights are zero, not {pattern.zeros} or more; {share:.2%} of the groups break the pattern. Groups are "
        "neighbouring input channels (convolutions) or inputs (linear layers). Declare the pattern that it has, or "
        "--structure unstructured"
    )


def _by_filters(value: Tensor, shape: WeightShape) -> Tensor:
    """A weight tensor as ``(filters, channels, *kernel)``; transposed convolutions store channels first."""
    return value.transpose(0, 1) if shape.kind == "transposed" else value


def _grouped(zero: Tensor, pattern: Pattern) -> Tensor:
    """Flags of shape ``(filters, channels, *kernel)`` as ``(filters, *kernel, groups, M)``, groups along channels."""
    along = zero.movedim(1, -1)
    return along.reshape(*along.shape[:-1], -1, pattern.group)


def _broken_groups(zero: Tensor, pattern: Pattern | None) -> int | None:
    """Groups with fewer zeros than a pattern has; ``None`` if they cannot be divided."""
    if pattern is None or zero.shape[1] % pattern.group:
        return None
    return int((_grouped(zero, pattern).sum(-1) < pattern.zeros).sum())


def weight_shapes(network: nn.Module) -> list[WeightShape]:
    """Shapes of the weight tensors that the audit counts, in order of registration."""
    return [one.shape for one in _weights(network)]


def multiply_accumulates(network: nn.Module, example: Tensor) -> int:
    """Multiply-accumulates of a network for one image, zeros counted like other weights.

    The image has the shape ``(1, 3, height, width)`` and the network's device; ``meta`` costs neither memory nor time.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad(), foreign_code("the network fails on one image"):
        network(example)
    return int(counter.get_total_flops()) // 2


def unused_weights(network: nn.Module, images: Tensor) -> list[str]:
    """Names of weight tensors that no output depends on: whatever they hold, the logits of `images` are the same.

    Candidates are those whose gradient is exactly zero. A layer that was pruned away may hide another one from the
    output, so candidates and everything that is zero are filled with noise before each candidate is changed.
    """
    weights = _weights(network)
    gradients = _gradients(network, images, [one.parameter for one in weights])
    candidates = [
        one for one, gradient in zip(weights, gradients, strict=True) if gradient is None or not gradient.any()
    ]
    if not candidates:
        return []
    generator, unused = torch.Generator().manual_seed(0), []
    filled = {id(one.parameter): one.parameter for one in candidates}
    filled |= {id(one): one for one in network.parameters() if not one.any()}
    kept = [parameter.detach().clone() for parameter in filled.values()]
    with torch.no_grad():
        try:
            for parameter in filled.values():
                scale = max(1, parameter[0].numel()) ** -0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
            logits = logits_of(network, images)
            for name, _, parameter, *_ in candidates:
                parameter.add_(1)
                if torch.equal(logits_of(network, images), logits):
                    unused.append(name)
                parameter.sub_(1)
        finally:
            for parameter, before in zip(filled.values(), kept, strict=True):
                parameter.copy_(before)
    return unused


def tiny_weights(network: nn.Module, images: Tensor) -> int:
    """Weights below 1e-8 of the largest of their layer that could be zero, because the logits of `images` stay."""
    small = {}
    for one in _weights(network):
        magnitude = one.parameter.detach().abs()
        mask = (magnitude > 0) & (magnitude < 1e-8 * magnitude.max())
        if mask.any():
            small[one.parameter] = mask
    if not small:
        return 0
    kept = [parameter.detach().clone() for parameter in small]
    with torch.no_grad():
        try:
            before = logits_of(network, images)
            for parameter, mask in small.items():
                parameter[mask] = 0
            unchanged = torch.allclose(logits_of(network, images), before, rtol=1e-5, atol=1e-6)
        finally:
            for parameter, values in zip(small, kept, strict=True):
                parameter.copy_(values)
    return sum(int(mask.sum()) for mask in small.values()) if unchanged else 0


def _gradients(network: nn.Module, images: Tensor, parameters: list[nn.Parameter]) -> list[Tensor | None]:
    """Gradients of a mixture of all logits; ``None`` for parameters that it does not depend on."""
    asked = [parameter.requires_grad for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        logits = logits_of(network, images)
        if not logits.requires_grad:
            return [None] * len(parameters)
        mixed = logits * torch.linspace(1, 2, logits.numel(), device=logits.device).view_as(logits)
        with foreign_code("the gradient of the network cannot be computed"):
            return list(torch.autograd.grad(mixed.sum(), parameters, allow_unused=True))
    finally:
        for parameter, before in zip(parameters, asked, strict=True):
            parameter.requires_grad_(before)


def _weights(network: nn.Module) -> list[_Weight]:
    """Parameters of two or more dimensions, each once; a scale along one dimension is no weight."""
    found: dict[int, _Weight] = {}
    for path, module in network.named_modules():
        for name, parameter, value in _tensors(module):
            layer = isinstance(module, _ConvNd | nn.Linear) and name == "weight"
            if id(parameter) in found or value.dim() < 2 or (not layer and value.numel() == max(value.shape)):
                continue
            label = path if layer else ".".join(filter(None, (path, name)))
            found[id(parameter)] = _Weight(label, module, parameter, value.detach(), _shape(module, value))
    return list(found.values())


def _tensors(module: nn.Module) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
    """Parameters of a module by name, with the tensor that acts in its forward pass in place of each.

    Both ways of torch to compute a weight from others are known: parametrisations, and the older hooks that store
    ``weight_orig``, or ``weight_v`` and ``weight_g``.
    """
    computed = {"weight": module.effective_weight()} if hasattr(module, "effective_weight") else {}  # type: ignore[operator]
    for name, parametrised in getattr(module, "parametrizations", {}).items():
        yield name, max(parametrised.parameters(recurse=False), key=Tensor.numel), getattr(module, name)
    if isinstance(module, ParametrizationList):
        return
    for stored, parameter in module.named_parameters(recurse=False):
        name = stored.removesuffix("_orig")
        if stored.endswith("_v") and hasattr(module, f"{stored[:-2]}_g"):
            name = stored.removesuffix("_v")
        yield name, parameter, computed.get(name, getattr(module, name, parameter))


def _shape(module: nn.Module, value: Tensor) -> WeightShape:
    filters, channels, *kernel = value.shape
    kind = "linear" if not kernel else "conv" if isinstance(module, _ConvNd) or len(kernel) == 2 else "other"
    if isinstance(module, _ConvTransposeNd):
        kind, filters, channels = "transposed", channels, filters
    stride, groups = getattr(module, "stride", 1), getattr(module, "groups", 1)
    steps = (stride,) * len(kernel) if isinstance(stride, int) else tuple(stride)[: len(kernel)]
    return WeightShape(kind, filters, channels, tuple(kernel), steps, groups)


def _passes(network: nn.Module, example: Tensor) -> tuple[dict[nn.Module, int], int]:
    """How many times each weight of a layer is used for one image, and all multiply-accumulates."""
    positions: dict[nn.Module, int] = {}
    layers = [one for one in _weights(network) if isinstance(one.module, _ConvNd | nn.Linear)]
    filters: dict[nn.Module, int] = {one.module: one.shape.filters for one in layers}

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, _ConvTransposeNd):
            uses = inputs[0][0].numel() // module.in_channels
        else:
            uses = output[0].numel() // filters[module]
        positions[module] = positions.get(module, 0) + uses

    handles = [module.register_forward_hook(hook) for module in filters]
    try:
        return positions, multiply_accumulates(network, example)
    finally:
        for handle in handles:
            handle.remove()


def check_census(audit: CheckpointAudit, architecture: Architecture, dataset: Dataset) -> Census:
    """Census of the dense network of which the audited one is, with as many filters and channels or fewer.

    Raises:
        NetworkError: If it is of another family than the declared one.
    """
    found = membership(audit.layers, audit.macs, architecture, dataset)
    if found is None:
        why = difference(audit.layers, audit.macs, architecture, dataset)
        raise NetworkError(
            f"the network is not a {architecture.label}: {why}. Declare the network that it is, or "
            "--as other:NAME, which is shown and does not rank"
        )
    return found.census


def check_sparsity(
    audit: CheckpointAudit, structure: Structure | None, declared: float, dense: Census | None = None
) -> tuple[SparsityFinding, list[EvaluationWarning]]:
    """Compare the declared sparsity with what was measured, against the dense network if it is known.

    For structured pruning removed filters, channels or kernels decide, or the share of the weights that they had.

    Raises:
        CheckpointError: If they differ by more than 2 points, or less where the declared one has decimals.
    """
    shares, measured = zero_shares(audit, structure, dense), zero_shares(audit, None, dense)["weights"]
    if structure is None:
        return SparsityFinding(measured, "weights", measured), []
    basis = min(shares, key=lambda name: round(abs(shares[name] - declared), 3))  # of equal ones the first
    finding = SparsityFinding(measured, basis, shares[basis])
    warns, limit = sparsity_tolerance(declared)
    if differs(finding.matched, declared, limit):
        listed = ", ".join(f"{share:.2%} of the {name}" for name, share in shares.items())
        nearest = f"{finding.matched:.{2 if limit == SPARSITY_LIMIT else 4}f}"
        raise CheckpointError(
            f"declared sparsity is {declared:.2%} but {listed} are removed; give the right --sparsity"
            + (f" (about {nearest})" if 0.01 <= float(nearest) < 1 else "")
            + ", or check that this is the pruned checkpoint and that its mask was saved"
        )
    if differs(finding.matched, declared, warns):
        return finding, [sparsity_warning(shares, declared)]
    return finding, []
