"""Launches of the kernels over sparse weights; the meaning is in `reference.sparse`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import REAL, Family, Source, c_type, contiguous

SOURCE = Source("sparse.cu", {"sparse_dense_forward": REAL})


class Sparse(Family):
    """Launches of sparse.cu."""

    def sparse_dense_forward(
        self, x: Any, starts: Any, columns: Any, values: Any, b: Any, act: int, slope: float, y: Any
    ) -> None:
        contiguous(x, starts, columns, values, b, y)
        self.over_rows(
            f"sparse_dense_forward<{c_type(x)}>", *y.shape, x, starts, columns, values, b,
            np.int32(act), x.dtype.type(slope), y,
        )  # fmt: skip
