"""Dropout: units that fall at random in training, drawn by number and not by memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..checks import settle
from ..settings import SHARE_BELOW_1, real
from ..workspace import Scope
from .base import Layer


@lru_cache(maxsize=1024)
def _key(seed: int, name: str) -> int:
    """A 64-bit key of its own for each layer of each network."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "little")


@dataclass(frozen=True)
class Dropout(Layer):
    """Mode "train": each unit is 0 with probability `rate`, else scaled by 1 / (1 - rate).

    Which ones follows from the network's seed, the layer's name and the number of the training
    pass alone, so that nothing is stored, and a resumed run drops the same units. Mode "eval": the
    identity. `saved` is the number of the pass, or None in mode "eval".
    """

    rate: float

    def __post_init__(self) -> None:
        settle(self, rate=real("Dropout.rate", self.rate, SHARE_BELOW_1))

    def moded(self) -> bool:
        return self.rate > 0

    def _drop(self, k: Scope, draw: int, x: np.ndarray, n: int, y: np.ndarray) -> np.ndarray:
        """y = x with the units of that draw fallen; x may be V batches of n samples, stacked."""
        stacked = (len(x) // n, -1)
        key = _key(k.run.seed, k.name)
        k.ops.dropout(x.reshape(stacked), self.rate, key, draw, y.reshape(stacked))
        return y

    def forward(self, k, p, x):
        if k.run.mode != "train" or not self.rate:
            return x, None
        draw = k.run.draw if k.run.clock is None else k.run.clock
        return self._drop(k, draw, x, len(x), k.take("y", x.shape)), (draw, len(x))

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        if saved is None or not want_dx:
            return dy if want_dx else None
        return self._drop(k, saved[0], dy, saved[1], k.flow(dy.shape, dy))

    def tangent(self, k, p, saved, tp, tx):
        if saved is None or tx is None:
            return tx
        return self._drop(k, saved[0], tx, saved[1], k.flow(tx.shape, tx))
