"""A program as C statements: pointers to its places, then its calls with all sizes as literals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ....kernels.c.conv_plan import plan
from ....kernels.c.library import sizes_of
from ....kernels.c.signature import DTYPES, TYPES, Parameter, letters, parameters
from ....kernels.c.sources import PREFIX
from ....kernels.c.sources import kernels as in_c
from ....kernels.errors import RecordingError
from ....kernels.spec import KERNELS
from ...program.plan import packed
from ...program.program import BUFFER, CONSTANT, Argument, Call, Counter, Place, Program, View
from .memory import ALIGNMENT
from .text import array, identifier, number

FLASH = "WS_FLASH"


@dataclass
class Constants:
    """Arrays that are printed once a file: what layers know, and weights."""

    prefix: str
    texts: dict[str, str] = field(default_factory=dict)
    nbytes: int = 0

    def add(self, name: str, values: np.ndarray, kind: str, place: str = "") -> str:
        """The name of a constant array of these values; equal ones of a name are one."""
        stem = full = f"{self.prefix}_{identifier(name).lstrip('_')}"
        text = array(full, values, kind, place)
        number_ = 2
        while self.texts.get(full, text) != text:
            full = f"{stem}_{number_}"
            text = array(full, values, kind, place)
            number_ += 1
        if full not in self.texts:
            self.texts[full] = text
            self.nbytes += values.size * DTYPES[kind].itemsize
        return full


class Statements:
    """A program's calls in C.

    where: the C expression of a place that somebody else gives, by the place's name: a pointer to
    its first element. weights: offset in theta -> expression, where theta is no single array.
    winograd: False where convolutions go directly.
    """

    def __init__(
        self,
        program: Program,
        where: Mapping[str, str],
        constants: Constants,
        buffers: str,
        weights: Mapping[int, str] | None = None,
        winograd: bool = True,
    ) -> None:
        self.program, self._where, self._constants = program, where, constants
        self._winograd = winograd
        self._buffers, self._weights = buffers, weights or {}
        self.offsets = packed(program.spans, ALIGNMENT)
        self.functions: dict[str, None] = {}
        self.activations = 0  # a bit each code that a call has
        check_calls(program)

    @property
    def nbytes(self) -> int:
        """Bytes of buffers."""
        places = self.program.places
        return max((at + places[n].nbytes for n, at in self.offsets.items()), default=0)

    def pointers(self) -> list[str]:
        """Declarations of the buffers, each a pointer into the arena."""
        found = []
        for number_, offset in self.offsets.items():
            place = self.program.places[number_]
            if not place.nbytes:
                continue
            kind, shape = TYPES[place.dtype], "x".join(map(str, place.shape))
            at = f"({kind} *)(void *)({self._buffers} + {offset})"
            found.append(f"{kind} *const {_local(place, number_)} = {at}; /* {shape} */")
        return found

    def call(self, call: Call) -> str:
        """One call, with its semicolon."""
        kernel = call.kernel
        given = dict(zip(KERNELS[kernel].axes, call.arguments, strict=True))
        shapes = {name: each.shape for name, each in given.items() if isinstance(each, View)}
        sizes = sizes_of(kernel, shapes)
        words: list[str] = []
        self.activations |= 1 << int(given.get("act", 0))  # type: ignore[arg-type]
        for parameter, argument in zip(parameters(kernel), (*given.values(), *sizes), strict=True):
            words += self._argument(parameter, argument)
        known = dict(zip(letters(kernel), sizes, strict=True))
        function = PREFIX + plan(kernel, known, given, self._winograd).function
        self.functions[function] = None
        return f"{function}({', '.join(words)});"

    def calls(self, first: int = 0, last: int | None = None) -> list[str]:
        """The calls from `first` to before `last`."""
        return [self.call(each) for each in self.program.calls[first:last]]

    def _argument(self, parameter: Parameter, argument: Argument) -> list[str]:
        if parameter.kind == "pair":
            assert isinstance(argument, tuple)
            return [str(each) for each in argument]
        if parameter.kind == "array":
            return [
                self.view(argument) if isinstance(argument, View) and _size(argument) else "NULL"
            ]
        if isinstance(argument, Counter):
            return [self._where[argument.name]]
        assert isinstance(argument, int | float)
        return [number(argument, parameter.type)]

    def view(self, view: View) -> str:
        """The C expression of an array argument."""
        place = self.program.places[view.place]
        if place.kind == BUFFER:
            base = _local(place, view.place)
        elif place.kind == CONSTANT:
            values = np.array(place.values).reshape(place.shape)
            base = self._constants.add("constant", values, TYPES[place.dtype])
        elif place.name == "theta" and view.offset in self._weights:
            return self._weights[view.offset]
        else:
            base = self._where[place.name]
        return f"{base} + {view.offset}" if view.offset else base


def check_calls(program: Program) -> None:
    """Raise RecordingError for what no C kernel does, by name."""
    known = set(in_c())
    for call in program.calls:
        if call.kernel not in known:
            raise RecordingError(
                f"'{call.kernel}', which this network's {program.verb} calls, has no C: there is "
                f"for {', '.join(sorted(known))}"
            )
        for view in call.views:
            if not _whole(view):
                raise RecordingError(
                    f"'{call.kernel}' gets an array that does not lie in one piece, as C needs it"
                )


def _whole(view: View) -> bool:
    """Whether a view is contiguous."""
    step = 1
    for length, stride in zip(reversed(view.shape), reversed(view.strides), strict=True):
        if length > 1 and stride != step:
            return False
        step *= length
    return True


def _size(view: View) -> int:
    """How many numbers a view has: scratch that nobody needs has none."""
    return math.prod(view.shape)


def _local(place: Place, number_: int) -> str:
    """A buffer's name in C, one of its own."""
    return f"b{number_}_{identifier(place.name).lstrip('_')}"
