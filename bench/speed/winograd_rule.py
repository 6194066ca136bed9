"""Where Winograd's way wins: `python -m weightspace.bench.speed.winograd_rule`.

Times a 3x3 convolution's forward pass both ways, in turn, on a grid of sizes, and prints the ratio.
The rule in `kernels.cpu.conv` (`winograd_wins`) was read off this table; a star marks where the
rule chooses Winograd.
"""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from ...kernels import get_backend
from ...kernels.cpu import conv
from ...kernels.cpu.correlate import correlate, correlation_room
from ...kernels.cpu.panels import panel_count, panel_width
from ...kernels.cpu.simd import size_of
from ...kernels.cpu.tiles import serial
from ...kernels.cpu.winograd import winograd, winograd_room
from . import timing

CHANNELS = (3, 4, 8, 16, 32, 128, 512)
HEIGHTS = (2, 3, 4, 6, 8, 16, 32)
PIXELS = 32 * 32 * 16  # of a batch: so many in all, whatever the height


@serial
def _direct(x, w, work, y):
    one = y.dtype.type(1)
    g = conv.forward_of(x.shape, w.shape, (1, 1), (1, 1))
    first, slot = correlation_room(one, g)
    base = work.ctypes.data
    conv.pack(one, w, work)
    correlate(one, g, x.ctypes.data, base, False, y.ctypes.data, first, slot, base)


@serial
def _fast(x, w, work, y):
    one = y.dtype.type(1)
    g = conv.forward_of(x.shape, w.shape, (1, 1), (1, 1))
    first, slot = winograd_room(one, g)
    base = work.ctypes.data
    conv.pack(one, w, work)
    u = base + 9 * g.depth * panel_count(one, g.filters) * panel_width(one) * size_of(one)
    winograd(one, g, x.ctypes.data, base, u, False, y.ctypes.data, first, slot, base)


def ratio(channels: int, height: int) -> tuple[float, bool]:
    """(time of the direct way over Winograd's, whether the rule chooses Winograd)."""
    rng = np.random.default_rng(0)
    n = max(PIXELS // height**2, 1)
    x = rng.standard_normal((n, height, height, channels)).astype("f")
    w = rng.standard_normal((channels, 3, 3, channels)).astype("f")
    y, one = np.empty_like(x), np.float32(1)
    g = conv.forward_of(x.shape, w.shape, (1, 1), (1, 1))
    threads = 64
    rooms = (correlation_room(one, g), winograd_room(one, g))
    work = np.empty(max(shared + threads * each for shared, each in rooms), "f")
    ways = [lambda: _direct(x, w, work, y), lambda: _fast(x, w, work, y)]
    calls = [timing.calibrate(way, 4e-3) for way in ways]
    taken = [[timing.time_batch(w, c) for w, c in zip(ways, calls, strict=True)] for _ in range(7)]
    direct, fast = np.median(np.array(taken), axis=0)
    return float(direct / fast), bool(conv.winograd_wins(g))


def main() -> None:
    """Print the table."""
    get_backend("cpu")
    table = Table(title="direct time / Winograd time; * where the rule takes Winograd")
    table.add_column("channels")
    for height in HEIGHTS:
        table.add_column(f"{height}x{height}", justify="right")
    for channels in CHANNELS:
        cells = []
        for height in HEIGHTS:
            found, chosen = ratio(channels, height)
            cells.append(f"{found:.2f}{'*' if chosen else ' '}")
        table.add_row(str(channels), *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
