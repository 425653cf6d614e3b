"""The state dict inside what a checkpoint file holds, and whether its tensors can be evaluated."""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from apsite.documents.unpickling import (
    MAX_DIMENSIONS,
    MAX_NAME,
    Object,
    PickleError,
    StoredTensor,
    array_of,
    array_parts,
)
from apsite.errors import CheckpointError
from apsite.evaluation.checkpoints.torch_files import TorchFile

BARE = "bare"
"""Name of the keys of a state dict that is the saved object itself."""
CONTAINERS = (
    "state_dict", "net", "model", "model_state_dict", "model_state", "network", "net_state_dict", "params", "weights",
)  # fmt: skip
"""Keys under which training scripts store the network itself; what is under other keys has to be the only one."""

_NO_WEIGHTS = ("optim", "sched", "scaler", "grad", "history", "momentum", "mask")
"""Parts of keys under which tensors are no weights."""
_DEEPEST, _MODULE_DEPTH, _MODULES, _TOP_LEVEL = 6, 100, 100_000, 50
"""Depth of containers, and of modules in a network; modules in a file; names at the top of one with averages."""


def state_dicts(content: object) -> dict[str, dict[str, Any]]:
    """Every state dict in a saved object, by the dotted keys that lead to it; ``bare`` for the object itself.

    A state dict is a mapping from text in which there is a tensor of two or more dimensions, or a whole network.
    """
    found: dict[str, dict[str, Any]] = {}
    seen: set[int] = set()
    modules = itertools.count()

    def visit(value: object, keys: tuple[str, ...]) -> None:
        if id(value) in seen or len(keys) > _DEEPEST:
            return
        seen.add(id(value))
        state = _of_network(value, modules) if isinstance(value, Object) else value
        if isinstance(state, dict) and any(_dimensions(tensor) > 1 for tensor in state.values()):
            for name, part in _averages(state).items():
                found[".".join((*keys, *name)) or BARE] = part
            return
        if isinstance(value, Object):
            visit(value.items, keys)
            visit(value.state, keys)
        for key, child in _children(value):
            if not any(part in key.lower() for part in _NO_WEIGHTS):
                visit(child, (*keys, key))

    visit(content, ())
    return found


def find_state(path: Path, content: object, wanted: str | None = None) -> tuple[dict[str, Any], str, tuple[str, ...]]:
    """The state dict of the network (under the `wanted` keys), the keys that lead to it, and notes on what was left.

    Raises:
        CheckpointError: If there is none, or if there are several and it is not known which one is the network.
    """
    found = state_dicts(content)
    if wanted is not None:
        if wanted not in found:
            raise CheckpointError(f"{path}: no state dict under {wanted}; there is {listed(list(found))}.")
        chosen = wanted
    elif len(found) == 1:
        (chosen,) = found
    elif not found:
        keys = [key for key, _ in _children(content)]
        what = listed(keys) if keys else f"a {_name_of(content)}"
        raise CheckpointError(f"{path}: holds no state dict (found {what}). {_EXPECTED}")
    else:
        usual = [keys for keys in found if keys == BARE or keys.rpartition(".")[2] in CONTAINERS]
        if len(usual) != 1 or any(_alike(found[usual[0]], found[keys]) for keys in found if keys != usual[0]):
            raise CheckpointError(
                f"{path}: holds several state dicts: {listed(list(found))}. Choose one with --state, such as "
                f"--state {listed(list(found)[:1])}; if they are parts of one network, save its state_dict()."
            )
        (chosen,) = usual
    others = [keys for keys in found if keys != chosen]
    masks = _masks_beside(path, content, chosen, found[chosen])
    notes = [f"The state dict under {chosen} was taken; {listed(others)} left aside."] if others else []
    notes += [f"{len(masks)} masks beside the state dict belong to its tensors."] if masks else []
    return found[chosen] | masks, chosen, tuple(notes)


