"""What memory gives plain loops over eight arrays, beside loops over two.

    python docs/many_streams.py

Four axpys side by side, in chunks as the optimizer kernels work: 8 arrays read, 4 of them stored in
place, as in the Adam step with all streams, and no other arithmetic.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from weightspace.bench.speed import peaks

CHUNK, LENGTH, THREADS = 1024, 8_000_000, 2


@numba.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def axpy(target, source, s):
    for i in range(target.size):
        target[i] += s * source[i]


@numba.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
def eight(a, b, c, d, e, f, g, h, s, repeats):
    for _ in range(repeats):
        for lo in range(0, a.size, CHUNK):
            axpy(b[lo : lo + CHUNK], a[lo : lo + CHUNK], s)
            axpy(d[lo : lo + CHUNK], c[lo : lo + CHUNK], s)
            axpy(f[lo : lo + CHUNK], e[lo : lo + CHUNK], s)
            axpy(h[lo : lo + CHUNK], g[lo : lo + CHUNK], s)


sets: list[Any] = [[np.ones(LENGTH, np.float32) for _ in range(8)] for _ in range(THREADS)]
loops: Any = eight
for _ in range(5):
    seconds = peaks._best_seconds(
        lambda thread, repeats: loops(*sets[thread], np.float32(1e-6), repeats), THREADS, 0.1, 3
    )
    two = peaks.bandwidth("axpy", 256 << 20, THREADS, quick=True)
    rate = 12 * LENGTH * 4 * THREADS / seconds * 1e-9
    print(f"eight arrays {rate:.1f} GB/s, two arrays {two:.1f} GB/s: {rate / two:.0%}")
