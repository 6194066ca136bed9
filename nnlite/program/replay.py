"""Replay: a program done again, on arrays that are given.

`replay` chooses how. On the cpu a program is a list of machine calls (`kernels.cpu.machine`), run
without entering Python between them. On other backends, and where a layer leaves something to
NumPy, its calls are made one after another from here. The bits are those of the network's verbs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ...kernels import Backend
from .plan import ALIGNMENT
from .program import CONSTANT, Call, Counter, Program, View

# Of each counter, how much more it is than at first; or an int64 array (1,) on the device that is
# its value, for a graph that is captured once and counts on there.
Counts = Mapping[str, Any]
_FIRST: Counts = {}


class Replay(Protocol):
    """A program over arrays. One thread at a time may run it.

    bound: what was bound last, for who binds the same anew.
    """

    program: Program
    bound: Any

    def bind(self, arrays: Mapping[str, Any]) -> None:
        """Let places of these names be arrays: contiguous, of the place's shape and dtype."""
        ...

    def work_in(self, arena: Any) -> None:
        """Let the buffers lie in these bytes of the device, at least `program.arena_bytes`."""
        ...

    def run(self, counts: Counts = _FIRST) -> None:
        """Do it. counts: of each counter that the program has."""
        ...

    def answering(self) -> Callable[[Any, Any], None]:
        """A function of x and outputs that does it, without counters: of verb "forward"."""
        ...

    def learn(self, counts: Counts) -> bool:
        """A training step on the x and y that are bound, of a program of verb "train".

        Whether it was whole: where the loss is not finite, the update is left out.
        """
        ...


def replay(program: Program, ops: Backend) -> Replay:
    """A replay of a program of backend `ops`; it works in no arena yet."""
    return MachineReplay(program, ops) if by_machine(program, ops) else PlainReplay(program, ops)


def by_machine(program: Program, ops: Backend) -> bool:
    """Whether its replay is one of machine calls, which `learn_many` takes."""
    return ops.NAME == "cpu" and all("." not in call.kernel for call in program.calls)


def empty_arena(ops: Backend, nbytes: int) -> Any:
    """Memory for buffers, on a boundary of cache lines."""
    room = ops.device.empty((nbytes + ALIGNMENT,), np.uint8)
    begin = -ops.device.address(room) % ALIGNMENT
    return room[begin : begin + nbytes]


def _buffers(program: Program, arena: Any) -> dict[int, Any]:
    """The array of each buffer, in the arena."""
    return {
        number: arena[at : at + place.nbytes].view(place.dtype).reshape(place.shape)
        for number, at in program.offsets.items()
        for place in (program.places[number],)
    }


def _constants(program: Program) -> dict[int, np.ndarray]:
    return {
        number: np.array(place.values, place.dtype).reshape(place.shape)
        for number, place in enumerate(program.places)
        if place.kind == CONSTANT
    }


def _arguments(call: Call, memory: Mapping[int, Any], counts: Counts) -> list[Any]:
    """A call's arguments as its kernel takes them."""
    return [
        _viewed(memory[each.place], each) if isinstance(each, View)
        else _counted(each, counts.get(each.name, 0)) if isinstance(each, Counter)
        else each
        for each in call.arguments
    ]  # fmt: skip


def _counted(counter: Counter, count: Any) -> Any:
    return counter.first + count if isinstance(count, int) else count


def _viewed(whole: Any, view: View) -> Any:
    """The part of a place's array that a view names."""
    if view.offset == 0 and view.shape == whole.shape:
        return whole
    contiguous = tuple(int(n) for n in np.cumprod((1, *view.shape[:0:-1]))[::-1])
    if view.strides == contiguous:
        size = int(np.prod(view.shape))
        return whole.reshape(-1)[view.offset : view.offset + size].reshape(view.shape)
    strides = tuple(stride * whole.itemsize for stride in view.strides)
    flat = whole.reshape(-1)[view.offset :]
    if isinstance(flat, np.ndarray):
        return np.lib.stride_tricks.as_strided(flat, view.shape, strides)
    return type(flat)(view.shape, flat.dtype, flat.data, strides)  # CuPy's, of the same meaning


class _Bound:
    """What replays of either kind do alike: say of each array which place it is."""

    _put: Callable[[int, Any], None]  # let a place be an array

    def __init__(self, program: Program) -> None:
        self.program, self.bound = program, None

    def bind(self, arrays: Mapping[str, Any]) -> None:
        numbers = self.program.numbers
        for name, array in arrays.items():
            if name in numbers:
                self._put(numbers[name], array)

    def work_in(self, arena: Any) -> None:
        for place, array in _buffers(self.program, arena).items():
            self._put(place, array)


