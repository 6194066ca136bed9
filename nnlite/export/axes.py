"""Axes of other software: images are (C, H, W) there and (H, W, C) here."""

from __future__ import annotations

import numpy as np

from ..layout import Shape


def columns_first(shape: Shape) -> np.ndarray | None:
    """Where in a flat (H, W, C) of `shape` the columns of the flat (C, H, W) lie, (H W C,) int64.

    None: in the same places.
    """
    order = np.arange(int(np.prod(shape))).reshape(shape).transpose(2, 0, 1).reshape(-1)
    return None if (order[1:] > order[:-1]).all() else order


def channels_first(x: np.ndarray) -> np.ndarray:
    """Images or filters (N, H, W, C) as (N, C, H, W), others as they are; in C order."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2) if x.ndim == 4 else x)


def channels_last(x: np.ndarray) -> np.ndarray:
    """The inverse of `channels_first`."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)
