"""How a kernel of the contract is called in C: its arguments, then the sizes of its axes.

Arrays become pointers, pairs two ints, codes and flags ints, other numbers floats; those from which
a step's factors follow in float64 (`DOUBLES`) are doubles. Sizes come last, an int each axis,
sorted: `I, N, O`; h, w and m are called OH, OW and M, since w is also an array.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from ..spec import KERNELS

SIZE_NAMES = {"h": "OH", "w": "OW", "m": "M"}
# What arrays hold in C, and that in NumPy.
DTYPES: dict[str, np.dtype] = {
    "float": np.dtype(np.float32), "double": np.dtype(np.float64), "int32_t": np.dtype(np.int32),
    "uint32_t": np.dtype(np.uint32), "uint16_t": np.dtype(np.uint16),
    "uint8_t": np.dtype(np.uint8), "int8_t": np.dtype(np.int8),
}  # fmt: skip
# dtype of an array -> in C. Labels and rows are int64 in NumPy, int32_t here; flags are bytes.
TYPES = {str(dtype): name for name, dtype in DTYPES.items()} | {
    "int64": "int32_t", "bool": "uint8_t",
}  # fmt: skip
DOUBLES = {
    "adam_update": ("lr", "beta1", "beta2"), "rmsprop_update": ("alpha",),
    "adadelta_update": ("rho",),
    "norm_moments": ("momentum",), "dropout": ("rate",),
}  # fmt: skip
WIDE = {"seed": "uint64_t", "draw": "uint64_t", "step": "uint32_t", "count": "uint32_t"}


@dataclass(frozen=True)
class Parameter:
    """A parameter in C. kind: "array", "pair", "number" or "size"; type: without `const`, `*`."""

    name: str
    kind: str
    type: str
    written: bool = False

    @property
    def declared(self) -> str:
        if self.kind == "array":
            return f"{'' if self.written else 'const '}{self.type} *{self.name}"
        if self.kind == "pair":
            return f"int {self.name}0, int {self.name}1"
        return f"{self.type} {self.name}"


def letters(kernel: str) -> list[str]:
    """The axis letters whose sizes a kernel is given, in order."""
    axes = "".join(each or "" for each in KERNELS[kernel].axes.values())
    return sorted({letter for letter in axes if letter.isalpha()})


@cache
def parameters(kernel: str) -> tuple[Parameter, ...]:
    """The parameters of a kernel's C function, in order."""
    entry = KERNELS[kernel]
    sizes = dict.fromkeys(entry.letters(), 4)
    sample = entry.arguments(np.random.default_rng(0), sizes, "float32", next(iter(entry.variants)))
    found = []
    for name, axes in entry.axes.items():
        given = sample[name]
        if axes is not None or name in entry.rooms:
            kind = "float32" if given is None else str(given.dtype)
            written = name in entry.writes or name in entry.scratch or name in entry.rooms
            found.append(Parameter(name, "array", TYPES[kind], written))
        elif isinstance(given, tuple):
            found.append(Parameter(name, "pair", "int"))
        else:
            found.append(Parameter(name, "number", _number(kernel, name, given)))
    found += [Parameter(SIZE_NAMES.get(each, each), "size", "int") for each in letters(kernel)]
    return tuple(found)


def _number(kernel: str, name: str, given: float) -> str:
    if name in WIDE:
        return WIDE[name]
    if name in DOUBLES.get(kernel, ()):
        return "double"
    return "float" if isinstance(given, float) else "int"


def prototype(kernel: str) -> str:
    """`static void ws_NAME(...)`, on one line."""
    declared = ", ".join(each.declared for each in parameters(kernel))
    return f"static void ws_{kernel}({declared})"
