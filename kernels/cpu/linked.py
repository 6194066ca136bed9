"""Large functions that many kernels call by name: compiled once, not once in each of them.

Numba links all that a kernel calls into it, and optimises it there again. That is right for small
functions; the matrix product takes a second or two each time. So it is compiled by itself for a
dtype, its address is told to LLVM under a name, and kernels call the name, by Numba's own calling
convention. Whoever loads or compiles a kernel `prepare`s first what it calls so (`cache` does).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import llvmlite.binding as llvm
from numba import types
from numba.core import cgutils

from .simd import intrinsic

_linked: list[Linked] = []
_prepared: set[tuple[Linked, Any]] = set()
_busy = Lock()  # Numba compiles on one thread at a time: who finds it taken is inside


class Linked:
    """A kernel that others call by name. `signature` gives its argument types for a float type."""

    def __init__(self, kernel: Any, signature: Callable[[Any], tuple[Any, ...]]) -> None:
        self.kernel = kernel
        self.signature = signature
        self.file = Path(kernel.py_func.__code__.co_filename)
        self.call = self._caller()
        _linked.append(self)

    def _name(self, scalar: Any) -> str:
        return f"weightspace_{self.kernel.py_func.__name__}_{scalar}"

    def prepare(self, scalar: Any) -> None:
        """Compile or load the kernel for a float type, and tell its address."""
        found = self.signature(scalar)
        self.kernel.compile(found)
        compiled = self.kernel.overloads[found]
        address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
        llvm.add_symbol(self._name(scalar), address)

    def _caller(self) -> Any:
        """call(one, arguments): `kernel` of a tuple of arguments, for the dtype of `one`."""

        @intrinsic
        def call(typing, one, arguments):
            wanted = self.signature(one)

            def generate(context, builder, signature, given):
                values = [given[0]]
                for i, (kind, to) in enumerate(zip(arguments.types, wanted[1:], strict=True)):
                    value = builder.extract_value(given[1], i)
                    values.append(context.cast(builder, value, kind, to))
                kind = context.call_conv.get_function_type(types.none, wanted)
                function = cgutils.get_or_insert_function(builder.module, kind, self._name(one))
                context.call_conv.call_function(builder, function, types.none, wanted, values)
                return context.get_dummy_value()

            return types.void(one, arguments), generate

        return call


def prepare(sources: list[Path], signature: Any) -> None:
    """Prepare what kernels of these source files call, for the float types of `signature`.

    In the order of definition: one may call those before it. (They are loaded by the same cache
    that calls us, once for each of their own callees: those calls find nothing to do.) What is
    interrupted, by Ctrl-C too, is done again by the next call: LLVM ends a process that asks for a
    name it lacks.
    """
    if _busy.locked():
        return
    arrays = {each.dtype for each in signature if isinstance(each, types.Array)}
    scalars = {each for each in signature if isinstance(each, types.Float)}
    with _busy:
        for scalar in (arrays or scalars) & {types.float32, types.float64}:
            for each in _linked:
                if each.file in sources and (each, scalar) not in _prepared:
                    each.prepare(scalar)
                    _prepared.add((each, scalar))
