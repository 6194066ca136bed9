"""Launches of the convolution's kernels; the meaning is in `reference.conv`."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .launch import REAL, Family, Source, c_type, ceil_div, contiguous, row_stride
from .tiles import Choice, choose_tile, split

NAMES = ("Medium", "Narrow", "Thin", "Small")
PRODUCTS = tuple(f"{tile}<{real}>" for tile in NAMES for real in REAL)
Shape = tuple[int, ...]
Pair = tuple[int, int]

LEAST_PART = 256  # positions that a block of the weights' gradient sums (not yet measured)
# The signal's first pass: elements summed at once, the least samples and the most groups of them.
FOLDED_AT_ONCE, LEAST_FOLDED, MOST_FOLDS = 1 << 18, 8, 64
MOST_SAMPLES = 65535  # in a grid's last axis; kernels loop over what is left

# What a training step needs is one module; each of the others is compiled for who uses it.
SOURCES = tuple(
    Source("conv.cu", kernels, ("common.cuh", "gemm.cuh"))
    for kernels in (
        {
            "conv2d_forward": PRODUCTS,
            "conv2d_input_grad": PRODUCTS,
            "conv2d_weight_grad": PRODUCTS,
            "conv2d_gather": REAL,
        },
        {"conv2d_tangent": PRODUCTS},
        {"conv2d_sample_grads": PRODUCTS},
        {"conv2d_accumulate": PRODUCTS},
        {"conv2d_fold": REAL, "conv2d_signal": REAL},
    )
)


class Geometry(NamedTuple):
    """A convolution's sizes. args: what conv.cu calls GEOMETRY."""

    samples: int
    area: int  # positions of a sample
    positions: int
    taps: int  # R S C
    filters: int
    args: tuple[Any, ...]


def _magic(d: int) -> np.uint32:
    """The factor by which conv.cu's Divisor divides by d; 0 for d = 1."""
    shift = (d - 1).bit_length() - 1
    return np.uint32(ceil_div(1 << (32 + shift), d) if d > 1 else 0)


@lru_cache(maxsize=4096)
def geometry(x_shape: Shape, w_shape: Shape, stride: Pair, padding: Pair) -> Geometry:
    """The sizes of a convolution of images (N, H, W, C) with filters (O, R, S, C).

    Raises ValueError for more than kernels can count in 32 bits.
    """
    (n, height, width, channels), (filters, r, s, _) = x_shape, w_shape
    rows = (height + 2 * padding[0] - r) // stride[0] + 1
    columns = (width + 2 * padding[1] - s) // stride[1] + 1
    counts = (
        n * max(height * width, rows * columns),
        max(height * width * channels, rows * columns * filters),
        (r * s * channels + 1) * filters,
    )
    if max(counts) >= 2**31:
        raise ValueError(
            f"a convolution of images {x_shape} with filters {w_shape} is too large: positions, "
            "elements of one image and weights are each counted in 32 bits; take smaller batches"
        )
    sizes = (n, height, width, channels, r, s, filters, rows, columns, *stride, *padding)
    args = (*map(np.int32, sizes), *map(_magic, (channels, s, filters, rows, columns)))
    area, taps = rows * columns, r * s * channels
    return Geometry(n, area, n * area, taps, filters, args)


class Sums(NamedTuple):
    """How a gradient of filters and bias is summed: by which tile and in how many parts."""

    choice: Choice
    parts: int
    room: int  # elements of `work`: none for a single part


def _sums_over_positions(g: Geometry, real: str, bias: bool) -> Sums:
    """For the weights' gradient."""
    choice = choose_tile(g.taps + bias, g.filters, LEAST_PART, real, NAMES, g.positions)
    return _parts(g, choice, split(choice.blocks, g.positions, LEAST_PART), bias)


def _sums_over_samples(g: Geometry, real: str, bias: bool) -> Sums:
    """For sums of samples' gradients; stacked cotangents do not make more parts."""
    choice = choose_tile(g.taps + bias, g.filters, g.area, real, NAMES, g.samples)
    return _parts(g, choice, split(choice.blocks, g.samples), bias)


