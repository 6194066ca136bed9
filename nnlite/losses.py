"""Losses: per-sample values and cotangents, never with a 1/N.

What a mean over samples divides by, the loss says: N, or the sum of their weights.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..kernels.errors import DtypeError, LabelError, SettingError, ShapeError, unknown_name
from .checks import settle
from .layout import Shape
from .settings import FLOAT32, Limit, real, whole
from .workspace import Scope

_INT32 = Limit(-(2**31), 2**31 - 1)
_WEIGHT = Limit(0, FLOAT32.most)
_NO_LABEL = -(2**15)  # what kernels are told to ignore where nothing is


class Judged(NamedTuple):
    """What a loss says of samples: each one's loss (N,) and its cotangent (N, K), without 1/N.

    total: what a mean of them divides by, (1,) float64 on the device; None says N.
    """

    loss: np.ndarray
    cotangent: np.ndarray
    total: np.ndarray | None = None


class Loss:
    """A loss answers with each sample's value and its cotangent at the network's outputs."""

    name: ClassVar[str]

    def check_outputs(self, count: int) -> None:
        """Raise SettingError where the loss was set for another number of outputs K."""

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
    ) -> Judged:
        """Of targets y on the device; all of it buffers of `k`."""
        raise NotImplementedError

    def total(self, y: np.ndarray) -> float:
        """What a mean over samples of targets y (N, ...), in ordinary memory, divides by."""
        return float(len(y))

    def describe(self) -> str | dict[str, Any]:
        """The loss as JSON, for `get_loss`: its name, with settings that are not as usual."""
        usual = {of.name: of.default for of in fields(self)}  # type: ignore[arg-type]
        told = {name: getattr(self, name) for name in usual if getattr(self, name) != usual[name]}
        plain = {name: list(v) if isinstance(v, tuple) else v for name, v in told.items()}
        return {"name": self.name, **plain} if told else self.name


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Softmax cross-entropy with whole-number labels (N,), over the `active` classes alone.

    `targets` takes them as an array of any whole-number dtype, a list of whole numbers, or what
    NumPy makes such an array of (a tensor on the CPU, a column of a data frame); on a GPU, int64.

    ignore_index: a sample of this label, be it one of a class or none (-100, 255), has loss and
    cotangent 0 and does not count in a mean. class_weights: K numbers of at least 0, w_y of which
    multiplies loss and cotangent of a sample labelled y. The mean divides by the sum of the weights
    of all samples that count, as torch's does; where that is 0 it is 0 (torch's is NaN), and so is
    its gradient. Raises SettingError.
    """

    name: ClassVar[str] = "cross_entropy"
    ignore_index: int | None = None
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.ignore_index is not None:
            settle(self, ignore_index=whole("ignore_index", self.ignore_index, _INT32))
        if self.class_weights is not None:
            settle(self, class_weights=_class_weights(self.class_weights))

    @property
    def _ignored(self) -> int:
        return _NO_LABEL if self.ignore_index is None else self.ignore_index

    def check_outputs(self, count):
        if self.class_weights is not None and len(self.class_weights) != count:
            raise SettingError(
                f"class_weights are {len(self.class_weights)} numbers; this network has {count} "
                "outputs: give a weight for each"
            )

    def counts(self, y: np.ndarray) -> np.ndarray:
        """Whether each of labels y (N,) is not ignored: (N,) bool."""
        return y != self._ignored

    def total(self, y):
        counted = y[self.counts(y)]
        if self.class_weights is None:
            return float(len(counted))
        return float(np.array(self.class_weights)[counted].sum())

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
        if self.ignore_index is not None:
            y = y[self.counts(y)]
        # seen unsigned, a negative label is a huge one: one pass finds both ends
        if np.maximum.reduce(y.view(np.uint64), initial=0) >= classes:
            or_else = "" if self.ignore_index is None else f", or be {self.ignore_index}, ignored"
            raise LabelError(
                f"labels run from {y.min()} to {y.max()}; this network has {classes} outputs, "
                f"so they must lie in 0..{classes - 1}{or_else}"
            )
        if isinstance(active, np.ndarray) and np.count_nonzero(active[y]) < len(y):
            outside = y[~active[y]]
            raise LabelError(
                f"{len(outside)} of {n} labels ({np.unique(outside)[:5].tolist()}) are of classes "
                "that `active` takes out of play (it leaves "
                f"{np.flatnonzero(active)[:10].tolist()}): such a sample has no loss"
            )

    def targets(self, y, outputs, dtype=None, active=None):
        return super().targets(_whole_numbers(y), outputs, dtype, active)

    def value_and_cotangent(self, k, outputs, y, active):
        n, classes = outputs.shape
        loss, cotangent = k.take("loss", (n,)), k.take("cotangent", outputs.shape)
        if self.ignore_index is None and self.class_weights is None:
            k.ops.softmax_cross_entropy(outputs, y, active, loss, cotangent)
            return Judged(loss, cotangent)
        given = np.ones(classes) if self.class_weights is None else np.array(self.class_weights)
        weights = k.constant("weights", given.astype(outputs.dtype))
        known, weight = k.take("known", (n,), np.int64), k.take("weight", (n,))
        total = k.take("total", (1,), np.float64)
        k.ops.label_weights(y, weights, self._ignored, known, weight, total)
        k.ops.softmax_cross_entropy(outputs, known, active, loss, cotangent)
        k.ops.weigh_losses(weight, loss, cotangent)
        return Judged(loss, cotangent, total)


def _class_weights(given: Any) -> tuple[float, ...]:
    """Weights as plain numbers. Raises SettingError."""
    if isinstance(given, np.ndarray):
        given = given.tolist()
    if not isinstance(given, Sequence) or isinstance(given, str) or not len(given):
        raise SettingError(
            f"class_weights are {given!r:.80}; give a sequence of numbers, one for each class"
        )
    weights = tuple(real("a weight of class_weights", each, _WEIGHT) for each in given)
    if not any(weights):
        raise SettingError("class_weights are all 0: at least one class must count")
    return weights


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
        return Judged(loss, cotangent)


def _shape(y: object) -> object:
    return getattr(y, "shape", f"none (a {type(y).__name__})")


LOSSES: dict[str, type[Loss]] = {loss.name: loss for loss in (CrossEntropy, SquaredError)}


def get_loss(name: str | Loss | Mapping[str, Any]) -> Loss:
    """The loss `name`, itself if it is one, or that of a description, as `Loss.describe` gives it.

    Raises UnknownNameError, suggesting the nearest; SettingError for settings that a loss has not.
    """
    if isinstance(name, Loss) and type(name) in LOSSES.values():
        return name
    settings = dict(name) if isinstance(name, Mapping) else {}
    named = settings.pop("name", None) if isinstance(name, Mapping) else name
    if not isinstance(named, str) or named not in LOSSES:
        raise unknown_name("loss", named, LOSSES)
    known = [of.name for of in fields(LOSSES[named])]  # type: ignore[arg-type]
    if not set(settings) <= set(known):
        raise SettingError(
            f"the loss '{named}' got the settings {reprlib.repr(sorted(settings))}; it has "
            f"{', '.join(known) or 'none'}"
        )
    return LOSSES[named](**settings)