def _masks_beside(path: Path, content: object, chosen: str, state: dict[str, Any]) -> dict[str, Any]:
    """Masks of the tensors of a state dict in a container beside it or beside what holds it, as ``X_mask``.

    They have the names of their tensors or layers, or only an order, see :func:`_in_order`.

    Raises:
        CheckpointError: If it is not known which tensor a mask belongs to.
    """
    beside = [content]
    for key in chosen.split(".") if chosen != BARE else ():
        beside.append(dict(_children(beside[-1])).get(key))
    masks: dict[str, Any] = {}
    for held in (held for value in beside for key, held in _children(value) if "mask" in key.lower()):
        inside = _inside(held)
        if not any(_dimensions(mask) > 0 for mask in inside.values()):
            continue
        if all(name.isdecimal() for name in inside):
            order = sorted(inside, key=int)
            assigned = zip(_in_order(path, [inside[at] for at in order], state), order, strict=True)
        else:
            assigned = zip((_owner(path, name, state) for name in inside), inside, strict=True)
        masks |= {f"{target}_mask": inside[name] for target, name in assigned if _dimensions(inside[name]) >= 0}
    return masks


def _inside(held: object, depth: int = 0) -> dict[str, Any]:
    """Tensors in a container by dotted keys, and what is ``None`` in their place."""
    found: dict[str, Any] = {}
    for key, value in _children(held) if depth < _DEEPEST else ():
        if value is None or _dimensions(value) >= 0:
            found[key] = value
        found |= {f"{key}.{name}": one for name, one in _inside(value, depth + 1).items()}
    return found


def _owner(path: Path, name: str, state: dict[str, Any]) -> str:
    """Tensor of a state dict to which a mask belongs by its name."""
    names = {str(one).removeprefix("module.").removesuffix("_orig"): str(one).removesuffix("_orig") for one in state}
    bare = re.sub(r"^module\.|[._]mask$", "", name)
    target = names.get(bare) or names.get(f"{bare}.weight")
    if target is None:
        raise CheckpointError(
            f"{path}: the mask {listed([name])} has the name of no tensor of the state dict. {_NAME_MASKS}"
        )
    return target


def _in_order(path: Path, masks: list[Any], state: dict[str, Any]) -> list[str]:
    """Tensors of a state dict to which masks without names belong, one for each, in the order of the layers.

    Masks have the shapes of their weights, and ``None`` is in the place of a layer without one. The assignment is
    known if taking the first weight that fits each, or the last, gives the same.
    """
    least = min(_dimensions(mask) for mask in masks if mask is not None)
    weights = [
        (str(name).removesuffix("_orig"), _shape(tensor))
        for name, tensor in state.items()
        if _dimensions(tensor) >= min(least, 2) and not str(name).endswith(("_mask", "running_mean", "running_var"))
    ]
    shapes = [None if mask is None else _shape(mask) for mask in masks]
    first = _placed(shapes, weights)
    last = _placed(shapes[::-1], weights[::-1])[::-1]
    if len(first) == len(last) == len(masks) and first == last:
        return first
    raise CheckpointError(
        f"{path}: holds {len(masks)} masks without names, and their shapes and order do not say which of its "
        f"{len(weights)} weights each belongs to. {_NAME_MASKS}"
    )


def _placed(shapes: list[Any], weights: list[tuple[str, Any]]) -> list[str]:
    """Names of the earliest weights that have these shapes in this order; fewer if there are not enough."""
    left = iter(weights)
    found = (next((name for name, own in left if shape in (None, own)), None) for shape in shapes)
    return [name for name in found if name is not None]


def _shape(value: Any) -> tuple[int, ...]:
    """Shape of a tensor as described; empty for tensors that are not read."""
    array = array_parts(value) if isinstance(value, Object) else None
    return tuple(array[2]) if array else tuple(getattr(value, "shape", ()))


