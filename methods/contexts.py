"""Kinds of context (Cheung et al. 2019): KINDS has one record for each, and nothing else knows one.

| kind           | context of a layer with M inputs            | kept for each task more |
|----------------|---------------------------------------------|-------------------------|
| binary         | signs, M; of a convolution's filter, R S C  | M                       |
| complex        | phases uniform in (-pi, pi], M or R S C     | M                       |
| onepower       | the k-th power of one vector of phases      | 1 (and M once)          |
| rotation       | an orthogonal matrix (Haar), M x M          | M^2                     |
| rotation-block | blocks of at most 64 on the diagonal        | 64 M                    |
| permutation    | an order of the features                    | M                       |

The last column is Table 1 of the paper, in numbers (theirs for the first four).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from ..kernels.errors import SettingError
from ..nnlite import (
    Activation,
    AdaptiveAvgPool2d,
    AvgPool2d,
    ComplexConv2d,
    ComplexFlatten,
    ComplexLinear,
    Context,
    ContextConv2d,
    ContextLinear,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2d,
    Residual,
    Rotation,
    Sequential,
)
from ..nnlite.init import generator
from ..nnlite.layout import Shape
from .linear import orthogonal, product

At = Callable[[int], np.random.Generator]  # the random stream of a context's number
# Layers that do to the real and the imaginary parts alike what they do to real numbers.
_ALIKE = (Activation, AdaptiveAvgPool2d, AvgPool2d, Flatten, GlobalAvgPool, MaxPool2d)
_BLOCK = 64
_KEY = 0x5095  # contexts have random streams of their own


def is_context(name: str) -> bool:
    """Whether `name`, of a state or a parameter, is a layer's context."""
    return name.rsplit(".", 1)[-1] == "context"


# ---- layers with contexts ------------------------------------------------------------------------


def with_context(layer: Linear) -> ContextLinear:
    """The dense layer with a context at its inputs, all 1."""
    return ContextLinear(layer.units, layer.activation, layer.slope, layer.bias)


class Turned:
    """Rewrites layers, first to last, so that each has its context: here a matrix.

    first: whether the first has one, too. learned: whether contexts are parameters.
    """

    def __init__(self, first: bool, learned: bool) -> None:
        self.begun, self.learned = first, learned

    def all(self, layers: Sequence[Layer]) -> tuple[Layer, ...]:
        """The layers with contexts. Raises SettingError for those that can have none."""
        made: list[Layer] = []
        for index, layer in enumerate(layers):
            made += self.one(layer, last=index == len(layers) - 1)
        return tuple(made)

    def one(self, layer: Layer, last: bool) -> list[Layer]:
        if isinstance(layer, Sequential):
            return [replace(layer, layers=self.all(layer.layers))]
        if isinstance(layer, Residual):
            body, shortcut = self.all(layer.body), self.all(layer.shortcut)
            return [replace(layer, body=body, shortcut=shortcut)]
        if not isinstance(layer, Linear | Conv2d):
            return [layer]
        if isinstance(layer, ContextLinear | ContextConv2d):
            raise SettingError("this network has contexts already")
        if not self.begun:
            self.begun = True
            return [layer]
        return self.dense(layer) if isinstance(layer, Linear) else [self.kernel(layer)]

    def dense(self, layer: Linear) -> list[Layer]:
        return [Rotation(), layer]

    def kernel(self, layer: Conv2d) -> Layer:
        raise SettingError(
            "contexts of convolutions are frozen binary ones: kind='binary', learned=false"
        )


class Signed(Turned):
    """The same with signs, which kernels of convolutions can have."""

    def dense(self, layer: Linear) -> list[Layer]:
        return [Context(), layer] if self.learned else [with_context(layer)]

    def kernel(self, layer: Conv2d) -> Layer:
        if self.learned:
            return super().kernel(layer)
        return ContextConv2d(
            layer.filters, layer.size, layer.stride, layer.padding, layer.activation, layer.slope,
            layer.bias, layer.dilation, layer.groups,
        )  # fmt: skip


class Complex(Turned):
    """The same with complex layers, the first among them; the last one's outputs are real."""

    images = False  # whether they are complex by now

    def one(self, layer: Layer, last: bool) -> list[Layer]:
        if isinstance(layer, Linear):
            return [ComplexLinear(layer.units, layer.activation, layer.slope, real=last)]
        if last:
            raise SettingError("a complex network ends in a Linear layer, which becomes real there")
        if isinstance(layer, Conv2d):
            return [self.kernel(layer)]
        if self.images and isinstance(layer, Flatten):
            return [ComplexFlatten()]
        if self.images and isinstance(layer, GlobalAvgPool):
            return [layer, ComplexFlatten()]
        if isinstance(layer, _ALIKE):
            return [layer]
        raise SettingError(
            f"complex contexts are for dense and convolutional layers; {type(layer).__name__} has "
            "no complex counterpart here: use kind='binary'"
        )

    def kernel(self, layer: Conv2d) -> Layer:
        real, self.images = not self.images, True
        return ComplexConv2d(
            layer.filters, layer.size, layer.stride, layer.padding, layer.activation, layer.slope,
            dilation=layer.dilation, groups=layer.groups, real_input=real,
        )  # fmt: skip


