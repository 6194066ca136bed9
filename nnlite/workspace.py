"""Buffers that are made once and used again at every step, and the scope a layer works in."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np


class Workspace:
    """Named buffers that only ever grow: after the first step of a size nothing is allocated.

    `generation` counts forward passes. What a forward pass saved carries its number, since the next
    one writes over the same buffers.
    """

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.generation = 0
        self._store: dict[tuple[str, str], np.ndarray] = {}
        self._views: dict[tuple[str, str], np.ndarray] = {}

    @property
    def nbytes(self) -> int:
        """Bytes held by all buffers."""
        return sum(buffer.nbytes for buffer in self._store.values())

    def take(self, key: tuple[str, str], shape: tuple[int, ...]) -> np.ndarray:
        """An uninitialised array of `shape`: the same memory each time `key` is asked for."""
        view = self._views.get(key)
        if view is not None and view.shape == shape:
            return view
        size = math.prod(shape)
        buffer = self._store.get(key)
        if buffer is None or buffer.size < size:
            buffer = self._store[key] = np.empty(size, self.dtype)
        view = self._views[key] = buffer[:size].reshape(shape)
        return view


class Scope:
    """What a layer's verbs call `k`: the kernels, and buffers under the layer's own name."""

    __slots__ = ("_workspace", "name", "ops")

    def __init__(self, ops: ModuleType, workspace: Workspace, name: str) -> None:
        self.ops = ops
        self.name = name
        self._workspace = workspace

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The layer's buffer `name`, uninitialised, of `shape`."""
        return self._workspace.take((self.name, name), shape)
