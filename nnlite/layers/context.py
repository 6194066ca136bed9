"""Layers of superposed models (Cheung et al. 2019): what a context does to a layer's input.

A context is state, not a parameter: `Scope.state["context"]`, which `methods.Superposition` sets
to that of the model it wants. Layers are as they were but for it, so a superposed network is a
network of these layers, and every verb holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from ...kernels.errors import ShapeError
from ..checks import settle
from ..init import glorot_deviation
from ..layout import Shape
from ..settings import flag, whole
from ..workspace import Scope
from .activation import Activated, slope_of
from .base import Layer, Start, Views, own
from .conv import Conv2d
from .linear import Linear, Saved

# Stride, padding, dilation and groups of a 1 x 1 convolution.
_POINTS = (1, 1), (0, 0), (1, 1), 1


@dataclass(frozen=True)
class Context(Layer):
    """y = c x, feature by feature, with a context c (of a sample's shape) that is learned.

    c is a parameter, 1 until somebody sets or trains it. Put before a layer, it makes that layer's
    weights W act as W c. (`ContextLinear` has one that is not learned.) `saved` is x.
    """

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def parameters(self, input_shape: Shape) -> dict[str, Shape]:
        return {"context": input_shape}

    def initialise(self, rng: np.random.Generator, p: Views, init) -> None:
        p["context"][...] = 1

    def _times(self, k: Scope, p: Views, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        k.ops.context_multiply(_flat(x), p["context"].reshape(-1), _flat(y))
        return y

    def forward(self, k: Scope, p: Views, x: np.ndarray):
        return self._times(k, p, x, k.take("y", x.shape)), x

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        if dp is not None:
            dc = dp["context"].reshape(-1)
            k.ops.context_gradient(_flat(saved), _flat(dy), float(beta), dc)
        return self._times(k, p, dy, k.flow(dy.shape, dy)) if want_dx else None

    def tangent(self, k, p, saved, tp, tx):
        ty = None if tx is None else self._times(k, p, tx, k.take("ty", tx.shape))
        if tp is None:
            return ty
        moved = self._times(k, tp, saved, k.take("tc", saved.shape))
        if ty is not None:
            k.ops.add(moved, ty, moved)
        return moved

    def second(self, k, p, saved, tp, tx, txx):
        ty = own(self.tangent(k, p, saved, tp, tx))
        moved = saved if tx is None else own(tx)
        twice = {name: 2 * t for name, t in tp.items()} if tp and tx is not None else None
        return ty, own(self.tangent(k, p, moved, twice, txx))

    def sample_grads(self, k, p, saved, dy, out) -> None:
        for n in range(len(dy)):  # x dy, element by element: each is a context of the other
            row = out["context"][n].reshape(1, -1)
            k.ops.context_multiply(saved[n].reshape(1, -1), dy[n].reshape(-1), row)

    def accumulate(self, k, p, saved, dy, out, power) -> None:
        out["context"][...] += (np.abs(saved * dy) ** power).sum(axis=(0, 1))


def _flat(x: np.ndarray) -> np.ndarray:
    """Samples as rows."""
    return x.reshape(len(x), -1)


@dataclass(frozen=True)
class ContextLinear(Linear):
    """y = f(W (c * x) + b): a dense layer that multiplies its inputs by a context c (I,).

    The context is 1 until somebody sets it. The other verbs have z = c x as their input, `saved.x`.
    """

    def state(self, input_shape: Shape) -> dict[str, tuple[Shape, Start]]:
        return {"context": (input_shape, 1.0)}

    def forward(self, k: Scope, p: Views, x: np.ndarray) -> tuple[np.ndarray, Saved]:
        z, y = k.take("z", x.shape), k.take("y", (len(x), self.units))
        k.ops.superposed_forward(
            x, k.state["context"], p["weight"], p.get("bias"), self._act, self.slope, z, y
        )
        return y, Saved(z, y)

    def _pull(self, k: Scope, z: np.ndarray, *rest) -> None:
        k.ops.superposed_backward(z, k.state["context"], *rest)

    def tangent(self, k, p, saved, tp, tx):
        if tx is None:
            return super().tangent(k, p, saved, tp, None)
        return super().tangent(k, p, saved, tp, self._turned(k, tx, "tz"))

    def _turned_rows(self, k, rows):
        return self._turned(k, rows, "rows")

    def _turned(self, k: Scope, tx: np.ndarray, name: str) -> np.ndarray:
        tz = k.take(name, tx.shape)
        k.ops.context_multiply(tx, k.state["context"], tz)
        return tz

    def _at(self, k, saved, tx):
        return saved._replace(x=self._turned(k, tx, "z2"))


@dataclass(frozen=True)
class Rotation(Layer):
    """y = C x for flat samples, C (I, I) an orthogonal matrix: the identity until somebody sets it.

    `saved` is x.
    """

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 1:
            raise ShapeError(f"Rotation got samples of shape {input_shape}; it takes flat ones")
        return input_shape

    def state(self, input_shape: Shape) -> dict[str, tuple[Shape, Start]]:
        return {"context": ((*input_shape, *input_shape), partial(np.eye, *input_shape))}

    def _turn(self, k: Scope, x: np.ndarray, name: str) -> np.ndarray:
        y = k.take(name, x.shape)
        k.ops.matmul_nt(x, k.state["context"], y)
        return y

    def forward(self, k: Scope, p: Views, x: np.ndarray):
        return self._turn(k, x, "y"), x

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        if not want_dx:
            return None
        dx = k.take("dx", dy.shape)
        k.ops.matmul_nn(dy, k.state["context"], dx)
        return dx

    def tangent(self, k, p, saved, tp, tx):
        return None if tx is None else self._turn(k, tx, "ty")


class ComplexSaved(NamedTuple):
    """What ComplexLinear's forward pass leaves for its other verbs."""

    z: np.ndarray  # (N, q, 2 I) the input, turned by the context and laid out for real products
    y: np.ndarray  # (N, q, O) the output, in which f' can be written
    shape: Shape  # of one sample of the input


@dataclass(frozen=True)
class ComplexLinear(Activated):
    """A dense layer of `units` complex outputs, y = f(W (c * x)), and its context c (2, I).

    Samples are planes, (2, I): the real parts and the imaginary ones; a flat sample (I,) is real.
    weight (O, 2, I), a real parameter like any other. f acts on both planes alike ("split";
    Trabelsi et al. 2018). real: give the real part of the outputs alone, as flat samples (O,): a
    head. There is no bias. An importance keeps a weight's real and imaginary part apart.
    """

    units: int
    activation: str = "identity"
    slope: float = 0.01
    real: bool = False

    def __post_init__(self) -> None:
        settle(
            self,
            units=whole("ComplexLinear.units", self.units),
            slope=slope_of(self.activation, self.slope),
            real=flag("ComplexLinear.real", self.real),
        )

    @property
    def _planes(self) -> int:
        return 1 if self.real else 2

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 1 and (len(input_shape) != 2 or input_shape[0] != 2):
            raise ShapeError(
                f"ComplexLinear({self.units}) got samples of shape {input_shape}; it takes complex "
                "ones, (2, I), or real ones, (I,)"
            )
        return (self.units,) if self.real else (2, self.units)

    def parameters(self, input_shape: Shape) -> dict[str, Shape]:
        return {"weight": (self.units, 2, input_shape[-1])}

    def state(self, input_shape: Shape) -> dict[str, tuple[Shape, Start]]:
        return {"context": ((2, input_shape[-1]), np.array([[1.0], [0.0]]))}

    def initialise(self, rng: np.random.Generator, p: Views, init) -> None:
        """Magnitudes ~ N(0, 2 / (fan_in + fan_out)), phases uniform (Cheung et al.'s code)."""
        units, _, inputs = p["weight"].shape
        size = rng.normal(0, glorot_deviation(inputs, units), (units, inputs))
        phase = rng.uniform(-np.pi, np.pi, (units, inputs))
        p["weight"][:, 0], p["weight"][:, 1] = size * np.cos(phase), size * np.sin(phase)

    def _expand(self, k: Scope, x: np.ndarray, name: str) -> np.ndarray:
        """c x as rows of real numbers (N, q, 2 I)."""
        z = k.take(name, (len(x), self._planes, 2 * x.shape[-1]))
        k.ops.complex_expand(x.reshape(len(x), -1, x.shape[-1]), k.state["context"], z)
        return z

    def _shaped(self, rows: np.ndarray) -> np.ndarray:
        """(N, q, O) as samples."""
        return rows.reshape(len(rows), self.units) if self.real else rows

    def forward(self, k: Scope, p: Views, x: np.ndarray):
        z = self._expand(k, x, "z")
        y = k.take("y", (len(x), self._planes, self.units))
        k.ops.dense_forward(_rows(z), _matrix(p), None, self._act, self.slope, _rows(y))
        return self._shaped(y), ComplexSaved(z, y, x.shape[1:])

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        n, q, j = len(dy), self._planes, saved.z.shape[2]
        dz = k.take("dz", (n, q, self.units))
        dw = None if dp is None else _matrix(dp)
        dx = k.take("dx", (n, q, j)) if want_dx else None
        k.ops.dense_backward(
            _rows(saved.z), _matrix(p), _rows(saved.y), dy.reshape(n * q, self.units), self._act,
            self.slope, float(beta), _rows(dz), dw, None, None if dx is None else _rows(dx),
        )  # fmt: skip
        if dx is None:
            return None
        out = k.flow((n, *saved.shape), dy)
        k.ops.complex_contract(dx, k.state["context"], out.reshape(n, -1, saved.shape[-1]))
        return out

    def tangent(self, k, p, saved, tp, tx):
        if tp is None and tx is None:
            return None
        tz = None if tx is None else _rows(self._expand(k, tx, "tz"))
        ty = k.take("ty", saved.y.shape)
        k.ops.dense_tangent(
            _rows(saved.z), _matrix(p), _rows(saved.y), tz, None if tp is None else _matrix(tp),
            None, self._act, self.slope, _rows(ty),
        )  # fmt: skip
        return self._shaped(ty)

    def _at(self, k, saved, tx):
        return saved._replace(z=self._expand(k, tx, "z2"))

    # A sample's rows of z are positions of a picture one pixel high; a 1 x 1 convolution sums its
    # gradient over them before any power is taken.

    def _picture(self, rows: np.ndarray) -> np.ndarray:
        return rows.reshape(-1, 1, self._planes, rows.shape[-1])

    def _work(self, k: Scope, kernel: str, saved: ComplexSaved) -> np.ndarray:
        x, w = (len(saved.z), 1, *saved.z.shape[1:]), (self.units, 1, 1, saved.z.shape[2])
        return k.work(k.ops.conv2d_workspace(kernel, x, w, (*x[:3], self.units), *_POINTS))

    def sample_grads(self, k, p, saved, dy, out) -> None:
        dz = self._pulled(k, saved.y, dy.reshape(saved.y.shape))
        each = (len(dy), self.units, 1, 1, saved.z.shape[2])
        k.ops.conv2d_sample_grads(
            self._picture(saved.z), self._picture(dz), *_POINTS,
            self._work(k, "conv2d_sample_grads", saved), out["weight"].reshape(each), None,
        )  # fmt: skip

    def accumulate(self, k, p, saved, dy, out, power) -> None:
        rows = (-1, *saved.y.shape[1:])
        dz = self._picture(self._pulled(k, saved.y, dy.reshape(rows)))
        stacked = dz.reshape(-1, len(saved.z), *dz.shape[1:])
        k.ops.conv2d_accumulate(
            self._picture(saved.z), stacked, *_POINTS, power,
            self._work(k, "conv2d_accumulate", saved), _filters(out), None,
        )  # fmt: skip

    def signal(self, k, p, saved, out) -> None:
        k.ops.conv2d_signal(
            self._picture(saved.z), self._picture(saved.y), _filters(p), *_POINTS,
            self._work(k, "conv2d_signal", saved), _filters(out), None,
        )  # fmt: skip


def _rows(planes: np.ndarray) -> np.ndarray:
    """(N, q, D) as (N q, D)."""
    return planes.reshape(-1, planes.shape[-1])


def _matrix(p: Views) -> np.ndarray:
    """weight (O, 2, I) as (O, 2 I)."""
    return p["weight"].reshape(len(p["weight"]), -1)


def _filters(p: Views) -> np.ndarray:
    return p["weight"].reshape(len(p["weight"]), 1, 1, -1)


@dataclass(frozen=True)
class ContextConv2d(Conv2d):
    """A convolution whose filters are multiplied by a context c (R, S, C / groups), shared by all.

    Cheung et al. 2019, Eq. 8. It is 1 until somebody sets it.
    """

    def state(self, input_shape: Shape) -> dict[str, tuple[Shape, Start]]:
        return {"context": ((*self.size, self._channels(input_shape)), 1.0)}  # type: ignore[misc]

    def _times(self, k: Scope, weight: np.ndarray, out: np.ndarray, c=None) -> np.ndarray:
        """out = weight (..., R, S, C) times the context."""
        c = (k.state["context"] if c is None else c).reshape(-1)
        k.ops.context_multiply(weight.reshape(-1, c.size), c, out.reshape(-1, c.size))
        return out

    def _with_context(self, k: Scope, p: Views, name: str = "weight") -> Views:
        """p with its weights multiplied."""
        return {**p, "weight": self._times(k, p["weight"], k.take(name, p["weight"].shape))}

    def forward(self, k: Scope, p: Views, x: np.ndarray):
        return super().forward(k, self._with_context(k, p), x)

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        own = self._with_context(k, p) if want_dx else p
        if dp is None:
            return super().backward(k, own, saved, dy, None, beta, want_dx)
        plain = self._aside(k, dp)
        dx = super().backward(k, own, saved, dy, plain, beta, want_dx)
        if beta:
            self._add(k, plain, dp)
        else:
            self._times(k, plain["weight"], dp["weight"])
        return dx

    def _aside(self, k: Scope, dp: Views) -> dict[str, np.ndarray]:
        """dp with a buffer of zeros in place of its weights."""
        weight = k.take("dweight", dp["weight"].shape)
        k.ops.fill(0.0, weight)
        return {**dp, "weight": weight}

    def _add(self, k: Scope, plain: Views, dp: Views, c: np.ndarray | None = None) -> None:
        """dp's weights += plain's times the context."""
        mine, weight = dp["weight"], self._times(k, plain["weight"], plain["weight"], c)
        k.ops.add(mine, weight, mine)

    def tangent(self, k, p, saved, tp, tx):
        moved = None if tp is None else self._with_context(k, tp, "tweight")
        return super().tangent(k, self._with_context(k, p), saved, moved, tx)

    def sample_grads(self, k, p, saved, dy, out) -> None:
        super().sample_grads(k, p, saved, dy, out)
        for n in range(len(dy)):
            self._times(k, out["weight"][n], out["weight"][n])

    def accumulate(self, k, p, saved, dy, out, power) -> None:
        plain = self._aside(k, out)
        super().accumulate(k, p, saved, dy, plain, power)
        self._add(k, plain, out, np.abs(k.state["context"]) ** power)

    def signal(self, k, p, saved, out) -> None:
        super().signal(k, self._with_context(k, p), saved, out)
