"""What a pickle describes, without running anything of it.

A pickle is a program for a small stack machine whose instructions may import and call anything. This module runs that
machine on descriptions only: a class becomes a :class:`Global`, an object of any class an :class:`Object` with its
arguments, attributes and items, and a tensor a :class:`StoredTensor` that says where in the file its numbers are. No
name is imported, nothing is called, and memory is bounded by the size of the file.

Source of the instructions: the module :mod:`pickletools` of the standard library, which documents and decodes them.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

MAX_DIMENSIONS = 64
"""As many as PyTorch itself can hold."""
MAX_INSTRUCTIONS = 5_000_000
"""A checkpoint with its optimiser has some ten thousand; each may take some hundred bytes of memory."""
MAX_NAME = 1_000
"""Most characters of the name of a class, and of a part of the name of a tensor."""


class PickleError(Exception):
    """The bytes are not a whole pickle, or describe what no pickle of tensors does."""


@dataclass(frozen=True)
class Global:
    """A class or function by its dotted name, such as ``collections.OrderedDict``."""

    name: str


@dataclass(frozen=True)
class Storage:
    """Numbers in the file, as one flat array of `length` elements; `key` is its name there.

    `kind` is the name of the storage class, such as ``FloatStorage``; `data` its bytes, where the pickle holds them.
    """

    key: str
    kind: str
    length: int
    data: bytes | None = None


@dataclass(frozen=True)
class StoredTensor:
    """A view of a storage; `offset` and `stride` count elements.

    `dtype` is the type of the elements where the storage does not say it, such as ``torch.float32``.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str | None = None


@dataclass(eq=False)
class Object:
    """An object of a class that is not known here, as its parts.

    Attributes:
        kind: Dotted name of its class, or of the function that would have made it from `arguments`.
        state: What its attributes would have been restored from.
        items: What was put into it by key; `elements` were appended to it.
    """

    kind: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)


def read_pickle(
    file: IO[bytes], persistent: Callable[[Any], Any] | None = None,
    known: Mapping[str, Callable[..., Any]] = MappingProxyType({}),
) -> Any:  # fmt: skip
    """The object that the next pickle of a file describes; the file is left behind its end.

    Args:
        file: Where the pickle begins.
        persistent: Replacement of a persistent reference, by which a pickle names data outside of it.
        known: Replacement of an object, by the dotted name of its class or function.

    Returns:
        Numbers, text, bytes, lists, tuples, dicts, :class:`Global`, :class:`Object` and :class:`StoredTensor`. Sets are
        lists. Keys of a dict that are no plain values are replaced by their description.

    Raises:
        PickleError: If the bytes are damaged or no pickle.
    """
    machine = _Machine(persistent, {**_KNOWN, **known})
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if opcode.name == "STOP":
                return machine.stack.pop()
            if count == MAX_INSTRUCTIONS:
                raise PickleError(f"it has more than {MAX_INSTRUCTIONS:,} instructions")
            machine.run(opcode.name, argument)
    except PickleError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, EOFError, RecursionError) as error:
        raise PickleError(str(error) or type(error).__name__) from None
    raise PickleError("it has no end")


_MARK = object()
"""Where a list of arguments begins on the stack."""
_IGNORED = frozenset({"PROTO", "FRAME", "READONLY_BUFFER"})


