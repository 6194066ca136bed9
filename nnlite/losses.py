"""Losses: per-sample values and cotangents, never with a 1/N."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..kernels.errors import DtypeError, LabelError, ShapeError, unknown_name
from .layout import Shape
from .workspace import Scope


class Loss:
    """A loss answers with each sample's value and its cotangent at the network's outputs."""

    def check(self, y: np.ndarray, outputs: Shape) -> None:
        """Raise a named error when targets `y` do not fit outputs of shape (N, K).

        The values of an array on a GPU are not looked at, since that would wait for it; a label
        outside the classes makes the loss NaN there.
        """
        raise NotImplementedError

    def value_and_cotangent(
        self, k: Scope, outputs: np.ndarray, y: np.ndarray, active: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """loss (N,) and its cotangent (N, K), both buffers of `k`."""
        raise NotImplementedError


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Softmax cross-entropy with whole-number labels (N,), over the `active` classes alone."""

    def check(self, y: np.ndarray, outputs: Shape) -> None:
        n, classes = outputs
        if getattr(y, "shape", None) != (n,):
            raise ShapeError(f"labels have shape {_shape(y)}; {n} samples need shape ({n},)")
        if y.dtype != np.int64:
            raise DtypeError(f"labels are {y.dtype}; give whole numbers as int64")
        if not isinstance(y, np.ndarray):
            return
        # seen unsigned, a negative label is a huge one: one pass finds both ends
        if int(y.view(np.uint64).max()) >= classes:
            raise LabelError(
                f"labels run from {y.min()} to {y.max()}; this network has {classes} outputs, "
                f"so they must lie in 0..{classes - 1}"
            )

    def value_and_cotangent(self, k, outputs, y, active):
        loss, cotangent = k.take("loss", outputs.shape[:1]), k.take("cotangent", outputs.shape)
        k.ops.softmax_cross_entropy(outputs, y, active, loss, cotangent)
        return loss, cotangent


@dataclass(frozen=True)
class SquaredError(Loss):
    """1/2 ||f - t||^2 per sample, targets (N, K) of the network's dtype; `active` plays no part."""

    def check(self, y: np.ndarray, outputs: Shape) -> None:
        if getattr(y, "shape", None) != outputs:
            raise ShapeError(f"targets have shape {_shape(y)}; the outputs have {outputs}")

    def value_and_cotangent(self, k, outputs, y, active):
        if y.dtype != outputs.dtype:
            raise DtypeError(f"targets are {y.dtype}; this network computes in {outputs.dtype}")
        loss, cotangent = k.take("loss", outputs.shape[:1]), k.take("cotangent", outputs.shape)
        k.ops.squared_error(outputs, y, loss, cotangent)
        return loss, cotangent


def _shape(y: object) -> object:
    return getattr(y, "shape", f"none (a {type(y).__name__})")


LOSSES: dict[str, type[Loss]] = {"cross_entropy": CrossEntropy, "squared_error": SquaredError}


def get_loss(name: str) -> Loss:
    """The loss `name`. Raises UnknownNameError, suggesting the nearest."""
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    return LOSSES[name]()
