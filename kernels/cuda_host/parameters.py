"""What a kernel's signature asks for, and whether an argument is that.

CuPy passes whatever it is given; a wrong width is read as garbage on the GPU. Here it is refused.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from .array import DeviceArray
from .errors import ArgumentError


class _Description(ctypes.Structure):
    """`coh_parameter` of interface.h."""

    _fields_ = (
        ("size", ctypes.c_int),
        ("is_pointer", ctypes.c_int),
        ("is_constant", ctypes.c_int),
        ("element_size", ctypes.c_int),
        ("element_kind", ctypes.c_char),
    )


class Parameter:
    """One parameter of a kernel.

    dtype: of the number or of a pointer's elements; None for structures such as float4.
    scalar: the NumPy type of a number, None for a pointer. format: how `struct` packs it.
    """

    def __init__(self, described: _Description) -> None:
        self.is_pointer = bool(described.is_pointer)
        self.is_constant = bool(described.is_constant)
        self.element_size = described.element_size
        kind = described.element_kind.decode()
        self.dtype = None if kind == "s" else np.dtype(f"{kind}{described.element_size}")
        if self.is_pointer:
            self.scalar, self.format = None, "Q"
        elif self.dtype is None:
            raise ArgumentError(
                f"a kernel takes a structure of {self.element_size} bytes by value: pass its "
                "numbers one by one"
            )
        else:
            self.scalar, self.format = self.dtype.type, self.dtype.char

    def __str__(self) -> str:
        name = self.dtype.name if self.dtype is not None else f"{self.element_size}-byte structure"
        const = "const " if self.is_constant and self.is_pointer else ""
        return f"{const}{name}{'*' if self.is_pointer else ''}"

    def accept(self, argument: Any) -> Any:
        """The number or address to pass, or ArgumentError."""
        if self.is_pointer:
            return self._accept_pointer(argument)
        if not isinstance(argument, np.generic):
            raise ArgumentError(
                f"a NumPy scalar is wanted for {self}, got {type(argument).__name__}; "
                "CuPy would pass a Python number as 8 bytes"
            )
        if argument.dtype != self.dtype:
            raise ArgumentError(f"{argument.dtype} for {self}")
        return argument

    def _accept_pointer(self, argument: Any) -> int:
        if argument is None:
            return 0
        if not isinstance(argument, DeviceArray):
            raise ArgumentError(
                f"a device array or None is wanted for {self}, got {type(argument).__name__}"
            )
        if self.dtype is not None and argument.dtype != self.dtype:
            raise ArgumentError(f"an array of {argument.dtype} for {self}")
        if argument.extent is None:
            raise ArgumentError(
                f"an array of shape {argument.shape} and strides {argument.strides}; a "
                "kernel sees an address, so only rows (along axis 0) may lie apart"
            )
        return argument.extent.address


def read_signature(describe: Callable[[Any], int]) -> tuple[Parameter, ...]:
    """The parameters of a kernel, which the compiler worked out from its type."""
    count = describe(None)
    described = (_Description * max(1, count))()
    describe(described)
    return tuple(Parameter(one) for one in described[:count])