class _Machine:
    """Stack and memo of a pickle that is being read."""

    def __init__(self, persistent: Callable[[Any], Any] | None, known: Mapping[str, Callable[..., Any]]) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.persistent = persistent
        self.known = known

    def run(self, name: str, argument: Any) -> None:
        """Do what one instruction says, to the stack alone."""
        pop = self.stack.pop
        if name in _PUSHED:
            self.stack.append(_PUSHED[name](self, argument))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name == "POP":
            pop()
        elif name == "POP_MARK":
            self.to_mark()
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            added = [pop()] if name == "APPEND" else self.to_mark()
            _elements_of(self.stack[-1]).extend(added)
        elif name in ("SETITEM", "SETITEMS"):
            added = [pop(), pop()][::-1] if name == "SETITEM" else self.to_mark()
            _filled(_items_of(self.stack[-1]), added)
        elif name == "BUILD":
            state = pop()
            if isinstance(self.stack[-1], Object):
                self.stack[-1].state = state
        elif name == "NEXT_BUFFER":
            raise PickleError("it refers to buffers outside of the file")
        elif name not in _IGNORED:
            self.stack.append(argument)  # a number, text or bytes

    def last(self, count: int) -> tuple[Any, ...]:
        """The last values of the stack, taken off, in the order in which they were put there."""
        return tuple(self.stack.pop() for _ in range(count))[::-1]

    def outside(self, reference: Any) -> Any:
        """What a persistent reference names."""
        return self.persistent(reference) if self.persistent else Object("persistent reference", (reference,))

    def to_mark(self) -> list[Any]:
        """What lies on the stack above the last mark; both are taken off."""
        for position in range(len(self.stack) - 1, -1, -1):
            if self.stack[position] is _MARK:
                above = self.stack[position + 1 :]
                del self.stack[position:]
                return above
        raise PickleError("a mark is missing")

    def made(self, kind: Any, arguments: Any) -> Any:
        """What a class or function would have made of its arguments: a known value, or an object of that name."""
        if not isinstance(arguments, tuple):  # nothing is copied, or a small file could fill the memory
            raise PickleError("arguments are no tuple")
        if not isinstance(kind, Global):
            return Object("unknown", arguments)
        if kind.name == "torch._tensor._rebuild_from_type_v2" and len(arguments) > 2:  # a subclass of tensors
            return self.made(arguments[0], arguments[2])
        maker = self.known.get(kind.name)
        if maker is not None:
            try:
                return maker(*arguments)
            except TypeError:
                raise PickleError(f"{kind.name} is given {len(arguments)} arguments") from None
        if kind.name == "copyreg._reconstructor" and arguments and isinstance(arguments[0], Global):
            return Object(arguments[0].name, arguments[1:])
        return Object(kind.name, arguments)


def _named(module: Any, attribute: Any) -> Global:
    if not isinstance(module, str) or not isinstance(attribute, str) or len(module) + len(attribute) > MAX_NAME:
        raise PickleError("a class has no usable name")
    return Global(f"{module}.{attribute}")


_PUSHED: Mapping[str, Callable[[_Machine, Any], Any]] = {
    "NONE": lambda machine, _: None,
    "NEWTRUE": lambda machine, _: True,
    "NEWFALSE": lambda machine, _: False,
    "MARK": lambda machine, _: _MARK,
    "EMPTY_TUPLE": lambda machine, _: (),
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_SET"), lambda machine, _: []),
    "EMPTY_DICT": lambda machine, _: {},
    "TUPLE1": lambda machine, _: machine.last(1),
    "TUPLE2": lambda machine, _: machine.last(2),
    "TUPLE3": lambda machine, _: machine.last(3),
    "TUPLE": lambda machine, _: tuple(machine.to_mark()),
    **dict.fromkeys(("LIST", "FROZENSET"), lambda machine, _: machine.to_mark()),
    "DICT": lambda machine, _: _filled({}, machine.to_mark()),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, number: machine.memo[number]),
    "DUP": lambda machine, _: machine.stack[-1],
    "GLOBAL": lambda machine, name: _named(*name.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: _named(*machine.last(2)),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), lambda machine, _: machine.made(*machine.last(2))),
    "NEWOBJ_EX": lambda machine, _: machine.made(*machine.last(3)[:2]),
    "INST": lambda machine, name: machine.made(_named(*name.split(" ", 1)), tuple(machine.to_mark())),
    "OBJ": lambda machine, _: machine.made((parts := machine.to_mark())[0], tuple(parts[1:])),
    "PERSID": lambda machine, reference: machine.outside(reference),
    "BINPERSID": lambda machine, _: machine.outside(machine.stack.pop()),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), lambda machine, number: Global(f"extension {number}")),
}
"""What an instruction puts on the stack, by its name; given the machine and its argument."""


def _elements_of(target: Any) -> list[Any]:
    found = target.elements if isinstance(target, Object) else target
    return found if isinstance(found, list) else []


def _items_of(target: Any) -> dict[Any, Any]:
    found = target.items if isinstance(target, Object) else target
    return found if isinstance(found, dict) else {}


