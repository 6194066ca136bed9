"""Launches of the convolution's kernels; the meaning is in `reference.conv`."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..conv_order import sample_groups
from .launch import (
    MOST_BLOCKS,
    REAL,
    THREADS,
    Source,
    c_type,
    ceil_div,
    contiguous,
    row_stride,
)
from .tiles import Compiled, Products, choose_tile

TILES = Compiled(single=("Narrow", "Small"), wide=("Medium", "Narrow", "Thin", "Small"))
PRODUCTS = TILES.all_names()
Shape = tuple[int, ...]
Pair = tuple[int, int]

# The signal's first pass: elements summed at once, the least samples and the most groups of them.
FOLDED_AT_ONCE, LEAST_FOLDED, MOST_FOLDS = 1 << 18, 8, 64
MOST_SAMPLES = 65535  # in a grid's last axis; kernels loop over what is left

# The first arguments of every kernel that reads images, in order.
SIZES = (
    "N", "H", "W", "C", "R", "S", "O", "rows", "columns", "down", "across", "top", "left",
    "tap_down", "tap_across", "groups",
)  # fmt: skip
DIVISORS = ("C", "S", "O", "rows", "columns")
GEOMETRY = [*(f"int {name}" for name in SIZES), *(f"unsigned by_{name}" for name in DIVISORS)]
MACROS = {"GEOMETRY": ", ".join(GEOMETRY), "PLACES": ", ".join(SIZES[1:-1])}
HEADERS = ("gemm.cuh", "conv.cuh")
GROUPED = ("forward", "tangent", "input_grad", "weight_grad", "sample_grads", "accumulate")
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
    Source(
        "conv_groups.cu",
        {f"conv2d_groups_{name}": REAL for name in GROUPED},
        HEADERS,
        MACROS,
    ),
)


def _magic(d: int) -> np.uint32:
    """The factor by which conv.cuh's Divisor divides by d; 0 for d = 1."""
    shift = (d - 1).bit_length() - 1
    return np.uint32(ceil_div(1 << (32 + shift), d) if d > 1 else 0)


class Move(NamedTuple):
    """How windows lie, as kernels are told, and the shapes: images, filters, maps."""

    x: Shape
    w: Shape
    y: Shape
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


@lru_cache(maxsize=4096)
def _geometry(move: Move) -> tuple[Any, ...]:
    """Numbers of GEOMETRY. Raises ValueError for more than they can count in 32 bits, and for
    channels that are none of these groups."""
    (n, height, width, channels), (filters, r, s, each), (_, rows, columns, _) = move[:3]
    if channels != each * move.groups or filters % move.groups or move.y[3] != filters:
        raise ValueError(
            f"images {move.x}, filters {move.w} and maps {move.y} do not fit; {move.groups} groups "
            "of channels and of filters do not make these"
        )
    counts = (
        n * max(height * width, rows * columns),
        max(height * width * channels, rows * columns * filters),
        (r * s * channels + 1) * filters,
    )
    if max(counts) >= 2**31 - 2**20:  # a tile may reach beyond the end
        raise ValueError(
            f"a convolution of images {move.x} with filters {move.w} is too large: positions, "
            "elements of one image and weights are each counted in 32 bits; take smaller batches"
        )
    sizes = {
        "N": n, "H": height, "W": width, "C": channels, "R": r, "S": s, "O": filters,
        "rows": rows, "columns": columns, "down": move.stride[0], "across": move.stride[1],
        "top": move.padding[0], "left": move.padding[1], "tap_down": move.dilation[0],
        "tap_across": move.dilation[1], "groups": move.groups,
    }  # fmt: skip
    first = (np.int32(sizes[name]) for name in SIZES)
    return (*first, *(_magic(sizes[name]) for name in DIVISORS))


class Plan(NamedTuple):
    """How a kernel is launched: `where` are name, grid and block, `first` the first arguments.

    groups: of samples, whose sums are added up one by one. room: elements of `work` for them, 0 for
    one group.
    """

    where: tuple[str, tuple[int, int, int], tuple[int]]
    first: tuple[Any, ...]
    groups: int = 1
    room: int = 0


