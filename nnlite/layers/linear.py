"""Linear: y = f(x W^T + b), with the activation f fused into every verb."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...kernels.errors import ShapeError
from ..checks import settle
from ..init import Initialiser
from ..layout import Shape
from ..settings import flag, whole
from ..workspace import Scope
from .activation import Activated, slope_of
from .base import Views, add_gram


class Saved(NamedTuple):
    """What Linear's forward pass leaves for its other verbs."""

    x: np.ndarray  # (N, I) the input
    y: np.ndarray  # (N, O) the output, in which f' can be written


@dataclass(frozen=True)
class Linear(Activated):
    """A dense layer of `units` outputs: weight (O, I), bias (O,), activation fused.

    `activation` is identity, relu, leaky_relu (negative side times `slope` > 0), tanh or sigmoid.
    Raises SettingError or UnknownNameError for settings outside this.
    """

    units: int
    activation: str = "identity"
    slope: float = 0.01
    bias: bool = True

    def __post_init__(self) -> None:
        settle(
            self,
            units=whole("Linear.units", self.units),
            slope=slope_of(self.activation, self.slope),
            bias=flag("Linear.bias", self.bias),
        )

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 1:
            raise ShapeError(
                f"Linear({self.units}) got samples of shape {input_shape}; it takes flat ones, "
                "(I,): put a Flatten() layer before it"
            )
        return (self.units,)

    def parameters(self, input_shape: Shape) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {"weight": (self.units, *input_shape)}
        if self.bias:
            shapes["bias"] = (self.units,)
        return shapes

    def initialise(self, rng: np.random.Generator, p: Views, init: Initialiser) -> None:
        fan_out, fan_in = p["weight"].shape
        init(rng, p["weight"], p.get("bias"), fan_in, fan_out)

    def forward(self, k: Scope, p: Views, x: np.ndarray) -> tuple[np.ndarray, Saved]:
        y = k.take("y", (len(x), self.units))
        k.ops.dense_forward(x, p["weight"], p.get("bias"), self._act, self.slope, y)
        return y, Saved(x, y)

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        w = p["weight"]
        dz = k.take("dz", dy.shape)
        dx = k.take("dx", (len(dy), w.shape[1])) if want_dx else None
        dw, db = (None, None) if dp is None else (dp["weight"], dp.get("bias"))
        self._pull(k, saved.x, w, saved.y, dy, self._act, self.slope, float(beta), dz, dw, db, dx)
        return dx

    def _pull(self, k: Scope, x: np.ndarray, *rest) -> None:
        """The kernel of the way back; another layer's may take more."""
        k.ops.dense_backward(x, *rest)

    def tangent(self, k, p, saved, tp, tx):
        if tp is None and tx is None:
            return None
        ty = k.take("ty", saved.y.shape)
        tw, tb = (None, None) if tp is None else (tp["weight"], tp.get("bias"))
        k.ops.dense_tangent(saved.x, p["weight"], saved.y, tx, tw, tb, self._act, self.slope, ty)
        return ty

    def sample_grads(self, k, p, saved, dy, out) -> None:
        dz = self._pulled(k, saved.y, dy)
        k.ops.dense_sample_grads(saved.x, dz, out["weight"], out.get("bias"))

    def accumulate(self, k, p, saved, dy, out, power) -> None:
        dz = self._pulled(k, saved.y, dy.reshape(-1, self.units)).reshape(dy.shape)
        xp, dp = k.take("xp", saved.x.shape), k.take("dp", saved.y.shape)
        k.ops.dense_accumulate(saved.x, dz, power, xp, dp, out["weight"], out.get("bias"))

    def tangents(self, k, p, saved, tp, tx, count):
        """All directions in two products, x (tW_1; ...; tW_V)^T and (tx_1; ...; tx_V) W^T."""
        if tp is None and tx is None:
            return None
        n, ops, device = len(saved.x), k.ops, k.ops.device
        tz = device.empty((count, n, self.units), saved.y.dtype)
        if tx is None:
            tz[...] = 0
        else:
            rows = self._turned_rows(k, tx.reshape(count * n, -1))
            flat = tz.reshape(count * n, -1)
            ops.matmul_nt(rows, p["weight"], flat)
        if tp is not None:
            wide = device.empty((n, count * self.units), saved.y.dtype)
            weights = device.put(tp["weight"]).reshape(count * self.units, -1)
            ops.matmul_nt(saved.x, weights, wide)
            if "bias" in tp:
                wide += device.put(tp["bias"]).reshape(-1)
            tz += wide.reshape(n, count, self.units).transpose(1, 0, 2)
        ty = device.empty(tz.shape, tz.dtype)
        ops.activation_backward(self._act, self.slope, saved.y, tz, ty)
        return ty

    def _turned_rows(self, k: Scope, rows: np.ndarray) -> np.ndarray:
        """Tangents of the input (V N, I) as the weights see them."""
        return rows

    def stacked_grads(self, k, p, saved, dy, out) -> None:
        """All cotangents in one product, (dz_1 ... dz_V)^T x."""
        count, n = dy.shape[:2]
        dz = self._pulled(k, saved.y, dy.reshape(count * n, -1)).reshape(dy.shape)
        wide = k.ops.device.put(dz.transpose(1, 0, 2)).reshape(n, count * self.units)
        dw = k.ops.device.empty((count * self.units, saved.x.shape[1]), dz.dtype)
        k.ops.matmul_tn(wide, saved.x, dw)
        out["weight"][...] = dw.reshape(out["weight"].shape)
        if "bias" in out:
            out["bias"][...] = wide.sum(axis=0).reshape(out["bias"].shape)

    def gram(self, k, p, saved, dy, total) -> None:
        """Gradients are outer products, so G G^T = (D D^T) o (A A^T + 1); no G is formed."""
        dz = self._pulled(k, saved.y, dy.reshape(-1, self.units))
        stacked, n = dy.shape[:2]
        products = k.ops.device.zeros(total.shape, total.dtype)
        add_gram(k, dz, products)
        inputs = k.ops.device.zeros((n, n), total.dtype)
        add_gram(k, saved.x, inputs)
        if "bias" in p:
            inputs += 1
        pairs = (stacked, n, stacked, n)
        total += (products.reshape(pairs) * inputs[:, None, :]).reshape(total.shape)

    def signal(self, k, p, saved, out) -> None:
        traffic, response = k.take("traffic", saved.x.shape[1:]), k.take("response", (self.units,))
        k.ops.dense_signal(
            saved.x, saved.y, p["weight"], traffic, response, out["weight"], out.get("bias")
        )
