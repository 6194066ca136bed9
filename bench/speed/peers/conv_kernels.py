"""weightspace on single convolutions: the kernels of its backend as they are.

All arrays and the scratch are made once, as a Network would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....kernels import get_backend
from ....kernels.codes import IDENTITY
from . import place
from .problem import Operation, Problem, Variants

_MOVE: Any = ((1, 1), (1, 1), (1, 1), 1)  # stride, padding, dilation, groups


class _Buffers:
    """The problem's arrays, the results', and scratch for the kernels named."""

    def __init__(self, problem: Problem, *kernels: str) -> None:
        self.ops: Any = get_backend(place.backend())
        self.x, self.w, self.dy = (place.put(problem.arrays[name]) for name in ("x", "w", "dy"))
        asked = self.ops.conv2d_workspace
        shapes = self.x.shape, self.w.shape, self.dy.shape
        most = max(asked(one, *shapes, *_MOVE) for one in kernels)
        self.work = self.ops.device.empty((most,), np.float32)

    def forward(self, y: np.ndarray) -> None:
        self.ops.conv2d_forward(self.x, self.w, None, *_MOVE, IDENTITY, 0.0, self.work, y)

    def backward(self, dx: np.ndarray, dw: np.ndarray) -> None:
        self.ops.conv2d_input_grad(self.dy, self.w, *_MOVE, self.work, dx)
        self.ops.conv2d_weight_grad(self.x, self.dy, *_MOVE, 0.0, self.work, dw, None)

    def fisher(self, out: np.ndarray) -> None:
        """out (O, 3, 3, C) = the sum of squares; no gradient of a sample outlives its block."""
        out.fill(0.0)
        self.ops.conv2d_accumulate(self.x, self.dy[None], *_MOVE, 2, self.work, out, None)


def _answering(call: Callable[[], None], results: dict[str, np.ndarray]) -> Operation:
    """An operation that writes into `results`, of which a copy is its answer."""

    def result() -> dict[str, np.ndarray]:
        call()
        return {name: place.get(array).copy() for name, array in results.items()}

    return Operation(call, result)


def _forward(problem: Problem) -> Operation:
    at = _Buffers(problem, "conv2d_forward")
    y = np.empty_like(at.dy)
    return _answering(lambda: at.forward(y), {"y": y})


def _forward_backward(problem: Problem) -> Operation:
    at = _Buffers(problem, "conv2d_forward", "conv2d_input_grad", "conv2d_weight_grad")
    y, dx, dw = np.empty_like(at.dy), np.empty_like(at.x), np.empty_like(at.w)

    def call() -> None:
        at.forward(y)
        at.backward(dx, dw)

    return _answering(call, {"dx": dx, "dw": dw})


def _fisher(problem: Problem) -> Operation:
    at = _Buffers(problem, "conv2d_accumulate")
    out = np.empty_like(at.w)
    return _answering(lambda: at.fisher(out), {"fisher": out})


CONVOLUTIONS: dict[str, Variants] = {
    "conv-forward": {place.backend(): _forward},
    "conv-forward-backward": {place.backend(): _forward_backward},
    "conv-fisher": {place.backend(): _fisher},
}
