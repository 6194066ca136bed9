"""Turns: machines that take training steps one after another, without entering Python between them.

The batch that ends an epoch may be smaller than the others, and has a machine of its own. Weights,
losses and counters are shared: whichever machine takes a step, all of them move on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import get_num_threads
from numba.np.numpy_support import carray

from .jit import inner, kernel
from .machine import Machine, run_watched, words
from .simd import memory

# The columns of the table that `_take_turns` reads, a machine a row: addresses and counts.
CALLS, COUNT, CUT, SLOTS, WATCHED, AT, BY, EACH, MOVED, SAMPLES, THREADS = range(11)


@inner
def _step(row):
    """A step of the machine of a row, as `run_watched` tells of it."""
    calls = carray(memory(row[CALLS], row[CALLS]), (row[COUNT], 3))
    slots = words(row[SLOTS], row[WATCHED] + 1)  # the others are reached by address
    return run_watched(calls, slots, row[WATCHED], row[CUT], row[THREADS])


@kernel(nogil=True)
def _take_turns(table, turns):
    """Machine turns[s] takes step s. Returns how many steps were whole, or -1 - c if call c failed.

    After a step of n samples, each machine's slots[at] += by + n each. Nothing is begun after a
    loss that is not finite.
    """
    for s in range(turns.size):
        row = table[turns[s]]
        failed = _step(row)
        if failed == row[COUNT]:
            return s
        if failed >= 0:
            return -1 - failed
        for m in range(table.shape[0]):
            moved = table[m]
            at, by = words(moved[AT], moved[MOVED]), words(moved[BY], moved[MOVED])
            each = words(moved[EACH], moved[MOVED])
            slots = words(moved[SLOTS], 1)
            for i in range(at.size):
                slots[at[i]] += by[i] + row[SAMPLES] * each[i]
    return turns.size


class Steps:
    """A machine whose runs are training steps of so many samples.

    watched: the place of its loss, one float64; cut: the first machine call of the update, which a
    loss that is not finite leaves out. Counters grow by one a step, the addresses of places by the
    bytes of `step` a step, and by those of `sample` a sample.
    """

    def __init__(
        self,
        machine: Machine,
        watched: Any,
        cut: int,
        samples: int,
        step: Mapping[Any, int],
        sample: Mapping[Any, int],
    ) -> None:
        self.machine = machine
        places = machine.code.places
        moved = [(spots.at, spots.by, 0 * spots.by) for spots in machine.code.counters.values()]
        for place in {**step, **sample}:
            at = places[place].at
            by, each = (np.full_like(at, of.get(place, 0)) for of in (step, sample))
            moved.append((at, by, each))
        self._moved = [np.concatenate(column) for column in zip(*moved, strict=True)]
        self._row = [
            machine.code.calls.ctypes.data, len(machine.code.calls), cut,
            machine.slots.ctypes.data, int(places[watched].at[0]),
            *(column.ctypes.data for column in self._moved), self._moved[0].size, samples,
        ]  # fmt: skip

    @property
    def row(self) -> list[int]:
        """Of the table."""
        return [*self._row, 1 if self.machine.alone else get_num_threads()]


def take_turns(steps: Sequence[Steps], turns: np.ndarray) -> int:
    """Steps in the order of turns (S,) int64, the numbers of those who take them.

    Returns how many were whole: after a loss that is not finite there is no other.
    """
    done = _take_turns(np.array([each.row for each in steps], np.int64), turns)
    if done < 0:
        raise RuntimeError(f"machine call {-1 - done} of a program failed")
    return done
