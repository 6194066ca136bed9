"""print_c: a Quantised as one C99 file and its header, of the bits of `Quantised.predict`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..c.export import Exported
from ..c.predict import write_predict
from ..c.text import check_prefix, number
from ..c.unit import Unit
from .operations import (
    Add,
    AveragePool,
    Convolution,
    Dense,
    Ends,
    MaxPool,
    Operation,
    Table,
)
from .quantised import Quantised

FLASH = "WS_FLASH"


def print_c(quantised: Quantised, name: str = "net") -> Exported:
    """`quantised` as C, its names beginning with `name`: predict and predict_int8.

    Raises SettingError for a name that is none in C.
    """
    unit = Unit(check_prefix(name))
    inputs, outputs = quantised.tensors[0].size, quantised.tensors[quantised.output].size
    forward = Int8Forward(unit, quantised, "forward")
    forward.write(0)
    write_predict(unit, inputs, outputs, ["forward"])
    unit.function(
        "void", "predict_int8", "void *arena, const int8_t *x, int8_t *y",
        [f"{name}_forward_int8((int8_t *)arena, x, y);"],
        "The same without floats: what the numbers of x and y stand for, the macros say.",
    )  # fmt: skip
    unit.macro("INPUTS", inputs, "numbers in a sample, and in an answer")
    unit.macro("OUTPUTS", outputs)
    unit.macro("ARENA_ALIGN", 1, "the arena: all memory but the stack")
    unit.macro("ARENA_BYTES", forward.nbytes)
    for side, grid in (("INPUT", quantised.input_grid), ("OUTPUT", quantised.output_grid)):
        says = f"an {side.lower()} in int8, q, stands for scale (q - zero)"
        unit.macro(f"{side}_SCALE", number(grid.scale), says)
        unit.macro(f"{side}_ZERO", f"({grid.zero})")
    region = ("int8", forward.nbytes, "input, output and what lies between two calls")
    header, source = unit.header(_about(quantised, name)), unit.source(f"See {name}.h.")
    return Exported(name, header, source, unit.constants.nbytes, forward.nbytes, (region,))


class Int8Forward:
    """The static function `PREFIX_name(memory, x, y)`, floats in and out and int8 between them.

    And `PREFIX_name_int8(memory, x, y)` without the ends. nbytes: what it needs of the arena.
    """

    def __init__(self, unit: Unit, quantised: Quantised, name: str) -> None:
        self.unit, self.quantised, self.name = unit, quantised, name
        self.nbytes = quantised.arena_bytes

    def write(self, buffers: int) -> None:
        """Print both, their buffers from this byte of the arena on."""
        unit, quantised = self.unit, self.quantised
        printer = _Printer(unit, quantised)
        lines = [printer.call(operation) for operation in quantised.operations]
        unused = [] if printer.touches_memory else ["(void)memory;"]
        unit.function(
            "static void", f"{self.name}_int8", "int8_t *memory, const int8_t *x, int8_t *y",
            [*unused, *lines], "forward, one sample in int8",
        )  # fmt: skip
        begin, end = quantised.tensors[0], quantised.tensors[quantised.output]
        at, to = (quantised.offsets[each] for each in (0, quantised.output))
        unit.use("ws_q_quantise", "ws_q_dequantise")
        inverse, zero = number(float(begin.grid.inverse)), begin.grid.zero
        unit.function(
            "static void", self.name, "unsigned char *memory, const float *x, float *y",
            [
                f"int8_t *const buffers = (int8_t *)(void *)(memory + {buffers});",
                f"int8_t *const begin = buffers + {at}, *const end = buffers + {to};",
                f"ws_q_quantise(x, {inverse}, {zero}, begin, {begin.size});",
                f"{unit.prefix}_{self.name}_int8(buffers, begin, end);",
                f"ws_q_dequantise(end, {number(end.grid.scale)}, {end.grid.zero}, y, {end.size});",
            ],
            "forward, one sample",
        )  # fmt: skip


def _about(quantised: Quantised, name: str) -> str:
    shape = " x ".join(map(str, quantised.input_shape))
    return "\n".join([
        f"{name}: a network in int8, C99, made by weightspace.",
        "",
        f"A sample is {shape}. Operations: {', '.join(o.name for o in quantised.operations)}.",
        "",
        "All between the two ends is whole numbers, so that answers are the same to the bit on "
        "every machine whose floats are IEEE's. Compile with -std=c99 -O2 -ffp-contract=off.",
    ])  # fmt: skip


class _Printer:
    """Calls, and the constants and functions that they need."""

    def __init__(self, unit: Unit, quantised: Quantised) -> None:
        self.unit, self.quantised = unit, quantised
        self.touches_memory = False

    def call(self, operation: Operation) -> str:
        """One operation as a statement."""
        function, words = PRINTED[type(operation)](self, operation)
        self.unit.use(function)
        return f"{function}({', '.join(map(str, words))});"

    def place(self, tensor: int) -> str:
        """The C expression of a tensor's address."""
        if tensor in (0, self.quantised.output):
            return "y" if tensor else "x"
        self.touches_memory = True
        return f"memory + {self.quantised.offsets[tensor]}"

    def ends(self, operation: Operation) -> tuple[str, str]:
        """Where it reads and writes."""
        return self.place(operation.inputs[0]), self.place(operation.output)

    def scratch(self, operation: Operation) -> str:
        return self.place(-1 - self.quantised.operations.index(operation))

    def constant(self, operation: Operation, name: str, values: np.ndarray) -> str:
        """The name of a constant array."""
        kind = f"{values.dtype}_t"
        return self.unit.constants.add(f"{operation.name}.{name}", values, kind, FLASH)

    def weights(self, operation: Any, weight: np.ndarray) -> list[str]:
        """weight, bias, multiplier, shift: constants all."""
        return [
            self.constant(operation, "weight", weight),
            *(self.constant(operation, n, getattr(operation, n)) for n in _FACTORS),
        ]


