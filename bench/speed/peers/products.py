"""A dense product as a problem, and a peer's table of products.

64x300x784 is samples x outputs x inputs, 64x300x784@float64 the same in float64: x (64, 784),
w (300, 784), dz (64, 300).

| operation | product |
|---|---|
| product-nt | y = x w^T, the forward product |
| product-nn | dx = dz w |
| product-tn | dw = dz^T x |

A module that multiplies lists its ways under PRODUCTS, mostly by `offered`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ....kernels.spec import Traffic
from .kinds import Arrays, Kind, Shape
from .problem import Operation, Problem, Variants

FACTORS = {"product-nt": ("x", "w"), "product-nn": ("dz", "w"), "product-tn": ("dz", "x")}
PRODUCT_SIZES = (
    "10x100x64", "64x10x100", "64x100x300", "64x300x784", "128x256x256", "128x256x784",
    "32x2000x2000", "256x2000x784", "256x2000x2000", "1000x300x784", "1000x10x300",
    "1x300x784", "1x2000x2000", "1x8192x8192",
)  # fmt: skip


@dataclass(frozen=True)
class Product(Kind):
    """The factors of a dense layer's products. Arrays: x (N, I), w (O, I), dz (N, O)."""

    table: ClassVar[str] = "PRODUCTS"
    work: ClassVar[str] = "products"
    operations: ClassVar[tuple[str, ...]] = tuple(FACTORS)

    outs: int
    ins: int
    dtype: str = "float32"

    @property
    def name(self) -> str:
        return f"{self.outs}x{self.ins}"

    def size(self, n: int) -> str:
        return f"{n}x{self.name}" + ("" if self.dtype == "float32" else f"@{self.dtype}")

    def shapes(self) -> list[Shape]:
        return [(self.outs, self.ins)]

    def draw(self, rng: np.random.Generator, n: int) -> Arrays:
        shapes = {"x": (n, self.ins), "w": (self.outs, self.ins), "dz": (n, self.outs)}
        dtype = np.dtype(self.dtype).type
        return {name: rng.standard_normal(shape, dtype) for name, shape in shapes.items()}

    def flops(self, n: int) -> float:
        """2 N O I, of any of the three."""
        return 2.0 * n * self.outs * self.ins

    def traffic(self, operation: str, n: int) -> Traffic:
        """Bytes that the product must move: both factors once, and the result."""
        sizes = {"x": n * self.ins, "w": self.outs * self.ins, "dz": n * self.outs}
        read = sum(sizes[name] for name in FACTORS[operation])
        (out,) = set(sizes) - set(FACTORS[operation])  # each is of the shape of what is left over
        width = np.dtype(self.dtype).itemsize
        return Traffic(width * read, 0, width * sizes[out])


def parse(text: str) -> tuple[Product, int] | None:
    """(product, samples) of a size like those above; None for any other."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)(?:@(float32|float64))?", text)
    if not found:
        return None
    n, outputs, inputs = map(int, found.groups()[:3])
    return Product(outputs, inputs, found[4] or "float32"), n


def views(operation: str, a: Any, b: Any) -> tuple[Any, Any]:
    """The factors, as they lie, as the two matrices that are to be multiplied."""
    return a.T if operation == "product-tn" else a, b.T if operation == "product-nt" else b


def answer(operation: str, arrays: Arrays) -> dict[str, np.ndarray]:
    """The product by NumPy."""
    left, right = views(operation, *(arrays[name] for name in FACTORS[operation]))
    return {"product": left @ right}


Multiply = Callable[[str, np.ndarray, np.ndarray, np.ndarray], Callable[[], Any]]


def offered(
    label: str, build: Multiply, to_numpy: Callable[[Any], np.ndarray] = np.asarray
) -> dict[str, Variants]:
    """A table PRODUCTS: build(operation, a, b, out) makes the call that multiplies the factors,
    as they lie, and returns the product, in `out` or not."""

    def prepare(problem: Problem) -> Operation:
        a, b = (problem.arrays[name] for name in FACTORS[problem.operation])
        left, right = views(problem.operation, a, b)
        call = build(problem.operation, a, b, np.empty((len(left), right.shape[1]), a.dtype))
        return Operation(call, lambda: {"product": to_numpy(call())})

    return {name: {label: prepare} for name in FACTORS}
