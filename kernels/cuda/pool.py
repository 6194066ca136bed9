"""Launches of the pooling kernels; the meaning is in `reference.pool`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import BY_PACK, Family, Source, c_type, contiguous

SOURCE = Source(
    "pool.cu",
    {
        "max_pool_forward": BY_PACK,
        "max_pool_backward": BY_PACK,
        "max_pool_tangent": BY_PACK,
        "average_pool_forward": BY_PACK,
        "average_pool_backward": BY_PACK,
    },
)
Pair = tuple[int, int]


def whole(*numbers: int) -> tuple[np.int32, ...]:
    """Numbers as kernels take them."""
    return tuple(map(np.int32, numbers))


class Pool(Family):
    """Launches of pool.cu: a thread a pixel of the result, and as many channels as fit a pack."""

    def _over_pixels(
        self, kernel: str, result: Any, arrays: tuple[Any, ...], *args: Any, shared: int = 0
    ) -> None:
        """Launch over the rows and columns of `result` (N, H, W, C); `arrays` have its channels."""
        images, height, width, channels = result.shape
        pack = self.pack(result, *arrays)
        name = f"{kernel}<{c_type(result)}, {pack}>"
        self.over_rows(name, images * height, width * channels // pack, *args, shared=shared)

    def max_pool_forward(
        self, x: Any, window: Pair, stride: Pair, padding: Pair, index: Any, y: Any
    ) -> None:
        contiguous(x, index, y)
        self._over_pixels(
            "max_pool_forward", y, (x, index),
            *whole(*x.shape[1:], *y.shape[1:3], *window, *stride, *padding), x, index, y,
        )  # fmt: skip

    def max_pool_backward(
        self, index: Any, dy: Any, window: Pair, stride: Pair, padding: Pair, dx: Any
    ) -> None:
        contiguous(index, dy, dx)
        sizes = len(index), *dx.shape[1:], *index.shape[1:3]
        self._over_pixels(
            "max_pool_backward", dx, (index, dy), *whole(*sizes, *window, *stride, *padding),
            index, dy, dx,
        )  # fmt: skip

    def max_pool_tangent(
        self, index: Any, tx: Any, window: Pair, stride: Pair, padding: Pair, ty: Any
    ) -> None:
        contiguous(index, tx, ty)
        sizes = *tx.shape[1:], *ty.shape[1:3]
        self._over_pixels(
            "max_pool_tangent", ty, (index,), *whole(*sizes, *window, *stride, *padding), index,
            tx, ty,
        )  # fmt: skip

    def average_pool_forward(self, x: Any, rows: Any, columns: Any, y: Any) -> None:
        contiguous(x, rows, columns, y)
        sizes = whole(*x.shape[1:], len(rows), len(columns))
        self._over_pixels("average_pool_forward", y, (x,), *sizes, rows, columns, x, y)

    def average_pool_backward(self, dy: Any, rows: Any, columns: Any, dx: Any) -> None:
        contiguous(dy, rows, columns, dx)
        sizes = whole(*dx.shape[1:], len(rows), len(columns))
        self._over_pixels(
            "average_pool_backward", dx, (dy,), *sizes, rows, columns, dy, dx,
            shared=2 * 4 * dx.shape[2],
        )  # fmt: skip