@lru_cache(maxsize=4096)
def plan(kernel: str, move: Move, real: str, bias: bool, wide: bool, tf32: bool) -> Plan:
    """The plan for a product kernel: sizes and alignment alone decide, and so fix the bits."""
    (n, height, width, channels), (filters, r, s, each) = move.x, move.w
    area = math.prod(move.y[1:3])
    taps, rows, groups, depth = r * s * each, r * s * each + bias, 1, 1
    if kernel in ("conv2d_weight_grad", "conv2d_accumulate"):
        groups = depth = sample_groups(n, taps, filters)
    elif kernel == "conv2d_sample_grads":
        depth = min(n, MOST_SAMPLES)
    room = groups * rows * filters if groups > 1 else 0
    if move.groups > 1:
        return _one_by_one(kernel, move, real, rows, depth, groups, room)
    names = TILES.names(real, wide, tf32)
    if kernel in ("conv2d_forward", "conv2d_tangent"):
        choice = choose_tile(n * area, filters, taps, names)
    elif kernel == "conv2d_input_grad":
        depth = move.stride[0] * move.stride[1]
        pixels = n * ceil_div(height, move.stride[0]) * ceil_div(width, move.stride[1])
        length = max(r * s * filters // depth, 1)
        choice = choose_tile(pixels, channels, length, names, depth)
    elif kernel == "conv2d_sample_grads":
        choice = choose_tile(rows, filters, area, names, n)
    else:
        choice = choose_tile(rows, filters, ceil_div(n, groups) * area, names, groups)
    where = f"{kernel}<{choice.name}>", (*choice.grid, depth), choice.block
    return Plan(where, _geometry(move), groups, room)


def _one_by_one(
    kernel: str, move: Move, real: str, rows: int, depth: int, groups: int, room: int
) -> Plan:
    """The plan for a kernel of conv_groups.cu: a thread for each result, or each entry's sum."""
    results = {
        "conv2d_forward": math.prod(move.y),
        "conv2d_tangent": math.prod(move.y),
        "conv2d_input_grad": math.prod(move.x),
    }
    count = results.get(kernel, rows * move.w[0])
    blocks = max(min(ceil_div(count, THREADS), MOST_BLOCKS), 1)
    name = f"{kernel.replace('conv2d', 'conv2d_groups')}<{real}>"
    first = np.int64(count), *_geometry(move)
    return Plan((name, (blocks, 1, depth), (THREADS,)), first, groups, room)


@lru_cache(maxsize=4096)
def workspace(kernel: str, move: Move) -> int:
    """Elements of scratch that `kernel` wants, for either type, with a bias or without."""
    if kernel == "conv2d_signal":
        sizes = math.prod(move.x[1:]), math.prod(move.y[1:])
        return sum(_folds(size, move.x[0]) * size for size in sizes)
    ways = product(REAL, *[(False, True)] * 3)
    return max(plan(kernel, move, *way).room for way in ways)


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
        self, kernel: str, x_shape: Shape, w_shape: Shape, y_shape: Shape, stride: Pair,
        padding: Pair, dilation: Pair, groups: int,
    ) -> int:  # fmt: skip
        """Elements of scratch that `kernel` wants."""
        return workspace(kernel, Move(x_shape, w_shape, y_shape, stride, padding, dilation, groups))

    def _plan(self, kernel: str, move: Move, bias: bool, *factors: Any) -> Plan:
        """The plan for a convolution where `factors` are what is multiplied."""
        real, wide = c_type(factors[0]), self._wide(*factors)
        return plan(kernel, move, real, bias, wide, self.allow_tf32)

    def conv2d_forward(
        self, x: Any, w: Any, b: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int,
        act: int, slope: float, work: Any, y: Any,
    ) -> None:  # fmt: skip
        contiguous(x, w, b, y)
        move = Move(x.shape, w.shape, y.shape, stride, padding, dilation, groups)
        p = self._plan("conv2d_forward", move, False, x, w)
        self.launch(*p.where, *p.first, x, w, b, np.int32(act), x.dtype.type(slope), y)

    def conv2d_input_grad(
        self, dz: Any, w: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int, work: Any,
        dx: Any,
    ) -> None:  # fmt: skip
        contiguous(dz, w, dx)
        move = Move(dx.shape, w.shape, dz.shape, stride, padding, dilation, groups)
        p = self._plan("conv2d_input_grad", move, False, dz, w)
        self.launch(*p.where, *p.first, dz, w, dx)

    def conv2d_weight_grad(
        self, x: Any, dz: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int,
        beta: float, work: Any, dw: Any, db: Any,
    ) -> None:  # fmt: skip
        contiguous(x, dz, dw, db)
        move = Move(x.shape, dw.shape, dz.shape, stride, padding, dilation, groups)
        p = self._plan("conv2d_weight_grad", move, db is not None, x, dz)
        scale = x.dtype.type(beta)
        self._sum("conv2d_weight_grad", p, (x, dz, scale), scale, work, dw, db)

    def _sum(
        self, kernel: str, p: Plan, args: tuple[Any, ...], beta: Any, work: Any, dw: Any, db: Any
    ) -> None:
        """Launch a kernel that sums into dw and db, and what puts its groups together."""
        _enough(kernel, work, p.room)
        self.launch(*p.where, *p.first, *args, work if p.room else None, dw, db)
        if p.room:
            self.over(
                "conv2d_gather", dw, p.room // p.groups, np.int32(p.groups),
                np.int32(dw.size // len(dw)), np.int32(len(dw)), work, beta, dw, db,
            )  # fmt: skip

    def conv2d_tangent(
        self, x: Any, w: Any, y: Any, tx: Any, tw: Any, tb: Any, stride: Pair, padding: Pair,
        dilation: Pair, groups: int, act: int, slope: float, work: Any, ty: Any,
    ) -> None:  # fmt: skip
        contiguous(x, w, y, tx, tw, tb, ty)
        move = Move(x.shape, w.shape, y.shape, stride, padding, dilation, groups)
        p = self._plan("conv2d_tangent", move, False, x, w, tx, tw)
        self.launch(*p.where, *p.first, x, w, y, tx, tw, tb, np.int32(act), x.dtype.type(slope), ty)

    def conv2d_sample_grads(
        self, x: Any, dz: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int, work: Any,
        dw: Any, db: Any,
    ) -> None:  # fmt: skip
        contiguous(x, dz)
        move = Move(x.shape, dw.shape[1:], dz.shape, stride, padding, dilation, groups)
        p = self._plan("conv2d_sample_grads", move, db is not None, x, dz)
        apart = np.int64(0) if db is None else row_stride(db)
        self.launch(*p.where, *p.first, x, dz, dw, row_stride(dw), db, apart)

    def conv2d_accumulate(
        self, x: Any, dz: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int,
        power: int, work: Any, dw: Any, db: Any,
    ) -> None:  # fmt: skip
        contiguous(x, dz, dw, db)
        move = Move(x.shape, dw.shape, dz.shape[1:], stride, padding, dilation, groups)
        p = self._plan("conv2d_accumulate", move, db is not None, x, dz)
        args = np.int32(len(dz)), x, dz, np.int32(power)
        self._sum("conv2d_accumulate", p, args, x.dtype.type(1), work, dw, db)

    def conv2d_signal(
        self, x: Any, y: Any, w: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int,
        work: Any, dw: Any, db: Any,
    ) -> None:  # fmt: skip
        contiguous(x, y, w, dw, db)
        move = Move(x.shape, w.shape, y.shape, stride, padding, dilation, groups)
        _enough("conv2d_signal", work, workspace("conv2d_signal", move))
        x_groups, x_folded = self._fold(x, work)
        y_groups, y_folded = 0, None
        if db is not None:
            y_groups, y_folded = self._fold(y, work[x_folded.size :])
        filters, r, s, _ = w.shape
        blocks = r * s * ceil_div(x.shape[3], 32) + (db is not None) * ceil_div(filters, 32)
        self.launch(
            f"conv2d_signal<{c_type(x)}>", (blocks,), (32, 32),
            *_geometry(move), np.int32(x_groups), np.int32(y_groups),
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
