"""Weights as a model file has them: contexts multiplied in, complex numbers as real ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...layers import ComplexConv2d, ComplexLinear
from ...layout import Shape

Arrays = Mapping[str, np.ndarray]


def below(arrays: Arrays, name: str) -> dict[str, np.ndarray]:
    """The arrays called `name`.something, as something."""
    return {key[len(name) + 1 :]: a for key, a in arrays.items() if key.startswith(f"{name}.")}


def kernel(own: Arrays) -> np.ndarray:
    """A layer's weight, times its context if it has one."""
    weight = own["weight"]
    return weight * own["context"] if "context" in own else weight


def _turned(own: Arrays) -> np.ndarray:
    """weight (O, 2, ...) times context (2, ...), as complex numbers (O, ...)."""
    weight, context = own["weight"], own["context"]
    return (weight[:, 0] + 1j * weight[:, 1]) * (context[0] + 1j * context[1])


def complex_dense(layer: ComplexLinear, own: Arrays, shape: Shape) -> np.ndarray:
    """The real matrix of a complex layer: of planes in a row, real parts first."""
    w: Any = _turned(own)
    above = w.real if len(shape) == 1 else np.concatenate([w.real, -w.imag], axis=1)
    if layer.real:
        return above
    under = w.imag if len(shape) == 1 else np.concatenate([w.imag, w.real], axis=1)
    return np.concatenate([above, under])


def complex_filters(layer: ComplexConv2d, own: Arrays) -> np.ndarray:
    """The real convolution of a complex one, (2 O, R, S, 2 C)."""
    w: Any = _turned(own)
    if layer.real_input:
        return np.concatenate([w.real, w.imag])
    above = np.concatenate([w.real, -w.imag], axis=-1)
    return np.concatenate([above, np.concatenate([w.imag, w.real], axis=-1)])
