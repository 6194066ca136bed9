"""FlatLayers: layers over one flat real vector theta, and all that a network holds beside it.

This file knows what there is: parameters by name, persistent state, a thread's buffers, copies and
bytes. `passes` runs layers forward and asks of that pass; `net` answers for a batch at once.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import numpy as np

from ..kernels import get_backend
from ..kernels.device import Device
from ..kernels.errors import OutOfMemoryError, SettingError, ShapeError
from .checks import check_active, check_out, network_dtype, sample_shape
from .init import generator, get_initialiser
from .layers import Layer, Sequential
from .layers.base import layers_of
from .layout import Layout, Shape
from .losses import Loss, get_loss
from .program.answers import Programs
from .settings import ANY, NOT_NEGATIVE, whole
from .state import State, nested
from .workspace import EachThread, Frame, Workspace

_ASSIGNED = ("theta", "draws")  # the public names that may be assigned; all else is decided once


class FlatLayers:
    """What a `Network` holds; see there for what it is made of and what may be assigned."""

    def __init__(
        self,
        layers: Sequence[Layer],
        input_shape: Shape,
        backend: str = "cpu",
        dtype: str = "float32",
        seed: int = 0,
        init: str = "uniform_fan_in",
        loss: str | Loss = "cross_entropy",
    ) -> None:
        self.chain, self.input_shape = architecture(layers, input_shape)
        self.layers = self.chain.layers
        self.backend, self.seed, self.init = backend, whole("a Network's seed", seed, ANY), init
        self.dtype = network_dtype(dtype)
        self.ops = get_backend(backend)
        self.device: Device = self.ops.device
        self.loss = get_loss(loss)
        self.loss_name = self.loss.name

        (self.num_outputs,) = self.chain.output_shape(self.input_shape)
        self.loss.check_outputs(self.num_outputs)
        self.layout = Layout(self.chain.parameters(self.input_shape))
        # where each parameter lies: looked up once, since every step splits a gradient
        self._parts = [
            (tuple(name.split(".")), lo, lo + math.prod(shape), shape)
            for name in self.layout
            for lo, shape in ((self.layout.offset(name), self.layout.shape(name)),)
        ]
        drawn = self.seed if self.chain.moded() else None  # units fall by the seed
        alike = self.chain, self.input_shape, backend, self.dtype, self.loss, drawn
        self.programs = Programs(alike)
        starts = self.chain.state(self.input_shape)
        size = self.layout.size + sum(math.prod(shape) for shape, _ in starts.values())
        if size > sys.maxsize // self.dtype.itemsize:
            raise OutOfMemoryError(
                f"this network has 2**{size.bit_length() - 1} parameters or more, which no machine "
                "can address: give it smaller layers or inputs"
            )
        arrays = {name: self.device.zeros(shape, self.dtype) for name, (shape, _) in starts.items()}
        self.state = State(arrays, self.dtype, self.device)
        self._starts = {name: start for name, (_, start) in starts.items()}
        # no method of this object among them, which would keep its memory until the next collection
        make = partial(Frame, self.ops, self.dtype, nested(arrays), self.seed)
        self._each, self._frame = EachThread(make), make
        self._spare: list[Frame] = []  # frames of `activations` that have ended
        self._turn = threading.Lock()  # of passes in mode "train"
        self._masks: dict[bytes, np.ndarray] = {}
        self._every: Any = None  # the mask of all classes
        self._theta = self.device.zeros((self.layout.size,), self.dtype)
        self._theta_at = self.device.address(self._theta)
        self._own = self._split(self._theta)
        self.initialise(self.seed)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse what would do nothing: layers, kernels and buffers were chosen already."""
        if name[0] != "_" and name not in _ASSIGNED and hasattr(self, name):
            raise SettingError(
                f"{name} of a Network is decided when it is made, and assigning it would change "
                "nothing: make another Network (theta, draws and entries of state can be assigned)"
            )
        object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        """As what made it and host arrays, for copy, pickle and who uses them."""
        get = self.device.get
        made = (
            self.layers, self.input_shape, self.backend, str(self.dtype), self.seed, self.init,
            self.loss,
        )  # fmt: skip
        state = {name: get(array) for name, array in self.state.items()}
        return _made_again, (type(self), made, get(self.theta), state, self.draws)

    def like(self) -> Self:
        """A second network of the same layers, settings, theta and state, sharing no memory."""
        make, values = self.__reduce__()
        return make(*values)

    # ---- parameters --------------------------------------------------------------------------

    @property
    def num_parameters(self) -> int:
        """P, the length of theta."""
        return self.layout.size

    @property
    def theta(self) -> np.ndarray:
        """The parameters (P,), of which each layer sees its part; assigning copies into it."""
        return self._theta

    @theta.setter
    def theta(self, v: np.ndarray) -> None:
        if v is not self._theta:  # `net.theta -= ...` has changed it already
            self._theta[...] = self._vector(v, "theta")

    @property
    def draws(self) -> int:
        """Passes in mode "train" so far; random layers draw by their number."""
        return self._draws

    @draws.setter
    def draws(self, count: int) -> None:
        self._draws = whole("a Network's draws", count, NOT_NEGATIVE)

    @property
    def moded(self) -> bool:
        """Whether any layer does something else in mode "train" than in "eval"."""
        return self.chain.moded()

    def initialise(self, seed: int) -> None:
        """Draw theta afresh: each layer from its own Philox stream, keyed (seed, layer).

        What persists beside theta is as it was in the beginning, too.
        """
        init = get_initialiser(self.init)
        drawn = np.zeros(self.layout.size, self.dtype)  # the same numbers on every device
        views = self._split(drawn)
        seed = whole("initialise's seed", seed, ANY)
        for index, layer in enumerate(self.layers):
            layer.initialise(generator(seed, index), views.get(str(index), {}), init)
        self.theta[...] = self.device.put(drawn)
        for name, start in self._starts.items():
            value = start() if callable(start) else start
            self.state[name] = np.full(self.state[name].shape, value, self.dtype)
        self.draws = 0

    def _split(self, vector: np.ndarray) -> dict[str, Any]:
        """Views into `vector` (..., P), nested as the layers are: name -> part -> ... -> array."""
        lead = vector.shape[:-1]
        views: dict[str, Any] = {}
        for path, lo, hi, shape in self._parts:
            inner = views
            for name in path[:-1]:
                inner = inner.setdefault(name, {})
            inner[path[-1]] = vector[..., lo:hi].reshape(lead + shape)
        return views

    def _out(self, out: np.ndarray | None, what: str) -> np.ndarray:
        if out is None:
            return self.device.empty((self.num_parameters,), self.dtype)
        self.layout.check(out, what, self.dtype)
        out = check_out(out, what, self.device)
        if abs(self.device.address(out) - self._theta_at) < out.nbytes:  # of equal length
            raise SettingError(f"{what} would be written over theta while it is asked: give a copy")
        return out

    def _vector(self, v: np.ndarray, what: str) -> np.ndarray:
        self.layout.check(v, what, self.dtype)
        return self.device.put(v)

    # ---- what a pass needs, and its bytes ----------------------------------------------------

    @property
    def workspace(self) -> Workspace:
        """The calling thread's buffers."""
        return self._each.mine.workspace

    def mask(self, active: np.ndarray | None = None) -> np.ndarray:
        """The classes in play as (K,) bools on the device; None means all.

        Raises ShapeError for another array, SettingError where no class is left.
        """
        if active is None:
            if self._every is None:
                self._every = self.device.put(np.ones(self.num_outputs, bool))
            return self._every
        check_active(active, self.num_outputs)
        if self.device.owns(active) and self.device.asynchronous:
            return active
        if not active.any():
            raise SettingError("active names no class; at least one must be in play")
        key = active.tobytes()
        if key not in self._masks:
            self._masks[key] = self.device.put(active.copy())
        return self._masks[key]

    def plan(self, batch: int) -> int:
        """Bytes a training step of `batch` samples holds: theta, its gradient, state and buffers.

        The buffers are packed by their life times, as `program("gradient", batch)` says them. Of a
        layer that no program can hold they are measured. Optimizer moments come on top: one vector
        of theta's size each.
        """
        batch = whole("plan's batch", batch)
        state = sum(array.nbytes for array in self.state.values())
        return 2 * self.theta.nbytes + state + self.programs.buffer_bytes(self, batch)

    def batch_within(self, room: int) -> int:
        """The largest batch whose training step adds no more than `room` bytes; at least 1."""
        each = self.plan(2) - self.plan(1)
        return max(1, room // max(each, 1))


def architecture(layers: Sequence[Layer], input_shape: Shape) -> tuple[Sequential, Shape]:
    """Layers as one chain, and the shape of one sample; nothing of a network's size is made.

    Raises SettingError or ShapeError for layers that make no network.
    """
    chain, shape = Sequential(layers_of("a Network", layers)), sample_shape(input_shape)
    if not chain.layers:
        raise SettingError("a Network needs at least one layer; it got none")
    outputs = chain.output_shape(shape)
    if len(outputs) != 1:
        raise ShapeError(
            f"the last layer gives samples of shape {outputs}; a network's outputs are flat, "
            "(K,): end it with a Linear layer"
        )
    return chain, shape


def _made_again(
    kind: type[FlatLayers],
    made: tuple[Any, ...],
    theta: np.ndarray,
    state: dict[str, np.ndarray],
    draws: int,
) -> FlatLayers:
    """What `FlatLayers.__reduce__` took apart."""
    net = kind(*made)
    net.theta = theta
    net.state.restore(state)
    net.draws = draws
    return net
