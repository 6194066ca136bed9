"""The machine: a list of machine calls, run without entering Python between them.

`lowering` gives each call's compiled function and its arguments as 64-bit words. All words lie in
one array, `slots`; a call is the address of a thunk, where its slots begin, and whether it is
small. A thunk loads the slots into registers as the function's type asks and calls it: one a type,
made of LLVM's language in a millisecond, whatever networks come. So nothing is compiled for a
network that its kernels have not compiled already.

What differs from one run to the next are slots: addresses of places (`Code.places`), and counters
that grow by a step (`Code.counters`). Code is the same for all networks of one architecture; a
machine is code with slots of its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import get_num_threads, types
from numba.np.numpy_support import carray

from ..errors import RecordingError
from .jit import inner, kernel
from .lowering import MachineCall, lower
from .simd import intrinsic, memory

_WORD, _STATUS = ir.IntType(64), ir.IntType(32)
_set_threads: Any = types.ExternalFunction("set_num_threads", types.void(types.intp))
_get_threads: Any = types.ExternalFunction("get_num_threads", types.intp())
_engines: list[Any] = []  # thunks live as long as the process
_thunks: dict[str, int] = {}


def _thunk(kind: Any) -> int:
    """The address of i32 thunk(i64* slots), which calls slots[0] with the other slots."""
    name = str(kind)
    if name not in _thunks:
        module = ir.Module()
        module.triple = llvm.get_process_triple()
        thunk = ir.Function(module, ir.FunctionType(_STATUS, [_WORD.as_pointer()]), "thunk")
        builder = ir.IRBuilder(thunk.append_basic_block())
        at = [builder.gep(thunk.args[0], [_WORD(i)]) for i in range(len(kind.args) - 1)]
        words = [builder.load(each) for each in at]
        room = builder.alloca(_WORD, 16)  # for what it returns, and where it says what it raised
        given = [builder.bitcast(room, each) for each in kind.args[:2]]
        given += [_part(builder, w, k) for w, k in zip(words[1:], kind.args[2:], strict=True)]
        builder.ret(builder.call(builder.inttoptr(words[0], kind.as_pointer()), given))
        _thunks[name] = _compiled(module)
    return _thunks[name]


def _part(builder: Any, word: Any, kind: Any) -> Any:
    """A word as the type that the function takes."""
    if isinstance(kind, ir.PointerType):
        return builder.inttoptr(word, kind)
    if isinstance(kind, ir.DoubleType):
        return builder.bitcast(word, kind)
    if isinstance(kind, ir.FloatType):
        return builder.bitcast(builder.trunc(word, ir.IntType(32)), kind)
    return word if kind.width == 64 else builder.trunc(word, kind)


def _compiled(module: ir.Module) -> int:
    parsed = llvm.parse_assembly(str(module))
    target = llvm.Target.from_default_triple().create_target_machine(opt=1, jit=True)
    engine = llvm.create_mcjit_compiler(parsed, target)
    engine.finalize_object()
    _engines.append(engine)
    return engine.get_function_address("thunk")


@intrinsic
def _invoke(typing, address, slots):
    """The status of the thunk at an address, run on slots at another."""

    def generate(context, builder, signature, given):
        kind = ir.FunctionType(_STATUS, [_WORD.as_pointer()]).as_pointer()
        thunk = builder.inttoptr(given[0], kind)
        return builder.call(thunk, [builder.inttoptr(given[1], _WORD.as_pointer())])

    return types.int32(types.intp, types.intp), generate


@inner
def _run_calls(calls, slots, lo, hi, threads):
    """Run calls lo to hi; the number of the first that fails, or -1."""
    base = slots.ctypes.data
    for c in range(lo, hi):
        if threads > 1:
            _set_threads(1 if calls[c, 2] else threads)
        if _invoke(calls[c, 0], base + 8 * calls[c, 1]):
            return c
    return -1


@inner
def words(address, count):
    """So many words of 64 bits at an address."""
    return carray(memory(address, address), count)


@inner
def _at_address(address):
    """The float64 at an address."""
    return carray(memory(1.0, address), 1)[0]


@inner
def run_watched(calls, slots, watched, cut, threads):
    """Run `calls` (C, 3) once: -1, or the number of the call that failed.

    watched: the slot with the address of a float64; where it becomes NaN or infinite, calls from
    number `cut` on are left out, and C, no call's number, comes back; -1: none.
    """
    failed = _run_calls(calls, slots, 0, cut, threads)
    if failed >= 0:
        return failed
    if watched >= 0 and not np.isfinite(_at_address(slots[watched])):
        return calls.shape[0]
    return _run_calls(calls, slots, cut, calls.shape[0], threads)


@kernel(nogil=True)
def _run(calls, slots, times, watched, cut, threads):
    """`run_watched` so many times; returns how many runs were whole, or -1 - c if call c failed.

    Nothing is begun after one that was cut.
    """
    for done in range(times):
        failed = run_watched(calls, slots, watched, cut, threads)
        if failed == calls.shape[0]:
            return done
        if failed >= 0:
            return -1 - failed
    return times


@kernel(nogil=True)
def _answer(row, x, y):
    """Run a machine once on x and y. row: what `Machine.answering` makes."""
    slots = words(row[2], row[3])
    for address, first in ((x.ctypes.data, 4), (y.ctypes.data, 7)):
        at, by = words(row[first], row[first + 2]), words(row[first + 1], row[first + 2])
        for i in range(at.size):
            slots[at[i]] = address + by[i]
    threads = 1 if row[10] else _get_threads()
    calls = carray(memory(row[0], row[0]), (row[1], 3))
    if _run_calls(calls, slots, 0, row[1], threads) >= 0:
        raise RuntimeError("a machine call of a program failed")


class Spots(NamedTuple):
    """Slots that hold an address within a place, and how many bytes after its beginning each is."""

    at: np.ndarray
    by: np.ndarray


@dataclass(frozen=True)
class Code:
    """Machine calls in place: what every machine of a program shares.

    calls (C, 3): thunk, first slot, whether it is alone. slots: as they were when it was lowered.
    places: where the address of each stands. counters: where each stands, and what one more adds.
    ends: the number of the first machine call of each of the kernels' calls, and of all.
    """

    calls: np.ndarray
    slots: np.ndarray
    places: Mapping[Any, Spots]
    counters: Mapping[str, Spots]
    ends: tuple[int, ...]


Calls = Sequence[tuple[Any, Sequence[Any]]]  # kernels, each with its arguments


def assemble(
    calls: Calls, grown: Mapping[str, tuple[Calls, Calls]], regions: Mapping[Any, np.ndarray]
) -> Code:
    """Code of kernel calls, whose arrays are views of `regions`.

    grown: by the counter's name, the same calls where it is 1 and 2 more, from which follows which
    numbers grow. Raises RecordingError for what cannot be lowered, or does not grow evenly.
    """
    lowered = [lower(*call) for call in calls]
    flat = [each for found in lowered for each in found]
    begins = [0, *accumulate(1 + len(call.words) for call in flat)]
    table = [(_thunk(call.kind), at, call.alone) for call, at in zip(flat, begins, strict=False)]
    slots = _slots(flat)
    counters = {
        name: _growth(
            slots, *(_slots([m for call in calls for m in lower(*call)]) for calls in two)
        )
        for name, two in grown.items()
    }
    pointers = [
        at + 1 + each for call, at in zip(flat, begins, strict=False) for each in call.pointers
    ]
    return Code(
        np.array(table, np.int64).reshape(-1, 3), slots, _spots(slots, pointers, regions), counters,
        (0, *accumulate(map(len, lowered))),
    )  # fmt: skip


def _slots(calls: Sequence[MachineCall]) -> np.ndarray:
    words = [word for call in calls for word in (call.address, *call.words)]
    return np.array(words, np.uint64).view(np.int64)


def _growth(slots: np.ndarray, once: np.ndarray, twice: np.ndarray) -> Spots:
    """Which slots a counter moves, and by how much."""
    by = once - slots
    if (twice - once != by).any():
        raise RecordingError("a number of these calls does not grow evenly with its counter")
    (at,) = np.nonzero(by)
    return Spots(at, by[at])


def _spots(
    slots: np.ndarray, pointers: Sequence[int], regions: Mapping[Any, np.ndarray]
) -> dict[Any, Spots]:
    """Where addresses in each region stand. Raises RecordingError for one that is in none."""
    begins = sorted((region.ctypes.data, place) for place, region in regions.items())
    found: dict[Any, list[tuple[int, int]]] = {place: [] for place in regions}
    for slot in pointers:
        number = bisect_right(begins, slots[slot], key=lambda each: each[0]) - 1
        begin, place = begins[number]
        if number < 0 or slots[slot] >= begin + regions[place].nbytes:
            raise RecordingError("a kernel of the cpu made an array where it was lowered")
        found[place].append((slot, int(slots[slot]) - begin))
    return {
        place: Spots(*(np.array(column, np.int64) for column in zip(*each, strict=True)))
        for place, each in found.items()
        if each
    }


class Machine:
    """A run of code, with slots of its own. One thread at a time may use it."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.slots = code.slots.copy()
        self._held: dict[Any, np.ndarray] = {}  # what the addresses are of
        self._counters = {
            name: [
                (at, int(code.slots[at]), by)
                for at, by in zip(spots.at.tolist(), spots.by.tolist(), strict=True)
            ]
            for name, spots in code.counters.items()
        }
        self.alone = bool(code.calls[:, 2].all())  # no call is large enough for two threads

    def bind(self, place: Any, array: np.ndarray) -> None:
        """Let a place be `array`, contiguous; it must be as large."""
        if self._held.get(place) is array:
            return
        self._held[place] = array
        spots = self.code.places.get(place)
        if spots is not None:
            self.slots[spots.at] = array.ctypes.data + spots.by

    def forget(self, places: Iterable[Any]) -> None:
        """Let the next `bind` of these places be done, whatever they held."""
        for place in places:
            self._held.pop(place, None)

    def count(self, counters: Mapping[str, int]) -> None:
        """Let counters be so much more than in fresh code."""
        for name, places in self._counters.items():
            for slot, first, by in places:
                self.slots[slot] = first + counters[name] * by

    def run(self, watched: Any = None, cut: int = 0) -> bool:
        """Run; whether it was whole.

        watched: a place of one float64; a run that finds it not finite before machine call number
        `cut` ends there.
        """
        slot = -1 if watched is None else int(self.code.places[watched].at[0])
        return self._done(self.code.calls, 1, slot, cut) == 1

    def repeat(self, lo: int, hi: int, times: int) -> None:
        """Run machine calls lo to hi so many times, to see how long they take."""
        self._done(self.code.calls[lo:hi], times, -1, 0)

    def _done(self, calls: np.ndarray, times: int, slot: int, cut: int) -> int:
        threads = 1 if self.alone else get_num_threads()
        done = _run(calls, self.slots, times, slot, cut, threads)
        if done < 0:
            raise RuntimeError(f"machine call {-1 - done} of a program failed")
        return done

    def answering(self, x_place: Any, y_place: Any) -> Callable[[np.ndarray, np.ndarray], None]:
        """A function of x and y that runs it once with these two places on them.

        For what is asked often and takes microseconds. x and y are contiguous, and as large.
        """
        code, ends = self.code, [*self.code.places[x_place], *self.code.places[y_place]]
        row = [
            code.calls.ctypes.data, len(code.calls), self.slots.ctypes.data, self.slots.size,
            ends[0].ctypes.data, ends[1].ctypes.data, ends[0].size,
            ends[2].ctypes.data, ends[3].ctypes.data, ends[2].size, self.alone,
        ]  # fmt: skip
        made = partial(_answer, np.array(row, np.int64))
        vars(made)["machine"] = self  # keeps what the addresses are of
        return made
