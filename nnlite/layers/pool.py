"""Pooling layers: MaxPool2d, AvgPool2d, AdaptiveAvgPool2d and GlobalAvgPool."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ...kernels.errors import SettingError
from ..checks import settle
from ..layout import Shape
from .base import Layer
from .shapes import Pair, Places, image, pair, windows

_PLACES = np.iinfo(np.uint16).max  # places in a window that an index can name


class Saved(NamedTuple):
    """What a pooling layer's forward pass leaves for its other verbs."""

    shape: Shape  # of the input, (N, H, W, C)
    places: np.ndarray | None = None  # MaxPool2d: (N, h, w, C), where each value came from


@dataclass(frozen=True)
class MaxPool2d(Layer):
    """The largest value of each window; of equal ones the first, row by row, gets the gradient.

    size, stride (None: size) and padding: whole numbers or pairs. Padding never wins, so it must be
    less than the size. Raises SettingError.
    """

    size: Pair = 2
    stride: Pair | None = None
    padding: Pair = 0

    def __post_init__(self) -> None:
        size = pair("MaxPool2d", "size", self.size, 1)
        stride = size if self.stride is None else pair("MaxPool2d", "stride", self.stride, 1)
        padding = pair("MaxPool2d", "padding", self.padding, 0)
        if padding[0] >= size[0] or padding[1] >= size[1]:
            raise SettingError(
                f"MaxPool2d got padding={padding}; it must be less than the size, {size}"
            )
        if size[0] * size[1] > _PLACES:
            raise SettingError(f"MaxPool2d got size={size}; a window holds at most {_PLACES:,}")
        settle(self, size=size, stride=stride, padding=padding)

    @property
    def _window(self) -> tuple[Places, Places, Places]:
        """Size, stride and padding, pairs since __post_init__."""
        return self.size, self.stride, self.padding  # type: ignore[return-value]

    def output_shape(self, input_shape: Shape) -> Shape:
        rows, columns = windows("MaxPool2d", input_shape, *self._window)
        return rows, columns, input_shape[2]

    def forward(self, k, p, x):
        shape = (len(x), *self.output_shape(x.shape[1:]))
        y, index = k.take("y", shape), k.take("index", shape, np.uint16)
        k.ops.max_pool_forward(x, *self._window, index, y)
        return y, Saved(x.shape, index)

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        if not want_dx:
            return None
        dx = k.flow((len(dy), *saved.shape[1:]), dy)
        k.ops.max_pool_backward(saved.places, dy, *self._window, dx)
        return dx

    def tangent(self, k, p, saved, tp, tx):
        if tx is None:
            return None
        ty = k.flow(saved.places.shape, tx)
        k.ops.max_pool_tangent(saved.places, tx, *self._window, ty)
        return ty


class _Mean(Layer):
    """Means over rectangles; sub-classes say which."""

    def _rectangles(self, input_shape: Shape) -> tuple[np.ndarray, np.ndarray]:
        """First and last (excluded) row and column of each output: int64 (h, 2) and (w, 2)."""
        raise NotImplementedError

    def _places(self, k, input_shape: Shape) -> tuple[np.ndarray, np.ndarray]:
        """`_rectangles` where the kernels can read them."""
        rows, columns = self._rectangles(input_shape)
        return k.constant("rows", rows), k.constant("columns", columns)

    def _mean(self, k, x, y):
        rows, columns = self._places(k, x.shape[1:])
        images = y.reshape(len(x), len(rows), len(columns), x.shape[3])
        k.ops.average_pool_forward(x, rows, columns, images)
        return y

    def forward(self, k, p, x):
        y = k.take("y", (len(x), *self.output_shape(x.shape[1:])))
        return self._mean(k, x, y), Saved(x.shape)

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        if not want_dx:
            return None
        rows, columns = self._places(k, saved.shape[1:])
        dx = k.flow((len(dy), *saved.shape[1:]), dy)
        images = dy.reshape(len(dy), len(rows), len(columns), saved.shape[3])
        k.ops.average_pool_backward(images, rows, columns, dx)
        return dx

    def tangent(self, k, p, saved, tp, tx):
        if tx is None:
            return None
        return self._mean(k, tx, k.flow((len(tx), *self.output_shape(tx.shape[1:])), tx))


@dataclass(frozen=True)
class AvgPool2d(_Mean):
    """The mean of each window. size and stride (None: size): whole numbers or pairs."""

    size: Pair = 2
    stride: Pair | None = None

    def __post_init__(self) -> None:
        size = pair("AvgPool2d", "size", self.size, 1)
        stride = size if self.stride is None else pair("AvgPool2d", "stride", self.stride, 1)
        settle(self, size=size, stride=stride)

    def output_shape(self, input_shape: Shape) -> Shape:
        rows, columns = windows("AvgPool2d", input_shape, self.size, self.stride, (0, 0))  # type: ignore[arg-type]
        return rows, columns, input_shape[2]

    def _rectangles(self, input_shape: Shape) -> tuple[np.ndarray, np.ndarray]:
        rows, columns, _ = self.output_shape(input_shape)
        return (
            _regular(rows, self.size[0], self.stride[0]),  # type: ignore[index]
            _regular(columns, self.size[1], self.stride[1]),  # type: ignore[index]
        )


@dataclass(frozen=True)
class AdaptiveAvgPool2d(_Mean):
    """rows x columns means of about equal parts, whatever the image's size (torch's division).

    More outputs than pixels repeat pixels.
    """

    rows: int
    columns: int

    def __post_init__(self) -> None:
        rows, columns = pair("AdaptiveAvgPool2d", "rows, columns", (self.rows, self.columns), 1)
        settle(self, rows=rows, columns=columns)

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.rows, self.columns, image("AdaptiveAvgPool2d", input_shape)[2]

    def _rectangles(self, input_shape: Shape) -> tuple[np.ndarray, np.ndarray]:
        height, width, _ = image("AdaptiveAvgPool2d", input_shape)
        return _even(self.rows, height), _even(self.columns, width)


@dataclass(frozen=True)
class GlobalAvgPool(_Mean):
    """The mean of each channel over the whole image: flat samples (C,)."""

    def _rectangles(self, input_shape: Shape) -> tuple[np.ndarray, np.ndarray]:
        height, width, _ = image("GlobalAvgPool", input_shape)
        return _even(1, height), _even(1, width)

    def output_shape(self, input_shape: Shape) -> Shape:
        return (image("GlobalAvgPool", input_shape)[2],)


@lru_cache(maxsize=256)
def _regular(count: int, size: int, stride: int) -> np.ndarray:
    starts = np.arange(count) * stride
    return np.stack([starts, starts + size], axis=1)


@lru_cache(maxsize=256)
def _even(count: int, length: int) -> np.ndarray:
    parts = np.arange(count)
    return np.stack([parts * length // count, -((parts + 1) * -length // count)], axis=1)
