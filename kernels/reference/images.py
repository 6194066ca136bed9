"""What is left of an image network: adding a shortcut, dropping units, moving the pictures."""

from __future__ import annotations

import numpy as np

from .activations import activation_backward, activation_forward


def copy(x, y):
    """y = x, of one shape."""
    y[...] = x


def fill(value, y):
    """y = a number, everywhere."""
    y[...] = value


def scale(x, factor, y):
    """y = factor x, of one shape; factor is rounded to their dtype first. y may be x."""
    np.multiply(x, x.dtype.type(factor), out=y)


def divide(x, divisor, y):
    """y = x times 1 / divisor (1,) float64, which is rounded to the type of x; 0 of a divisor 0."""
    share = 1 / divisor[0] if divisor[0] else 0.0
    y[...] = x * x.dtype.type(share)


def add(a, b, y):
    """y = a + b, all of one shape; y may be a or b."""
    np.add(a, b, out=y)


def residual_forward(x, r, act, slope, y):
    """y = f(x + r), the end of a residual block; x, r, y of one shape, and y may be x or r."""
    activation_forward(act, slope, x + r, y)


def residual_tangent(y, tx, tr, act, slope, ty):
    """ty = f'(y) (tx + tr); ty may be tx or tr."""
    activation_backward(act, slope, y, tx + tr, ty)


# Philox4x32-10 (Salmon et al. 2011): ten rounds of two multiplications turn a counter into four
# random words. A unit's number needs only its place, so any part can be drawn again at any time.
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def _philox(block, draw, seed):
    """Four words (4, B) for each block number (B,); `draw` and `seed` are 64-bit whole numbers."""
    block = block.astype(np.uint64)
    draw, seed = np.uint64(draw), np.uint64(seed)
    c0, c1 = block & _LOW, block >> _HALF
    c2, c3 = np.full_like(block, draw & _LOW), np.full_like(block, draw >> _HALF)
    k0, k1 = seed & _LOW, seed >> _HALF
    for _ in range(10):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return np.stack([c0, c1, c2, c3])


def dropout(x, rate, seed, draw, y):
    """y = x / (1 - rate) where unit i is kept, else 0 (Srivastava et al. 2014, inverted).

    x, y (V, M): unit i of the M falls if word i of Philox(seed, draw) is below rate 2^32; the V
    rows share the units. Linear: backward and tangent are the same call. 0 <= rate < 1.
    """
    units = x.shape[1]
    words = _philox(np.arange((units + 3) // 4), draw, seed).T.reshape(-1)[:units]
    kept = words >= np.uint64(int(rate * 2**32))
    y[...] = np.where(kept, x * x.dtype.type(1 / (1 - rate)), x.dtype.type(0))


def shift_flip(x, down, across, flip, outside, y):
    """y[n] = image n moved by (down[n], across[n]) and, where flip[n], mirrored left to right.

    y[n, i, j] = x[n, i + down, j + across]; what lies outside x is `outside` (C,). So a random
    crop after padding by p draws both in -p..p. down, across int64, flip bool, (N,).
    """
    height, width = x.shape[1:3]
    for n in range(len(x)):
        moved = np.empty_like(x[n])
        moved[...] = outside
        top, left = max(0, -down[n]), max(0, -across[n])
        bottom, right = min(height, height - down[n]), min(width, width - across[n])
        if bottom > top and right > left:
            moved[top:bottom, left:right] = x[
                n, top + down[n] : bottom + down[n], left + across[n] : right + across[n]
            ]
        y[n] = moved[:, ::-1] if flip[n] else moved


def gather_rows(x, rows, out):
    """out[i] = x[rows[i]]: a batch of samples. x (M, ...), out (N, ...), any type; rows int64 (N,).

    0 <= rows < M.
    """
    np.take(x, rows, axis=0, out=out)
