"""A 3x3 convolution's forward pass, Winograd's way and directly, timed in turn."""

from __future__ import annotations

import numpy as np

from ....kernels.cpu import conv
from ....kernels.cpu.correlate import correlate, correlation_room
from ....kernels.cpu.panels import panel_count, panel_width
from ....kernels.cpu.simd import size_of
from ....kernels.cpu.tiles import serial
from ....kernels.cpu.winograd import winograd, winograd_room
from ...speed import timing


@serial
def _direct(x, w, work, y):
    one = y.dtype.type(1)
    g = conv.forward_of(x.shape, w.shape, y.shape, ((1, 1), (1, 1), (1, 1), 1))
    first, slot = correlation_room(one, g)
    base = work.ctypes.data
    conv.pack(one, g, w, work)
    correlate(one, g, x.ctypes.data, base, False, y.ctypes.data, first, slot, base)


@serial
def _fast(x, w, work, y):
    one = y.dtype.type(1)
    g = conv.forward_of(x.shape, w.shape, y.shape, ((1, 1), (1, 1), (1, 1), 1))
    first, slot = winograd_room(one, g)
    base = work.ctypes.data
    conv.pack(one, g, w, work)
    u = base + 9 * g.depth * panel_count(one, g.filters) * panel_width(one) * size_of(one)
    winograd(one, g, x.ctypes.data, base, u, False, y.ctypes.data, first, slot, base)


def ratio(channels: int, height: int, pixels: int) -> tuple[float, bool]:
    """(time of the direct way over Winograd's, whether the rule chooses Winograd)."""
    rng = np.random.default_rng(0)
    n = max(pixels // height**2, 1)
    x = rng.standard_normal((n, height, height, channels)).astype("f")
    w = rng.standard_normal((channels, 3, 3, channels)).astype("f")
    y, one = np.empty_like(x), np.float32(1)
    g = conv.forward_of(x.shape, w.shape, y.shape, ((1, 1), (1, 1), (1, 1), 1))
    threads = 64
    rooms = (correlation_room(one, g), winograd_room(one, g))
    work = np.empty(max(shared + threads * each for shared, each in rooms), "f")
    ways = [lambda: _direct(x, w, work, y), lambda: _fast(x, w, work, y)]
    calls = [timing.calibrate(way, 4e-3) for way in ways]
    taken = [[timing.time_batch(w, c) for w, c in zip(ways, calls, strict=True)] for _ in range(7)]
    direct, fast = np.median(np.array(taken), axis=0)
    return float(direct / fast), bool(conv.winograd_wins(g))
