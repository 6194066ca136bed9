"""Launches of the convolution's kernels; the meaning is in `reference.conv`."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..conv_order import sample_groups
from .launch import REAL, Source, c_type, ceil_div, contiguous, row_stride
from .tiles import Compiled, Products, choose_tile

TILES = Compiled(single=("Narrow", "Small"), wide=("Medium", "Narrow", "Thin", "Small"))
PRODUCTS = TILES.all_names()
Shape = tuple[int, ...]
Pair = tuple[int, int]

# The signal's first pass: elements summed at once, the least samples and the most groups of them.
FOLDED_AT_ONCE, LEAST_FOLDED, MOST_FOLDS = 1 << 18, 8, 64
MOST_SAMPLES = 65535  # in a grid's last axis; kernels loop over what is left

# The first arguments of every kernel that reads images, in order.
SIZES = ("N", "H", "W", "C", "R", "S", "O", "rows", "columns", "down", "across", "top", "left")
DIVISORS = ("C", "S", "O", "rows", "columns")
GEOMETRY = [*(f"int {name}" for name in SIZES), *(f"unsigned by_{name}" for name in DIVISORS)]
MACROS = {"GEOMETRY": ", ".join(GEOMETRY)}
HEADERS = ("gemm.cuh", "conv.cuh")
SOURCES = (
    Source(
        "conv.cu",
        {
            "conv2d_forward": PRODUCTS,
            "conv2d_input_grad": PRODUCTS,
            "conv2d_weight_grad": PRODUCTS,
        },
        HEADERS,
        MACROS,
    ),
    Source(
        "conv_methods.cu",
        {
            "conv2d_tangent": PRODUCTS,
            "conv2d_sample_grads": PRODUCTS,
            "conv2d_accumulate": PRODUCTS,
        },
        HEADERS,
        MACROS,
    ),
    Source(
        "conv_sums.cu",
        {"conv2d_gather": REAL, "conv2d_fold": REAL, "conv2d_signal": REAL},
        ("conv.cuh",),
        MACROS,
    ),
)


def _magic(d: int) -> np.uint32:
    """The factor by which conv.cuh's Divisor divides by d; 0 for d = 1."""
    shift = (d - 1).bit_length() - 1
    return np.uint32(ceil_div(1 << (32 + shift), d) if d > 1 else 0)


def _geometry(x_shape: Shape, w_shape: Shape, stride: Pair, padding: Pair) -> tuple[Any, ...]:
    """Numbers of GEOMETRY. Raises ValueError for more than they can count in 32 bits."""
    (n, height, width, channels), (filters, r, s, _) = x_shape, w_shape
    rows, columns = positions(x_shape, w_shape, stride, padding)
    counts = (
        n * max(height * width, rows * columns),
        max(height * width * channels, rows * columns * filters),
        (r * s * channels + 1) * filters,
    )
    if max(counts) >= 2**31 - 2**20:  # a tile may reach beyond the end
        raise ValueError(
            f"a convolution of images {x_shape} with filters {w_shape} is too large: positions, "
            "elements of one image and weights are each counted in 32 bits; take smaller batches"
        )
    sizes = {
        "N": n, "H": height, "W": width, "C": channels, "R": r, "S": s, "O": filters,
        "rows": rows, "columns": columns, "down": stride[0], "across": stride[1],
        "top": padding[0], "left": padding[1],
    }  # fmt: skip
    first = (np.int32(sizes[name]) for name in SIZES)
    return (*first, *(_magic(sizes[name]) for name in DIVISORS))