class PlainReplay(_Bound):
    """Calls one after another, from Python."""

    def __init__(self, program: Program, ops: Backend) -> None:
        super().__init__(program)
        constants = _constants(program).items()
        self._memory: dict[int, Any] = {place: ops.device.put(value) for place, value in constants}
        self._functions = [_function(ops, call.kernel) for call in program.calls]
        self._ready: list[list[Any] | None] = [None] * len(program.calls)  # arguments
        self._users: dict[int, set[int]] = {}  # place -> the calls that touch it
        for number, call in enumerate(program.calls):
            for view in call.views:
                self._users.setdefault(view.place, set()).add(number)

    def _put(self, place: int, array: Any) -> None:
        if self._memory.get(place) is not array:
            self._memory[place] = array
            for number in self._users.get(place, ()):
                self._ready[number] = None

    def run(self, counts: Counts = _FIRST) -> None:
        for number in range(len(self._functions)):
            self.call(number, counts)

    def answering(self) -> Callable[[Any, Any], None]:
        return self._answer

    def _answer(self, x: Any, outputs: Any) -> None:
        self.bind({"x": x, "outputs": outputs})
        self.run({"draw": 0})

    def view(self, view: View) -> Any:
        """The array that a view names."""
        return _viewed(self._memory[view.place], view)

    def call(self, number: int, counts: Counts) -> None:
        """Do call number `number` alone."""
        call, ready = self.program.calls[number], self._ready[number]
        if ready is None:
            ready = _arguments(call, self._memory, counts)
            if not any(isinstance(each, Counter) for each in call.arguments):
                self._ready[number] = ready
        self._functions[number](*ready)

    def learn(self, counts: Counts) -> bool:
        loss = self._memory[self.program.numbers["loss"]]
        for number in range(len(self._functions)):
            if number == self.program.update and not np.isfinite(loss[0]):
                return False
            self.call(number, counts)
        return True


def _function(ops: Backend, name: str) -> Any:
    """A kernel of `ops`, or what stands for a NumPy function on arrays of its device."""
    if not name.startswith("numpy."):
        return getattr(ops, name)
    _, function, *reduce = name.split(".")
    ufunc = getattr(np, function)
    if reduce:
        return lambda x, axes, out: out.__setitem__(..., ufunc.reduce(x, tuple(axes)))
    if function == "copyto":
        return lambda target, value: target.__setitem__(..., value)
    return lambda *given: ufunc(*given[:-1], out=given[-1])


class MachineReplay(_Bound):
    """Machine calls of the cpu, one after another without Python."""

    def __init__(self, program: Program, ops: Backend) -> None:
        from ...kernels.cpu.machine import Machine  # noqa: PLC0415  (imports Numba)

        super().__init__(program)
        self.machine = Machine(_code(program, ops))
        self._put = self.machine.bind  # no method between: a step binds several
        for place, values in _constants(program).items():
            self._put(place, values)

    @cached_property
    def _update(self) -> int:
        """The first machine call of the update."""
        return self.machine.code.ends[self.program.update]

    def run(self, counts: Counts = _FIRST) -> None:
        self.machine.count(counts)
        self.machine.run()

    def answering(self) -> Callable[[Any, Any], None]:
        numbers = self.program.numbers
        return self.machine.answering(numbers["x"], numbers["outputs"])

    def learn(self, counts: Counts) -> bool:
        self.machine.count(counts)
        return self.machine.run(self.program.numbers["loss"], self._update)

    @cached_property
    def steps(self) -> Any:
        """It as one of those that take turns in `learn_many`."""
        from ...kernels.cpu.turns import Steps  # noqa: PLC0415

        numbers, batch = self.program.numbers, self.program.batch
        loss, rows = numbers["loss"], numbers["rows"]
        return Steps(self.machine, loss, self._update, batch, {loss: 8}, {rows: 8})

    def begin(self, loss: np.ndarray, rows: np.ndarray, counts: Counts) -> None:
        """Let the next steps put their losses and take their rows from here on."""
        machine, numbers = self.machine, self.program.numbers
        machine.forget((numbers["loss"], numbers["rows"]))  # steps have moved their addresses
        self.bind({"loss": loss, "rows": rows})
        machine.count(counts)


def learn_many(
    replays: Sequence[MachineReplay],
    turns: np.ndarray,
    loss: np.ndarray,
    rows: np.ndarray,
    counts: Counts,
) -> int:
    """Training steps one after another in one call, until a loss is not finite.

    replays: of verb "train", for each size of batch; turns (steps,) int64: whose each step is.
    loss (steps,) float64: gets their losses; rows int64: the samples of all steps, one step after
    another. Returns how many were whole: where a loss is not finite, its update is left out.
    """
    from ...kernels.cpu.turns import take_turns  # noqa: PLC0415

    for each in replays:
        each.begin(loss, rows, counts)
    return take_turns([each.steps for each in replays], turns)


# By the program's hash: lowered once for all networks that share it.
_codes: OrderedDict[str, Any] = OrderedDict()
_KEPT = 512


def _code(program: Program, ops: Backend) -> Any:
    """A program's machine code."""
    if program.hash not in _codes:
        from ...kernels.cpu.machine import assemble  # noqa: PLC0415

        regions = {
            number: np.empty(place.shape, place.dtype)  # never touched: only addresses count
            for number, place in enumerate(program.places)
        } | _constants(program)

        def calls(counts: Counts) -> list[tuple[Any, list[Any]]]:
            return [
                (getattr(ops, call.kernel), _arguments(call, regions, counts))
                for call in program.calls
            ]

        grown = {name: (calls({name: 1}), calls({name: 2})) for name in program.counters}
        code = _codes[program.hash] = assemble(calls(_FIRST), grown, regions)
        if len(_codes) > _KEPT:
            _codes.popitem(last=False)
        return code
    return _codes[program.hash]
