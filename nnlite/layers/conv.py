"""Conv2d: y = f(x * W + b) on NHWC images, with the activation f fused into forward and tangent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ...kernels.errors import SettingError, ShapeError, unknown_name
from ..checks import settle
from ..init import Initialiser
from ..layout import Shape
from ..settings import flag, whole
from ..workspace import Scope
from .activation import Activated, slope_of
from .base import Views
from .shapes import Pair, Places, Sides, around, image, pair, sides, windows


class Saved(NamedTuple):
    """What Conv2d's forward pass leaves for its other verbs."""

    x: np.ndarray  # (N, H, W, C) the input
    y: np.ndarray  # (N, h, w, O) the output, in which f' can be written


@dataclass(frozen=True)
class Conv2d(Activated):
    """A convolution with `filters` filters: weight (O, R, S, C / groups), bias (O,), activation
    fused.

    size, stride, padding and dilation: whole numbers, or pairs (rows, columns); padding, zeros
    around the image, also two pairs ((top, bottom), (left, right)). padding="same" keeps height and
    width at stride 1; where the zeros are odd in number, one more lies below and to the right.
    dilation: pixels from one tap to the next. groups: channels and filters are cut into so many
    equal groups, in order, and filters see the channels of their own group alone; as many groups as
    channels make it depthwise. activation and slope as in Linear.

    Raises SettingError or UnknownNameError for settings outside this, ShapeError for images whose
    channels cannot be cut into the groups.
    """

    filters: int
    size: Pair = 3
    stride: Pair = 1
    padding: Pair | Sides | str = 0
    activation: str = "identity"
    slope: float = 0.01
    bias: bool = True
    dilation: Pair = field(default=1, metadata={"usual": (1, 1)})
    groups: int = field(default=1, metadata={"usual": 1})

    def __post_init__(self) -> None:
        size = pair("Conv2d", "size", self.size, 1)
        dilation = pair("Conv2d", "dilation", self.dilation, 1)
        padding = self.padding
        if padding == "same":
            zeros = [(taps - 1) * apart for taps, apart in zip(size, dilation, strict=True)]
            padding = tuple((many // 2, many - many // 2) for many in zeros)  # type: ignore[assignment]
        elif isinstance(padding, str):
            raise unknown_name("padding", padding, ("same",))
        settle(
            self,
            filters=whole("Conv2d.filters", self.filters),
            size=size,
            stride=pair("Conv2d", "stride", self.stride, 1),
            padding=around("Conv2d", padding),  # type: ignore[arg-type]
            slope=slope_of(self.activation, self.slope),
            bias=flag("Conv2d.bias", self.bias),
            dilation=dilation,
            groups=whole("Conv2d.groups", self.groups),
        )
        if self.filters % self.groups:
            raise SettingError(
                f"{type(self).__name__} got {self.filters} filters and groups={self.groups}; each "
                "group has as many filters: give a number that the groups divide"
            )

    def output_shape(self, input_shape: Shape) -> Shape:
        self._channels(input_shape)
        rows, columns = windows(
            "Conv2d", input_shape, self.size, self.stride, self.padding, self.dilation  # type: ignore[arg-type]
        )  # fmt: skip
        return rows, columns, self._maps

    def _channels(self, input_shape: Shape) -> int:
        """Channels that a filter sees. Raises ShapeError for images of others."""
        channels = image("Conv2d", input_shape)[2]
        if channels % self.groups:
            raise ShapeError(
                f"{type(self).__name__} got images of {channels} channels, which groups="
                f"{self.groups} does not divide: each group sees as many channels"
            )
        return channels // self.groups

    @property
    def _maps(self) -> int:
        """Channels of the output."""
        return self.filters

    def parameters(self, input_shape: Shape) -> dict[str, Shape]:
        each = self._channels(input_shape)
        shapes: dict[str, Shape] = {"weight": (self.filters, *self.size, each)}  # type: ignore[misc]
        if self.bias:
            shapes["bias"] = (self.filters,)
        return shapes

    def initialise(self, rng: np.random.Generator, p: Views, init: Initialiser) -> None:
        filters, r, s, each = p["weight"].shape
        init(rng, p["weight"], p.get("bias"), r * s * each, r * s * filters // self.groups)

    @property
    def _steps(self) -> tuple[Places, Places, Places, int]:
        """Stride, padding above and to the left, dilation and groups, as kernels take them."""
        rows, columns = sides(self.padding)  # type: ignore[arg-type]
        return self.stride, (rows[0], columns[0]), self.dilation, self.groups  # type: ignore[return-value]

    def _room(self, ops, kernel: str, x_shape: Shape) -> int:
        w_shape = (self._maps, *self.size, x_shape[-1] // self.groups)  # type: ignore[misc]
        y_shape = (x_shape[0], *self.output_shape(x_shape[1:]))
        return ops.conv2d_workspace(kernel, x_shape, w_shape, y_shape, *self._steps)

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
