"""The tiles of matrix products: their sizes, as in gemm.cuh, and the choice among them."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any, NamedTuple

from .launch import Family, Launcher, ceil_div


class Tile(NamedTuple):
    """Results of a block (down x across), k of a round of all its groups, threads, and cost.

    cost: the time for a multiplication, relative to the best tile's (guesses, not yet measured).
    """

    down: int
    across: int
    deep: int
    threads: int
    cost: float


TENSOR = "Tensor"  # on tensor cores, in float only
TILES = {
    TENSOR: Tile(128, 64, 16, 256, 0.5),
    "Small<float>": Tile(32, 32, 128, 512, 1.3),
    "Small<double>": Tile(32, 32, 64, 256, 1.3),
    **{
        f"{name}<{real}>": tile
        for real in ("float", "double")
        for name, tile in {
            "Medium": Tile(64, 64, 16, 256, 1.0),
            "Narrow": Tile(64, 32, 16, 128, 1.1),
            "Thin": Tile(64, 16, 16, 128, 1.4),
        }.items()
    },
}
# The multiprocessors of an H100: fewer blocks leave some idle, so small tiles are then as good.
PROCESSORS = 132
# Blocks that a product is split into where its tiles are few and its sums long (not yet measured).
ENOUGH_BLOCKS = 4 * PROCESSORS


class Choice(NamedTuple):
    """A tile's name, a template argument, with the grid that covers the results and its block."""

    name: str
    grid: tuple[int, int]
    block: tuple[int]

    @property
    def blocks(self) -> int:
        return self.grid[0] * self.grid[1]


def arguments(names: tuple[str, ...]) -> tuple[str, ...]:
    """The template arguments that a kernel with tiles `names` is compiled for."""
    return (*(f"{name}<{real}>" for name in names for real in ("float", "double")), TENSOR)


@lru_cache(maxsize=4096)
def choose_tile(
    rows: int,
    columns: int,
    length: int,
    real: str,
    names: tuple[str, ...],
    copies: int = 1,
    tf32: bool = False,
) -> Choice:
    """The tile for (rows, columns) results, each a sum of `length` products.

    names: the tiles that the kernel is compiled for. copies: how many such products are formed at
    the same time. tf32: whether float products may be formed on tensor cores. The time is estimated
    as all tiles' multiplications, padding included, spread over the processors.
    """

    def time(choice: Choice) -> float:
        tile = TILES[choice.name]
        one = tile.down * tile.across * ceil_div(length, tile.deep) * tile.deep * tile.cost
        return one * max(choice.blocks * copies / PROCESSORS, 1.0)

    choices = []
    for name in (*(f"{name}<{real}>" for name in names), *(TENSOR,) * (tf32 and real == "float")):
        tile = TILES[name]
        grid = ceil_div(rows, tile.down), ceil_div(columns, tile.across)
        choices.append(Choice(name, grid, (tile.threads,)))
    return min(choices, key=time)


def split(blocks: int, length: int, least: int = 1) -> int:
    """Into how many parts to cut sums of `length` terms, at least `least` each, for enough blocks.

    It depends on the sizes alone: so do the results' bits.
    """
    return max(min(ENOUGH_BLOCKS // blocks, length // least), 1)


class Products(Family):
    """A family whose kernels form matrix products.

    allow_tf32: whether those of float32 arrays may round their inputs to 10 bits, for the tensor
    cores of compute capability 8.0 and later; $WEIGHTSPACE_TF32=1 turns it on from the start.
    """

    def __init__(self, device: Any, launch: Launcher) -> None:
        super().__init__(device, launch)
        self.allow_tf32 = os.environ.get("WEIGHTSPACE_TF32") == "1"
