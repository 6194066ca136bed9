"""Losses: per-sample values and cotangents, never with a 1/N."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..kernels.errors import DtypeError, LabelError, ShapeError, unknown_name
from .layout import Shape
from .workspace import Scope


class Loss:
    """A loss answers with each sample's value and its cotangent at the network's outputs."""

    name: ClassVar[str]

    def check(
        self, y: np.ndarray, outputs: Shape, dtype: Any = None, active: np.ndarray | None = None
    ) -> None:
        """Raise a named error when targets `y` do not fit outputs of shape (N, K).

        dtype: the network's. active (K,) bool: the classes in play, or None. The values of an array
        on a GPU are not looked at, since that would wait for it; a label that is none, or of a
        class that is not in play, makes the loss NaN there.
        """
        raise NotImplementedError

    def targets(
        self, y: Any, outputs: Shape, dtype: Any = None, active: np.ndarray | None = None
    ) -> np.ndarray:
        """`y` as kernels take it, checked; what `check` would refuse may do where it is plain."""
        self.check(y, outputs, dtype, active)
        return y

    def value_and_cotangent(
        self, k: Scope, outputs: np.ndarray, y: np.ndarray, active: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """loss (N,) and its cotangent (N, K), both buffers of `k`."""
        raise NotImplementedError


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Softmax cross-entropy with whole-number labels (N,), over the `active` classes alone.

    `targets` takes them as an array of any whole-number dtype, a list of whole numbers, or what
    NumPy makes such an array of (a tensor on the CPU, a column of a data frame); on a GPU, int64.
    """

    name: ClassVar[str] = "cross_entropy"

    def check(self, y, outputs, dtype=None, active=None):
        n, classes = outputs
        if getattr(y, "shape", None) != (n,):
            raise ShapeError(f"labels have shape {_shape(y)}; {n} samples need shape ({n},)")
        if y.dtype != np.int64:
            raise DtypeError(
                f"labels are {y.dtype}; give whole numbers as int64: .astype(np.int64) makes them, "
                "if that is what they mean"
            )
        if not isinstance(y, np.ndarray):
            return
        # seen unsigned, a negative label is a huge one: one pass finds both ends
        if int(y.view(np.uint64).max()) >= classes:
            raise LabelError(
                f"labels run from {y.min()} to {y.max()}; this network has {classes} outputs, "
                f"so they must lie in 0..{classes - 1}"
            )
        if isinstance(active, np.ndarray) and np.count_nonzero(active[y]) < n:
            outside = y[~active[y]]
            raise LabelError(
                f"{len(outside)} of {n} labels ({np.unique(outside)[:5].tolist()}) are of classes "
                "that `active` takes out of play (it leaves "
                f"{np.flatnonzero(active)[:10].tolist()}): such a sample has no loss"
            )

    def targets(self, y, outputs, dtype=None, active=None):
        return super().targets(_whole_numbers(y), outputs, dtype, active)

    def value_and_cotangent(self, k, outputs, y, active):
        loss, cotangent = k.take("loss", outputs.shape[:1]), k.take("cotangent", outputs.shape)
        k.ops.softmax_cross_entropy(outputs, y, active, loss, cotangent)
        return loss, cotangent


def _whole_numbers(y: Any) -> Any:
    """Whole numbers of any kind as int64; anything else as it is, for `check` to name."""
    if type(y) is not np.ndarray:
        if isinstance(y, np.ma.MaskedArray):
            raise DtypeError("labels are a masked array, whose mask would be lost; leave rows out")
        try:
            y = np.asarray(y)
        except (TypeError, ValueError, RuntimeError):  # ragged lists, arrays on a GPU
            return y
    if y.dtype != np.int64 and y.dtype.kind in "iu":
        return y.astype(np.int64)
    return y


@dataclass(frozen=True)
class SquaredError(Loss):
    """1/2 ||f - t||^2 per sample, targets (N, K) of the network's dtype; `active` plays no part."""

    name: ClassVar[str] = "squared_error"

    def check(self, y, outputs, dtype=None, active=None):
        if getattr(y, "shape", None) != outputs:
            raise ShapeError(f"targets have shape {_shape(y)}; the outputs have {outputs}")
        if dtype is not None and y.dtype != dtype:
            raise DtypeError(f"targets are {y.dtype}; this network computes in {dtype}")

    def value_and_cotangent(self, k, outputs, y, active):
        loss, cotangent = k.take("loss", outputs.shape[:1]), k.take("cotangent", outputs.shape)
        k.ops.squared_error(outputs, y, loss, cotangent)
        return loss, cotangent


def _shape(y: object) -> object:
    return getattr(y, "shape", f"none (a {type(y).__name__})")


LOSSES: dict[str, type[Loss]] = {loss.name: loss for loss in (CrossEntropy, SquaredError)}


def get_loss(name: str | Loss) -> Loss:
    """The loss `name`, or itself if it is one. Raises UnknownNameError, suggesting the nearest."""
    if isinstance(name, Loss) and type(name) in LOSSES.values():
        return name
    if not isinstance(name, str) or name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    return LOSSES[name]()