def _of_network(network: Object, modules: Iterator[int]) -> dict[str, Any]:
    """Names and tensors of a whole pickled network, as its ``state_dict()`` gives them; of TorchScript likewise.

    `modules` counts all modules of the file that were looked at, for they may contain each other.
    """
    found: dict[str, Any] = {}
    waiting = [("", 0, network)]
    while waiting:
        prefix, depth, module = waiting.pop()
        if next(modules) > _MODULES or depth > _MODULE_DEPTH:
            raise PickleError("its modules contain each other")
        state = _dict(module.state)
        scripted = module.kind.startswith("__torch__.")
        hidden = state.get("_non_persistent_buffers_set") or ()
        tensors = state if scripted else _dict(state.get("_parameters")) | _dict(state.get("_buffers"))
        inner = state if scripted else _dict(state.get("_modules"))
        for name, tensor in itertools.chain(module.items.items(), tensors.items()):
            if _dimensions(tensor) >= 0 and name not in hidden:
                found[f"{prefix}{_part(name)}"] = tensor
        below = [(f"{prefix}{_part(name)}.", depth + 1, one) for name, one in inner.items() if isinstance(one, Object)]
        waiting += below[::-1]
    return found


def _part(name: object) -> str:
    text = str(name)
    if len(text) > MAX_NAME:
        raise PickleError("a tensor has a name of unusual length")
    return text


def _averages(state: dict[str, Any]) -> dict[tuple[str, ...], dict[str, Any]]:
    """The networks of a state dict that holds one twice, raw and averaged, under two prefixes; else the whole."""
    groups: dict[str, dict[str, Any]] = {}
    for name, tensor in state.items():
        first, _, rest = str(name).partition(".")
        groups.setdefault(first, {})[rest] = tensor
    for first, inner in groups.items() if len(groups) <= _TOP_LEVEL else ():
        twins = [other for other in groups if other != first and set(groups[other]) == set(inner)]
        if "ema" in first.lower() and twins:
            return {(name,): groups[name] for name in (first, *twins)}
    return {(): state}


def _children(value: object) -> list[tuple[str, Any]]:
    """What lies inside a container, each with its key."""
    if isinstance(value, dict):
        return [(str(key), child) for key, child in value.items()]
    return [(str(at), child) for at, child in enumerate(value)] if isinstance(value, list | tuple) else []


def _dimensions(value: object) -> int:
    """Number of dimensions of a tensor; -1 of everything else. Tensors that are not read count as matrices."""
    if isinstance(value, StoredTensor | Tensor):
        return len(value.shape)
    if isinstance(value, Object):
        array = array_parts(value)
        return len(array[2]) if array else 2 if value.kind.startswith(_UNUSUAL) else -1
    return -1


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two state dicts are of similar networks, so that their names do not say which one is meant."""
    names = [{str(name).removeprefix("module.") for name in state} for state in (one, other)]
    return len(names[0] & names[1]) * 2 > min(map(len, names))


def _name_of(value: object) -> str:
    return value.kind if isinstance(value, Object) else "tensor" if _dimensions(value) >= 0 else type(value).__name__


def _dict(value: object) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def tensors_of(
    path: Path, file: TorchFile, state: Mapping[str, Any], limit: int
) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors of a state dict as described, and the names of what is none.

    Together they may take `limit` bytes. A few stored numbers can claim to be a huge tensor.

    Raises:
        CheckpointError: If a tensor is quantised, without data, or too large.
        PickleError: If one is damaged.
    """
    read: dict[str, Tensor] = {}
    others = []
    for name, value in state.items():
        array = array_parts(value)
        kind = value.kind if isinstance(value, Object) else ""
        if isinstance(value, StoredTensor):
            limit = _left(path, limit, value.shape)
            read[str(name)] = file.tensor(value)
        elif array is not None:
            limit = _left(path, limit, array[2])
            read[str(name)] = torch.from_numpy(array_of(value))
        elif kind == "torch._utils._rebuild_sparse_tensor":
            read[str(name)], limit = _dense(path, file, value, limit)
        elif kind.startswith(_UNUSUAL):
            problem = (
                "quantised. Save the network before it is quantised" if "qtensor" in kind else f"without data. {_AGAIN}"
            )
            raise CheckpointError(f"{path}: {name} is {problem.removesuffix('.')}.")
        else:
            others.append(str(name))
    return read, others


