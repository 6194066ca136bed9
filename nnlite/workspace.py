"""Buffers that are made once and used again at every step, and the scope a layer works in."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..kernels import Backend
from ..kernels.device import NUMPY, Device

Mode = Literal["eval", "train"]
SHARED = "*"  # the owner of buffers that all layers use in turn


@dataclass
class Run:
    """What all layers know of the pass that is running.

    draw: the number of this training pass, by which random layers draw. clock: the same number in
    the device's memory, where the pass is captured to be done again; None elsewhere.
    """

    mode: Mode = "eval"
    seed: int = 0
    draw: int = 0
    clock: Any = None


class Workspace:
    """Named buffers that only ever grow: after the first step of a size nothing is allocated.

    `generation` counts forward passes. What a forward pass saved carries its number, since the next
    one writes over the same buffers. `moves` counts the buffers that were made or grew: whoever
    keeps addresses (a captured graph) looks whether it is still the same.
    """

    def __init__(self, dtype: np.dtype, device: Device = NUMPY) -> None:
        self.dtype = dtype
        self.device = device
        self.generation = 0
        self.moves = 0
        self._store: dict[tuple[str, str], np.ndarray] = {}
        self._views: dict[tuple[str, str], np.ndarray] = {}

    @property
    def nbytes(self) -> int:
        """Bytes held by all buffers."""
        return sum(buffer.nbytes for buffer in self._store.values())

    def take(self, key: tuple[str, str], shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
        """An uninitialised array of `shape`: the same memory each time `key` is asked for."""
        view = self._views.get(key)
        if view is not None and view.shape == shape:
            return view
        size = math.prod(shape)
        buffer = self._store.get(key)
        if buffer is None or buffer.size < size:
            buffer = self._make(key, size, dtype)
        view = self._views[key] = buffer[:size].reshape(shape)
        return view

    def _make(self, key: tuple[str, str], size: int, dtype: Any = None) -> np.ndarray:
        self.moves += 1
        made = self._store[key] = self.device.empty((size,), dtype or self.dtype)
        return made

    def flow(self, shape: tuple[int, ...], beside: np.ndarray) -> np.ndarray:
        """One of two shared arrays of `shape`: the one that does not hold `beside`.

        A cotangent is read once, by the layer it is meant for, so two buffers serve a whole pass;
        being few they stay in cache. Both always have the same room.
        """
        size = math.prod(shape)
        for name in ("flow 0", "flow 1"):
            buffer = self._store.get((SHARED, name))
            if buffer is None or buffer.size < size:
                self._make((SHARED, name), size)
        first = self._store[SHARED, "flow 0"]
        taken = self.device.address(first) == self.device.address(beside)
        buffer = self._store[SHARED, "flow 1"] if taken else first
        return buffer[:size].reshape(shape)


class Scope:
    """What a layer's verbs call `k`: the kernels, the pass, and what lies under the layer's name.

    state: the layer's persistent arrays (running statistics), by name; composite layers hand each
    part its own scope with `child`.
    """

    __slots__ = ("_children", "_constants", "_workspace", "name", "ops", "run", "state")

    def __init__(
        self,
        ops: Backend,
        workspace: Workspace,
        name: str = "",
        state: Mapping[str, Any] | None = None,
        run: Run | None = None,
    ) -> None:
        self.ops = ops
        self.name = name
        self.state = state or {}
        self.run = run or Run()
        self._workspace = workspace
        self._children: dict[str, Scope] = {}
        self._constants: dict[str, np.ndarray] = {}

    def child(self, name: str) -> Scope:
        """The scope of a part of this layer."""
        found = self._children.get(name)
        if found is None:
            full = f"{self.name}.{name}" if self.name else name
            state = self.state.get(name, {})
            found = Scope(self.ops, self._workspace, full, state, self.run)
            self._children[name] = found
        return found

    def take(self, name: str, shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
        """The layer's buffer `name`, uninitialised, of `shape`."""
        return self._workspace.take((self.name, name), shape, dtype)

    def constant(self, name: str, array: np.ndarray) -> np.ndarray:
        """`array`, which is the same for as long as the net, in the device's memory."""
        if name not in self._constants:
            self._constants[name] = self.ops.device.put(array)
        return self._constants[name]

    def flow(self, shape: tuple[int, ...], beside: np.ndarray) -> np.ndarray:
        """A shared buffer for a cotangent, not the one that holds `beside`."""
        return self._workspace.flow(shape, beside)

    def work(self, size: int) -> np.ndarray:
        """Shared scratch (size,) for one kernel call."""
        return self._workspace.take((SHARED, "work"), (size,))


class Frame:
    """What one thread's passes work in: buffers, the pass that runs, and the scopes over both.

    state: the network's persistent arrays, nested as its layers are. They and theta are shared by
    all frames; nothing else is. replays: of the network's programs, in buffers of their own.
    answers: by the shape of x, what computes its outputs in mode "eval" and their shape, for arrays
    that need no other look.
    """

    __slots__ = ("_made_of", "answers", "loss", "replays", "run", "scope", "workspace")

    def __init__(self, ops: Backend, dtype: np.dtype, state: Mapping[str, Any], seed: int) -> None:
        self.run = Run(seed=seed)
        self.replays: Any = None
        self.answers: dict[tuple[int, ...], tuple[Callable[..., None], tuple[int, ...]]] = {}
        self._made_of = ops, state
        self.use(Workspace(dtype, ops.device))

    def use(self, workspace: Workspace) -> None:
        """Work in these buffers from now on."""
        ops, state = self._made_of
        self.workspace = workspace
        self.scope = Scope(ops, workspace, "", state, self.run)
        self.loss = Scope(ops, workspace, "loss")


class EachThread(threading.local):
    """`mine`: what `make` made when this thread first asked for it; it is gone with the thread."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.mine = make()