_FACTORS = ("bias", "multiplier", "shift")


def in_blocks(w: np.ndarray, most: int) -> np.ndarray:
    """Weights (O, I) in the order that the kernels read: `most` rows at a time, then four, in
    blocks of four columns, what is left of each row after them; what is left of the rows as it is.
    """
    columns = w.shape[1] - w.shape[1] % 4
    pieces: list[np.ndarray] = []
    at = 0
    while len(w) - at >= 4:
        rows = w[at : at + (most if len(w) - at >= most else 4)]
        blocks = rows[:, :columns].reshape(len(rows), -1, 4).transpose(1, 0, 2)
        pieces += [blocks.ravel(), rows[:, columns:].ravel()]
        at += len(rows)
    return np.concatenate([*pieces, w[at:].ravel()])


def _by_fours(w: np.ndarray) -> np.ndarray:
    """Weights (O, I) with zeros behind each row, up to a multiple of four."""
    return np.pad(w, ((0, 0), (0, -w.shape[1] % 4)))


def _end(ends: Ends) -> list[Any]:
    bend = ends.bend or (0, 0)
    return [*bend, ends.zero, ends.low, ends.high]


def _dense(printer: _Printer, each: Dense) -> tuple[str, list[Any]]:
    x, y = printer.ends(each)
    outputs, inputs = each.weight.shape
    weights = printer.weights(each, in_blocks(each.weight, 8))
    return "ws_q_dense", [x, *weights, *_end(each.ends), y, inputs, outputs]


def _convolution(printer: _Printer, each: Convolution) -> tuple[str, list[Any]]:
    x, y = printer.ends(each)
    bend, bendn, *clamp = _end(each.ends)
    steps = [*each.stride, *each.padding, *each.dilation]
    if each.depthwise:
        weight, name, steps_of = each.weight[..., 0].transpose(1, 2, 0), "ws_q_depthwise", steps
        sizes: list[Any] = [*each.image, *each.weight.shape[1:3], *each.size]
    else:
        groups = np.split(each.weight.reshape(len(each.weight), -1), each.groups)
        weight = np.concatenate([in_blocks(_by_fours(group), 4) for group in groups])
        name, steps_of = "ws_q_conv2d", [*steps, each.groups]
        sizes = [*each.image, *each.weight.shape[1:3], *each.size, len(each.weight)]
    weights, patch = printer.weights(each, weight), printer.scratch(each)
    return name, [
        x, *weights, bend, bendn, each.xzero, *clamp, patch, y, *steps_of, *sizes
    ]  # fmt: skip


def _max_pool(printer: _Printer, each: MaxPool) -> tuple[str, list[Any]]:
    windows = [*each.window, *each.stride, *each.padding]
    return "ws_q_max_pool", [*printer.ends(each), *windows, *each.image, *each.size]


def _average_pool(printer: _Printer, each: AveragePool) -> tuple[str, list[Any]]:
    x, y = printer.ends(each)
    arrays = [
        printer.constant(each, n, getattr(each, n))
        for n in ("rows", "columns", "multiplier", "shift")
    ]
    step = int(len(each.shift) > 1)
    sizes = [*each.image[1:], len(each.rows), len(each.columns)]
    return "ws_q_average_pool", [x, *arrays, step, each.xzero, each.zero, y, *sizes]


def _add(printer: _Printer, each: Add) -> tuple[str, list[Any]]:
    a, b = (printer.place(one) for one in each.inputs)
    count = printer.quantised.tensors[each.output].size
    numbers = [*each.factors, each.shift, *each.zeros, *_end(each.ends)]
    return "ws_q_add", [a, b, *numbers, printer.place(each.output), count]


def _table(printer: _Printer, each: Table) -> tuple[str, list[Any]]:
    x, y = printer.ends(each)
    count = printer.quantised.tensors[each.output].size
    return "ws_q_table", [x, printer.constant(each, "table", each.table), y, count]


PRINTED: dict[type[Operation], Callable[[_Printer, Any], tuple[str, list[Any]]]] = {
    Add: _add,
    AveragePool: _average_pool,
    Convolution: _convolution,
    Dense: _dense,
    MaxPool: _max_pool,
    Table: _table,
}
