"""Pooling layers: MaxPool2d, AvgPool2d, AdaptiveAvgPool2d and GlobalAvgPool."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ...kernels.errors import SettingError
from ..checks import settle
from ..layout import Shape
from ..settings import flag
from .base import Layer
from .shapes import Pair, Places, Sides, around, image, pair, sides, windows

_PLACES = np.iinfo(np.uint16).max  # places in a window that an index can name


class Saved(NamedTuple):
    """What a pooling layer's forward pass leaves for its other verbs."""

    shape: Shape  # of the input, (N, H, W, C)
    places: np.ndarray | None = None  # MaxPool2d: (N, h, w, C), where each value came from


class _Windows(Layer):
    """Windows at regular steps over a padded image; every one of them holds a pixel."""

    size: Pair
    stride: Pair | None
    padding: Pair | Sides
    ceil_mode: bool

    def __post_init__(self) -> None:
        owner = type(self).__name__
        size = pair(owner, "size", self.size, 1)
        stride = size if self.stride is None else pair(owner, "stride", self.stride, 1)
        padding = around(owner, self.padding)
        if any(max(side) >= length for side, length in zip(sides(padding), size, strict=True)):
            raise SettingError(
                f"{owner} got padding={padding}; it must be less than the size, {size}"
            )
        ceil_mode = flag(f"{owner}'s ceil_mode", self.ceil_mode)
        settle(self, size=size, stride=stride, padding=padding, ceil_mode=ceil_mode)

    @property
    def _steps(self) -> tuple[Places, Places, Sides]:
        """Size, stride and padding, pairs since __post_init__."""
        return self.size, self.stride, sides(self.padding)  # type: ignore[arg-type, return-value]

    def output_shape(self, input_shape: Shape) -> Shape:
        size, stride, padding = self._steps
        rows, columns = windows(
            type(self).__name__, input_shape, size, stride, padding, ceil_mode=self.ceil_mode
        )
        return rows, columns, input_shape[2]


@dataclass(frozen=True)
class MaxPool2d(_Windows):
    """The largest value of each window; of equal ones the first, row by row, gets the gradient.

    size and stride (None: size): whole numbers or pairs. padding: likewise, or ((top, bottom),
    (left, right)); it never wins, so it must be less than the size. ceil_mode: a last window may
    hang over the end of the padded image, if it begins inside the image or the padding before it.
    A window's pixels are neighbours: there is no dilation. Raises SettingError.
    """

    size: Pair = 2
    stride: Pair | None = None
    padding: Pair | Sides = 0
    ceil_mode: bool = field(default=False, metadata={"usual": False})

    def __post_init__(self) -> None:
        super().__post_init__()
        size, *_ = self._steps
        if size[0] * size[1] > _PLACES:
            raise SettingError(f"MaxPool2d got size={size}; a window holds at most {_PLACES:,}")

    @property
    def _window(self) -> tuple[Places, Places, Places]:
        """Size, stride and how far the first window reaches over the top and the left."""
        size, stride, ((top, _), (left, _)) = self._steps
        return size, stride, (top, left)

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
        """Of each output the first and last (excluded) row and column, and how many of them its
        sum is divided by: int64 (h, 3) and (w, 3)."""
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
class AvgPool2d(_Mean, _Windows):
    """The mean of each window.

    size, stride (None: size), padding and ceil_mode: as of `MaxPool2d`. count_padding: whether a
    mean is over the pixels of its window and the padding's zeros (torch's and ONNX's
    count_include_pad), or over its pixels alone. What of a window of ceil_mode lies beyond the
    padding counts in neither, as in torch. Raises SettingError.
    """

    size: Pair = 2
    stride: Pair | None = None
    padding: Pair | Sides = field(default=0, metadata={"usual": (0, 0)})
    ceil_mode: bool = field(default=False, metadata={"usual": False})
    count_padding: bool = field(default=True, metadata={"usual": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, count_padding=flag("AvgPool2d's count_padding", self.count_padding))

    def _rectangles(self, input_shape: Shape) -> tuple[np.ndarray, np.ndarray]:
        counts = self.output_shape(input_shape)[:2]
        along = zip(counts, *self._steps, input_shape[:2], strict=True)
        rows, columns = (_regular(*axis, self.count_padding) for axis in along)
        return rows, columns


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
def _regular(
    count: int, size: int, stride: int, padding: Places, length: int, count_padding: bool
) -> np.ndarray:
    """Windows along one axis of `length` pixels, (count, 3)."""
    before, after = padding
    starts = np.arange(count) * stride - before
    ends = np.minimum(starts + size, length + after)
    first, last = np.maximum(starts, 0), np.minimum(ends, length)
    return np.stack([first, last, ends - starts if count_padding else last - first], axis=1)


@lru_cache(maxsize=256)
def _even(count: int, length: int) -> np.ndarray:
    parts = np.arange(count)
    first, last = parts * length // count, -((parts + 1) * -length // count)
    return np.stack([first, last, last - first], axis=1)
