"""The memory that one kernel's launches are written to, set aside once.

A launch is then two calls of `struct` and one into the library: a small training makes many
thousands of launches, and their cost in Python would be most of its time.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import Any

Grid = tuple[int, ...]
Buffer = tuple[int, ...]  # the members of `coh_buffer`

_WORD = 8


class LaunchRecord:
    """`coh_launch_record` of interface.h, with the values of the arguments that it points to."""

    _fixed = struct.Struct("@QQQQ")  # call, arguments, library, buffers
    _varying = struct.Struct("@6IiiQ")  # grid, block, order, number of buffers, shared bytes
    _buffer = struct.Struct("@QQQQiiii")

    def __init__(self, call: int, library: int, formats: Sequence[str]) -> None:
        count = max(1, len(formats))
        self._values = ctypes.create_string_buffer(_WORD * count)
        first = ctypes.addressof(self._values)
        self._pointers = (ctypes.c_void_p * count)(*(first + _WORD * i for i in range(count)))
        self._buffers = ctypes.create_string_buffer(self._buffer.size * count)
        self._record = ctypes.create_string_buffer(self._fixed.size + self._varying.size)
        self._address = ctypes.addressof(self._record)
        pointers, buffers = ctypes.addressof(self._pointers), ctypes.addressof(self._buffers)
        self._fixed.pack_into(self._record, 0, call, pointers, library, buffers)
        # "0q" sets the next value to a multiple of 8 bytes
        self._pack = struct.Struct("@" + "".join(f"{one}0q" for one in formats)).pack_into

    def start(
        self,
        launch: Callable[[int], int],
        grid: Grid,
        block: Grid,
        values: Sequence[Any],
        buffers: Sequence[Buffer],
        shared: int,
        order: int,
    ) -> int:
        """Run it by the library's function `launch`; gives the number of reports."""
        self._pack(self._values, 0, *values)
        for i, buffer in enumerate(buffers):
            self._buffer.pack_into(self._buffers, i * self._buffer.size, *buffer)
        self._varying.pack_into(
            self._record, self._fixed.size, *grid, *block, order, len(buffers), shared
        )
        return launch(self._address)
