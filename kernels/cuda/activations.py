"""Elementwise kernels: activations, the residual sum, dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import codes
from .launch import REAL, Family, Source, contiguous

SOURCE = Source(
    "activations.cu",
    {
        "activation_forward": REAL,
        "activation_backward": REAL,
    },
)


class Activations(Family):
    """Launches of activations.cu; the meaning is in `reference.activations` and `.images`."""

    def activation_forward(self, act: int, slope: float, x: Any, y: Any) -> None:
        contiguous(x, y)
        self.over("activation_forward", x, x.size, np.int32(act), x.dtype.type(slope), x, y)

    def activation_backward(self, act: int, slope: float, y: Any, dy: Any, dx: Any) -> None:
        contiguous(y, dy, dx)
        self.over(
            "activation_backward", y, dy.size, np.int64(y.size), np.int32(act),
            y.dtype.type(slope), y, dy, dx,
        )  # fmt: skip

    def relu_forward(self, x: Any, y: Any) -> None:
        self.activation_forward(codes.RELU, 0.0, x, y)
