"""A penalty whose importance is mixed: one measure's pattern within layers, another's totals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ....methods.base import TaskEnd
from ....methods.importance import fisher, mas, sig
from ....methods.penalty import QuadraticPenalty
from ....methods.settings import NOT_NEGATIVE, limited
from ....nnlite import Network
from ....nnlite.init import generator

Measure = Literal["sig", "mas", "fis", "input", "weight", "flat"]


@dataclass
class Mixed(QuadraticPenalty):
    """Penalty lam sum omega (theta - anchor)^2, omega summed over tasks, each task's of mean 1.

    An array of parameters (a layer's weights, or its biases) gets the sum that `totals` gives it,
    divided within it as `pattern` is; in `layer` (from 1; 0 for none) as `other` is. shuffled:
    within each array the values are dealt out at random, so that only the totals and the
    distribution of values are left.

    sig, mas, fis: `methods.importance`, the last the empirical Fisher. input, weight: the factors
    of SIG, the mean |x_i| and |w_oi|. flat: all alike.
    """

    name = "mixed"
    convention = "lam sum omega (theta-anchor)^2, each task's omega of mean 1"
    limits = limited(layer=NOT_NEGATIVE)
    pattern: Measure = "sig"
    totals: Measure = "sig"
    other: Measure = "sig"
    layer: int = 0
    shuffled: bool = False

    def importance(self, net: Network, x: np.ndarray, y: np.ndarray, end: TaskEnd) -> np.ndarray:
        return net.device.put(self.mixed(net, x, y, end).astype(net.dtype))

    def mixed(self, net: Network, x: np.ndarray, y: np.ndarray, end: TaskEnd) -> np.ndarray:
        """(P,) float64, of mean 1."""
        kinds = {self.pattern, self.totals, *([self.other] if self.layer else [])}
        measured = {kind: measure(kind, net, x, y) for kind in kinds}
        found = np.empty(net.num_parameters)
        for place, name in enumerate(net.layout):
            number = int(name.partition(".")[0]) + 1
            kind = self.other if number == self.layer else self.pattern
            values = net.layout.view(measured[kind], name).ravel()
            if self.shuffled:
                values = generator(end.seed, end.index, place, 0x51C).permutation(values)
            total = net.layout.view(measured[self.totals], name).sum()
            flat = np.full(len(values), 1 / len(values))
            share = values / values.sum() if values.sum() > 0 else flat
            part = net.layout.view(found, name)
            part[...] = (total * share).reshape(part.shape)
        return found / found.mean()


def _factors(net: Network, x: np.ndarray, of: str) -> np.ndarray:
    """The factors of SIG at each parameter; of a bias: its input is 1."""
    theta = np.abs(net.device.get(net.theta).astype(np.float64))
    if of == "weight":
        return theta
    signal = net.device.get(sig(net, x)).astype(np.float64)
    found = np.divide(signal, theta, out=np.zeros_like(theta), where=theta > 0)
    for name in net.layout:
        if name.endswith(".bias"):
            net.layout.view(found, name)[...] = 1
    return found


_MEASURES: dict[str, Callable[[Network, np.ndarray, np.ndarray], np.ndarray]] = {
    "sig": lambda net, x, y: sig(net, x),
    "mas": lambda net, x, y: mas(net, x),
    "fis": lambda net, x, y: fisher(net, x, y, "empirical"),
    "input": lambda net, x, y: _factors(net, x, "input"),
    "weight": lambda net, x, y: _factors(net, x, "weight"),
    "flat": lambda net, x, y: np.ones(net.num_parameters),
}


def measure(kind: str, net: Network, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """An importance of one task by name, (P,) float64 on the host."""
    return net.device.get(_MEASURES[kind](net, x, y)).astype(np.float64)
