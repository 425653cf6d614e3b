"""Sparse checkpoints as small files: safetensors with one bit per weight and the remaining weights of a pruned tensor.

A tensor ``name`` is stored whole, or as three tensors: ``name::shape`` (int64), ``name::bits`` (uint8, a bit for each
value in order, 1 where it is not zero, the first value in the highest bit) and ``name::values`` (those values in
order). A ResNet8 at 99 % sparsity takes 70 KB instead of 1.6 MB. Files of this kind are read like any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from apsite.documents.json_files import atomic_file
from apsite.errors import CheckpointError

_MARK = "::"
_PARTS = ("shape", "bits", "values")
MAX_GROWTH = 33
"""How many times larger than its file a packed checkpoint may become: one bit becomes at most 32."""
_MAX_BITS = 2**30 // 8
"""Bytes of bits that a file may have: for about a thousand million weights, far more than any network here."""


def write_checkpoint(
    path: Path, state: Mapping[str, Tensor], *, half: bool = False, packed: bool = False, about: Mapping[str, object]
) -> None:
    """Write tensors as safetensors, whole or not at all; `about` says in the metadata how the file was made.

    If `half`, weights (tensors of two or more dimensions) are float16. Zeros stay zeros and nothing else becomes zero,
    so a mask is kept exactly; batch norm stays float32. If `packed`, tensors that are sparse enough to gain from it are
    stored as bits and values.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in state.items():
        value = tensor.detach().cpu().contiguous()
        if half and value.dim() > 1 and value.is_floating_point():
            value = to_half(value)
        stored |= _pack(name, value) if packed else {name: value.clone()}  # safetensors refuses shared memory
    metadata = {"apsite": json.dumps(about, sort_keys=True)}
    with atomic_file(path) as temporary:
        temporary.write_bytes(save(stored, metadata))


def read_about(path: Path) -> dict[str, object]:
    """What :func:`write_checkpoint` noted about a file; empty for a file of another program or none at all."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            noted = json.loads((file.metadata() or {}).get("apsite", "{}"))
    except (OSError, SafetensorError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def to_half(value: Tensor) -> Tensor:
    """Nearest float16, but the smallest one instead of zero where a value is not zero.

    Raises:
        CheckpointError: If a value is too large for float16.
    """
    half = value.to(torch.float16)
    if not bool(torch.isfinite(half).all()):
        raise CheckpointError("a weight is too large for half precision; write float32")
    vanished = (half == 0) & (value != 0)
    smallest = torch.tensor(2.0**-24, dtype=torch.float16)
    return torch.where(vanished, torch.copysign(smallest, value).to(torch.float16), half)


def is_packed(stored: Mapping[str, object]) -> bool:
    """Whether any tensor of a file is packed."""
    return any(_MARK in name for name in stored)


def unpack(path: Path, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole tensors of a packed file, which is untrusted.

    Raises:
        CheckpointError: If the parts of a tensor are not there or contradict each other.
    """
    if sum(tensor.numel() for name, tensor in stored.items() if name.endswith(f"{_MARK}bits")) > _MAX_BITS:
        raise CheckpointError(f"{path}: claims more weights than any network here has; it was not unpacked.")
    whole: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        base, mark, part = name.rpartition(_MARK)
        if not mark:
            whole[name] = tensor
        elif part == _PARTS[0]:
            whole[base] = _unpack(path, base, stored)
        elif part not in _PARTS or f"{base}{_MARK}{_PARTS[0]}" not in stored:
            raise CheckpointError(f"{path}: {name} is no part of a packed tensor. Copy or download the file again.")
    return whole


def _pack(name: str, value: Tensor) -> dict[str, Tensor]:
    """The three parts of a tensor, or the tensor itself where they would not be smaller or it holds no weights."""
    if value.dim() < 2 or not value.is_floating_point():
        return {name: value.clone()}
    flat = value.flatten()
    stays = flat != 0
    bits = torch.from_numpy(np.packbits(stays.numpy()))
    shape, values = torch.tensor(value.shape, dtype=torch.int64), flat[stays]
    if bits.numel() + (values.numel() - flat.numel()) * value.element_size() + 8 * value.dim() >= 0:
        return {name: value.clone()}
    return dict(zip((f"{name}{_MARK}{part}" for part in _PARTS), (shape, bits, values), strict=True))


def _unpack(path: Path, name: str, stored: Mapping[str, Tensor]) -> Tensor:
    """One tensor from its parts. The bits determine its size before memory is allocated."""
    shape, bits, values = (stored.get(f"{name}{_MARK}{part}") for part in _PARTS)
    if shape is None or bits is None or values is None:
        raise CheckpointError(f"{path}: a part of the packed tensor {name} is missing. Copy or download it again.")
    sizes = shape.tolist() if shape.dtype is torch.int64 and shape.dim() == 1 and shape.numel() <= 4 else [-1]
    count = int(np.prod(sizes, dtype=object)) if all(size > 0 for size in sizes) else -1
    right = bits.dtype is torch.uint8 and bits.dim() == values.dim() == 1 and values.is_floating_point()
    if right and bits.numel() == -(-count // 8):
        stays = torch.from_numpy(np.unpackbits(bits.numpy(), count=count).astype(bool))
        if int(stays.sum()) == values.numel():
            flat = torch.zeros(count, dtype=values.dtype)
            flat[stays] = values
            return flat.view(sizes)
    raise CheckpointError(
        f"{path}: the parts of the packed tensor {name} contradict each other. Copy or download it again."
    )
