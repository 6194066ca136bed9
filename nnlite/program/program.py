"""Program: what a network's verb does, as data: a list of kernel calls over named places in memory.

It is made by running the verb once on kernels that compute nothing and write themselves down
(`recorder`), and holds nothing but plain values: it can be printed, hashed, kept as JSON, planned
(`plan`), replayed (`replay`), captured as a CUDA graph or exported.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ...kernels.spec import KERNELS
from ..layout import Shape
from .plan import Span, packed

# What a place is to the verb. "buffer": what lies between two calls, which the plan packs;
# "constant": numbers that layers know (`Place.values`). All others are bound by whoever replays.
BUFFER, CONSTANT = "buffer", "constant"


class View(NamedTuple):
    """An array argument: where in a place it lies. offset and strides in elements."""

    place: int
    offset: int
    shape: Shape
    strides: tuple[int, ...]


class Counter(NamedTuple):
    """A whole number that grows by 1 at each replay: "step" (from 1) or "draw" (from 0)."""

    name: str
    first: int


Argument = View | Counter | int | float | bool | tuple[int, ...] | None


class Call(NamedTuple):
    """One call: a kernel of the contract, or a function of NumPy ("numpy.negative")."""

    kernel: str
    arguments: tuple[Argument, ...]

    @property
    def views(self) -> Iterator[View]:
        """The array arguments, in order."""
        return (each for each in self.arguments if isinstance(each, View))


@dataclass(frozen=True)
class Place:
    """A named array (shape, dtype) of a kind; first and last number the calls that touch it."""

    name: str
    kind: str
    shape: Shape
    dtype: str
    first: int
    last: int
    values: tuple[float, ...] = ()

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Program:
    """Calls over places, in order. batch: of how many samples; backend: whose scratch is in it."""

    verb: str
    batch: int
    backend: str
    dtype: str
    places: tuple[Place, ...]
    calls: tuple[Call, ...]

    def place(self, name: str) -> int:
        """The number of a place; KeyError for a name that is none."""
        return self.numbers[name]

    def __contains__(self, name: object) -> bool:
        return name in self.numbers

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each place, by its name."""
        return {place.name: number for number, place in enumerate(self.places)}

    @cached_property
    def update(self) -> int:
        """The number of the call after the mean of the losses, in a program of verb "train"."""
        means = "mean_loss", "weighted_mean"
        return next(n for n, call in enumerate(self.calls, 1) if call.kernel in means)

    @cached_property
    def counters(self) -> tuple[str, ...]:
        """The counters among its arguments."""
        found = {a.name: None for c in self.calls for a in c.arguments if isinstance(a, Counter)}
        return tuple(found)

    # ---- memory ------------------------------------------------------------------------------

    @cached_property
    def offsets(self) -> dict[int, int]:
        """Place -> byte in the arena, of all buffers; those alive together do not overlap."""
        return packed(self.spans)

    @cached_property
    def arena_bytes(self) -> int:
        """Bytes of the arena that `offsets` fill."""
        ends = [self.offsets[i] + self.places[i].nbytes for i in self.offsets]
        return max(ends, default=0)

    @property
    def spans(self) -> dict[int, Span]:
        """Size and life time of each buffer, by its place's number."""
        return {
            number: Span(place.nbytes, place.first, place.last)
            for number, place in enumerate(self.places)
            if place.kind == BUFFER
        }

    def bytes_of(self, *kinds: str) -> int:
        """Bytes of all places of these kinds."""
        return sum(place.nbytes for place in self.places if place.kind in kinds)

    # ---- as plain data -----------------------------------------------------------------------

    def plain(self) -> dict[str, Any]:
        """All of it as JSON's values; `from_plain` is the way back."""
        return {
            "verb": self.verb,
            "batch": self.batch,
            "backend": self.backend,
            "dtype": self.dtype,
            "places": [asdict(place) for place in self.places],
            "calls": [
                {"kernel": call.kernel, "arguments": [_plain(each) for each in call.arguments]}
                for call in self.calls
            ],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Program:
        """The program that `plain` described."""
        places = tuple(
            Place(**{**each, "shape": tuple(each["shape"]), "values": tuple(each["values"])})
            for each in plain["places"]
        )
        calls = tuple(
            Call(each["kernel"], tuple(map(_argument, each["arguments"])))
            for each in plain["calls"]
        )
        return cls(plain["verb"], plain["batch"], plain["backend"], plain["dtype"], places, calls)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of `plain`, in hexadecimal: equal for equal programs, in any process."""
        text = json.dumps(self.plain(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def _repr_html_(self) -> str:
        """What a notebook shows: a line a call; `weightspace explain` says more."""
        names = [place.name for place in self.places]
        costs = [cost(self, call) for call in self.calls]
        rows = [
            f"<tr><td>{number}</td><td>{html.escape(call.kernel)}</td><td style='text-align:left'>"
            f"{html.escape(', '.join(shown(each, names) for each in call.views))}</td>"
            f"<td>{costs[number].flops:,.0f}</td>"
            f"<td>{costs[number].read + costs[number].written:,}</td></tr>"
            for number, call in enumerate(self.calls)
        ]
        head = "".join(f"<th>{name}</th>" for name in ("", "kernel", "arrays", "flops", "bytes"))
        said = (
            f"{self.verb}, batch {self.batch}, {self.dtype}: {len(self.calls)} calls, "
            f"{sum(each.flops for each in costs):,.0f} flops, "
            f"arena {self.arena_bytes:,} of {self.bytes_of(BUFFER):,} bytes"
        )
        return f"<table><caption>{said}</caption><tr>{head}</tr>{''.join(rows)}</table>"

    def __str__(self) -> str:
        names = [place.name for place in self.places]
        lines = []
        for number, call in enumerate(self.calls):
            arguments = ", ".join(shown(each, names) for each in call.arguments)
            lines.append(f"{number:4d}  {call.kernel}({arguments})")
        return "\n".join(lines)


class Cost(NamedTuple):
    """What a call needs at least: floating-point operations, bytes loaded and bytes stored.

    updated: the part of `written` that lies where it was read.
    """

    flops: float
    read: int
    written: int
    updated: int = 0

    @property
    def touched(self) -> int:
        """Bytes of its arrays, each once."""
        return self.read + self.written - self.updated


def cost(program: Program, call: Call) -> Cost:
    """By the contract, from this call's shapes; of NumPy's functions one operation a number."""
    nbytes = {each: _nbytes(program, each) for each in call.views}
    if call.kernel not in KERNELS:
        return _numpy_cost(call, nbytes)
    kernel = KERNELS[call.kernel]
    given = dict(zip(kernel.axes, call.arguments, strict=True))
    shapes = {
        name: argument.shape if isinstance(argument, View) else None
        for name, argument in given.items()
        if kernel.axes[name] is not None
    }
    read = written = updated = 0
    inputs = {a for n, a in given.items() if isinstance(a, View) and n not in kernel.writes}
    for name, argument in given.items():
        if isinstance(argument, View) and name not in (*kernel.scratch, *kernel.rooms):
            way = kernel.writes.get(name)
            adds = way == "+=" or (way == "beta" and given["beta"] != 0)
            read += nbytes[argument] if way is None or adds else 0
            written += nbytes[argument] if way is not None else 0
            updated += nbytes[argument] if adds or (way and argument in inputs) else 0
    return Cost(kernel.cost(shapes, given), read, written, updated)


def _numpy_cost(call: Call, nbytes: Mapping[View, int]) -> Cost:
    """Of a function of NumPy's: its target comes first in copyto, which computes nothing."""
    views = list(call.views)
    target = views.pop(0 if call.kernel == "numpy.copyto" else -1)
    largest = max(math.prod(each.shape) for each in (target, *views))  # a sum's is what it sums
    return Cost(
        0 if call.kernel == "numpy.copyto" else largest,
        sum(nbytes[each] for each in views),
        nbytes[target],
        nbytes[target] if target in views else 0,
    )


def _nbytes(program: Program, view: View) -> int:
    return math.prod(view.shape) * np.dtype(program.places[view.place].dtype).itemsize


def _plain(argument: Argument) -> Any:
    if isinstance(argument, View):
        return {"view": [argument.place, argument.offset, list(argument.shape),
                         list(argument.strides)]}  # fmt: skip
    if isinstance(argument, Counter):
        return {"counter": list(argument)}
    return {"pair": list(argument)} if isinstance(argument, tuple) else argument


def _argument(plain: Any) -> Argument:
    if isinstance(plain, dict):
        if "view" in plain:
            place, offset, shape, strides = plain["view"]
            return View(place, offset, tuple(shape), tuple(strides))
        return Counter(*plain["counter"]) if "counter" in plain else tuple(plain["pair"])
    return plain


def shown(argument: Argument, names: list[str]) -> str:
    """An argument as a person reads it: `1.y[32x16]`."""
    if isinstance(argument, View):
        shape = "x".join(map(str, argument.shape)) or "scalar"
        at = f"+{argument.offset}" if argument.offset else ""
        return f"{names[argument.place]}{at}[{shape}]"
    if isinstance(argument, Counter):
        return argument.name
    return f"{argument:g}" if isinstance(argument, float) else str(argument)
