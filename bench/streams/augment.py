"""Random crops and flips, drawn by number: the same pictures for the same (seed, epoch, batch)."""

from __future__ import annotations

import numpy as np

from ...kernels import Backend
from ...nnlite.init import generator

PAD = 4  # pixels that a crop may move: the usual recipe for 32 x 32 images (He et al. 2015)


def augment(
    ops: Backend,
    x: np.ndarray,
    outside: np.ndarray,
    key: tuple[int, ...],
    pad: int = PAD,
    flip: bool = True,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """x (N, H, W, C), each image moved by up to `pad` pixels and mirrored half of the time.

    outside (C,): what is seen beyond an image's edge (black, after normalisation). The draw follows
    from `key`, up to three whole numbers, alone. Written into `out` if given.
    """
    rng = generator(*key)
    down, across = rng.integers(-pad, pad + 1, (2, len(x)))
    mirrored = rng.random(len(x)) < 0.5 if flip else np.zeros(len(x), bool)
    put = ops.device.put
    x = put(x)
    y = np.empty_like(x) if out is None else out
    moves = put(down), put(across), put(mirrored)
    ops.shift_flip(x, *moves, put(outside.astype(x.dtype)), y)
    return y
