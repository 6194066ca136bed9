"""A network cut in two for a small machine: a trunk that is frozen, and a tail that learns."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ....kernels.errors import DtypeError, SettingError
from ...layers import Flatten
from ...layout import Shape
from ...net import Network
from ...settings import whole


class Parts(NamedTuple):
    """trunk: what is never trained, None where all learns; tail: the rest. On backend "c".

    first: the number that the tail's first layer has in the whole network.
    """

    trunk: Network | None
    tail: Network
    first: int

    @property
    def inputs(self) -> int:
        """Numbers in a sample."""
        return math.prod((self.trunk or self.tail).input_shape)


def whole_network(net: Network, backend: str = "c") -> Network:
    """`net` on the backend "c" (or "c-direct"). Raises DtypeError for one in float64."""
    _check_float32(net)
    return _part(net, 0, len(net.layers), backend)


def cut(net: Network, last: int, backend: str = "c") -> Parts:
    """The last `last` layers with parameters (and those without between them) as the tail.

    Raises SettingError where there are not so many, DtypeError for a network in float64.
    """
    _check_float32(net)
    last = whole("tail's layers", last)
    able = [n for n, layer in enumerate(net.layers) if _parameters(net, n)]
    if last > len(able):
        raise SettingError(
            f"a tail of {last} layers of a network that has {len(able)} with parameters: give at "
            f"most {len(able)}, or learn 'all'"
        )
    first = able[-last]
    tail = _part(net, first, len(net.layers), backend)
    return Parts(_part(net, 0, first, backend) if first else None, tail, first)


def _check_float32(net: Network) -> None:
    if net.dtype != np.float32:
        raise DtypeError(
            f"an export got a network in {net.dtype}; C is printed in float32: make it with "
            "dtype='float32'"
        )


def _parameters(net: Network, layer: int) -> list[str]:
    return [name for name in net.layout if name.split(".")[0] == str(layer)]


def _shape_at(net: Network, layer: int) -> Shape:
    """The shape of a sample before layer number `layer`."""
    shape = net.input_shape
    for each in net.layers[:layer]:
        shape = each.output_shape(shape)
    return shape


def _part(net: Network, first: int, last: int, backend: str) -> Network:
    """Layers first to last (excluded) as a network, with their parameters and state."""
    shape, layers = _shape_at(net, first), list(net.layers[first:last])
    if last < len(net.layers) and len(_shape_at(net, last)) > 1:
        layers.append(Flatten())  # which moves nothing
    made = Network(layers, shape, backend, "float32", net.seed, "uniform_fan_in", net.loss)
    for name in made.layout:
        given = net.layout.view(net.theta, numbered(name, first))
        made.layout.view(made.theta, name)[...] = net.device.get(given)
    for name in made.state:
        made.state[name][...] = net.device.get(net.state[numbered(name, first)])
    return made


def numbered(name: str, first: int) -> str:
    """A name of a part's layer as the whole network has it, whose layer `first` is its layer 0."""
    number, _, rest = name.partition(".")
    return f"{int(number) + first}.{rest}"
