"""The arena: all memory of an exported network, as named regions whose offsets are known here."""

from __future__ import annotations

from dataclasses import dataclass

from ....kernels.c.signature import DTYPES

ALIGNMENT = 8  # bytes: a double, and the widest load of the targets


def rounded(nbytes: int) -> int:
    """Up to a multiple of the alignment."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Region:
    """Part of the arena: `count` elements of the C type `kind` from byte `offset`.

    saved: whether it must be there again after a restart.
    """

    name: str
    kind: str
    count: int
    offset: int
    says: str = ""
    saved: bool = False

    @property
    def nbytes(self) -> int:
        return self.count * DTYPES[self.kind].itemsize

    @property
    def pointer(self) -> str:
        """Its address in C, of the type `kind *`, in a function that has `memory`."""
        return f"({self.kind} *)(void *)(memory + {self.offset})"


class Arena:
    """Regions one after another."""

    def __init__(self) -> None:
        self.regions: dict[str, Region] = {}
        self.nbytes = 0

    def add(self, name: str, kind: str, count: int, says: str = "", saved: bool = False) -> Region:
        """A new region after all others."""
        made = self.regions[name] = Region(name, kind, count, self.nbytes, says, saved)
        self.nbytes = rounded(self.nbytes + made.nbytes)
        return made

    def __contains__(self, name: object) -> bool:
        return name in self.regions

    def __getitem__(self, name: str) -> Region:
        return self.regions[name]

    @property
    def saved(self) -> list[Region]:
        """What `save` keeps, in order."""
        return [region for region in self.regions.values() if region.saved]