def _filled(target: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    """A dict with keys and values that alternate in a list."""
    if len(items) % 2:
        raise PickleError("a key has no value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[_key(key)] = value
    return target


def _key(key: Any) -> Any:
    """A key that can be hashed in one step; a description of any other one."""
    if isinstance(key, Object) and all(isinstance(part, str) and len(part) < MAX_NAME for part in key.arguments):
        key = bytes_from(key)
    plain = (str, int, float, bool, bytes, type(None))
    flat = isinstance(key, tuple) and len(key) < 100 and all(isinstance(part, plain) for part in key)
    return key if isinstance(key, plain) or flat else f"<{type(key).__name__}>"


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any, dtype: str | None = None) -> StoredTensor:
    """The view that :func:`torch._utils._rebuild_tensor_v2` would have made, its bounds checked."""
    if len(shape) != len(stride) or len(shape) > MAX_DIMENSIONS:
        raise PickleError(f"a tensor has {len(shape)} dimensions")
    shape, stride = tuple(shape), tuple(stride)
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, Storage) or not all(type(number) is int and number >= 0 for number in numbers):
        raise PickleError("a tensor has no storage or no shape")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if all(shape) and last >= storage.length:
        raise PickleError("a tensor is larger than its storage")
    return StoredTensor(storage, offset, shape, stride, dtype)


def _tensor_of_type(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> StoredTensor:
    """The view that ``torch._utils._rebuild_tensor_v3`` would have made; after gradient and hooks comes its type."""
    dtype = rest[2] if len(rest) > 2 else None
    return _tensor(storage, offset, shape, stride, dtype=dtype.name if isinstance(dtype, Global) else None)


def bytes_from(value: object) -> object:
    """The bytes of an object, which protocol 2 and Python 2 write as text; any other object as it is."""
    if isinstance(value, Object) and value.kind == "_codecs.encode" and value.arguments:
        value = value.arguments[0]
    return value.encode("latin1", "replace") if isinstance(value, str) else value


_KNOWN: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": lambda pairs=(): {_key(key): value for key, value in pairs},
    "collections.defaultdict": lambda *factory: {},
    "builtins.dict": lambda: {},
    **dict.fromkeys(("builtins.set", "builtins.frozenset", "__builtin__.set"), lambda elements=(): elements),
    "torch.Size": lambda sizes=(): sizes,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_type,
    "torch._utils._rebuild_parameter": lambda data, *rest: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *rest: data,
    "torch.nn.parameter.Parameter": lambda data, *rest: data,
}
"""Known names. None of them is called: these functions describe what each would make."""


def array_parts(value: object) -> tuple[Any, str, tuple[int, ...], str] | None:
    """Bytes, type, shape and order of a NumPy array; ``None`` for anything else, and for arrays without numbers."""
    if not isinstance(value, Object):
        return None
    if value.kind.endswith(".multiarray._reconstruct") and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, kind, by_columns, data = value.state
        order = "F" if by_columns else "C"
    elif value.kind.endswith(".numeric._frombuffer") and len(value.arguments) == 4:
        data, kind, shape, order = value.arguments
    else:
        return None
    if not isinstance(kind, Object) or kind.kind != "numpy.dtype" or not kind.arguments:
        return None
    code, state = kind.arguments[0], kind.state
    high_first = isinstance(state, tuple) and len(state) > 1 and state[1] == ">"
    sizes = isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS and all(type(size) is int for size in shape)
    if not isinstance(code, str) or code not in _NUMBERS or order not in ("C", "F") or not sizes:
        return None
    return data, f"{'>' if high_first else '<'}{code}", shape, order


def array_of(value: object) -> NDArray[Any] | None:
    """The NumPy array that an object describes; ``None`` as for :func:`array_parts`.

    Raises:
        PickleError: If its parts contradict each other.
    """
    parts = array_parts(value)
    if parts is None:
        return None
    data, kind, shape, order = parts
    try:
        flat = np.frombuffer(bytes_from(data), kind)  # type: ignore[call-overload]
        return np.reshape(flat, shape, order="F" if order == "F" else "C").astype(kind[1:])
    except (ValueError, TypeError) as error:
        raise PickleError(f"an array is damaged: {error}") from None


_NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