def positions(x_shape: Shape, w_shape: Shape, stride: Pair, padding: Pair) -> Pair:
    """Rows and columns of output positions."""
    axes = zip(x_shape[1:3], w_shape[1:3], stride, padding, strict=True)
    rows, columns = ((size + 2 * p - k) // s + 1 for size, k, s, p in axes)
    return rows, columns


class Plan(NamedTuple):
    """How a product is launched: `where` are name, grid and block, `geometry` the first arguments.

    groups: of samples, whose sums are added up one by one. room: elements of `work` for them, 0 for
    one group.
    """

    where: tuple[str, tuple[int, int, int], tuple[int]]
    geometry: tuple[Any, ...]
    groups: int = 1
    room: int = 0


@lru_cache(maxsize=4096)
def plan(
    kernel: str, x_shape: Shape, w_shape: Shape, stride: Pair, padding: Pair, real: str,
    bias: bool, wide: bool, tf32: bool,
) -> Plan:  # fmt: skip
    """The plan for a product kernel: sizes and alignment alone decide, and so fix the bits."""
    (n, height, width, channels), (filters, r, s, _) = x_shape, w_shape
    area = math.prod(positions(x_shape, w_shape, stride, padding))
    taps, rows, groups, depth = r * s * channels, r * s * channels + bias, 1, 1
    names = TILES.names(real, wide, tf32)
    if kernel in ("conv2d_forward", "conv2d_tangent"):
        choice = choose_tile(n * area, filters, taps, names)
    elif kernel == "conv2d_input_grad":
        depth = stride[0] * stride[1]
        pixels = n * ceil_div(height, stride[0]) * ceil_div(width, stride[1])
        length = max(r * s * filters // depth, 1)
        choice = choose_tile(pixels, channels, length, names, depth)
    elif kernel == "conv2d_sample_grads":
        choice = choose_tile(rows, filters, area, names, n)
        depth = min(n, MOST_SAMPLES)
    else:
        groups = depth = sample_groups(n, taps, filters)
        choice = choose_tile(rows, filters, ceil_div(n, groups) * area, names, groups)
    return Plan(
        (f"{kernel}<{choice.name}>", (*choice.grid, depth), choice.block),
        _geometry(x_shape, w_shape, stride, padding),
        groups,
        groups * rows * filters if groups > 1 else 0,
    )


@lru_cache(maxsize=4096)
def workspace(kernel: str, x_shape: Shape, w_shape: Shape, stride: Pair, padding: Pair) -> int:
    """Elements of scratch that `kernel` wants, for either type, with a bias or without."""
    if kernel == "conv2d_signal":
        y_size = math.prod(positions(x_shape, w_shape, stride, padding)) * w_shape[0]
        sizes = math.prod(x_shape[1:]), y_size
        return sum(_folds(size, x_shape[0]) * size for size in sizes)
    ways = product(REAL, *[(False, True)] * 3)
    return max(plan(kernel, x_shape, w_shape, stride, padding, *way).room for way in ways)


def _folds(size: int, samples: int) -> int:
    """Into how many groups the signal's first pass puts samples of `size` elements."""
    return max(min(FOLDED_AT_ONCE // size, samples // LEAST_FOLDED, MOST_FOLDS), 1)


def _enough(kernel: str, work: Any, room: int) -> None:
    """Raise ValueError for too little scratch: it would be overrun without a word."""
    if room and work.size < room:
        raise ValueError(
            f"{kernel} got scratch of {work.size} elements; it needs {room}: ask conv2d_workspace"
        )


class Conv(Products):
    """Launches of conv.cu, conv_methods.cu and conv_sums.cu."""

    def conv2d_workspace(
        self, kernel: str, x_shape: Shape, w_shape: Shape, stride: Pair, padding: Pair
    ) -> int:
        """Elements of scratch that `kernel` wants."""
        return workspace(kernel, x_shape, w_shape, stride, padding)

    def _plan(
        self, kernel: str, shapes: tuple[Shape, Shape], stride: Pair, padding: Pair, bias: bool,
        *factors: Any,
    ) -> Plan:  # fmt: skip
        """The plan for images and filters of `shapes`, where `factors` are what is multiplied."""
        real, wide = c_type(factors[0]), self._wide(*factors)
        return plan(kernel, *shapes, stride, padding, real, bias, wide, self.allow_tf32)

    def conv2d_forward(
        self, x: Any, w: Any, b: Any, stride: Pair, padding: Pair, act: int, slope: float,
        work: Any, y: Any,
    ) -> None:  # fmt: skip
        contiguous(x, w, b, y)
        p = self._plan("conv2d_forward", (x.shape, w.shape), stride, padding, False, x, w)
        self.launch(*p.where, *p.geometry, x, w, b, np.int32(act), x.dtype.type(slope), y)

    def conv2d_input_grad(
        self, dz: Any, w: Any, stride: Pair, padding: Pair, work: Any, dx: Any
    ) -> None:
        contiguous(dz, w, dx)
        p = self._plan("conv2d_input_grad", (dx.shape, w.shape), stride, padding, False, dz, w)
        self.launch(*p.where, *p.geometry, dz, w, dx)

    def conv2d_weight_grad(
        self, x: Any, dz: Any, stride: Pair, padding: Pair, beta: float, work: Any, dw: Any,
        db: Any,
    ) -> None:  # fmt: skip
        contiguous(x, dz, dw, db)
        p = self._plan(
            "conv2d_weight_grad", (x.shape, dw.shape), stride, padding, db is not None, x, dz
        )
        scale = x.dtype.type(beta)
        self._sum("conv2d_weight_grad", p, (x, dz, scale), scale, work, dw, db)

    def _sum(
        self, kernel: str, p: Plan, args: tuple[Any, ...], beta: Any, work: Any, dw: Any, db: Any
    ) -> None:
        """Launch a kernel that sums into dw and db, and what puts its groups together."""
        _enough(kernel, work, p.room)
        self.launch(*p.where, *p.geometry, *args, work if p.room else None, dw, db)
        if p.room:
            self.over(
                "conv2d_gather", dw, p.room // p.groups, np.int32(p.groups),
                np.int32(dw.size // len(dw)), np.int32(len(dw)), work, beta, dw, db,
            )  # fmt: skip

    def conv2d_tangent(
        self, x: Any, w: Any, y: Any, tx: Any, tw: Any, tb: Any, stride: Pair, padding: Pair,
        act: int, slope: float, work: Any, ty: Any,
    ) -> None:  # fmt: skip
        contiguous(x, w, y, tx, tw, tb, ty)
        p = self._plan("conv2d_tangent", (x.shape, w.shape), stride, padding, False, x, w, tx, tw)
        self.launch(
            *p.where, *p.geometry, x, w, y, tx, tw, tb, np.int32(act), x.dtype.type(slope), ty
        )

    def conv2d_sample_grads(
        self, x: Any, dz: Any, stride: Pair, padding: Pair, work: Any, dw: Any, db: Any
    ) -> None:
        contiguous(x, dz)
        p = self._plan(
            "conv2d_sample_grads", (x.shape, dw.shape[1:]), stride, padding, db is not None, x, dz
        )
        apart = np.int64(0) if db is None else row_stride(db)
        self.launch(*p.where, *p.geometry, x, dz, dw, row_stride(dw), db, apart)

    def conv2d_accumulate(
        self, x: Any, dz: Any, stride: Pair, padding: Pair, power: int, work: Any, dw: Any,
        db: Any,
    ) -> None:  # fmt: skip
        contiguous(x, dz, dw, db)
        p = self._plan(
            "conv2d_accumulate", (x.shape, dw.shape), stride, padding, db is not None, x, dz
        )
        args = np.int32(len(dz)), x, dz, np.int32(power)
        self._sum("conv2d_accumulate", p, args, x.dtype.type(1), work, dw, db)

    def conv2d_signal(
        self, x: Any, y: Any, w: Any, stride: Pair, padding: Pair, work: Any, dw: Any, db: Any
    ) -> None:
        contiguous(x, y, w, dw, db)
        _enough(
            "conv2d_signal", work, workspace("conv2d_signal", x.shape, w.shape, stride, padding)
        )
        x_groups, x_folded = self._fold(x, work)
        y_groups, y_folded = 0, None
        if db is not None:
            y_groups, y_folded = self._fold(y, work[x_folded.size :])
        filters, r, s, channels = w.shape
        blocks = r * s * ceil_div(channels, 32) + (db is not None) * ceil_div(filters, 32)
        self.launch(
            f"conv2d_signal<{c_type(x)}>", (blocks,), (32, 32),
            *_geometry(x.shape, w.shape, stride, padding), np.int32(x_groups), np.int32(y_groups),
            x_folded, y_folded, w, dw, db,
        )  # fmt: skip

    def _fold(self, a: Any, work: Any) -> tuple[int, Any]:
        """The sums of |a| over samples, in groups of them, at the beginning of `work`."""
        size = a.size // len(a)
        groups = _folds(size, len(a))
        folded = work[: groups * size]
        self.launch(
            f"conv2d_fold<{c_type(a)}>", (min(ceil_div(size, 256), 4096), groups), (256,),
            np.int64(size), np.int32(len(a)), a, folded,
        )  # fmt: skip
        return groups, folded
