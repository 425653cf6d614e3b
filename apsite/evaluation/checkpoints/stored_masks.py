"""Masks and scores that pruning tools store with the weights, and the resulting weights.

Training scripts save what their layers hold: weights and masks apart, weights in factors, scores next to weights that
are not pruned yet. Every rule here gives the weight that acts in the forward pass of the tool that wrote the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from apsite.evaluation.checkpoints.networks.layers import top_scores

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
    """Apply and remove the masks, factors, norms and scores of a state dict.

    Known are masks under the names of :func:`_usual_names`, ``aux_weight`` (TwinRep), the lengths and directions of
    ``weight_norm``, the singular vectors of ``spectral_norm``, ``popup_scores`` (HYDRA) and ``k_score`` (HARP). The
    masks of MAD and the scores of RST belong to separate layouts and stay. The declared `sparsity` is a fraction,
    ``None`` or 0 for a dense network.
    """
    state, written = _usual_names(stored)
    notes: list[str] = []
    problems: list[str] = []
    _multiply_norms(state, notes)
    _multiply_factors(state, notes, problems)
    _multiply_masks(state, written, sparsity or 0.0, notes, problems)
    _apply_scores(state, sparsity or 0.0, notes, problems)
    return Resolved(state, tuple(notes), tuple(problems))


_PARAMETRISED = re.compile(r"(.*\.|)parametrizations\.(\w+)\.(original[01]?|[0-9]+\.(?:mask|_u|_v))")
_PARTS = {"original": "_orig", "original0": "_g", "original1": "_v", "mask": "_mask", "_u": "_u", "_v": "_v"}


def _usual_names(stored: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors with each mask of ``X`` as ``X_mask``, and the names of these masks in the file.

    ``layer.mask``, ``layer.mask.mask``, ``mask.layer``, ``mask.layer.weight`` and ``layer_mask`` belong to
    ``layer.weight``. That may be in a wrapper, ``layer.module.weight`` (NNI), or hold what a parametrisation starts
    from, ``layer.parametrizations.weight.original``, and becomes ``layer.weight_orig``.
    """
    state = {}
    for name, value in stored.items():
        found = _PARAMETRISED.fullmatch(name)
        state[f"{found[1]}{found[2]}{_PARTS[found[3].rpartition('.')[2]]}" if found else name] = value
    for layer in [name.removesuffix("weight_mask") for name in state if name.endswith(".weight_mask")]:
        if f"{layer}module.weight" in state:
            for name in [name for name in state if name.startswith(f"{layer}module.")]:
                state.setdefault(layer + name.removeprefix(f"{layer}module."), state.pop(name))
    written = {}
    for name in list(state):
        bare = ".".join(part for part in name.split(".") if part not in ("mask", "masks")).removesuffix("_mask")
        for target in (bare, f"{bare}.weight" if bare else "weight"):
            if bare != name and (target in state or f"{target}_orig" in state) and f"{target}_mask" not in state:
                state[f"{target}_mask"], written[f"{target}_mask"] = state.pop(name), name
                break
    return state, written


def _multiply_norms(state: dict[str, Tensor], notes: list[str]) -> None:
    """``X_g`` times the direction of ``X_v`` becomes ``X``, and so does ``X_orig`` by its largest singular value."""
    done = 0
    for name in [name.removesuffix("_v") for name in state if name.endswith("_v")]:
        v, g, u, original = (state.get(name + part) for part in ("_v", "_g", "_u", "_orig"))
        assert v is not None
        if (
            g is not None
            and g.dim() in (0, v.dim())
            and all(a in (1, b) for a, b in zip(g.shape, v.shape, strict=False))
        ):
            sides = [at for at in range(v.dim()) if g.dim() == 0 or g.shape[at] == 1]
            length = v.square().sum(sides, keepdim=True).sqrt()
            state[name] = v * torch.where(length > 0, g / length, 0)  # nothing is left of a filter of zeros
        elif u is not None and original is not None and original.dim() > 1:
            matrix = (original if u.numel() == original.shape[0] else original.transpose(0, 1)).flatten(1)
            if matrix.shape != (u.numel(), v.numel()):
                continue
            state[name] = original / (u.flatten() @ matrix @ v.flatten())
        else:
            continue
        done += 1
        for part in ("_v", "_g", "_u", "_orig"):
            state.pop(name + part, None)
    if done:
        notes.append(f"{done} weights computed from what weight_norm or spectral_norm stores.")


