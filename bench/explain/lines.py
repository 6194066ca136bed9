"""A program's calls as lines: what each reads and writes, by name and shape, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...kernels.codes import ACTIVATIONS
from ...kernels.spec import KERNELS
from ...nnlite.layout import Layout
from ...nnlite.program import Call, Cost, Counter, Program, View, cost

_ACT = {code: name for name, code in ACTIVATIONS.items()}
_QUIET = {"slope", "eps", "beta1", "beta2"}  # settings that say little about a call


@dataclass(frozen=True)
class Line:
    """A call: its number, what it reads and writes ("1.y 32x16"), what it is told, its cost."""

    number: int
    kernel: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    told: str
    cost: Cost


class Names:
    """How arrays are called: by place, and parts of vectors by the parameter's name."""

    def __init__(self, program: Program, layout: Layout) -> None:
        self._program, self._size = program, layout.size
        self._parameters = {
            (layout.offset(name), math.prod(layout.shape(name))): name for name in layout
        }

    def __call__(self, view: View) -> str:
        """An array with its shape: "theta.0.bias 16", "1.y 32x16"."""
        place = self._program.places[view.place]
        size = math.prod(view.shape)
        name = self._parameters.get((view.offset, size))
        shape = "x".join(map(str, view.shape)) or "1"
        if place.shape == (self._size,) and name and size < self._size:
            return f"{place.name}.{name} {shape}"
        return f"{place.name}{f'+{view.offset}' if view.offset else ''} {shape}"


def lines(program: Program, names: Names) -> list[Line]:
    """Each call of a program, in order."""
    return [_line(program, names, number, call) for number, call in enumerate(program.calls)]


def written(program: Program, call: Call) -> Iterator[View]:
    """The arrays that a call writes, scratch left out."""
    if call.kernel not in KERNELS:
        *_, last = call.views
        yield next(call.views) if call.kernel == "numpy.copyto" else last
        return
    kernel = KERNELS[call.kernel]
    for name, argument in zip(kernel.axes, call.arguments, strict=True):
        if name in kernel.writes and isinstance(argument, View):
            yield argument


def phases(program: Program) -> list[tuple[str, int, int]]:
    """(name, first call, last call) of what a program does in turn: forward, backward, update.

    Tangents go along with the way forward, layer by layer. The way back begins with the first
    call that takes cotangents to inputs or parameters of a layer.
    """
    backward = next((n for n, call in enumerate(program.calls) if _goes_back(call.kernel)), None)
    begins = {"forward": 0}
    if backward is not None:
        begins["backward"] = backward
    if program.verb == "train":
        begins["update"] = program.update
    found = sorted(begins.items(), key=lambda each: each[1])
    ends = [first - 1 for _, first in found[1:]] + [len(program.calls) - 1]
    return [(name, first, last)
            for (name, first), last in zip(found, ends, strict=True) if first <= last]  # fmt: skip


def _goes_back(kernel: str) -> bool:
    return kernel != "softmax_backward" and kernel.endswith(("_backward", "_grad", "_accumulate"))


def _line(program: Program, said: Names, number: int, call: Call) -> Line:
    names: list[Any] = list(KERNELS[call.kernel].axes) if call.kernel in KERNELS else []
    names += [""] * (len(call.arguments) - len(names))
    scratch = set()
    if call.kernel in KERNELS:
        scratch = {*KERNELS[call.kernel].scratch, *KERNELS[call.kernel].rooms}
        scratch |= set(KERNELS[call.kernel].writes)  # what it is given twice is read, too
    target = None if call.kernel in KERNELS else next(written(program, call))
    reads, told = [], []
    for name, argument in zip(names, call.arguments, strict=True):
        if isinstance(argument, View):
            if name not in scratch and argument is not target:
                reads.append(said(argument))
        elif argument is not None and name not in _QUIET:
            told.append(_told(name, argument))
    writes = [said(each) for each in written(program, call)]
    what = " ".join(filter(None, told))
    return Line(number, call.kernel, tuple(reads), tuple(writes), what, cost(program, call))


def _told(name: str, argument: Any) -> str:
    if name == "act":
        return "" if _ACT[argument] == "identity" else _ACT[argument]
    if isinstance(argument, Counter):
        return argument.name
    if isinstance(argument, tuple):
        return "" if set(argument) <= {0} else f"{name} {'x'.join(map(str, argument))}"
    if name in ("lam", "beta") and not argument:
        return ""
    return f"{name} {argument:.4g}" if isinstance(argument, float) else f"{name} {argument}"
