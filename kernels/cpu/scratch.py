"""Scratch on the stack: small arrays for one block of work, which nobody allocates.

An array that a `prange` body makes with np.empty is a call to the allocator for every block. Memory
on the stack of the function that asks for it costs nothing; it must not outlive that function.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype


def stack_of(count: int, dtype: Any = None) -> Any:
    """A function of compiled code: stack(array) is a pointer to room for `count` elements of the
    array's dtype (or of `dtype`), for `numba.carray`. The compiled code must call it itself, not
    through another.
    """
    fixed = None if dtype is None else from_dtype(np.dtype(dtype))

    @intrinsic
    def stack(context, array):
        element = fixed or array.dtype

        def generate(context, builder, signature, arguments):
            room = ir.Constant(ir.IntType(64), count)
            return cgutils.alloca_once(builder, context.get_value_type(element), size=room)

        return types.CPointer(element)(array), generate

    return stack
