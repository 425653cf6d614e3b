"""The state dict inside what a checkpoint file holds, and whether its tensors can be evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from apsite.errors import CheckpointError

CONTAINERS = (
    "state_dict",
    "net",
    "model",
    "model_state_dict",
    "model_state",
    "network",
    "net_state_dict",
    "params",
    "weights",
)
"""Keys under which training scripts store the state dict."""

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_DEEPEST = 3


def find_state(path: Path, content: object) -> tuple[dict[str, Tensor], str]:
    """The state dict in `content` and the key it was under, ``bare`` if there was none.

    Raises:
        CheckpointError: If there is no state dict, more than one, or one with something else than tensors in it.
    """
    keys: list[str] = []
    for _ in range(_DEEPEST):
        if isinstance(content, nn.Module):  # possible in an unsafe load only
            content = content.state_dict()
            keys.append("network object")
        if not isinstance(content, dict):
            break
        # dict.items, since a stored dict may shadow its own methods
        inside = {key: value for key, value in dict.items(content) if isinstance(value, dict | nn.Module)}
        found = [key for key in CONTAINERS if key in inside]
        if len(found) > 1:
            raise CheckpointError(
                f"{path}: holds networks under {_listed(found)}. Save the one to evaluate as {{'state_dict': ...}}."
            )
        if not found:
            break
        keys.append(found[0])
        content = inside[found[0]]
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, no state dict. {_EXPECTED}")
    items = dict.items(content)
    if not any(isinstance(value, Tensor) for _, value in items):
        raise CheckpointError(
            f"{path}: holds no tensors (found {_listed([str(key) for key, _ in items])}). {_EXPECTED}"
        )
    other = [f"{key} ({type(value).__name__})" for key, value in items if not isinstance(value, Tensor)]
    other += [f"{key!r}" for key, _ in items if not isinstance(key, str)]
    if other:
        raise CheckpointError(f"{path}: not only tensors among the weights: {_listed(other)}. {_EXPECTED}")
    return dict(items), ".".join(keys) or "bare"


def usable_tensors(
    path: Path, stored: Mapping[str, Tensor], limit: int
) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """Tensors as float32 (counters as int64), contiguous, on the CPU; and what was converted.

    Args:
        path: Where they come from, for messages.
        stored: Tensors by name.
        limit: Most bytes that they may take together. A few stored numbers can claim to be a huge tensor.

    Raises:
        CheckpointError: If a tensor is sparse, quantised, without data, of a type that weights cannot have, or holds
            NaN or infinity.
    """
    _check_kinds(path, stored)
    needed = sum(tensor.numel() * 4 for tensor in stored.values())
    if needed > limit:
        raise CheckpointError(
            f"{path}: its tensors claim {needed} bytes, far more than the file holds; they were not unpacked. {_AGAIN}"
        )
    state = {}
    converted: dict[str, int] = {}
    for name, tensor in stored.items():
        kind = _kind(name, tensor)
        if kind is None:
            raise CheckpointError(
                f"{path}: {name} holds {_type(tensor)} numbers; weights must be float32 (or float16, bfloat16, "
                "float64). Save the network before it is quantised or converted."
            )
        if tensor.dtype is not kind:
            converted[_type(tensor)] = converted.get(_type(tensor), 0) + 1
        state[name] = value = tensor.detach().to(kind).contiguous()
        if kind.is_floating_point and not bool(torch.isfinite(value).all()):
            broken = int((~torch.isfinite(value)).sum())
            raise CheckpointError(
                f"{path}: {broken} of the {value.numel()} numbers of {name} are NaN or infinite. Save the network from "
                "before its training diverged."
            )
    notes = tuple(
        f"{count} tensor{'s' if count > 1 else ''} converted from {source}." for source, count in converted.items()
    )
    return MappingProxyType(state), notes


_AGAIN = "Save it again with torch.save(network.state_dict(), ...)."
_EXPECTED = "Save {'state_dict': network.state_dict()}, or the state dict alone."


def _check_kinds(path: Path, stored: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not ordinary arrays of numbers."""
    for name, tensor in stored.items():
        if tensor.is_quantized:
            problem = "quantised. Save the network before it is quantised"
        elif tensor.layout is not torch.strided or tensor.is_nested:
            problem = "sparse. Save it with to_dense()"
        elif tensor.device.type != "cpu" or type(tensor) not in (Tensor, nn.Parameter):
            problem = f"not an ordinary tensor ({type(tensor).__name__} on {tensor.device.type}). {_AGAIN[:-1]}"
        else:
            continue
        raise CheckpointError(f"{path}: {name} is {problem}.")


def _kind(name: str, tensor: Tensor) -> torch.dtype | None:
    """Type that a tensor gets: counters int64, everything else float32; ``None`` if it cannot."""
    last = name.rpartition(".")[2]
    if tensor.dtype in _FLOATS:
        return torch.float32
    if tensor.is_complex():
        return None
    if last == "num_batches_tracked":
        return torch.int64
    return torch.float32 if "mask" in last else None


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _listed(names: list[str]) -> str:
    """The first few of many names."""
    shown = ", ".join(names[:6]) or "nothing"
    return shown if len(names) <= 6 else f"{shown} and {len(names) - 6} more"
