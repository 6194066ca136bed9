"""Activation: an elementwise layer of its own, for where it cannot be fused into the one before."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...kernels.codes import ACTIVATIONS, IDENTITY
from ...kernels.errors import check_name
from ..checks import settle
from ..layout import Shape
from ..settings import FLOAT32, POSITIVE_FLOAT32, real
from ..workspace import Scope
from .base import Layer, own


def curvature(name: str, y: np.ndarray) -> np.ndarray | None:
    """f'' of an activation, written in its output y; None where f is made of straight pieces."""
    if name == "tanh":
        return -2 * y * (1 - y * y)
    if name == "sigmoid":
        return y * (1 - y) * (1 - 2 * y)
    return None


def slope_of(name: str, slope: float) -> float:
    """The slope of an activation, as a float.

    Raises UnknownNameError for a name that is none, SettingError for a slope it cannot have.
    """
    check_name("activation", name, ACTIVATIONS)
    # leaky_relu's derivative is read off the sign of the output, which needs a slope above 0
    return real(f"{name}'s slope", slope, POSITIVE_FLOAT32 if name == "leaky_relu" else FLOAT32)


class Activated(Layer):
    """A layer that ends in an activation f, named by `activation` and `slope`."""

    activation: str
    slope: float

    @property
    def _act(self) -> int:
        return ACTIVATIONS[self.activation]

    def _pulled(self, k: Scope, y: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """f'(y) dy in a shared buffer; dy itself where f is the identity."""
        if self._act == IDENTITY:
            return dy
        dz = k.flow(dy.shape, dy)
        k.ops.activation_backward(self._act, self.slope, y, dy, dz)
        return dz

    def second(self, k, p, saved, tp, tx, txx):
        """Of y = f(z), z linear in x and in the parameters: z'' = B(x'', p) + 2 B(x', p').

        The second term is the layer's own tangent with x' in the place of x, without the bias.
        """
        ty = own(self.tangent(k, p, saved, tp, tx))
        twice = None
        if tp is not None and tx is not None:
            twice = {name: 2 * t if name == "weight" else 0 * t for name, t in tp.items()}
        moved = saved if tx is None else self._at(k, saved, tx)
        tyy = own(self.tangent(k, p, moved, twice, txx))
        bend = curvature(self.activation, saved.y)
        if bend is None or ty is None:
            return ty, tyy
        linear: Any = replace(self, activation="identity")  # type: ignore[type-var]
        tz = linear.tangent(k, p, saved, tp, tx)
        bent = bend.reshape(tz.shape) * tz * tz
        return ty, bent if tyy is None else tyy + bent

    def _at(self, k: Scope, saved: Any, tx: np.ndarray) -> Any:
        """`saved` as if the input had been tx."""
        return saved._replace(x=tx)


@dataclass(frozen=True)
class Activation(Layer):
    """y = f(x), elementwise; f by name as in Linear. `saved` is y, in which f' can be written."""

    name: str
    slope: float = 0.01

    def __post_init__(self) -> None:
        settle(self, slope=slope_of(self.name, self.slope))

    @property
    def _act(self) -> int:
        return ACTIVATIONS[self.name]

    def forward(self, k, p, x):
        y = k.take("y", x.shape)
        k.ops.activation_forward(self._act, self.slope, x, y)
        return y, y

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        if not want_dx:
            return None
        dx = k.flow(dy.shape, dy)
        k.ops.activation_backward(self._act, self.slope, saved, dy, dx)
        return dx

    def tangent(self, k, p, saved, tp, tx):
        if tx is None:
            return None
        ty = k.flow(saved.shape, tx)
        k.ops.activation_backward(self._act, self.slope, saved, tx, ty)
        return ty

    def second(self, k, p, saved, tp, tx, txx):
        ty, tyy = super().second(k, p, saved, tp, tx, txx)
        bend = curvature(self.name, saved)
        if bend is None or tx is None:
            return ty, tyy
        bent = bend * tx * tx
        return ty, bent if tyy is None else tyy + bent


@dataclass(frozen=True)
class Flatten(Layer):
    """Samples of any shape as flat vectors, without a copy. `saved` is the input's shape."""

    def output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)

    def forward(self, k, p, x: np.ndarray):
        return x.reshape(len(x), -1), x.shape[1:]

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        return dy.reshape(len(dy), *saved) if want_dx else None

    def tangent(self, k, p, saved, tp, tx):
        return None if tx is None else tx.reshape(len(tx), -1)
