"""A pretended accelerator: tensors whose values are on the CPU and whose device is reported as ``pretended``.

Like CUDA, it refuses operations that mix its tensors with those of the CPU, except for scalars and indices, and lets
nothing read its tensors but copies. It counts what would make the host wait for a GPU, and can be given too little
memory. It shows nothing of time, rounding, streams, mixed precision or settings of a real GPU.

Importing this module registers the device, which must happen before this process computes its first gradient: torch
starts the threads of all devices then. Collecting the tests does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretended"
DEVICE = f"{NAME}:0"
aten = torch.ops.aten

WAITS = {
    aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.equal.default,
    aten._unique2.default, aten.unique_dim.default, aten.unique_consecutive.default, aten.repeat_interleave.Tensor,
    aten.bincount.default, aten.is_nonzero.default,
}  # fmt: skip
"""Operations whose result, or the shape of whose result, the host has to wait for."""

INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
"""Operations that wait if an index is a mask or on the CPU."""

TAKE_SCALARS = {*INDEXING, aten.masked_fill.Tensor, aten.masked_fill_.Tensor}
"""Operations other than pointwise ones that take scalars of the CPU."""


class MixedDevicesError(RuntimeError):
    """An operation was given tensors of the device and of the CPU."""


@dataclass
class Log:
    """What happened on the device since :func:`watched` began.

    Attributes:
        waits: Names of operations for which the host would have waited for a GPU.
        kernels: Number of operations that are not views.
    """

    waits: list[str] = field(default_factory=list)
    kernels: int = 0


_logs: list[Log] = []
_limits: list[int] = []


@contextlib.contextmanager
def watched() -> Iterator[Log]:
    """Log of what happens on the device while the context lasts."""
    _logs.append(Log())
    try:
        yield _logs[-1]
    finally:
        _logs.pop()


@contextlib.contextmanager
def little_memory(largest: int) -> Iterator[None]:
    """Let the device run out of memory at every tensor of more than so many elements."""
    _limits.append(largest)
    try:
        yield
    finally:
        _limits.pop()


class OnDevice(Tensor):
    """A tensor on the device; `held` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnDevice:
        if _limits and held.numel() > _limits[-1]:
            raise torch.OutOfMemoryError(f"{DEVICE} is out of memory")
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined, no-any-return]
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device=torch.device(DEVICE)
        )

    def __init__(self, held: Tensor) -> None:
        self.held = held

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"OnDevice({self.held!r})"

    def tolist(self) -> Any:
        """The values, copied to the CPU first as CUDA does; torch has no ``tolist`` for subclasses."""
        return self.cpu().tolist()

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["held"], None

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation on the values, if it mixes nothing; its results are on the device unless copied from it."""
        kwargs = dict(kwargs or {})
        tensors = list(_tensors((*args, *kwargs.values())))
        _refuse_mixture(func, tensors, args[1] if func in INDEXING else ())
        _note(func, tensors, args, kwargs)
        to_host = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cpu"
        if kwargs.get("device") is not None:
            kwargs["device"] = "cpu"
        values = {name: _held(value) for name, value in kwargs.items()}
        result = func(*map(_held, args), **values)
        if (written := _written(func, args, kwargs)) is not None:
            return written
        return result if to_host else _moved(result)


def _tensors(values: Any) -> Iterator[Tensor]:
    """The tensors among arguments, and in lists of them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _held(value: Any) -> Any:
    """An argument as the CPU has it."""
    if isinstance(value, OnDevice):
        return value.held
    return type(value)(map(_held, value)) if isinstance(value, list | tuple) else value


def _moved(result: Any) -> Any:
    """A result as one of the device."""
    if isinstance(result, Tensor):
        return OnDevice(result)
    return type(result)(map(_moved, result)) if isinstance(result, list | tuple) else result


