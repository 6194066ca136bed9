"""What an int8 network computes: operations on int8 arrays, each with its NumPy meaning.

Sums are formed in float64 by BLAS, which is exact: they are whole numbers below 2^31. Each has a
twin in kernels/c/int8*.c with the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .rounding import HIGH, LOW, Fixed, Grid, scaled

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Operation:
    """Reads the tensors `inputs`, writes the tensor `output` (N, ...), by numbers."""

    name: str
    inputs: tuple[int, ...]
    output: int

    def __post_init__(self) -> None:
        for array in self.arrays().values():
            array.setflags(write=False)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that belong to it, by name."""
        held = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in held if isinstance(value, np.ndarray)}

    @property
    def room(self) -> int:
        """Bytes of scratch that it needs in C."""
        return 0

    def run(self, *x: np.ndarray) -> np.ndarray:
        """The output (N, ...) int8 for inputs (N, ...) int8."""
        raise NotImplementedError


@dataclass(frozen=True)
class Ends:
    """From a sum to the output: bend (the slope of its negative side), scale, zero point, clamp."""

    zero: int
    low: int = LOW
    high: int = HIGH
    bend: Fixed | None = None

    @classmethod
    def of(cls, grid: Grid, activation: str, bend: Fixed | None) -> Ends:
        """For a grid; a relu is the clamp at its zero point."""
        return cls(grid.zero, grid.zero if activation == "relu" else LOW, HIGH, bend)

    def bent(self, sums: np.ndarray) -> np.ndarray:
        return sums if self.bend is None else np.where(sums < 0, scaled(sums, *self.bend), sums)

    def finished(self, values: np.ndarray) -> np.ndarray:
        return np.clip(values + self.zero, self.low, self.high).astype(np.int8)


@dataclass(frozen=True, eq=False)
class _Weighted(Operation):
    """weight int8; of each output bias int32, with the input's zero point, multiplier and shift."""

    weight: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    ends: Ends

    def _finish(self, sums: np.ndarray) -> np.ndarray:
        """Sums of products (..., O), float64, as outputs."""
        total = self.ends.bent(sums.astype(np.int64) + self.bias)
        return self.ends.finished(scaled(total, self.multiplier, self.shift))


@dataclass(frozen=True, eq=False)
class Dense(_Weighted):
    """y = f(x W^T + b): weight (O, I)."""

    def run(self, *x):
        rows = x[0].reshape(len(x[0]), -1).astype(np.float64)
        return self._finish(rows @ self.weight.T.astype(np.float64))


@dataclass(frozen=True, eq=False)
class Convolution(_Weighted):
    """y = f(x * W + b): weight (O, R, S, C / groups). image: (H, W, C); size: of the output.

    padding is (top, left), of the input's zero point `xzero`; what is missing below, too.
    """

    image: tuple[int, int, int]
    size: Pair
    xzero: int
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    @property
    def room(self) -> int:
        _, rows, columns, channels = self.weight.shape
        if self.depthwise:
            return rows * columns * self.image[2]
        return 2 * -(-rows * columns * channels // 4) * 4  # two windows, by fours

    @property
    def depthwise(self) -> bool:
        """Whether each channel has one filter of its own."""
        return self.groups == self.image[2] == len(self.weight) and self.groups > 1

    def run(self, *x):
        w = self.weight.astype(np.float64)
        each = len(w) // self.groups
        windows = self._windows(x[0].reshape(-1, *self.image))
        patches = np.split(windows, self.groups, axis=3)  # of (N, h, w, C / groups, R, S)
        sums = [
            np.tensordot(patch.astype(np.float64), w[g * each : (g + 1) * each],
                         ((3, 4, 5), (3, 1, 2)))
            for g, patch in enumerate(patches)
        ]  # fmt: skip
        return self._finish(np.concatenate(sums, axis=-1))

    def _windows(self, x: np.ndarray) -> np.ndarray:
        """(N, h, w, C, R, S): what lies under each output."""
        spans = [
            (kernel - 1) * step + 1
            for kernel, step in zip(self.weight.shape[1:3], self.dilation, strict=True)
        ]
        ends = [
            max((count - 1) * stride + span - length - before, 0)
            for count, stride, span, length, before in zip(
                self.size, self.stride, spans, x.shape[1:3], self.padding, strict=True
            )
        ]
        around = ((0, 0), *zip(self.padding, ends, strict=True), (0, 0))
        padded = np.pad(x, around, constant_values=self.xzero)
        found = sliding_window_view(padded, spans, (1, 2))
        found = found[:, :: self.stride[0], :: self.stride[1]]
        found = found[:, : self.size[0], : self.size[1]]
        return found[..., :: self.dilation[0], :: self.dilation[1]]


@dataclass(frozen=True, eq=False)
class MaxPool(Operation):
    """The largest of each window, on the input's grid; what lies outside never is."""

    image: tuple[int, int, int]
    size: Pair  # of the output
    window: Pair
    stride: Pair
    padding: Pair

    def run(self, *x):
        images = x[0].reshape(-1, *self.image)
        y = np.full((len(images), *self.size, self.image[2]), LOW, np.int8)
        for i, rows in _spans(self.size[0], 0, self):
            for j, columns in _spans(self.size[1], 1, self):
                y[:, i, j] = images[:, rows, columns].max(axis=(1, 2))
        return y


def _spans(count: int, axis: int, pool: MaxPool) -> Iterator[tuple[int, slice]]:
    """Each output's place and what of the image lies under it."""
    for place in range(count):
        first = place * pool.stride[axis] - pool.padding[axis]
        yield place, slice(max(first, 0), max(first + pool.window[axis], 0))


@dataclass(frozen=True, eq=False)
class AveragePool(Operation):
    """The mean of each rectangle: rows (h, 2) and columns (w, 2) uint16, first and last (excluded).

    multiplier and shift hold one number, or one for each of the h w outputs.
    """

    image: tuple[int, int, int]
    rows: np.ndarray
    columns: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    xzero: int
    zero: int

    def run(self, *x):
        images = x[0].reshape(-1, *self.image).astype(np.int64) - self.xzero
        across = np.stack([images[:, :, a:b].sum(axis=2) for a, b in self.columns], axis=2)
        sums = np.stack([across[:, a:b].sum(axis=1) for a, b in self.rows], axis=1)
        places = (len(self.rows), len(self.columns), 1) if len(self.shift) > 1 else (1, 1, 1)
        values = scaled(sums, self.multiplier.reshape(places), self.shift.reshape(places))
        return Ends(self.zero).finished(values)


@dataclass(frozen=True, eq=False)
class Add(Operation):
    """y = f(a + b): ((a - zero_a) factor_a + (b - zero_b) factor_b) 2^-shift, int32 all along."""

    factors: Pair
    zeros: Pair
    shift: int
    ends: Ends

    def run(self, *x):
        sums: Any = sum(
            (each.astype(np.int64) - zero) * factor
            for each, zero, factor in zip(x, self.zeros, self.factors, strict=True)
        )
        return self.ends.finished(scaled(self.ends.bent(sums), 1, self.shift))


@dataclass(frozen=True, eq=False)
class Table(Operation):
    """y = table[x + 128]: any function of one number. table (256,) int8."""

    table: np.ndarray

    def run(self, *x):
        return self.table[x[0].astype(np.int64) + 128]
