"""Recording: arrays and kernels that compute nothing and write down what was asked of them.

A verb runs as ever; its arrays are `Recorded`: NumPy's in shape, strides and memory that nobody
touches, and each knows the place it is a view of. Kernels become `Call`s, and so do the few plain
NumPy operations of the layers. What would read a number (an `if`, an index) cannot be recorded and
is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...kernels import Backend
from ...kernels.device import Device
from ...kernels.errors import RecordingError
from ...kernels.spec import KERNELS
from ..workspace import SHARED, Workspace
from .program import BUFFER, CONSTANT, Argument, Call, Counter, Place, Program, View


class Counted(int):
    """A number that will be another at each replay; `first` of the counter `name`."""

    name: str

    def __new__(cls, first: int, name: str) -> Counted:
        made = super().__new__(cls, first)
        made.name = name
        return made


class Recorded(np.ndarray):
    """An array of a tape: a view of place number `place`. Its numbers mean nothing."""

    tape: Tape
    place: int

    def __array_finalize__(self, source: Any) -> None:
        if isinstance(source, Recorded):
            self.tape, self.place = source.tape, source.place

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        return self.tape.elementwise(ufunc, method, inputs, out, options)

    def __array_function__(self, function, types, args, options):
        if function in (np.empty_like, np.zeros_like):
            made = self.tape.new(self.shape, self.dtype, function.__name__)
            if function is np.zeros_like:
                self.tape.call("fill", 0.0, made)
            return made
        raise _unrecordable(f"numpy.{function.__name__}")

    def __setitem__(self, where: Any, value: Any) -> None:
        target = self[where]
        if not isinstance(target, Recorded) or not _within(target, self):
            raise _unrecordable("an assignment by index arrays")
        if not (isinstance(value, Recorded) and _same(value, target)):  # `a[...] += b` has done it
            self.tape.assign(target, value)

    def copy(self, order: Any = "C") -> Recorded:
        made = self.tape.new(self.shape, self.dtype, "copy")
        self.tape.assign(made, self)
        return made

    def reshape(self, *shape: Any, **options: Any) -> Recorded:
        made: Any = super().reshape(*shape, **options)
        return made if _within(made, self) else self.copy().reshape(*shape, **options)

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise _unrecordable("what reads numbers")

    if not TYPE_CHECKING:  # whose signatures these are not
        __bool__ = __float__ = __int__ = __index__ = __complex__ = _refuse
        item = tolist = tobytes = astype = nonzero = argmax = argmin = _refuse


def _unrecordable(what: str) -> RecordingError:
    return RecordingError(
        f"{what} cannot be written down in a program: a verb that is recorded works by kernels, "
        "and by NumPy's elementwise functions"
    )


def _within(view: np.ndarray, whole: np.ndarray) -> bool:
    """Whether `view` lies in the memory of `whole`; empty ones do."""
    return view.size == 0 or np.may_share_memory(view.view(np.ndarray), whole.view(np.ndarray))


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.ctypes.data == b.ctypes.data and a.shape == b.shape and a.strides == b.strides


class Tape:
    """What a recording writes: places and calls, in order."""

    def __init__(self) -> None:
        self._places: list[tuple[str, str, np.ndarray]] = []  # name, kind, all of its memory
        self._constants: dict[int, Recorded] = {}
        self._calls: list[Call] = []

    def new(self, shape: Any, dtype: Any, name: str, kind: str = BUFFER) -> Recorded:
        """A fresh place, as an array."""
        made = np.empty(shape, dtype).view(Recorded)
        made.tape, made.place = self, len(self._places)
        self._places.append((name, kind, made.view(np.ndarray)))
        return made

    def name(self, array: Recorded) -> str:
        """The name of the place that an array lies in."""
        return self._places[array.place][0]

    def call(self, kernel: str, *arguments: Any) -> None:
        """Write down a call."""
        self._calls.append(Call(kernel, tuple(map(self._argument, arguments))))

    def as_output(self, array: Recorded, name: str) -> None:
        """Let what lies in `array` be the place `name`, which whoever replays gives."""
        _, kind, memory = self._places[array.place]
        if kind == BUFFER and array.size == memory.size and array.flags.c_contiguous:
            self._places[array.place] = name, name, memory.reshape(array.shape)
        else:
            self.assign(self.new(array.shape, array.dtype, name, name), array)

    def assign(self, target: Recorded, value: Any) -> None:
        """target = value, by a kernel where both lie whole, by NumPy where not."""
        whole = target.flags.c_contiguous
        if isinstance(value, int | float | np.number) and whole:
            self.call("fill", float(value), target)
        elif isinstance(value, Recorded) and whole and value.flags.c_contiguous and (
            value.shape == target.shape and value.dtype == target.dtype
        ):  # fmt: skip
            self.call("copy", value, target)
        else:
            self.call("numpy.copyto", target, value)

    def elementwise(self, ufunc: np.ufunc, method: str, inputs, out, options) -> Any:
        """Write down a ufunc of NumPy's, or its `reduce`; returns its output."""
        if method not in ("__call__", "reduce") or options.get("where", True) is not True:
            raise _unrecordable(f"numpy.{ufunc.__name__}.{method}")
        if not out:
            out = (self._room_for(ufunc, method, inputs, options),)
        name = f"numpy.{ufunc.__name__}"
        if method == "__call__":
            self.call(name, *inputs, out[0])
        else:
            axis = options.get("axis")
            axes = range(inputs[0].ndim) if axis is None else np.atleast_1d(axis)
            self.call(f"{name}.reduce", inputs[0], tuple(map(int, axes)), out[0])
        return out[0]

    def _room_for(self, ufunc: np.ufunc, method: str, inputs, options) -> Recorded:
        """An output for a ufunc, of the shape and dtype that NumPy gives it."""
        arrays = [each for each in inputs if isinstance(each, np.ndarray)]
        if method == "reduce":
            axis, rank = options.get("axis"), arrays[0].ndim
            axes = range(rank) if axis is None else np.atleast_1d(axis) % rank
            shape = tuple(n for i, n in enumerate(arrays[0].shape) if i not in axes)
            return self.new(shape, arrays[0].dtype, ufunc.__name__)
        ones = (np.ones(1, each.dtype) if isinstance(each, np.ndarray) else each for each in inputs)
        shape = np.broadcast_shapes(*(each.shape for each in arrays))
        return self.new(shape, ufunc(*ones).dtype, ufunc.__name__)

    def _argument(self, given: Any) -> Argument:
        if isinstance(given, np.ndarray):
            array = given if isinstance(given, Recorded) else self._constant(given)
            memory, size = self._places[array.place][2], array.itemsize
            offset = (array.ctypes.data - memory.ctypes.data) // size if array.size else 0
            strides = tuple(stride // size for stride in array.strides)
            return View(array.place, offset, array.shape, strides)
        if isinstance(given, Counted):
            return Counter(given.name, int(given))
        if isinstance(given, np.generic):
            return cast(Argument, given.item())
        return tuple(map(int, given)) if isinstance(given, tuple | list) else given

    def _constant(self, array: np.ndarray) -> Recorded:
        """A plain array that a layer hands over: its numbers are part of the program."""
        found = self._constants.get(id(array))
        if found is None:
            found = self.new(array.shape, array.dtype, f"constant {len(self._constants)}", CONSTANT)
            found.view(np.ndarray)[...] = array
            self._constants[id(array)] = found
        return found

    def program(self, verb: str, batch: int, backend: str, dtype: str) -> Program:
        """What was written, without the places that no call touches."""
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for number, call in enumerate(self._calls):
            for view in call.views:
                first.setdefault(view.place, number)
                last[view.place] = number
        self._check_written(first)
        kept = {old: new for new, old in enumerate(sorted(first))}
        names = _told_apart([self._places[old][0] for old in kept])
        places = tuple(
            Place(
                name, kind, memory.shape, str(memory.dtype), first[old], last[old],
                tuple(memory.ravel().tolist()) if kind == CONSTANT else (),
            )
            for name, old in zip(names, kept, strict=True)
            for _, kind, memory in (self._places[old],)
        )  # fmt: skip
        calls = tuple(
            Call(call.kernel, tuple(
                each._replace(place=kept[each.place]) if isinstance(each, View) else each
                for each in call.arguments
            ))
            for call in self._calls
        )  # fmt: skip
        return Program(verb, batch, backend, dtype, places, calls)

    def _check_written(self, first: dict[int, int]) -> None:
        """Raise RecordingError for a buffer that is read before anything was written into it."""
        for place, number in first.items():
            name, kind, _ = self._places[place]
            if kind == BUFFER and not _writes(self._calls[number], place):
                raise RecordingError(
                    f"the buffer '{name}' is read before anything was written into it: what a verb "
                    "keeps for another goes into `saved`, since buffers are new for each"
                )


def _writes(call: Call, place: int) -> bool:
    """Whether a call overwrites a place that it touches first."""
    if call.kernel not in KERNELS:  # NumPy's: the target comes first in copyto, else last
        at = 0 if call.kernel == "numpy.copyto" else -1
        target = call.arguments[at]
        return isinstance(target, View) and target.place == place
    kernel = KERNELS[call.kernel]
    given = dict(zip(kernel.axes, call.arguments, strict=True))
    for name, argument in given.items():
        if isinstance(argument, View) and argument.place == place:
            way = kernel.writes.get(name)
            fresh = way == "=" or (way == "beta" and given["beta"] == 0)
            if not fresh and name not in kernel.scratch and name not in kernel.rooms:
                return False
    return True


def _told_apart(names: list[str]) -> list[str]:
    """Names, the second of a kind with a number."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


class RecordingDevice:
    """The memory of a recording. It is asynchronous: nobody may wait for a number."""

    name = "recording"
    asynchronous = True

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def empty(self, shape: Any, dtype: Any) -> Recorded:
        return self._tape.new(shape, dtype, "made")

    def zeros(self, shape: Any, dtype: Any) -> Recorded:
        return self.full(shape, 0.0, dtype)

    def full(self, shape: Any, fill_value: Any, dtype: Any) -> Recorded:
        made = self.empty(shape, dtype)
        self._tape.assign(made, fill_value)
        return made

    def put(self, array: Any) -> Any:
        return array if array.flags.c_contiguous else array.copy()

    def get(self, array: Any) -> np.ndarray:
        raise _unrecordable("what reads numbers")

    def owns(self, array: Any) -> bool:
        return isinstance(array, np.ndarray)

    def address(self, array: np.ndarray) -> int:
        return array.ctypes.data

    def synchronize(self) -> None:
        """Nothing is queued."""

    def capture(self, record: Callable[[], None]) -> Callable[[], None]:
        raise _unrecordable("a captured graph")


class Recorder:
    """A backend whose kernels write themselves down; scratch is as large as `ops` wants it."""

    def __init__(self, tape: Tape, ops: Backend) -> None:
        self.NAME = ops.NAME
        self.device: Device = RecordingDevice(tape)
        self._tape, self._ops = tape, ops

    def __getattr__(self, name: str) -> Any:
        if name in KERNELS:
            return partial(self._tape.call, name)
        return getattr(self._ops, name)


class FreshWorkspace(Workspace):
    """Buffers of a recording: a new place each time one is taken, so that life times are short."""

    def __init__(self, dtype: np.dtype, tape: Tape) -> None:
        super().__init__(dtype, RecordingDevice(tape))
        self._tape = tape

    def take(self, key: tuple[str, str], shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
        layer, name = key
        full = name if layer in ("", SHARED) else f"{layer}.{name}"
        return self._tape.new(shape, dtype or self.dtype, full)

    def flow(self, shape: tuple[int, ...], beside: np.ndarray) -> np.ndarray:
        return self._tape.new(shape, self.dtype, "flow")
