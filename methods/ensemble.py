"""Ensemble: networks that answer together, by the mean of their softmaxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..kernels.device import Device
from ..kernels.errors import SettingError
from ..nnlite import Network
from .importance import BATCH, ROOM, probabilities


def log_softmax(outputs: np.ndarray) -> np.ndarray:
    """log p (..., K) of logits (..., K), on the host."""
    shifted = outputs - outputs.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


class Ensemble:
    """Networks of one input shape, number of classes, dtype and device; the answer is their mean.

    p(x) = 1/V sum_v softmax(f_v(x)), as in deep ensembles (Lakshminarayanan et al. 2017).

    Raises SettingError where there is no network, one is given twice, or two do not fit together.
    """

    def __init__(self, nets: Sequence[Network]) -> None:
        self.nets = tuple(nets)
        if not self.nets:
            raise SettingError("an Ensemble needs at least one network; it got none")
        if len({id(net) for net in self.nets}) < len(self.nets):
            raise SettingError("an Ensemble got one network twice: give each once, or net.like()")
        first = self.nets[0]
        for number, net in enumerate(self.nets):
            ours, theirs = (
                (n.input_shape, n.num_outputs, str(n.dtype), n.device.name) for n in (first, net)
            )
            if ours != theirs:
                raise SettingError(
                    f"an Ensemble's networks must agree in input shape, outputs, dtype and device: "
                    f"number 0 has {ours}, number {number} has {theirs}"
                )

    def __len__(self) -> int:
        return len(self.nets)

    @property
    def device(self) -> Device:
        """Where the members compute."""
        return self.nets[0].device

    def batch(self, most: int = BATCH) -> int:
        """Samples that a pass through all members takes at a time, at least 1."""
        return min(most, *(net.batch_within(ROOM) for net in self.nets))

    def member_probabilities(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """Each member's softmax (N, K) for x (N, *input_shape), a NumPy array."""
        size = self.batch()
        for net in self.nets:
            parts = [
                self.device.get(probabilities(net, net.trace(x[lo : lo + size]).outputs))
                for lo in range(0, len(x), size)
            ]
            yield np.concatenate(parts)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """The mean softmax (N, K) for x (N, *input_shape), a NumPy array."""
        return np.mean([*self.member_probabilities(x)], axis=0)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The class (N,) that the mean softmax likes best."""
        return self.probabilities(x).argmax(axis=1)

    def accuracy(self, x: np.ndarray, y: np.ndarray) -> float:
        """The fraction of samples that the mean softmax has right; y (N,) int64."""
        return float((self.predict(x) == y).mean())
