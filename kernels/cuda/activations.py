"""Elementwise kernels: activations, the residual sum, dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codes import IDENTITY
from .launch import REAL, Family, Source, contiguous, moment

SOURCE = Source(
    "activations.cu",
    {
        "activation_forward": REAL,
        "activation_backward": REAL,
        "fill": REAL,
        "scale": REAL,
        "divide": REAL,
        "residual_forward": REAL,
        "residual_tangent": REAL,
        "dropout": REAL,
    },
)
EACH = 4  # elements a thread moves at once, where it may


class Activations(Family):
    """Launches of activations.cu; the meaning is in `reference.activations` and `.images`."""

    def activation_forward(self, act: int, slope: float, x: Any, y: Any) -> None:
        contiguous(x, y)
        number = x.dtype.type(slope)
        self.over("activation_forward", x, x.size, np.int32(act), number, x, y, each=EACH)

    def activation_backward(self, act: int, slope: float, y: Any, dy: Any, dx: Any) -> None:
        contiguous(y, dy, dx)
        self.over(
            "activation_backward", y, dy.size, np.int64(y.size), np.int32(act),
            y.dtype.type(slope), y, dy, dx, each=EACH,
        )  # fmt: skip

    def copy(self, x: Any, y: Any) -> None:
        self.activation_forward(IDENTITY, 0.0, x, y)

    def fill(self, value: float, y: Any) -> None:
        contiguous(y)
        self.over("fill", y, y.size, y.dtype.type(value), y, each=EACH)

    def scale(self, x: Any, factor: float, y: Any) -> None:
        contiguous(x, y)
        self.over("scale", x, x.size, y.dtype.type(factor), x, y, each=EACH)

    def divide(self, x: Any, divisor: Any, y: Any) -> None:
        contiguous(x, divisor, y)
        self.over("divide", x, x.size, divisor, x, y, each=EACH)

    def residual_forward(self, x: Any, r: Any, act: int, slope: float, y: Any) -> None:
        contiguous(x, r, y)
        number = x.dtype.type(slope)
        self.over("residual_forward", x, x.size, np.int32(act), number, x, r, y, each=EACH)

    def add(self, a: Any, b: Any, y: Any) -> None:
        self.residual_forward(a, b, IDENTITY, 0.0, y)

    def residual_tangent(self, y: Any, tx: Any, tr: Any, act: int, slope: float, ty: Any) -> None:
        contiguous(y, tx, tr, ty)
        number = y.dtype.type(slope)
        self.over("residual_tangent", y, y.size, np.int32(act), number, y, tx, tr, ty, each=EACH)

    def dropout(self, x: Any, rate: float, seed: int, draw: Any, y: Any) -> None:
        """`draw` is a number or an int64 array (1,) on the device, read when the kernel runs."""
        contiguous(x, y)
        rows, units = x.shape
        self.over(
            "dropout", x, (units + 3) // 4, np.int32(rows), np.int64(units),
            np.uint32(rate * 2**32), x.dtype.type(1 / (1 - rate)), np.uint64(seed), *moment(draw),
            x, y,
        )  # fmt: skip
