"""Launches of superposition's kernels; the meaning is in `reference.context`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import REAL, Family, Source, c_type, contiguous

SOURCE = Source(
    "context.cu",
    {
        "context_multiply": REAL,
        "context_gradient": REAL,
        "complex_expand": REAL,
        "complex_contract": REAL,
    },
)


class Context(Family):
    """Launches of context.cu."""

    def context_multiply(self, x: Any, c: Any, y: Any) -> None:
        contiguous(x, c, y)
        self.over_rows(f"context_multiply<{c_type(x)}>", len(x), c.size, x, c, y)

    def context_gradient(self, x: Any, dy: Any, beta: float, dc: Any) -> None:
        contiguous(x, dy, dc)
        rows = len(x)
        self.over_columns(
            f"context_gradient<{c_type(x)}>", dc.size, rows, np.int32(rows), np.int32(dc.size),
            x, dy, x.dtype.type(beta), dc,
        )  # fmt: skip

    def complex_expand(self, x: Any, c: Any, z: Any) -> None:
        contiguous(x, c, z)
        rows, given, places = x.shape
        self.over_rows(
            f"complex_expand<{c_type(x)}>", rows, places, np.int32(given), np.int32(z.shape[1]),
            x, c, z,
        )  # fmt: skip

    def complex_contract(self, dz: Any, c: Any, dx: Any) -> None:
        contiguous(dz, c, dx)
        rows, given, places = dx.shape
        self.over_rows(
            f"complex_contract<{c_type(dz)}>", rows, places, np.int32(given),
            np.int32(dz.shape[1]), dz, c, dx,
        )  # fmt: skip
