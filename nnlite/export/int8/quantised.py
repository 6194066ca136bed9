"""Quantised: an int8 network as data: tensors, operations on them in order, and their arena."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ....kernels.errors import ShapeError
from ...layout import Shape
from ...program.plan import Span, packed
from .operations import Operation
from .rounding import Grid

_CHUNK = 128  # samples that NumPy computes at once


@dataclass(frozen=True)
class Tensor:
    """One sample's numbers between operations: int8 on a grid."""

    shape: Shape
    grid: Grid

    @property
    def size(self) -> int:
        """Numbers, which are bytes."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Quantised:
    """An int8 network, which does not change: tensor 0 is the input, `output` the last one written.

    `predict` has the bits of the C that `print_c` prints, on every machine.
    """

    tensors: tuple[Tensor, ...]
    operations: tuple[Operation, ...]
    output: int

    @property
    def input_shape(self) -> Shape:
        """Of one sample."""
        return self.tensors[0].shape

    @property
    def output_shape(self) -> Shape:
        """Of one sample's outputs, or latents."""
        return self.tensors[self.output].shape

    @property
    def input_grid(self) -> Grid:
        """What an input's int8 stand for."""
        return self.tensors[0].grid

    @property
    def output_grid(self) -> Grid:
        """What an output's int8 stand for."""
        return self.tensors[self.output].grid

    @property
    def weights_bytes(self) -> int:
        """Bytes of all constant arrays."""
        return sum(array.nbytes for each in self.operations for array in each.arrays().values())

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The outputs (N, *output_shape), float32, for samples x (N, *input_shape) of floats.

        Raises ShapeError for samples of another shape.
        """
        return self.output_grid.real(self.predict_int8(self.input_grid.quantised(self._fit(x))))

    def latents(self, x: np.ndarray) -> np.ndarray:
        """The outputs of samples of floats as they are kept, (N, *output_shape) int8.

        `output_grid` says what they stand for. Raises ShapeError.
        """
        return self.predict_int8(self.input_grid.quantised(self._fit(x)))

    def predict_int8(self, q: np.ndarray) -> np.ndarray:
        """The outputs (N, *output_shape) int8 for samples (N, *input_shape) int8, on the grids.

        Raises ShapeError.
        """
        self._fit(q)
        made = np.empty((len(q), *self.output_shape), np.int8)
        for at in range(0, len(q), _CHUNK):
            made[at : at + _CHUNK] = self._run(q[at : at + _CHUNK])
        return made

    def _fit(self, x: np.ndarray) -> np.ndarray:
        if np.shape(x)[1:] != self.input_shape:
            raise ShapeError(
                f"samples of shape {np.shape(x)[1:]}; this int8 network takes (N, "
                f"{', '.join(map(str, self.input_shape))})"
            )
        return x

    def _run(self, q: np.ndarray) -> np.ndarray:
        values = {0: q}
        for number, operation in enumerate(self.operations):
            y = operation.run(*(values[each] for each in operation.inputs))
            values[operation.output] = y.reshape(len(q), *self.tensors[operation.output].shape)
            for tensor, span in self.spans.items():
                if span.last == number and tensor != self.output:
                    values.pop(tensor, None)
        return values[self.output]

    # ---- memory ------------------------------------------------------------------------------

    @cached_property
    def spans(self) -> dict[int, Span]:
        """Bytes of each tensor, and the first and last operation that touch it.

        The input is there before the first, the output after the last. Scratch of operation n is
        tensor -1 - n.
        """
        last = len(self.operations) - 1
        first, until = {0: 0}, {0: 0}
        for number, operation in enumerate(self.operations):
            first[operation.output] = number
            until |= dict.fromkeys((*operation.inputs, operation.output), number)
        until[self.output] = last
        found = {n: Span(self.tensors[n].size, first[n], until[n]) for n in first}
        scratch = {
            -1 - number: Span(operation.room, number, number)
            for number, operation in enumerate(self.operations)
            if operation.room
        }
        return found | scratch

    @cached_property
    def offsets(self) -> dict[int, int]:
        """Byte in the arena of each tensor and of scratch; those alive together do not overlap."""
        return packed(self.spans, 1)

    @property
    def arena_bytes(self) -> int:
        """Bytes of the arena that `offsets` fill."""
        return max(self.offsets[n] + span.nbytes for n, span in self.spans.items())
