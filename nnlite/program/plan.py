"""The memory plan: buffers packed by their life times, so that what is dead makes room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

ALIGNMENT = 64  # bytes: a cache line, and the widest vectors


class Span(NamedTuple):
    """A buffer's size in bytes, and the first and last call that touch it."""

    nbytes: int
    first: int
    last: int


def packed(spans: Mapping[int, Span], alignment: int = ALIGNMENT) -> dict[int, int]:
    """Name -> offset: the largest first, each at the lowest place where nothing alive lies.

    First fit by falling size, which is within a few percent of the least for networks (their
    buffers are nested like brackets: forward's live until their backward).
    """
    placed: list[tuple[int, int, Span]] = []  # begin, end, of those that have a place
    offsets: dict[int, int] = {}
    for name, span in sorted(spans.items(), key=lambda each: (-each[1].nbytes, each[0])):
        room = -(-span.nbytes // alignment) * alignment
        at = 0
        for begin, end, other in sorted(placed):
            if other.first <= span.last and span.first <= other.last and begin < at + room:
                at = max(at, end)
        offsets[name] = at
        placed.append((at, at + room, span))
    return offsets
