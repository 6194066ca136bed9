"""The residual sum, dropout and moving pictures on the CPU. Meaning: `kernels.reference.images`."""

from __future__ import annotations

import math

import numpy as np
from numba import prange
from numba.np.numpy_support import carray

from ..codes import IDENTITY
from .activations import activation_forward, apply, pull
from .scratch import stack_of
from .tiles import BLOCK, inner, parallel, pieces, rows_per_piece, serial

stack = stack_of(BLOCK, np.uint32)


@serial
def _add(x, r, y):
    for i in range(y.size):
        y[i] = x[i] + r[i]


@parallel
def _residual(x, r, act, slope, y):
    for b in prange(pieces(y.size, BLOCK)):
        lo, hi = b * BLOCK, min((b + 1) * BLOCK, y.size)
        _add(x[lo:hi], r[lo:hi], y[lo:hi])
        if act:
            apply(act, slope, y[lo:hi])


@parallel
def _scale(x, factor, y):
    for b in prange(pieces(y.size, BLOCK)):
        lo, hi = b * BLOCK, min((b + 1) * BLOCK, y.size)
        _multiply(x[lo:hi], factor, y[lo:hi])


@serial
def _multiply(x, factor, y):
    if x.ctypes.data == y.ctypes.data:  # see `activations.pull`
        for i in range(y.size):
            y[i] *= factor
    else:
        for i in range(y.size):
            y[i] = x[i] * factor


@parallel
def _fill(value, y):
    for b in prange(pieces(y.size, BLOCK)):
        y[b * BLOCK : min((b + 1) * BLOCK, y.size)] = value


def copy(x, y):
    activation_forward(IDENTITY, 0.0, x, y)


def fill(value, y):
    _fill(y.dtype.type(value), y.reshape(-1))


def scale(x, factor, y):
    _scale(x.reshape(-1), y.dtype.type(factor), y.reshape(-1))


@parallel
def _divide(x, divisor, y):
    share = y.dtype.type(1 / divisor[0] if divisor[0] != 0 else 0.0)
    for b in prange(pieces(y.size, BLOCK)):
        lo, hi = b * BLOCK, min((b + 1) * BLOCK, y.size)
        _multiply(x[lo:hi], share, y[lo:hi])


def divide(x, divisor, y):
    _divide(x.reshape(-1), divisor, y.reshape(-1))


def residual_forward(x, r, act, slope, y):
    _residual(x.reshape(-1), r.reshape(-1), act, slope, y.reshape(-1))


def add(a, b, y):
    residual_forward(a, b, IDENTITY, 0.0, y)


@parallel
def _residual_tangent(y, tx, tr, act, slope, ty):
    for b in prange(pieces(y.size, BLOCK)):
        lo, hi = b * BLOCK, min((b + 1) * BLOCK, y.size)
        _add(tx[lo:hi], tr[lo:hi], ty[lo:hi])
        if act:
            pull(act, slope, y[lo:hi], ty[lo:hi], ty[lo:hi])


def residual_tangent(y, tx, tr, act, slope, ty):
    flat = (y.reshape(-1), tx.reshape(-1), tr.reshape(-1))
    _residual_tangent(*flat, act, slope, ty.reshape(-1))


@serial
def _philox(block, draw, seed, words):
    """words = the four random words of blocks `block` on: Philox4x32-10, as in `reference`."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    for i in range(words.size // 4):
        number = np.uint64(block + i)
        c0, c1 = number & low, number >> half
        c2, c3 = draw & low, draw >> half
        k0, k1 = seed & low, seed >> half
        for _ in range(10):
            p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
            c0 = (p1 >> half) ^ c1 ^ k0
            c1 = p1 & low
            c2 = (p0 >> half) ^ c3 ^ k1
            c3 = p0 & low
            k0 = (k0 + np.uint64(0x9E3779B9)) & low
            k1 = (k1 + np.uint64(0xBB67AE85)) & low
        words[4 * i] = np.uint32(c0)
        words[4 * i + 1] = np.uint32(c1)
        words[4 * i + 2] = np.uint32(c2)
        words[4 * i + 3] = np.uint32(c3)


@serial
def _keep(x, words, least, scale, y):
    for i in range(y.size):
        y[i] = x[i] * scale if words[i] >= least else 0


@parallel
def _dropout(x, rate, seed, draw, y):
    units = x.shape[1]
    least, scale = np.uint32(rate * 2**32), y.dtype.type(1 / (1 - rate))
    for b in prange(pieces(units, BLOCK)):
        lo, hi = b * BLOCK, min((b + 1) * BLOCK, units)
        words = carray(stack(x), BLOCK)
        _philox(lo // 4, draw, seed, words[: pieces(hi - lo, 4) * 4])
        for v in range(x.shape[0]):
            _keep(x[v, lo:hi], words, least, scale, y[v, lo:hi])


def dropout(x, rate, seed, draw, y):
    _dropout(x, rate, np.uint64(seed), np.uint64(draw), y)


@serial
def _move(image, down, across, flip, outside, y):
    height, width = image.shape[0], image.shape[1]
    for i in range(height):
        row = i + down
        for j in range(width):
            column = (width - 1 - j if flip else j) + across
            if 0 <= row < height and 0 <= column < width:
                y[i, j] = image[row, column]
            else:
                y[i, j] = outside


@parallel
def shift_flip(x, down, across, flip, outside, y):
    for n in prange(x.shape[0]):
        _move(x[n], down[n], across[n], flip[n], outside, y[n])


@serial
def _copy(x, out):
    for i in range(out.size):
        out[i] = x[i]


@inner
def _gather_some(x, rows, out, lo, hi):
    for i in range(lo, hi):
        _copy(x[rows[i]], out[i])


@parallel
def _gather_pieces(x, rows, out, height):
    for p in prange(pieces(rows.size, height)):
        _gather_some(x, rows, out, p * height, min((p + 1) * height, rows.size))


@serial
def _gather(x, rows, out):
    for i in range(rows.size):
        if rows[i] < 0 or rows[i] >= x.shape[0]:
            raise IndexError("gather_rows was asked for a row that x does not have")
    height = rows_per_piece(out.shape[1])
    if rows.size <= height:
        _gather_some(x, rows, out, 0, rows.size)
    else:
        _gather_pieces(x, rows, out, height)


def gather_rows(x, rows, out):
    each = math.prod(x.shape[1:])
    _gather(x.reshape(len(x), each), rows, out.reshape(len(out), each))
