"""Conv2d: y = f(x * W + b) on NHWC images, with the activation f fused into forward and tangent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...kernels.errors import SettingError, unknown_name
from ..checks import settle
from ..init import Initialiser
from ..layout import Shape
from ..settings import flag, whole
from ..workspace import Scope
from .activation import Activated, slope_of
from .base import Views
from .shapes import Pair, Places, image, pair, windows


class Saved(NamedTuple):
    """What Conv2d's forward pass leaves for its other verbs."""

    x: np.ndarray  # (N, H, W, C) the input
    y: np.ndarray  # (N, h, w, O) the output, in which f' can be written


@dataclass(frozen=True)
class Conv2d(Activated):
    """A convolution with `filters` filters: weight (O, R, S, C), bias (O,), activation fused.

    size, stride and padding: whole numbers, or pairs (rows, columns). padding="same" keeps height
    and width at stride 1. activation and slope as in Linear. Raises SettingError or
    UnknownNameError for settings outside this.
    """

    filters: int
    size: Pair = 3
    stride: Pair = 1
    padding: Pair | str = 0
    activation: str = "identity"
    slope: float = 0.01
    bias: bool = True

    def __post_init__(self) -> None:
        size = pair("Conv2d", "size", self.size, 1)
        padding = self.padding
        if padding == "same":
            if size[0] % 2 == 0 or size[1] % 2 == 0:
                raise SettingError(f"padding='same' needs odd sizes; Conv2d got size={size}")
            padding = (size[0] // 2, size[1] // 2)
        elif isinstance(padding, str):
            raise unknown_name("padding", padding, ("same",))
        settle(
            self,
            filters=whole("Conv2d.filters", self.filters),
            size=size,
            stride=pair("Conv2d", "stride", self.stride, 1),
            padding=pair("Conv2d", "padding", padding, 0),
            slope=slope_of(self.activation, self.slope),
            bias=flag("Conv2d.bias", self.bias),
        )

    def output_shape(self, input_shape: Shape) -> Shape:
        rows, columns = windows("Conv2d", input_shape, self.size, *self._steps)  # type: ignore[arg-type]
        return rows, columns, self._maps

    @property
    def _maps(self) -> int:
        """Channels of the output."""
        return self.filters

    def parameters(self, input_shape: Shape) -> dict[str, Shape]:
        channels = image("Conv2d", input_shape)[2]
        shapes: dict[str, Shape] = {"weight": (self.filters, *self.size, channels)}  # type: ignore[misc]
        if self.bias:
            shapes["bias"] = (self.filters,)
        return shapes

    def initialise(self, rng: np.random.Generator, p: Views, init: Initialiser) -> None:
        filters, r, s, channels = p["weight"].shape
        init(rng, p["weight"], p.get("bias"), r * s * channels, r * s * filters)

    @property
    def _steps(self) -> tuple[Places, Places]:
        """Stride and padding, pairs since __post_init__."""
        return self.stride, self.padding  # type: ignore[return-value]

    def _room(self, ops, kernel: str, x_shape: Shape) -> int:
        w_shape = (self._maps, *self.size, x_shape[-1])  # type: ignore[misc]
        return ops.conv2d_workspace(kernel, x_shape, w_shape, *self._steps)

    def _work(self, k: Scope, kernel: str, x_shape: Shape) -> np.ndarray:
        return k.work(self._room(k.ops, kernel, x_shape))

    def forward(self, k: Scope, p: Views, x: np.ndarray) -> tuple[np.ndarray, Saved]:
        y = k.take("y", (len(x), *self.output_shape(x.shape[1:])))
        k.ops.conv2d_forward(
            x, p["weight"], p.get("bias"), *self._steps, self._act, self.slope,
            self._work(k, "conv2d_forward", x.shape), y,
        )  # fmt: skip
        return y, Saved(x, y)

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        dz = self._pulled(k, saved.y, dy)
        if dp is not None:
            k.ops.conv2d_weight_grad(
                saved.x, dz, *self._steps, float(beta),
                self._work(k, "conv2d_weight_grad", saved.x.shape), dp["weight"], dp.get("bias"),
            )  # fmt: skip
        if not want_dx:
            return None
        shape = (len(dz), *saved.x.shape[1:])
        dx = k.flow(shape, dz)
        k.ops.conv2d_input_grad(
            dz, p["weight"], *self._steps,
            self._work(k, "conv2d_input_grad", shape), dx,
        )  # fmt: skip
        return dx

    def tangent(self, k, p, saved, tp, tx):
        if tp is None and tx is None:
            return None
        ty = k.flow(saved.y.shape, saved.y if tx is None else tx)
        tw, tb = (None, None) if tp is None else (tp["weight"], tp.get("bias"))
        k.ops.conv2d_tangent(
            saved.x, p["weight"], saved.y, tx, tw, tb, *self._steps, self._act,
            self.slope, self._work(k, "conv2d_tangent", saved.x.shape), ty,
        )  # fmt: skip
        return ty

    def sample_grads(self, k, p, saved, dy, out) -> None:
        k.ops.conv2d_sample_grads(
            saved.x, self._pulled(k, saved.y, dy), *self._steps,
            self._work(k, "conv2d_sample_grads", saved.x.shape), out["weight"], out.get("bias"),
        )  # fmt: skip

    def accumulate(self, k, p, saved, dy, out, power) -> None:
        stacked = dy.reshape(-1, *dy.shape[2:])
        dz = self._pulled(k, saved.y, stacked).reshape(dy.shape)
        k.ops.conv2d_accumulate(
            saved.x, dz, *self._steps, power,
            self._work(k, "conv2d_accumulate", saved.x.shape), out["weight"], out.get("bias"),
        )  # fmt: skip

    def signal(self, k, p, saved, out) -> None:
        k.ops.conv2d_signal(
            saved.x, saved.y, p["weight"], *self._steps,
            self._work(k, "conv2d_signal", saved.x.shape), out["weight"], out.get("bias"),
        )  # fmt: skip