def _parts(g: Geometry, choice: Choice, parts: int, bias: bool) -> Sums:
    return Sums(choice, parts, parts * (g.taps + bias) * g.filters if parts > 1 else 0)


_SUMS = {
    "conv2d_weight_grad": _sums_over_positions,
    "conv2d_accumulate": _sums_over_samples,
}


@lru_cache(maxsize=4096)
def workspace(kernel: str, x_shape: Shape, w_shape: Shape, stride: Pair, padding: Pair) -> int:
    """Elements of scratch that `kernel` wants, for either type, with a bias or without."""
    g = geometry(x_shape, w_shape, stride, padding)
    if kernel == "conv2d_signal":
        image = math.prod(x_shape[1:])
        return sum(_folds(size, g.samples) * size for size in (image, g.area * g.filters))
    if kernel not in _SUMS:
        return 0
    return max(_SUMS[kernel](g, real, bias).room for real in REAL for bias in (False, True))


def _folds(size: int, samples: int) -> int:
    """Into how many groups the signal's first pass puts samples of `size` elements."""
    return max(min(FOLDED_AT_ONCE // size, samples // LEAST_FOLDED, MOST_FOLDS), 1)


class Conv(Family):
    """Launches of conv.cu."""

    def conv2d_workspace(
        self, kernel: str, x_shape: Shape, w_shape: Shape, stride: Pair, padding: Pair
    ) -> int:
        """Elements of scratch that `kernel` wants."""
        return workspace(kernel, tuple(x_shape), tuple(w_shape), tuple(stride), tuple(padding))

    def _check_work(self, kernel: str, work: Any, x: Any, w_shape: Shape, *where: Pair) -> None:
        """Raise ValueError for too little scratch: it would be overrun without a word."""
        needed = self.conv2d_workspace(kernel, x.shape, w_shape, *where)
        if work.size < needed:
            raise ValueError(
                f"{kernel} got scratch of {work.size} elements; it needs {needed}: ask "
                "conv2d_workspace"
            )

    def conv2d_forward(
        self, x: Any, w: Any, b: Any, stride: Pair, padding: Pair, act: int, slope: float,
        work: Any, y: Any,
    ) -> None:  # fmt: skip
        contiguous(x, w, b, y)
        g = geometry(x.shape, w.shape, stride, padding)
        choice = choose_tile(g.positions, g.filters, g.taps, c_type(x), NAMES)
        self.launch(
            f"conv2d_forward<{choice.name}>", choice.grid, choice.block, *g.args, x, w, b,
            np.int32(act), x.dtype.type(slope), y,
        )  # fmt: skip

    def conv2d_input_grad(
        self, dz: Any, w: Any, stride: Pair, padding: Pair, work: Any, dx: Any
    ) -> None:
        contiguous(dz, w, dx)
        g = geometry(dx.shape, w.shape, stride, padding)
        n, height, width, channels = dx.shape
        pixels = n * ceil_div(height, stride[0]) * ceil_div(width, stride[1])
        phases = stride[0] * stride[1]
        length = max(len(w) * w.shape[1] * w.shape[2] // phases, 1)
        choice = choose_tile(pixels, channels, length, c_type(dx), NAMES, phases)
        self.launch(
            f"conv2d_input_grad<{choice.name}>", (*choice.grid, phases), choice.block,
            *g.args, dz, w, dx,
        )  # fmt: skip

    def conv2d_weight_grad(
        self, x: Any, dz: Any, stride: Pair, padding: Pair, beta: float, work: Any, dw: Any,
        db: Any,
    ) -> None:  # fmt: skip
        contiguous(x, dz, dw, db)
        self._check_work("conv2d_weight_grad", work, x, dw.shape, stride, padding)
        g = geometry(x.shape, dw.shape, stride, padding)
        sums = _sums_over_positions(g, c_type(x), db is not None)
        part = ceil_div(g.positions, sums.parts)
        scale = x.dtype.type(beta)
        self._sum(
            "conv2d_weight_grad", sums, g, (x, dz, np.int32(part), scale), scale, work, dw, db
        )

    def _sum(
        self, kernel: str, sums: Sums, g: Geometry, args: tuple[Any, ...], beta: Any, work: Any,
        dw: Any, db: Any,
    ) -> None:  # fmt: skip
        """Launch a kernel that sums into dw and db, and what puts its parts together."""
        (name, grid, block), parts, room = sums
        waiting = work if room else None
        self.launch(f"{kernel}<{name}>", (*grid, parts), block, *g.args, *args, waiting, dw, db)
        if room:
            all_sums = room // parts
            self.launch(
                f"conv2d_gather<{c_type(dw)}>", (ceil_div(all_sums, 32),),
                (32, 8 if parts <= 32 else 32), np.int32(parts), np.int32(g.taps),
                np.int32(g.filters), work, beta, dw, db,
            )  # fmt: skip

    def conv2d_tangent(
        self, x: Any, w: Any, y: Any, tx: Any, tw: Any, tb: Any, stride: Pair, padding: Pair,
        act: int, slope: float, work: Any, ty: Any,
    ) -> None:  # fmt: skip
        contiguous(x, w, y, tx, tw, tb, ty)
        g = geometry(x.shape, w.shape, stride, padding)
        choice = choose_tile(g.positions, g.filters, g.taps, c_type(x), NAMES)
        self.launch(
            f"conv2d_tangent<{choice.name}>", choice.grid, choice.block, *g.args, x, w, y, tx, tw,
            tb, np.int32(act), x.dtype.type(slope), ty,
        )  # fmt: skip

    def conv2d_sample_grads(
        self, x: Any, dz: Any, stride: Pair, padding: Pair, work: Any, dw: Any, db: Any
    ) -> None:
        contiguous(x, dz)
        g = geometry(x.shape, dw.shape[1:], stride, padding)
        choice = choose_tile(
            g.taps + (db is not None), g.filters, g.area, c_type(x), NAMES, g.samples
        )
        self.launch(
            f"conv2d_sample_grads<{choice.name}>", (*choice.grid, min(g.samples, MOST_SAMPLES)),
            choice.block, *g.args, x, dz, dw, row_stride(dw), db,
            np.int64(0) if db is None else row_stride(db),
        )  # fmt: skip

    def conv2d_accumulate(
        self, x: Any, dz: Any, stride: Pair, padding: Pair, power: int, work: Any, dw: Any,
        db: Any,
    ) -> None:  # fmt: skip
        contiguous(x, dz, dw, db)
        self._check_work("conv2d_accumulate", work, x, dw.shape, stride, padding)
        g = geometry(x.shape, dw.shape, stride, padding)
        sums = _sums_over_samples(g, c_type(x), db is not None)
        args = np.int32(len(dz)), x, dz, np.int32(power)
        self._sum("conv2d_accumulate", sums, g, args, x.dtype.type(1), work, dw, db)

    def conv2d_signal(
        self, x: Any, y: Any, w: Any, stride: Pair, padding: Pair, work: Any, dw: Any, db: Any
    ) -> None:
        contiguous(x, y, w, dw, db)
        self._check_work("conv2d_signal", work, x, w.shape, stride, padding)
        g = geometry(x.shape, w.shape, stride, padding)
        x_groups, x_folded, rest = self._fold(x, work)
        y_groups, y_folded = 0, None
        if db is not None:
            y_groups, y_folded, _ = self._fold(y, rest)
        filters, r, s, channels = w.shape
        blocks = r * s * ceil_div(channels, 32) + (ceil_div(filters, 32) if db is not None else 0)
        self.launch(
            f"conv2d_signal<{c_type(x)}>", (blocks,), (32, 32), *g.args, np.int32(x_groups),
            np.int32(y_groups), x_folded, y_folded, w, dw, db,
        )  # fmt: skip

    def _fold(self, a: Any, work: Any) -> tuple[int, Any, Any]:
        """Sum |a| over samples, in groups of them; returns groups, sums, and what is left."""
        size = a.size // len(a)
        groups = _folds(size, len(a))
        out = work[: groups * size]
        self.launch(
            f"conv2d_fold<{c_type(a)}>", (min(ceil_div(size, 256), 4096), groups), (256,),
            np.int64(size), np.int32(len(a)), a, out,
        )  # fmt: skip
        return groups, out, work[groups * size :]
