"""Sizes that kernels are tried with: none fits a block, a tile, a vector or a warp, but some do."""

from __future__ import annotations

import dataclasses

import numpy as np
from weightspace.kernels.spec import KERNELS, Kernel, Sizes

FLOATS = (np.float32, np.float64)
# The kernels whose axis V is one of its own, or stacks samples that other arrays have once.
STACKING = (
    "activation_backward", "dense_accumulate", "max_pool_backward", "average_pool_backward",
    "norm_accumulate", "dropout", "conv2d_accumulate",
)  # fmt: skip
# None fits a pack of 16 bytes, a warp or a block, but for the last. At least three channels: a
# single sum may cancel to nothing, which leaves no scale to judge its error by.
SIZES = [
    {"N": 1, "I": 1, "O": 1, "K": 1, "V": 1, "P": 1, "H": 5, "W": 5, "C": 3, "T": 1},
    {"N": 2, "I": 3, "O": 2, "K": 2, "V": 1, "P": 5, "H": 6, "W": 7, "C": 17, "T": 2},
    {"N": 9, "I": 31, "O": 10, "K": 10, "V": 1, "P": 1023, "H": 13, "W": 8, "C": 4, "T": 7},
    {"N": 33, "I": 65, "O": 63, "K": 17, "V": 1, "P": 1025, "H": 9, "W": 6, "C": 5, "T": 64},
    {"N": 130, "I": 64, "O": 131, "K": 33, "V": 1, "P": 8193, "H": 5, "W": 12, "C": 35, "T": 3},
    {"N": 5, "I": 200, "O": 65, "K": 100, "V": 1, "P": 20_001, "H": 8, "W": 8, "C": 16, "T": 100},
    {"N": 8, "I": 16, "O": 64, "K": 32, "V": 1, "P": 4096, "H": 6, "W": 6, "C": 1040, "T": 2},
]
TINY = [
    {"N": 3, "I": 5, "O": 7, "K": 3, "V": 1, "P": 37, "H": 5, "W": 6, "C": 3, "T": 3},
    {"N": 2, "I": 9, "O": 4, "K": 35, "V": 1, "P": 8, "H": 6, "W": 5, "C": 4, "T": 9},
]
# What sizes are drawn from where a kernel is quick: 1, and sizes below, at and above its blocks.
DRAWN = {
    "N": (1, 2, 7, 8, 9, 33, 65, 130), "I": (1, 3, 31, 64, 65, 200), "V": (1,),
    "O": (1, 2, 10, 63, 64, 65, 131), "K": (1, 2, 10, 17), "P": (1, 5, 1023, 1025, 8191, 8193),
    "H": (5, 6, 8, 9, 13), "W": (5, 6, 7, 8, 12), "C": (3, 4, 16, 17, 35), "T": (1, 2, 7, 64, 100),
}  # fmt: skip
DRAWN_CONV = {
    "N": (1, 2, 5), "H": (5, 6, 8, 9, 13), "W": (5, 6, 7, 8, 12), "C": (1, 3, 4, 16, 17, 35),
    "O": (3, 5, 16, 20, 32, 40, 70), "R": (1, 2, 3, 5), "S": (1, 2, 3, 5), "V": (1,),
}  # fmt: skip
# Where the cpu backend takes Winograd's way.
DRAWN_THREES = {
    "N": (1, 3), "H": (3, 4, 8, 11, 33), "W": (3, 5, 8, 10), "C": (8, 16, 33, 64, 100),
    "O": (8, 15, 48, 64, 130), "R": (3,), "S": (3,), "V": (1,),
}  # fmt: skip


def sizes(n: int, image: tuple[int, int], channels: int, filters: int, window, stacked: int = 1):
    """Those of a convolution."""
    (h, w), (r, s) = image, window
    return {"N": n, "H": h, "W": w, "C": channels, "O": filters, "R": r, "S": s, "V": stacked}


# Sizes that fit no tile, slice or warp. Three filters at least: a single sum may cancel to nothing,
# which leaves no scale to judge its error by.
CONV = [
    sizes(1, (1, 1), 1, 3, (1, 1)),
    sizes(2, (5, 4), 1, 3, (1, 1)),
    sizes(3, (19, 2), 3, 10, (3, 3)),
    sizes(2, (5, 6), 17, 65, (3, 3)),
    sizes(1, (7, 9), 17, 3, (5, 4)),
    sizes(5, (6, 5), 3, 33, (1, 3)),
    sizes(2, (8, 8), 40, 10, (1, 1)),
    sizes(9, (4, 4), 5, 16, (3, 3)),
]
# Multiples of 4 channels and filters are read in pieces of 16 bytes.
WIDE = [
    sizes(3, (7, 9), 4, 4, (1, 1)),
    sizes(2, (9, 8), 12, 68, (3, 3)),
    sizes(2, (5, 6), 68, 12, (2, 3)),
    sizes(5, (6, 5), 16, 20, (5, 4)),
]
STACKED = sizes(3, (6, 5), 5, 18, (3, 2), 3)


def draw(table: dict[str, tuple[int, ...]], count: int) -> list[Sizes]:
    """The same sizes each time."""
    rng = np.random.default_rng(count)
    return [{axis: int(rng.choice(some)) for axis, some in table.items()} for _ in range(count)]


def fits(kernel: Kernel, where: Sizes, variant: str = "") -> bool:
    """Whether a convolution has any output position."""
    if kernel.family != "conv":
        return True
    every = kernel.all_sizes(where, variant)
    return min(every["h"], every["w"]) >= 1


def ladder(kernel: Kernel, backend: str, variant: str) -> list[Sizes]:
    """The sizes to try a kernel with; many on the backends that are quick."""
    quick = backend in ("cpu", "cuda")
    if kernel.family != "conv":
        return [*SIZES, *(draw(DRAWN, 20) if quick else [])]
    threes = draw(DRAWN_THREES, 8) if quick and not variant else []
    return [*CONV, *WIDE, *threes, *(draw(DRAWN_CONV, 8) if quick else [])]


def moved(name: str, stride: tuple[int, int], padding: tuple[int, int]) -> Kernel:
    """A convolution's contract with other steps."""
    kernel = KERNELS[name]
    steps = {"stride": stride, "padding": padding, "beyond": padding}
    return dataclasses.replace(kernel, scalars={**kernel.scalars, **steps})
