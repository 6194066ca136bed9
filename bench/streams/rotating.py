"""Rotating: training batches that turn a little further at every step (Cheung et al. 2019, 4.2).

All images of a batch share one angle, so where each pixel comes from is worked out once an angle.
"""

from __future__ import annotations

import math

import numpy as np

from ...kernels.errors import SettingError
from ...nnlite.layout import Shape

_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def taps(height: int, width: int, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Which four pixels a turned pixel is made of, and how much of each: two (4, H*W).

    Counter-clockwise about the middle, bilinear. A pixel outside the image has weight 0, so that
    weights sum to less than 1 where something else is seen.
    """
    angle = math.radians(degrees % 360)
    middle = (height - 1) / 2, (width - 1) / 2
    down, right = np.mgrid[:height, :width].astype(np.float64)
    down, right = down - middle[0], right - middle[1]
    y = np.cos(angle) * down + np.sin(angle) * right + middle[0]
    x = -np.sin(angle) * down + np.cos(angle) * right + middle[1]
    y, x = np.round(y, 9), np.round(x, 9)  # a quarter turn falls on pixels, but for rounding
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    places, weights = [], []
    for one_down, one_right in _CORNERS:
        row, column = top + one_down, left + one_right
        weight = (1 - np.abs(y - row)) * (1 - np.abs(x - column))
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        places.append(np.where(inside, row * width + column, 0).ravel())
        weights.append(np.where(inside, weight, 0.0).ravel())
    return np.array(places), np.array(weights, np.float32)


def image_shape(input_shape: Shape) -> Shape:
    """(H, W, C) of a stream's samples; flat ones are taken for square images, grey or in colour.

    Raises SettingError for a number of features that is neither.
    """
    if len(input_shape) == 3:
        return input_shape
    for channels in (1, 3):
        side = math.isqrt(input_shape[0] // channels)
        if side * side * channels == input_shape[0]:
            return side, side, channels
    raise SettingError(f"turn: samples of {input_shape[0]} features are no square images")


class Turner:
    """Turns batches by 360 * step / period degrees, of images `shape` (H, W, C).

    outside (C,): what is seen beyond an image's edge (black, after normalisation). Angles repeat
    after `period` steps and their taps are kept: 40 bytes a pixel and angle, 31 MB for 1,000 angles
    of 28 x 28.
    """

    def __init__(self, shape: Shape, period: int, outside: np.ndarray) -> None:
        self.shape, self.period = shape, period
        self.outside = outside.astype(np.float32)
        self._taps: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, x: np.ndarray, step: int) -> np.ndarray:
        """x (N, H, W, C) or (N, H*W*C) float32, turned; a new array."""
        number = step % self.period
        if number not in self._taps:
            self._taps[number] = taps(self.shape[0], self.shape[1], 360 * number / self.period)
        places, weights = self._taps[number]
        rows = x.reshape(len(x), -1, self.shape[2]) - self.outside  # so that outside is 0
        turned = np.zeros_like(rows)
        for place, weight in zip(places, weights, strict=True):
            turned += np.take(rows, place, axis=1) * weight[:, None]
        turned += self.outside
        return turned.reshape(x.shape)
