"""Launches of the dense layer's kernels; the meaning is in `reference.dense`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codes import IDENTITY
from .launch import REAL, Source, c_type, contiguous, row_stride
from .tiles import Compiled, Products, choose_tile

TILES = Compiled(single=("Small",), wide=("Medium", "Small"))
PRODUCTS = TILES.all_names()
# From so many multiplications on a product goes to cuBLAS, where that is allowed, and what the
# tiles would have fused becomes one more pass over its result (not yet measured).
LARGE = 1 << 27

SOURCE = Source(
    "dense.cu",
    {
        "dense_forward": PRODUCTS,
        "superposed_forward": PRODUCTS,
        "dense_weight_grad": PRODUCTS,
        "dense_input_grad": PRODUCTS,
        "dense_tangent": PRODUCTS,
        "dense_finish": REAL,
        "dense_pull": REAL,
        "dense_powers": REAL,
        "dense_sample_grads": REAL,
        "dense_signal": REAL,
    },
    ("gemm.cuh",),
)


class Dense(Products):
    """Launches of dense.cu."""

    def _product(
        self, kernel: str, sizes: tuple[int, int, int], factors: tuple[Any, ...], *args: Any
    ) -> None:
        """Launch a kernel for (rows, columns) sums of so many products: `sizes`."""
        names = TILES.names(c_type(factors[0]), self._wide(*factors), self.allow_tf32)
        chosen = choose_tile(*sizes, names)
        self.launch(f"{kernel}<{chosen.name}>", chosen.grid, chosen.block, *args)

    def _large(self, m: int, n: int, k: int) -> bool:
        """Whether cuBLAS is to form a product: where it may, there is one, and it pays."""
        return self.allow_cublas and m * n * k >= LARGE and hasattr(self.device, "gemm")

    def _gemm(
        self, transposed: tuple[bool, bool], k: int, a: Any, b: Any, c: Any, beta: float
    ) -> None:
        """c (m, n) = op(a) op(b) + beta c, plainly."""
        strides = int(row_stride(a)), int(row_stride(b)), int(row_stride(c))
        self.device.gemm(transposed, (*c.shape, k), a, b, c, strides, beta, self.allow_tf32)

    def _finish(self, z: Any, b: Any, y: Any, act: int, slope: float) -> None:
        """f(z + b) in place, or f'(y) (z + b)."""
        if b is None and act == IDENTITY:
            return
        self.over(
            "dense_finish", z, z.size, np.int32(z.shape[1]), z, row_stride(z), b, y,
            np.int32(act), z.dtype.type(slope),
        )  # fmt: skip

    def dense_forward(self, x: Any, w: Any, b: Any, act: int, slope: float, y: Any) -> None:
        (n, i), o = x.shape, len(w)
        contiguous(b)
        if self._large(n, o, i):
            self._gemm((False, True), i, x, w, y, 0.0)
            self._finish(y, b, None, act, slope)
            return
        self._product(
            "dense_forward", (n, o, i), (x, w), np.int32(n), np.int32(i), np.int32(o),
            x, row_stride(x), w, row_stride(w), b, np.int32(act), x.dtype.type(slope),
            y, row_stride(y),
        )  # fmt: skip

    def superposed_forward(
        self, x: Any, c: Any, w: Any, b: Any, act: int, slope: float, z: Any, y: Any
    ) -> None:
        contiguous(x, c, b, z, y)
        (n, i), o = x.shape, len(w)
        if self._large(n, o, i):
            self._multiply(x, c, z)
            self.dense_forward(z, w, b, act, slope, y)
            return
        self._product(
            "superposed_forward", (n, o, i), (x, w, z, c.reshape(1, i)), np.int32(n), np.int32(i),
            np.int32(o), x, c, w, row_stride(w), b, np.int32(act), x.dtype.type(slope), z, y,
        )  # fmt: skip

    def _multiply(self, x: Any, c: Any, y: Any) -> None:
        self.over_rows(f"context_multiply<{c_type(x)}>", len(x), c.size, x, c, y)

    def dense_backward(
        self, x: Any, w: Any, y: Any, dy: Any, act: int, slope: float, beta: float, dz: Any,
        dw: Any, db: Any, dx: Any,
    ) -> None:  # fmt: skip
        self._backward(x, None, w, y, dy, act, slope, beta, dz, dw, db, dx)

    def superposed_backward(
        self, z: Any, c: Any, w: Any, y: Any, dy: Any, act: int, slope: float, beta: float,
        dz: Any, dw: Any, db: Any, dx: Any,
    ) -> None:  # fmt: skip
        contiguous(c)
        self._backward(z, c, w, y, dy, act, slope, beta, dz, dw, db, dx)

    def _backward(
        self, x: Any, c: Any, w: Any, y: Any, dy: Any, act: int, slope: float, beta: float,
        dz: Any, dw: Any, db: Any, dx: Any,
    ) -> None:  # fmt: skip
        """`superposed_backward`, or `dense_backward` where c is None."""
        contiguous(y, dy, dz, dw, db, dx)
        n, o, vn, number = len(x), len(w), len(dy), x.dtype.type
        self.over_columns(
            f"dense_pull<{c_type(x)}>", o, vn, np.int32(vn), np.int32(n), np.int32(o),
            np.int32(act), number(slope), y, dy, number(beta), dz, db,
        )  # fmt: skip
        if dw is not None:
            self._weight_grad(x, dz, beta, dw)
        if dx is not None:
            self._input_grad(dz, w, c, dx)

    def _weight_grad(self, x: Any, dz: Any, beta: float, dw: Any) -> None:
        """dw = beta dw + dz^T x."""
        (n, i), o = x.shape, dz.shape[1]
        if self._large(o, i, n):
            self._gemm((True, False), n, dz, x, dw, beta)
            return
        self._product(
            "dense_weight_grad", (o, i, n), (x, dz), np.int32(n), np.int32(i), np.int32(o),
            x, row_stride(x), dz, x.dtype.type(beta), dw,
        )  # fmt: skip

    def _input_grad(self, dz: Any, w: Any, c: Any, dx: Any) -> None:
        """dx = dz w, or c (dz w)."""
        (n, o), i = dz.shape, w.shape[1]
        if self._large(n, i, o):
            self._gemm((False, False), o, dz, w, dx, 0.0)
            if c is not None:
                self._multiply(dx, c, dx)
            return
        self._product(
            "dense_input_grad", (n, i, o), (dz, w), np.int32(n), np.int32(i), np.int32(o),
            dz, w, row_stride(w), c, dx,
        )  # fmt: skip

    def matmul_nn(self, a: Any, b: Any, y: Any) -> None:
        contiguous(a, y)
        self._input_grad(a, b, None, y)

    def matmul_nt(self, a: Any, b: Any, y: Any) -> None:
        self.dense_forward(a, b, None, IDENTITY, 0.0, y)

    def matmul_tn(self, a: Any, b: Any, y: Any) -> None:
        contiguous(a, y)
        self._weight_grad(b, a, 0.0, y)

    def dense_tangent(
        self, x: Any, w: Any, y: Any, tx: Any, tw: Any, tb: Any, act: int, slope: float, ty: Any
    ) -> None:
        contiguous(x, w, y, tx, tw, tb, ty)
        (n, i), o = x.shape, len(w)
        if self._large(n, o, i):
            if tx is not None:
                self._gemm((False, True), i, tx, w, ty, 0.0)
            if tw is not None:
                self._gemm((False, True), i, x, tw, ty, 0.0 if tx is None else 1.0)
            self._finish(ty, tb, y, act, slope)
            return
        self._product(
            "dense_tangent", (n, o, i), (x, w, tx, tw), np.int32(n), np.int32(i), np.int32(o),
            x, w, y, tx, tw, tb, np.int32(act), x.dtype.type(slope), ty,
        )  # fmt: skip

    def dense_sample_grads(self, x: Any, dz: Any, dw: Any, db: Any) -> None:
        contiguous(x, dz)
        i, o = x.shape[1], dz.shape[1]
        self.over(
            "dense_sample_grads", x, len(x) * i * o, np.int32(i), np.int32(o), x, dz, dw,
            row_stride(dw), db, np.int64(0) if db is None else row_stride(db),
        )  # fmt: skip

    def dense_accumulate(
        self, x: Any, dz: Any, power: int, xp: Any, dp: Any, dw: Any, db: Any
    ) -> None:
        contiguous(x, dz, xp, dp, dw, db)
        self._powers(x[None], power, xp, 0.0, None)
        self._powers(dz, power, dp, 1.0, db)
        self._weight_grad(xp, dp, 1.0, dw)

    def dense_signal(
        self, x: Any, y: Any, w: Any, traffic: Any, response: Any, dw: Any, db: Any
    ) -> None:
        contiguous(x, y, w, traffic, response, dw, db)
        self._powers(x[None], 1, None, 0.0, traffic)
        self.over("dense_signal", w, w.size, np.int32(w.shape[1]), w, traffic, dw)
        if db is not None:
            self._powers(y[None], 1, None, 0.0, response)
            self.over(
                "residual_forward", db, db.size, np.int32(IDENTITY), db.dtype.type(0), db, response,
                db,
            )  # fmt: skip

    def _powers(self, a: Any, power: int, out: Any, beta: float, total: Any) -> None:
        """out = the sum over v of |a[v]|**power, a (V, rows, columns); total = beta total + its
        sum over the rows. Both may be None."""
        v, rows, columns = a.shape
        self.over_columns(
            f"dense_powers<{c_type(a)}>", columns, rows, np.int32(v), np.int32(rows),
            np.int32(columns), a, np.int32(power), out, a.dtype.type(beta), total,
        )  # fmt: skip