def _multiply_factors(state: dict[str, Tensor], notes: list[str], problems: list[str]) -> None:
    """``weight`` times ``aux_weight`` becomes ``weight``.

    Channel pruning stores a square ``aux_weight`` that mixes output channels; it differs from a factor of the weight's
    own shape by the whole network, since the two shapes are equal for a square linear layer.
    """
    factors = {
        name.removesuffix("aux_weight") + "weight": state.pop(name)
        for name in list(state)
        if name.rpartition(".")[2] == "aux_weight"
    }
    mixing = any(name in state and factor.shape != state[name].shape for name, factor in factors.items())
    for name, factor in factors.items():
        weight, stored = state.get(name), name.removesuffix("weight") + "aux_weight"
        if weight is None:
            problems.append(f"{stored} has no {name}")
        elif factor.shape != (weight.shape[:1] * 2 if mixing else weight.shape) or weight.dim() == 0:
            problems.append(f"{stored} has the shape {list(factor.shape)}, which does not fit {name}")
        else:
            state[name] = (factor @ weight.flatten(1)).view_as(weight) if mixing else weight * factor
    if factors:
        notes.append(f"{len(factors)} weights multiplied by their {'channel mixers' if mixing else 'factors'}.")


def _multiply_masks(
    state: dict[str, Tensor], written: Mapping[str, str], sparsity: float, notes: list[str], problems: list[str]
) -> None:
    """``X`` or ``X_orig`` times ``X_mask`` becomes ``X``."""
    done = zeros = total = 0
    for mask_name in [name for name in state if name.endswith("_mask")]:
        name = mask_name.removesuffix("_mask")
        held = [one for one in (f"{name}_orig", name) if one in state]
        if not held or not state[held[0]].is_floating_point():
            continue
        mask, weight, called = state[mask_name], state[held[0]], written.get(mask_name, mask_name)
        spread = _spread(mask, weight)
        if len(held) > 1:
            problems.append(f"both {held[0]} and {name} exist")
        elif not bool(((mask == 0) | (mask == 1)).all()):
            problems.append(
                f"{called} holds scores instead of zeros and ones: save the weights as the layer multiplies them"
            )
        elif spread is None:
            problems.append(
                f"{called} has the shape {list(mask.shape)}, which does not fit {held[0]} {list(weight.shape)}: save "
                "the weights as the layer multiplies them"
            )
        else:
            state[name] = state.pop(held[0]) * spread
            del state[mask_name]
            done += 1
            zeros += int((spread.expand_as(weight) == 0).sum())
            total += weight.numel()
    problems += [
        f"{name} has no {name.removesuffix('_orig')}_mask" for name in state if name.endswith("_orig") and not problems
    ]
    if done:
        notes.append(f"{done} tensors multiplied by their masks.")
    if sparsity and total and abs(1 - zeros / total - sparsity) < _DENSE < abs(zeros / total - sparsity):
        problems.append(
            f"its masks are 0 for {zeros / total:.1%} of their weights, of which {sparsity:.1%} are declared to be "
            "pruned: save masks that are 1 where a weight stays"
        )


def _spread(mask: Tensor, weight: Tensor) -> Tensor | None:
    """A mask for each weight, kernel, filter or input channel, ready to be multiplied; ``None`` for any other shape.

    One number for each channel fits the inputs and the outputs of a square layer, and is neither unless it is 1.
    """
    shape, ones = weight.shape, (1,) * (weight.dim() - 1)
    if mask.shape == shape:
        return mask
    if mask.shape == shape[:1]:
        return mask.view(-1, *ones)
    if mask.dim() != weight.dim() or mask.shape[2:] not in (shape[2:], ones[1:]):
        return None
    per_channel = mask.shape[0] == 1
    if per_channel and mask.shape[1] in shape[:2] and bool((mask == 1).all()):
        return mask.flatten()[:1].view(1, *ones)
    square = per_channel and shape[0] == shape[1]
    fits = all(size in (1, whole) for size, whole in zip(mask.shape, shape, strict=True))
    return mask if fits and not square else None


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
    zeros = sum(int((weight == 0).sum()) for weight in weights.values()) / max(total, 1)
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
