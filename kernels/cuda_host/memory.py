"""Where arrays lie: allocations that are kept apart, and what a kernel may be given of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

ALIGNMENT = 256  # of every allocation, as cudaMalloc promises
GUARD = 256  # bytes on either side of an allocation that belong to no array


def allocate(shape: Any, dtype: Any) -> np.ndarray:
    """Memory for an array; one that is overrun a little meets no other array."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    room = np.empty(size + ALIGNMENT + 2 * GUARD, np.uint8)
    begin = GUARD + -(room.ctypes.data + GUARD) % ALIGNMENT
    return room[begin : begin + size].view(dtype).reshape(shape)


def address_of(array: np.ndarray) -> int:
    """Where the first element lies; the quicker of NumPy's two ways to ask."""
    return array.__array_interface__["data"][0]


def owner_of(array: np.ndarray) -> np.ndarray:
    """The array that holds the memory which `array` is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class Extent(NamedTuple):
    """The memory of an array, as the first members of `coh_buffer` in cpp/interface.h."""

    address: int
    bytes: int  # from the first element to the end of the last
    pitch: int  # from a row to the next, and a row's bytes; both 0 where rows lie side by side
    row: int


def extent_of(array: np.ndarray) -> Extent | None:
    """What a kernel may be given: all elements in order, but rows (of axis 0) may lie apart.

    None for any other array, whose elements a kernel could not find from an address.
    """
    address = address_of(array)
    if array.flags.c_contiguous:
        return Extent(address, array.nbytes, 0, 0)
    if array.ndim < 2 or not array.size or not array[0].flags.c_contiguous:
        return None
    pitch, row = array.strides[0], array[0].nbytes
    if pitch < row:  # rows that overlap, or run backwards
        return None
    return Extent(address, pitch * (len(array) - 1) + row, pitch, row)
