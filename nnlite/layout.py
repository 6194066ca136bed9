"""Where each named parameter lies in a flat vector of length P.

theta, its gradient, every importance, anchor and optimizer moment share one layout, so a method is
arithmetic on whole vectors and a layer sees its own slice as an array without a copy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from ..kernels.errors import DtypeError, ShapeError, check_name

Shape = tuple[int, ...]


class Layout:
    """Names in order, each with the offset and shape of its slice; `size` is P.

    >>> layout = Layout({"0.weight": (300, 784), "0.bias": (300,)})
    >>> layout.size, layout.offset("0.bias")
    (235500, 235200)
    """

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self._slices: dict[str, tuple[int, Shape]] = {}
        self.size = 0
        for name, shape in shapes.items():
            self._slices[name] = (self.size, tuple(shape))
            self.size += math.prod(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._slices)

    def __len__(self) -> int:
        return len(self._slices)

    def __contains__(self, name: object) -> bool:
        return name in self._slices

    def _find(self, name: str) -> tuple[int, Shape]:
        check_name("parameter", name, self._slices)
        return self._slices[name]

    def shape(self, name: str) -> Shape:
        """The shape of parameter `name`. Raises UnknownNameError."""
        return self._find(name)[1]

    def offset(self, name: str) -> int:
        """Where parameter `name` begins in a vector of length P. Raises UnknownNameError."""
        return self._find(name)[0]

    def view(self, vector: np.ndarray, name: str) -> np.ndarray:
        """The part of `vector` (..., P) that belongs to `name`, reshaped, sharing memory.

        Raises UnknownNameError or ShapeError.
        """
        start, shape = self._find(name)
        if vector.shape[-1:] != (self.size,):
            raise ShapeError(
                f"a vector of shape {vector.shape}; this layout's are (..., {self.size})"
            )
        return vector[..., start : start + math.prod(shape)].reshape(*vector.shape[:-1], *shape)

    def views(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """Every parameter's view into `vector` (..., P), by name."""
        return {name: self.view(vector, name) for name in self}

    def check(self, vector: np.ndarray, what: str, dtype: np.dtype) -> None:
        """Raise ShapeError or DtypeError, naming `what`, unless it is an array (P,) of `dtype`."""
        shape = getattr(vector, "shape", None)
        if shape != (self.size,):
            given = f"is a {type(vector).__name__}" if shape is None else f"has shape {shape}"
            raise ShapeError(
                f"{what} {given}; this network's vectors have length "
                f"P = {self.size}, shape ({self.size},)"
            )
        if vector.dtype != dtype:
            raise DtypeError(
                f"{what} is {vector.dtype}; this network computes in {dtype}: "
                f"convert it with .astype('{dtype}')"
            )
