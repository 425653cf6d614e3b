"""Masks and scores that pruning tools store with the weights, and the resulting weights.

Training scripts save what their layers hold: weights and masks apart, weights in two factors, scores next to weights
that are not pruned yet. Every rule here gives the weight that acts in the forward pass of the tool that wrote the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from apsite.evaluation.checkpoints.networks.layers import top_scores

_COUNTERS = ("total_ops", "total_params")
"""Tensors that a common tool for counting operations leaves in networks."""
_DENSE = 0.05
"""Weights with a smaller share of zeros than this far below the declared sparsity have not been masked yet."""


@dataclass(frozen=True)
class Resolved:
    """A state dict with its masks multiplied out.

    Attributes:
        state: Tensors by name, without those that are used up or have no part in the forward pass.
        notes: What was done, one sentence each.
        problems: What prevents this, such as a mask without its weight; then do not use `state`.
    """

    state: dict[str, Tensor]
    notes: tuple[str, ...]
    problems: tuple[str, ...]


def multiply_masks(stored: Mapping[str, Tensor], sparsity: float | None) -> Resolved:
    """Apply and remove the masks, factors and scores of a state dict.

    Known are ``weight_orig`` with ``weight_mask`` (``torch.nn.utils.prune``), ``mask`` with or without ``aux_weight``
    (TwinRep), ``popup_scores`` (HYDRA) and ``k_score`` (HARP). The masks of MAD and the scores of RST belong to
    separate layouts and stay. The declared `sparsity` is a fraction, ``None`` or 0 for a dense network.
    """
    state = dict(stored)
    notes: list[str] = []
    problems: list[str] = []
    counters = [name for name in state if name.rpartition(".")[2] in _COUNTERS]
    for name in counters:
        del state[name]
    if counters:
        notes.append(f"{len(counters)} operation counters dropped.")
    _multiply_torch_masks(state, notes, problems)
    _multiply_factors(state, notes, problems)
    _apply_scores(state, sparsity or 0.0, notes, problems)
    return Resolved(state, tuple(notes), tuple(problems))


def _multiply_torch_masks(state: dict[str, Tensor], notes: list[str], problems: list[str]) -> None:
    """``X_orig`` times ``X_mask`` becomes ``X``."""
    originals = [name for name in state if name.endswith("_orig")]
    for original in originals:
        name = original.removesuffix("_orig")
        mask = state.get(f"{name}_mask")
        if mask is None:
            problems.append(f"{original} has no {name}_mask")
        elif name in state:
            problems.append(f"both {original} and {name} exist")
        elif mask.shape != state[original].shape:
            problems.append(f"{name}_mask and {original} have different shapes")
        else:
            state[name] = state.pop(original) * state.pop(f"{name}_mask")
    if originals and not problems:
        notes.append(f"{len(originals)} tensors multiplied by their masks (weight_orig and weight_mask).")


def _multiply_factors(state: dict[str, Tensor], notes: list[str], problems: list[str]) -> None:
    """``weight`` times ``aux_weight`` times ``mask`` becomes ``weight``.

    Channel pruning stores a square ``aux_weight`` that mixes output channels; it differs from a factor of the weight's
    own shape by the whole network, since the two shapes are equal for a square linear layer.
    """
    parts = [name.rpartition(".") for name in state]
    layers = {parent + dot for parent, dot, last in parts if last in ("mask", "aux_weight")}
    factors = {layer: state[f"{layer}aux_weight"] for layer in layers if f"{layer}aux_weight" in state}
    mixing = any(layer + "weight" in state and f.shape != state[layer + "weight"].shape for layer, f in factors.items())
    for layer in sorted(layers):
        weight = state.get(f"{layer}weight")
        if weight is None:
            problems.append(f"{layer}mask or {layer}aux_weight has no {layer}weight")
            continue
        if layer in factors:
            factor = state.pop(f"{layer}aux_weight")
            if factor.shape != ((weight.shape[0],) * 2 if mixing else weight.shape):
                problems.append(
                    f"{layer}aux_weight has the shape {list(factor.shape)}, which does not fit {layer}weight"
                )
                continue
            weight = (factor @ weight.flatten(1)).view_as(weight) if mixing else weight * factor
        mask = state.pop(f"{layer}mask", None)
        if mask is not None:
            if mask.shape == weight.shape[:1]:
                mask = mask.view(-1, *([1] * (weight.dim() - 1)))
            elif mask.shape != weight.shape:
                problems.append(f"{layer}mask has the shape {list(mask.shape)}, which does not fit {layer}weight")
                continue
            weight = weight * mask
        state[f"{layer}weight"] = weight
    if layers and not problems:
        more = "" if not factors else " and channel mixers" if mixing else " and factors"
        notes.append(f"{len(layers)} weights multiplied by their masks{more}.")


def _apply_scores(state: dict[str, Tensor], sparsity: float, notes: list[str], problems: list[str]) -> None:
    """Drop the scores of weights that are pruned already; prune the weights by their scores otherwise."""
    rates = [name for name in state if name.rpartition(".")[2] == "k_score"]
    for name in rates:
        del state[name]
    scores = {
        name.removesuffix("popup_scores") + "weight": state.pop(name)
        for name in list(state)
        if name.rpartition(".")[2] == "popup_scores"
    }
    weights = {name: state[name] for name in scores if name in state and state[name].shape == scores[name].shape}
    if len(weights) < len(scores):
        orphan = next(name for name in scores if name not in weights)
        problems.append(f"popup_scores of {orphan} have no weight of their shape")
        return
    if rates and not scores:
        notes.append(f"{len(rates)} pruning rates (k_score) dropped; they are not used once weights are pruned.")
    if not scores:
        return
    total = sum(weight.numel() for weight in weights.values())
    zeros = sum(int((weight == 0).sum()) for weight in weights.values()) / total
    if zeros >= sparsity - _DENSE:
        dropped = "popup_scores and k_score" if rates else "popup_scores"
        notes.append(f"Scores ({dropped}) dropped: {zeros:.1%} of their weights are zeros already.")
    elif rates:
        problems.append(
            "its weights are not pruned yet, and the rates of HARP's layers depend on settings outside the file; "
            "export the dense checkpoint, in which masks are multiplied out"
        )
    else:
        for name, weight in weights.items():
            state[name] = weight * top_scores(scores[name], sparsity)
        notes.append(f"{len(scores)} weights pruned by their popup_scores at the declared sparsity, layer by layer.")
