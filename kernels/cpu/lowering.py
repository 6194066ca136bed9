"""From a kernel's call to machine calls: the compiled functions it comes to, and their arguments.

A kernel of this backend is compiled code, or a few lines of Python that choose and shape arguments
for some. To lower a call, its Python lines run once in a copy of their own (`_shadow`) in which
every compiled function writes down its arguments in place of computing. What is written holds
addresses and numbers, nothing of Python, so `machine` can do it again and again.
"""

from __future__ import annotations

import struct
import types as python
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.core.registry import CPUDispatcher

from ..errors import RecordingError
from . import door


class MachineCall(NamedTuple):
    """A compiled function by its address, and its arguments as 64-bit words in their order.

    kind: the function's type, as LLVM writes it. pointers: which of the words are addresses of
    arrays. alone: whether it is too small to be shared among threads.
    """

    address: int
    kind: Any
    words: tuple[int, ...]
    pointers: tuple[int, ...]
    alone: bool


class _Operand(np.ndarray):
    """An argument of a call that is lowered: its numbers may be looked at by no one."""

    def __array_ufunc__(self, *_: Any, **__: Any) -> Any:
        raise RecordingError("a kernel of the cpu computes in Python, where it cannot be lowered")

    def __array_function__(self, *_: Any, **__: Any) -> Any:
        raise RecordingError("a kernel of the cpu computes in Python, where it cannot be lowered")


def lower(kernel: Any, arguments: Sequence[Any]) -> list[MachineCall]:
    """The machine calls of kernel(*arguments). Compiles what was not compiled yet.

    Only addresses of the arrays are used. Raises RecordingError for a kernel whose Python part
    computes by itself.
    """
    found: list[MachineCall] = []
    operands = [each.view(_Operand) if isinstance(each, np.ndarray) else each for each in arguments]
    _shadow(kernel, found, {})(*operands)
    return found


def _shadow(function: Any, found: list[MachineCall], known: dict[int, Any]) -> Any:
    """`function` with compiled functions replaced, in it and in the Python functions it calls."""
    if isinstance(function, CPUDispatcher):
        return lambda *given: found.append(_call(function, given))
    if not isinstance(function, python.FunctionType) or not function.__module__.startswith(
        __package__ or ""
    ):
        return function
    if id(function) not in known:
        scope = dict(function.__globals__)
        made = python.FunctionType(function.__code__, scope, function.__name__,
                                   function.__defaults__, function.__closure__)  # fmt: skip
        known[id(function)] = made
        for name in function.__code__.co_names:
            if name in scope:
                scope[name] = _shadow(scope[name], found, known)
    return known[id(function)]


def _call(dispatcher: Any, given: Sequence[Any]) -> MachineCall:
    plain = [each.view(np.ndarray) if isinstance(each, np.ndarray) else each for each in given]
    kinds = tuple(dispatcher.typeof_pyval(each) for each in plain)
    if kinds not in dispatcher.overloads:
        dispatcher.compile(kinds)
    compiled = dispatcher.overloads[kinds]
    address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    words: list[int] = []
    pointers: list[int] = []
    for kind, each in zip(kinds, plain, strict=True):
        if isinstance(kind, types.Array) and each.size:
            pointers.append(len(words) + 4)
        words += _words(kind, each)
    context = dispatcher.targetctx
    kind = context.call_conv.get_function_type(compiled.fndesc.restype, compiled.fndesc.argtypes)
    if len(kind.args) != len(words) + 2:  # where to return, and what was raised
        raise RecordingError(
            f"{dispatcher.py_func.__name__} takes arguments that cannot be lowered"
        )
    work = sum(each.size for each in plain if isinstance(each, np.ndarray))
    return MachineCall(address, kind, tuple(words), tuple(pointers), work < door.SMALL)


def _words(kind: Any, value: Any) -> list[int]:
    """An argument as Numba's compiled functions take it, each part in a word of 64 bits."""
    if isinstance(kind, types.Array):  # meminfo, parent, nitems, itemsize, data, shape, strides
        where = value.ctypes.data
        return [0, 0, value.size, value.itemsize, where, *value.shape, *value.strides]
    if isinstance(kind, types.BaseTuple):
        kinds: Any = kind
        return [word for of, each in zip(kinds, value, strict=True) for word in _words(of, each)]
    if isinstance(kind, types.NoneType):
        return [0]
    if isinstance(kind, types.Float):
        way = "<d" if kind.bitwidth == 64 else "<f"
        return [int.from_bytes(struct.pack(way, value), "little")]
    if isinstance(kind, types.Integer | types.Boolean):
        return [int(value) & (1 << 64) - 1]
    raise RecordingError(f"an argument of type {kind} cannot be lowered")
