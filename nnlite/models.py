"""Ready-made architectures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..kernels.errors import SettingError
from .layers import Linear
from .net import Network


def mlp(
    sizes: Sequence[int], activation: str = "relu", slope: float = 0.01, **settings: Any
) -> Network:
    """A multi-layer perceptron: sizes = (inputs, hidden..., outputs), the last layer linear.

    `settings` go to Network: backend, dtype, seed, init, loss. Raises SettingError for fewer than
    two sizes.

    >>> mlp((784, 300, 100, 10), backend="reference").num_parameters
    266610
    """
    if len(sizes) < 2:
        raise SettingError(f"mlp got sizes={tuple(sizes)}; it needs inputs and outputs at least")
    inputs, *hidden, outputs = sizes
    layers = [Linear(units, activation, slope) for units in hidden]
    return Network([*layers, Linear(outputs)], input_shape=(inputs,), **settings)


def lenet_300_100(**settings: Any) -> Network:
    """LeNet-300-100 (LeCun et al. 1998): 784-300-100-10, relu, 266,610 parameters."""
    return mlp((784, 300, 100, 10), **settings)