# ---- draws, and what contexts do to weights ------------------------------------------------------


def _signs(at: At, numbers: Sequence[int], shape: Shape) -> np.ndarray:
    return at(numbers[0]).integers(0, 2, shape) * 2.0 - 1.0


def _phases(at: At, numbers: Sequence[int], shape: Shape, powers: bool = False) -> np.ndarray:
    def of(number: int) -> np.ndarray:
        drawn = at(0 if powers else number).uniform(-np.pi, np.pi, math.prod(shape[1:]))
        return number * drawn if powers else drawn

    mean = of(numbers[0]) if len(numbers) == 1 else np.mean([of(n) for n in numbers], axis=0)
    return np.stack([np.cos(mean), np.sin(mean)]).reshape(shape)


def haar(rng: np.random.Generator, size: int) -> np.ndarray:
    """An orthogonal matrix, uniform over all of them (Haar): the draw of scipy.stats.ortho_group.

    Of a Gaussian matrix's Q R, R's diagonal above 0 (Mezzadri 2007), whatever threads a BLAS has.
    """
    return np.ones((1, 1)) if size == 1 else orthogonal(rng.normal(size=(size, size)))


def _blocks(size: int) -> list[slice]:
    return [slice(lo, min(lo + _BLOCK, size)) for lo in range(0, size, _BLOCK)]


def _block_rotation(at: At, numbers: Sequence[int], shape: Shape) -> np.ndarray:
    rng, whole = at(numbers[0]), np.zeros(shape)
    for block in _blocks(shape[0]):
        whole[block, block] = haar(rng, block.stop - block.start)
    return whole


def _permutation(at: At, numbers: Sequence[int], shape: Shape) -> np.ndarray:
    return np.eye(shape[0])[at(numbers[0]).permutation(shape[0])]


def _complex_product(weight: np.ndarray, c: np.ndarray) -> np.ndarray:
    re, im = weight[:, 0], weight[:, 1]
    return np.stack([re * c[0] - im * c[1], re * c[1] + im * c[0]], axis=1)


def _conjugate(c: np.ndarray) -> np.ndarray:
    return np.stack([c[0], -c[1]])


class Kind(NamedTuple):
    """What sets a kind of context apart; shapes are those of the layers' "context".

    draw(at, numbers, shape): context `numbers[0]`, float64; of complex kinds that of the mean of
    the numbers' phases. kept(shape): numbers that one more context of a layer adds to what must be
    kept; once(shape): those that are kept however many there are. fold(weight, c): W C, what the
    weights are to inputs that no context has touched. inverse(c): C^-1; folding it in undoes C.
    layers: what rewrites a network's. complex: whether weights are, and contexts can be mixed.
    learns: whether contexts can be trained.
    """

    draw: Callable[[At, Sequence[int], Shape], np.ndarray]
    kept: Callable[[Shape], int]
    fold: Callable[[np.ndarray, np.ndarray], np.ndarray] = product
    inverse: Callable[[np.ndarray], np.ndarray] = np.transpose
    layers: type[Turned] = Turned
    complex: bool = False
    learns: bool = False
    once: Callable[[Shape], int] = lambda shape: 0


def _phases_of(shape: Shape) -> int:
    return math.prod(shape[1:])


_complex = partial(Kind, fold=_complex_product, inverse=_conjugate, layers=Complex, complex=True)
KINDS: dict[str, Kind] = {
    "binary": Kind(_signs, math.prod, np.multiply, np.positive, Signed, learns=True),
    "complex": _complex(_phases, _phases_of),
    "onepower": _complex(partial(_phases, powers=True), lambda shape: 1, once=_phases_of),
    "rotation": Kind(lambda at, numbers, shape: haar(at(numbers[0]), shape[0]), math.prod),
    "rotation-block": Kind(
        _block_rotation, lambda s: sum((b.stop - b.start) ** 2 for b in _blocks(s[0]))
    ),
    "permutation": Kind(_permutation, lambda shape: shape[0]),
}


@lru_cache(maxsize=32)  # of ten tasks and three layers all: a rotation takes longer than a step
def draw(kind: Kind, seed: int, place: int, numbers: tuple[int, ...], shape: Shape) -> np.ndarray:
    """The context of the layer that has the `place`-th, float64 and read-only; see `Kind.draw`."""
    drawn = kind.draw(partial(generator, seed, _KEY + place), numbers, shape)
    drawn.setflags(write=False)
    return drawn