def _refuse_mixture(func: Any, tensors: Sequence[Tensor], indices: Any) -> None:
    """Refuse tensors of the CPU, other than in copies, and other than scalars and indices where CUDA takes them."""
    if func in INDEXING and isinstance(tensors[0], OnDevice):
        tensors = [tensors[0], *tensors[1 + sum(index is not None for index in indices) :]]
    strangers = [tensor for tensor in tensors if not isinstance(tensor, OnDevice)]
    if not strangers or func is aten.copy_.default:
        return
    scalars = torch.Tag.pointwise in func.tags or func in TAKE_SCALARS
    if not (scalars and all(tensor.dim() == 0 for tensor in strangers)):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in strangers)
        raise MixedDevicesError(f"{func} is given tensors of the CPU, of shape {shapes}, and tensors on {DEVICE}")


def _note(func: Any, tensors: Sequence[Tensor], args: Any, kwargs: Any) -> None:
    waits = func in WAITS
    if func in INDEXING:
        given = [index for index in args[1] if index is not None]
        waits = any(index.dtype in (torch.bool, torch.uint8) or not isinstance(index, OnDevice) for index in given)
    elif func is aten.copy_.default and not all(isinstance(tensor, OnDevice) for tensor in tensors):
        from_pinned = isinstance(args[0], OnDevice) and (len(args) > 2 and args[2])
        waits = not from_pinned
    elif func is aten._to_copy.default:
        waits = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cpu"
    for log in _logs:
        log.kernels += not _is_view(func)
        if waits:
            log.waits.append(str(func))


@cache
def _is_view(func: Any) -> bool:
    returned = func._schema.returns
    return bool(returned) and all(one.alias_info is not None and not one.alias_info.is_write for one in returned)


def _written(func: Any, args: Any, kwargs: Any) -> Any:
    """The tensors that an operation has written to, which are its result; ``None`` if it makes new ones."""
    names = _writes(func)
    if not names:
        return None
    found = tuple(kwargs[name] if name in kwargs else args[place] for name, place in names)
    if any(tensor.shape != tensor.held.shape for tensor in found if isinstance(tensor, OnDevice)):
        raise NotImplementedError(f"{func} changes the shape of a tensor on {DEVICE}")
    return found[0] if len(found) == 1 else found


@cache
def _writes(func: Any) -> tuple[tuple[str, int], ...]:
    schema = func._schema
    if not any(one.alias_info is not None and one.alias_info.is_write for one in schema.returns):
        return ()
    places = enumerate(schema.arguments)
    return tuple((one.name, place) for place, one in places if one.alias_info is not None and one.alias_info.is_write)


def _factory(operation: Any) -> Callable[..., OnDevice]:
    """An operation that makes a tensor from none, on the device."""

    def make(*args: Any, **options: Any) -> OnDevice:
        return OnDevice(operation(*args, **{**options, "device": "cpu", "pin_memory": False}))

    return make


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    """What ``torch.tensor(data, device=...)`` calls."""
    for log in _logs:
        log.waits.append("aten._copy_from.default")
    values, into = (tensor.held if isinstance(tensor, OnDevice) else tensor for tensor in (source, target))
    into.copy_(values)
    return target


class _Backend:
    """What torch asks of the device beyond operations: it is not there unless it is named, so other tests see a CPU."""

    is_initialized = staticmethod(lambda: True)
    is_available = staticmethod(lambda: False)
    current_device = device_count = staticmethod(lambda: 0)
    _is_in_bad_fork = staticmethod(lambda: False)
    manual_seed_all = staticmethod(lambda seed: None)


_setup_privateuseone_for_python_backend(NAME, _Backend())
_library = torch.library.Library("aten", "IMPL")  # what is registered lasts as long as this object
for _name in ("empty.memory_format", "empty_strided", "arange", "arange.start", "arange.start_step", "linspace"):
    _operation, _, _overload = _name.partition(".")
    _library.impl(_name, _factory(getattr(getattr(aten, _operation), _overload or "default")), "PrivateUse1")
_library.impl("_copy_from", _copy_from, "PrivateUse1")
