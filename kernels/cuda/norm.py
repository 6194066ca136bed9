"""Launches of batch normalisation's kernels; the meaning is in `reference.norm`.

`sums` (parts, 2, C) decides into how many parts rows are cut, each a block's. `reference` says 64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codes import IDENTITY
from .launch import (
    BY_PACK,
    MOST_BLOCKS,
    REAL,
    Family,
    Source,
    c_type,
    ceil_div,
    contiguous,
    row_stride,
)

THREADS = 256
SUMMING = 512  # threads of a block that adds up, as in norm.cu

SOURCE = Source(
    "norm.cu",
    {
        "norm_moment_sums": BY_PACK,
        "norm_combine_moments": REAL,
        "norm_moments": REAL,
        "norm_forward": BY_PACK,
        "norm_product_sums": BY_PACK,
        "norm_combine": REAL,
        "norm_push": BY_PACK,
        "norm_sample_grads": BY_PACK,
        "norm_power_sums": BY_PACK,
        "norm_magnitude_sums": BY_PACK,
    },
)


class Norm(Family):
    """Launches of norm.cu."""

    def _norm_rows(self, kernel: str, width: int, rows: int, array: Any, *args: Any) -> None:
        """Launch a kernel whose threads keep to their channels and go down the rows."""
        packs = array.shape[-1] // width
        down = THREADS // min(packs, THREADS)
        beside = ceil_div(packs, THREADS)
        blocks = min(ceil_div(rows, down), max(MOST_BLOCKS // beside, 1))
        if blocks:
            name = f"{kernel}<{c_type(array)}, {width}>"
            self.launch(name, (blocks, beside), (THREADS,), np.int64(rows), *args)

    def _norm_parts(self, kernel: str, width: int, sums: Any, *args: Any) -> None:
        """Launch a kernel whose blocks add up a part each."""
        beside = ceil_div(sums.shape[-1] // width, SUMMING)
        name = f"{kernel}<{c_type(sums)}, {width}>"
        self.launch(name, (len(sums), beside), (SUMMING,), np.int32(len(sums)), *args, sums)

    def _norm_channels(self, kernel: str, sums: Any, *args: Any) -> None:
        """Launch a kernel of a warp a channel."""
        name = f"{kernel}<{c_type(sums)}>"
        blocks = min(ceil_div(sums.shape[-1], 4), MOST_BLOCKS)
        self.launch(name, (blocks,), (128,), np.int32(len(sums)), *args)

    def _norm_combine(
        self, sums: Any, inverse: Any, gamma: Any, beta: float, dgamma: Any, dshift: Any
    ) -> None:
        """Totals to sums[0]; dgamma and dshift as `reference` says, or None."""
        channels, number = np.int32(sums.shape[-1]), sums.dtype.type(beta)
        self._norm_channels(
            "norm_combine", sums, channels, sums, inverse, gamma, number, dgamma, dshift
        )

    def norm_statistics(self, x: Any, sums: Any, mean: Any, var: Any) -> None:
        contiguous(x, sums, mean, var)
        c = x.shape[-1]
        sizes = np.int64(x.size // c), np.int32(c)
        self._norm_parts("norm_moment_sums", self.pack(x), sums, *sizes, x)
        self._norm_channels("norm_combine_moments", sums, *sizes, x, sums, mean, var)

    def norm_moments(
        self, var: Any, mean: Any, eps: float, momentum: float, count: int, running_mean: Any,
        running_var: Any, inverse: Any,
    ) -> None:  # fmt: skip
        contiguous(var, mean, running_mean, running_var, inverse)
        real = var.dtype.type
        of_var = 0.0 if running_var is None else momentum * count / (count - 1)
        self.over(
            "norm_moments", var, var.size, var, mean, real(eps), real(1 - momentum),
            real(momentum), real(of_var), running_mean, running_var, inverse,
        )  # fmt: skip

    def norm_forward(
        self, x: Any, mean: Any, inverse: Any, gamma: Any, shift: Any, act: int, slope: float,
        y: Any,
    ) -> None:  # fmt: skip
        contiguous(x, mean, inverse, gamma, shift, y)
        c = x.shape[-1]
        self._norm_rows(
            "norm_forward", self.pack(x, y), x.size // c, x, np.int32(c), x, mean, inverse,
            gamma, shift, np.int32(act), x.dtype.type(slope), y,
        )  # fmt: skip

    def norm_backward(
        self, x: Any, mean: Any, inverse: Any, gamma: Any, y: Any, dy: Any, act: int,
        slope: float, batch: bool, beta: float, sums: Any, dgamma: Any, dshift: Any, dx: Any,
    ) -> None:  # fmt: skip
        contiguous(x, mean, inverse, gamma, y, dy, sums, dgamma, dshift, dx)
        if batch or dgamma is not None:
            self._norm_products(x, mean, y, dy, act, slope, sums)
            self._norm_combine(sums, inverse, None, beta, dgamma, dshift)
        totals = sums if batch else None
        self._norm_push(
            x, mean, inverse, gamma, y, dy, totals, None, None, (act, IDENTITY), slope, dx
        )

    def _norm_products(
        self, x: Any, mean: Any, y: Any, t: Any, act: int, slope: float, sums: Any
    ) -> None:
        c = x.shape[-1]
        self._norm_parts(
            "norm_product_sums", self.pack(x, y, t), sums, np.int64(x.size // c), np.int32(c), x,
            mean, y, t, np.int32(act), x.dtype.type(slope),
        )  # fmt: skip

    def _norm_push(
        self, x: Any, mean: Any, inverse: Any, gamma: Any, y: Any, t: Any, sums: Any, tgamma: Any,
        tshift: Any, acts: tuple[int, int], slope: float, out: Any,
    ) -> None:  # fmt: skip
        c = x.shape[-1]
        before, after = acts
        self._norm_rows(
            "norm_push", self.pack(x, y, t, out), out.size // c, x, np.int64(x.size // c),
            np.int32(c), x, mean, inverse, gamma, y, t, sums, tgamma, tshift, np.int32(before),
            np.int32(after), x.dtype.type(slope), out,
        )  # fmt: skip

    def norm_tangent(
        self, x: Any, mean: Any, inverse: Any, gamma: Any, y: Any, tx: Any, tgamma: Any,
        tshift: Any, act: int, slope: float, batch: bool, sums: Any, ty: Any,
    ) -> None:  # fmt: skip
        contiguous(x, mean, inverse, gamma, y, tx, tgamma, tshift, sums, ty)
        totals = sums if batch and tx is not None else None
        if totals is not None:
            self._norm_products(x, mean, y, tx, IDENTITY, slope, sums)
            self._norm_combine(sums, None, None, 0.0, None, None)
        self._norm_push(
            x, mean, inverse, gamma, y, tx, totals, tgamma, tshift, (IDENTITY, act), slope, ty
        )

    def _norm_team(self, x: Any, width: int) -> np.int32:
        """Rows of threads that share a sample: a power of two, so that each has some positions."""
        down = SUMMING // min(x.shape[-1] // width, SUMMING)
        wanted = max(min(x.shape[1] // 4, down), 1)
        return np.int32(1 << (wanted.bit_length() - 1))

    def norm_sample_grads(
        self, x: Any, mean: Any, inverse: Any, dz: Any, dgamma: Any, dshift: Any
    ) -> None:
        contiguous(x, mean, inverse, dz)
        n, positions, c = x.shape
        width = self.pack(x, dz)
        packs, team = c // width, self._norm_team(x, width)
        teams = SUMMING // min(packs, SUMMING) // int(team)
        grid = min(ceil_div(n, teams), MOST_BLOCKS), ceil_div(packs, SUMMING)
        self.launch(
            f"norm_sample_grads<{c_type(x)}, {width}>", grid, (SUMMING,), np.int32(n),
            np.int32(positions), np.int32(c), team, x, mean, inverse, dz, dgamma,
            row_stride(dgamma), dshift, row_stride(dshift),
        )  # fmt: skip

    def norm_accumulate(
        self, x: Any, mean: Any, inverse: Any, dz: Any, power: int, sums: Any, dgamma: Any,
        dshift: Any,
    ) -> None:  # fmt: skip
        contiguous(x, mean, inverse, dz, sums, dgamma, dshift)
        n, positions, c = x.shape
        width = self.pack(x, dz)
        self._norm_parts(
            "norm_power_sums", width, sums, np.int64(dz.size // (positions * c)), np.int32(n),
            np.int32(positions), np.int32(c), self._norm_team(x, width), x, mean, inverse, dz,
            np.int32(power),
        )  # fmt: skip
        self._norm_combine(sums, None, None, 1.0, dgamma, dshift)

    def norm_signal(
        self, x: Any, mean: Any, inverse: Any, gamma: Any, y: Any, sums: Any, dgamma: Any,
        dshift: Any,
    ) -> None:  # fmt: skip
        contiguous(x, mean, inverse, gamma, y, sums, dgamma, dshift)
        c = x.shape[-1]
        self._norm_parts(
            "norm_magnitude_sums", self.pack(x, y), sums, np.int64(x.size // c), np.int32(c), x,
            mean, y,
        )  # fmt: skip
        self._norm_combine(sums, inverse, gamma, 1.0, dgamma, dshift)
