"""Properties of a loaded network: zeros, multiply-accumulates, and whether it behaves as the protocol requires."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from apsite.errors import CheckpointError, NetworkError
from apsite.evaluation.attacks.fmn import dlr_margin
from apsite.evaluation.checkpoints.networks.registry import Layout
from apsite.protocol import SPARSITY_LIMIT, SPARSITY_WARNING
from apsite.records import CheckpointAudit, EvaluationWarning, LayerAudit
from apsite.results import differs, sparsity_warning, zero_shares
from apsite.vocabulary import Structure


@dataclass(frozen=True)
class SparsityFinding:
    """Measured sparsity and the share that matches the declared one.

    Attributes:
        measured: Fraction of zero weights of convolutions and linear layers.
        basis: ``weights``, ``filters`` or ``channels``: the share nearest to the declared sparsity.
        matched: That share.
    """

    measured: float
    basis: str
    matched: float


def audit_network(network: nn.Module, example: Tensor) -> CheckpointAudit:
    """Zero counts and multiply-accumulates of a network in evaluation mode, layer by layer.

    Counts are over convolutions and linear layers (`weights`) and over all parameters (`parameters`);
    multiply-accumulates are those of these layers for `example`, one image of shape ``(1, 3, height, width)``.
    """
    layers, positions = _layers(network), _positions(network, example)
    audits, macs, effective = [], 0, 0
    for name, module in layers:
        weight = effective_weight(module)
        zero = weight == 0
        removed = int(zero.sum())
        macs += weight.numel() * positions.get(name, 0)
        effective += (weight.numel() - removed) * positions.get(name, 0)
        filters, channels = (int(one.flatten(1).all(1).sum()) for one in (zero, zero.transpose(0, 1)))
        counts = (weight.shape[0], filters, weight.shape[1], channels)
        audits.append(LayerAudit(name, weight.numel(), removed, *counts))
    convolutions = [audit for audit, (_, module) in zip(audits, layers, strict=True) if isinstance(module, nn.Conv2d)]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    zeros = sum(int((parameter == 0).sum()) for parameter in network.parameters())
    return CheckpointAudit(
        parameters=parameters, nonzero_parameters=parameters - zeros, weights=sum(audit.weights for audit in audits),
        zero_weights=sum(audit.zero_weights for audit in audits), macs=macs, effective_macs=effective,
        zero_filters=sum(audit.zero_filters or 0 for audit in convolutions),
        filters=sum(audit.filters or 0 for audit in convolutions),
        zero_channels=sum(audit.zero_channels or 0 for audit in convolutions),
        channels=sum(audit.channels or 0 for audit in convolutions), layers=tuple(audits),
    )  # fmt: skip


def layout_macs(layout: Layout) -> int:
    """Multiply-accumulates of a registered layout for one image, zeros counted like other weights."""
    with torch.device("meta"):
        network = layout.build(layout.datasets[0]).eval()
        positions = _positions(network, torch.empty(1, *layout.input_shape))
    return sum(module.weight.numel() * positions.get(name, 0) for name, module in _layers(network))


def _layers(network: nn.Module) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
    return [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def _positions(network: nn.Module, example: Tensor) -> dict[str, int]:
    """How many times each weight of a layer is used for one image; layers that are not used are left out."""
    positions: dict[str, int] = {}

    def count_positions(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            per_image = output[0].numel() // output.shape[1] if output.dim() > 1 else 1
            positions[name] = positions.get(name, 0) + per_image

        return hook

    handles = [module.register_forward_hook(count_positions(name)) for name, module in _layers(network)]
    try:
        with torch.inference_mode():
            network(example)
    finally:
        for handle in handles:
            handle.remove()
    return positions


def effective_weight(module: nn.Module) -> Tensor:
    """Weight that a convolution or linear layer multiplies with, after its mask if it carries one."""
    return torch.as_tensor(getattr(module, "effective_weight", lambda: module.weight)()).detach()


def check_sparsity(
    audit: CheckpointAudit, structure: Structure | None, declared: float
) -> tuple[SparsityFinding, list[EvaluationWarning]]:
    """Compare the declared sparsity with what was measured.

    For structured pruning the share of zero weights, of removed filters or of removed channels may match.

    Raises:
        CheckpointError: If they differ by more than 2 points.
    """
    shares = zero_shares(audit, structure)
    measured = shares["weights"]
    if structure is None:
        return SparsityFinding(measured, "weights", measured), []
    basis = min(shares, key=lambda name: abs(shares[name] - declared))
    finding = SparsityFinding(measured, basis, shares[basis])
    if differs(finding.matched, declared, SPARSITY_LIMIT):
        listed = ", ".join(f"{share:.2%} of the {name}" for name, share in shares.items())
        nearest = round(finding.matched * 100)
        raise CheckpointError(
            f"declared sparsity is {declared:.2%} but {listed} are zero; give the right --sparsity"
            + (f" (about {nearest / 100:.2f})" if 1 <= nearest <= 99 else "")
            + ", or check that this is the pruned checkpoint and that its mask was saved"
        )
    if differs(finding.matched, declared, SPARSITY_WARNING):
        return finding, [sparsity_warning(audit, structure, declared)]
    return finding, []


def check_behaviour(network: nn.Module, images: Tensor, labels: Tensor, classes: int) -> list[EvaluationWarning]:
    """Warn, on a few images in [0, 1], of probabilities instead of logits, non-determinism and zero gradients.

    Raises:
        NetworkError: If the network is in training mode, fails, or returns something else than finite logits
            of shape ``(n, classes)``.
    """
    if network.training:
        raise NetworkError("the network is in training mode; call .eval() before it is evaluated")
    try:
        with torch.no_grad():
            logits, again = network(images), network(images)
    except RuntimeError as error:
        raise NetworkError(f"the network cannot process images of shape {tuple(images.shape)}: {error}") from error
    if not isinstance(logits, Tensor) or logits.shape != (len(images), classes):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise NetworkError(f"the network returns {shape} for {len(images)} images; expected ({len(images)}, {classes})")
    if not torch.isfinite(logits).all():
        raise NetworkError("the network returns NaN or infinite logits; the checkpoint may hold broken weights")
    warnings = {}
    if not torch.equal(logits, again):
        warnings["non-deterministic"] = (
            "Two forward passes of the same images differ: the network is not deterministic, "
            "so AutoAttack and FMN may fail on it."
        )
    sums = logits.sum(1)
    if (logits >= 0).all() and (logits <= 1).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-4):
        warnings["softmax-output"] = (
            "The network returns probabilities instead of logits, which weakens gradient attacks."
        )
    dead = dead_gradients(network, images, labels)
    if dead > 0:
        warnings["dead-gradients"] = (
            f"The gradient of the loss is exactly zero for {dead:.1%} of the first {len(images)} images: "
            "gradient attacks cannot start there."
        )
    return [EvaluationWarning(code, message) for code, message in warnings.items()]


def dead_gradients(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images at which the gradients of cross-entropy and of the DLR loss are both exactly zero."""
    x = images.clone().requires_grad_(True)
    logits = network(x)
    if not logits.requires_grad:
        return 1.0
    first = torch.autograd.grad(nn.functional.cross_entropy(logits, labels, reduction="sum"), x, retain_graph=True)[0]
    second = torch.autograd.grad(dlr_margin(logits, labels).sum(), x)[0]
    dead = (first.flatten(1) == 0).all(1) & (second.flatten(1) == 0).all(1)
    return float(dead.float().mean())
