"""The tiles of matrix products: their sizes, as in gemm.cuh, and the choice among them."""

from __future__ import annotations

import os
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

from ..errors import SettingError
from .launch import REAL, Family, Launcher, ceil_div


class Tile(NamedTuple):
    """Results of a block (down x across), k of a slice, threads, and cost.

    cost: the time for a multiplication, relative to Medium's: from the instructions of the inner
    loops, reading included, and for Small less than those, since it has most threads for its
    results to hide the memory's latency with. Not yet measured.
    """

    down: int
    across: int
    deep: int
    threads: int
    cost: float


_SHAPES = {
    "Medium": Tile(64, 64, 16, 256, 1.0),
    "Narrow": Tile(64, 32, 16, 128, 1.1),
    "Thin": Tile(64, 16, 16, 128, 1.5),
    "Small": Tile(32, 32, 32, 256, 1.4),
}
# By template argument. WIDE tiles read pieces of 16 bytes.
TILES = {
    "Tensor<WIDE>": Tile(128, 64, 16, 256, 0.35),  # on tensor cores, in float only
    **{
        f"{name}<{real}{loads}>": tile
        for name, tile in _SHAPES.items()
        for real, loads in product(REAL, ("", ", WIDE"))
    },
}
# The multiprocessors of an H100: fewer blocks leave some idle, so small tiles are then as good.
PROCESSORS = 132
PIECE = 16  # bytes that a WIDE tile reads at once


class Choice(NamedTuple):
    """A tile's name, a template argument, with the grid that covers the results and its block."""

    name: str
    grid: tuple[int, int]
    block: tuple[int]

    @property
    def blocks(self) -> int:
        return self.grid[0] * self.grid[1]


class Compiled(NamedTuple):
    """The tiles that a family compiles: without and with pieces of 16 bytes (a tensor one too)."""

    single: tuple[str, ...]
    wide: tuple[str, ...]

    def names(self, real: str, wide: bool, tf32: bool) -> tuple[str, ...]:
        """Template arguments for products of the C type `real`.

        wide: whether pieces of 16 bytes can be read. tf32: whether tensor cores may be used.
        """
        if not wide:
            return tuple(f"{tile}<{real}>" for tile in self.single)
        tensor = ("Tensor<WIDE>",) if tf32 and real == "float" else ()
        return (*(f"{tile}<{real}, WIDE>" for tile in self.wide), *tensor)

    def all_names(self) -> tuple[str, ...]:
        """All template arguments that a kernel is compiled for."""
        ways = product(REAL, (False, True), (True,))
        return tuple(name for way in ways for name in self.names(*way))


@lru_cache(maxsize=4096)
def choose_tile(
    rows: int, columns: int, length: int, names: tuple[str, ...], copies: int = 1
) -> Choice:
    """The tile among `names` for (rows, columns) results, each a sum of `length` products.

    copies: how many such products are formed at the same time. The time is estimated as all tiles'
    multiplications, padding included, spread over the processors.
    """

    def time(choice: Choice) -> float:
        tile = TILES[choice.name]
        one = tile.down * tile.across * ceil_div(length, tile.deep) * tile.deep * tile.cost
        return one * max(choice.blocks * copies / PROCESSORS, 1.0)

    choices = []
    for name in names:
        tile = TILES[name]
        grid = ceil_div(rows, tile.down), ceil_div(columns, tile.across)
        choices.append(Choice(name, grid, (tile.threads,)))
    return min(choices, key=time)


def flag(name: str) -> bool:
    """An environment variable that is 1 or 0; 0 where it is not set. Raises SettingError."""
    value = os.environ.get(name, "0")
    if value not in ("0", "1"):
        raise SettingError(f"{name} is '{value}'; expected 1 or 0")
    return value == "1"


class Products(Family):
    """A family whose kernels form matrix products, each result one chain of fused multiply-adds.

    What gives that up for speed is asked for, here or by the environment:
    allow_tf32 ($WEIGHTSPACE_TF32=1): float32 products may round their inputs to 10 bits, for the
    tensor cores of compute capability 8.0 and later.
    allow_cublas ($WEIGHTSPACE_CUBLAS=1): large dense products go to cuBLAS, which adds up in an
    order of its own.
    """

    def __init__(self, device: Any, launch: Launcher) -> None:
        super().__init__(device, launch)
        self.allow_tf32 = flag("WEIGHTSPACE_TF32")
        self.allow_cublas = flag("WEIGHTSPACE_CUBLAS")

    def _wide(self, *factors: Any) -> bool:
        """Whether all `factors` (or None) can be read in pieces of 16 bytes along the last axis.

        So it is with arrays of a network whose layers have multiples of 4 units or channels.
        """
        address = self.device.address
        return not any(
            a.shape[-1] * a.itemsize % PIECE or a.strides[0] % PIECE or address(a) % PIECE
            for a in factors
            if a is not None
        )
