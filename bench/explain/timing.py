"""How long each call of a program takes here, and against what: medians, and the machine's roof."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from ...kernels.spec import KERNELS, Traffic
from ...nnlite import Network
from ...nnlite.program import Program
from ...nnlite.program.program import BUFFER, CONSTANT
from ...nnlite.program.replay import (
    MachineReplay,
    PlainReplay,
    Replay,
    empty_arena,
    replay,
)
from ..speed.roofline import roof
from .lines import Line, written

ROUNDS, SECONDS = 9, 0.002  # of each call: rounds, and how long a round repeats it at least


@dataclass(frozen=True)
class Times:
    """Seconds of each call by itself, and of the program as a whole."""

    calls: tuple[float, ...]
    whole: float


def arrays_of(program: Program, net: Network, given: Mapping[str, Any]) -> dict[str, Any]:
    """All that a program is bound to: the network's own arrays, those given, and zeros."""
    own = {"theta": net.theta} | {f"state {name}": array for name, array in net.state.items()}
    found = {}
    for place in program.places:
        if place.kind not in (BUFFER, CONSTANT):
            array = own.get(place.name, given.get(place.name))
            if array is None:
                array = np.zeros(place.shape, place.dtype)
            found[place.name] = net.device.put(array)
    return found


def plain_replay(
    program: Program, net: Network, arrays: Mapping[str, Any], arena: Any = None
) -> PlainReplay:
    """A replay whose calls can be made one by one."""
    made = PlainReplay(program, net.ops)
    made.work_in(empty_arena(net.ops, program.arena_bytes) if arena is None else arena)
    made.bind(arrays)
    return made


def measure(program: Program, net: Network, given: Mapping[str, Any]) -> Times:
    """The time of each call, again and again: its arrays are in cache if they fit.

    On the cpu calls are timed without Python, as they run; elsewhere from Python. After a call was
    timed, what it wrote is put back and it is made once, so that the next one sees what it would
    in the verb: an update that was made 20,000 times leaves numbers that are slow to compute with.
    """
    arrays, arena = arrays_of(program, net, given), empty_arena(net.ops, program.arena_bytes)
    plain, made = plain_replay(program, net, arrays, arena), replay(program, net.ops)
    made.work_in(arena)
    made.bind(arrays)
    counts = dict.fromkeys(program.counters, 0)
    with np.errstate(all="ignore"):  # done again and again, an update goes far
        calls = tuple(_call_seconds(plain, made, at, counts) for at in range(len(program.calls)))
        whole = _seconds(lambda times: _repeat(lambda: made.run(counts), times))
    return Times(calls, whole)


def _call_seconds(
    plain: PlainReplay, made: Replay, number: int, counts: Mapping[str, int]
) -> float:  # fmt: skip
    """Seconds of call `number`, whose arrays are as they are before it; they end as after it."""
    program, again = plain.program, _again(made, number, counts)
    before = [(plain.view(view), plain.view(view).copy())
              for view in written(program, program.calls[number])]  # fmt: skip
    took = _seconds(again)
    for array, kept in before:
        array[...] = kept
    again(1)
    return took


def _again(made: Replay, number: int, counts: Mapping[str, int]) -> Callable[[int], None]:
    """What makes a call so many times."""
    if isinstance(made, MachineReplay):
        machine, ends = made.machine, made.machine.code.ends
        machine.count(counts)
        return lambda times: machine.repeat(ends[number], ends[number + 1], times)
    assert isinstance(made, PlainReplay)
    return lambda times: _repeat(lambda: made.call(number, counts), times)


def _repeat(call: Callable[[], object], times: int) -> None:
    for _ in range(times):
        call()


def _seconds(again: Callable[[int], None]) -> float:
    """The median of some rounds, each long enough for the clock, after one that warms up."""
    again(1)
    times = max(1, min(int(SECONDS / max(_timed(again, 1), 1e-9)), 20_000))
    return median(_timed(again, times) / times for _ in range(ROUNDS))


def _timed(again: Callable[[int], None], times: int) -> float:
    began = time.perf_counter()
    again(times)
    return time.perf_counter() - began


def roof_share(machine: Mapping[str, Any], line: Line, seconds: float, dtype: str) -> float | None:
    """The part of what the machine can do that a call reaches; None for NumPy's functions."""
    if line.kernel not in KERNELS:
        return None
    cost = line.cost
    traffic = Traffic(cost.read, cost.updated, cost.written - cost.updated)
    return roof(machine, cost.flops, traffic, cost.touched, dtype).seconds / seconds
