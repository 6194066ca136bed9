"""Context-dependent gating (XdG; Masse, Grant & Freedman 2018), with or without SI beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..kernels.errors import SettingError
from ..nnlite import Layer, Linear, Network
from ..nnlite.init import generator
from ..nnlite.layout import Shape
from .base import MANY
from .contexts import is_context, with_context
from .settings import SHARE_BELOW_1, limited
from .si import SI

_KEY = 0x6A7E  # gates have random streams of their own


@dataclass
class XdG(SI):
    """XdG: in each task a random share `gated` of every hidden layer's units is silent.

    The task must be known, in training and test. A gate multiplies the inputs of every dense layer
    but the first by 0 or 1; it follows from the network's seed, the layer and the task alone, and
    the number of silent units is the same in all tasks. As in the paper, convolutions and what they
    hand to the first dense layer are not gated.

    The rest is `SI`, which the paper combines it with: lam=0 is gating alone.

    network: what `wrap` made, and `fit` trains. Raises SettingError for a share outside 0..1 (1
    excluded), and for a network with fewer than two dense layers.
    """

    name = "xdg"
    convention = "hidden units gated by task (known at test); lam sum Omega (theta-anchor)^2 as si"
    on_host = frozenset({"gate"})  # the number of the task whose gates are set
    asks_task = True
    limits = limited(gated=SHARE_BELOW_1)
    gated: float = 0.8

    def wrap(self, net: Network) -> Network:
        """A network of the same weights whose hidden units have gates, all open."""
        layers: list[Layer] = []
        dense = 0
        for layer in net.layers:
            if isinstance(layer, Linear):
                dense += 1
            layers.append(with_context(layer) if isinstance(layer, Linear) and dense > 1 else layer)
        if dense < 2:
            raise SettingError(f"xdg needs at least two dense layers; this network has {dense}")
        made = Network(
            layers, net.input_shape, net.backend, str(net.dtype), net.seed, net.init, net.loss
        )
        made.theta[...] = net.theta  # gates are no parameters: the order is the same
        made.state.update(net.state)  # and gates come on top, under names of their own
        self.network = made
        return made

    def select(self, net: Network, task: int, step: int | None) -> None:
        if "gate" in self.arrays and self.arrays["gate"][0] == task:
            return
        for place, gate in enumerate(self._gates(net)):
            gate[...] = net.device.put(self.gate(net.seed, place, task, gate.shape, net.dtype))
        self.arrays["gate"] = np.array([task])

    def steady(self, task: int, step: int) -> int:
        return MANY

    def _gates(self, net: Network) -> Iterator[np.ndarray]:
        yield from (array for name, array in net.state.items() if is_context(name))

    def gate(self, seed: int, place: int, task: int, shape: Shape, dtype: np.dtype) -> np.ndarray:
        """The gate of a task at the place-th gated layer: 1 for units that speak, 0 for others."""
        size = int(np.prod(shape))
        silent = generator(seed, _KEY + place, task).permutation(size)[: round(self.gated * size)]
        gate = np.ones(size, dtype)
        gate[silent] = 0
        return gate.reshape(shape)