_UNUSUAL = "torch._utils._rebuild_"
"""How the names of functions begin that make tensors which are no ordinary arrays."""


def _dense(path: Path, file: TorchFile, value: Object, limit: int) -> tuple[Tensor, int]:
    """A sparse tensor with its zeros, and what is left of the limit."""
    parts = value.arguments[1] if len(value.arguments) > 1 and isinstance(value.arguments[1], tuple) else ()
    stored = [part for part in parts if isinstance(part, StoredTensor)][:3]
    size = next((part for part in parts if isinstance(part, tuple | list)), ())
    if len(size) > MAX_DIMENSIONS or not all(type(length) is int and length >= 0 for length in size):
        raise PickleError("a sparse tensor has no shape")
    for shape in (*(part.shape for part in stored), size):
        limit = _left(path, limit, shape)
    inner = [file.tensor(part) for part in stored]
    make: Callable[..., Tensor] = torch.sparse_coo_tensor if len(inner) == 2 else torch.sparse_csr_tensor
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch calls one of the formats a beta
            return make(*inner, size=size, check_invariants=True).to_dense(), limit
    except (RuntimeError, TypeError, ValueError) as error:
        raise PickleError(f"a sparse tensor is damaged: {str(error).splitlines()[0]}") from None


def _left(path: Path, limit: int, shape: Iterable[int]) -> int:
    """What is left of a limit of bytes beside a tensor of a shape."""
    left = limit - 4 * math.prod(shape)
    if left < 0:
        raise CheckpointError(
            f"{path}: its tensors claim far more bytes than the file holds; they were not unpacked. {_AGAIN}"
        )
    return left


def usable_tensors(path: Path, stored: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """Tensors contiguous and on the CPU, decimals and masks as float32, batch-norm counters as int64.

    Whole numbers, booleans and complex numbers stay, for a network may have buffers of them.

    Returns:
        The tensors, and what was converted, one sentence each.

    Raises:
        CheckpointError: If a tensor is of an unknown type, holds NaN or infinity, or is a negative variance.
    """
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
        if not (value.is_floating_point() or value.is_complex()):
            continue
        broken, what = ~torch.isfinite(value), "NaN or infinite"
        if name.endswith("running_var") and not bool(broken.any()):
            broken, what = value < 0, "negative, which no variance is"
        if bool(broken.any()):
            raise CheckpointError(
                f"{path}: {int(broken.sum())} of the {value.numel()} numbers of {name} are {what}. Save the network "
                "from before its training diverged."
            )
    notes = tuple(
        f"{count} tensor{'s' if count > 1 else ''} converted from {source}." for source, count in converted.items()
    )
    return MappingProxyType(state), notes


_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_AGAIN = "Save it again with torch.save(network.state_dict(), ...)."
_NAME_MASKS = "Name each mask after its weight, such as conv1.weight, or save the weights as the layers multiply them."
_EXPECTED = "Save {'state_dict': network.state_dict()}, or the state dict alone."


def _kind(name: str, tensor: Tensor) -> torch.dtype | None:
    """Type that a tensor gets; ``None`` if it is of one that is not read, such as float8."""
    last = name.rpartition(".")[2]
    if tensor.dtype in _FLOATS:
        return torch.float32
    if tensor.is_floating_point():
        return None
    if last == "num_batches_tracked" and not tensor.is_complex():
        return torch.int64
    return torch.float32 if "mask" in last and not tensor.is_complex() else tensor.dtype


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def listed(names: list[str]) -> str:
    """The first few of many names, which a file may have chosen to confuse a terminal."""
    shown = ", ".join(name[:100] if name.isprintable() else ascii(name[:100]) for name in names[:6]) or "nothing"
    return shown if len(names) <= 6 else f"{shown} and {len(names) - 6} more"
