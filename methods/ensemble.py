"""Ensemble: networks that answer together, by the mean of their softmaxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..kernels.device import Device
from ..kernels.errors import NonFiniteError, SettingError
from ..nnlite import Network
from .evaluate import check_classifies, labels, outputs, parts
from .importance import BATCH, ROOM, probabilities


def check_finite(scores: np.ndarray, who: str) -> None:
    """Raise NonFiniteError where scores (n, K) are not finite: the largest of them says nothing."""
    wrong = int((~np.isfinite(scores)).any(axis=1).sum())
    if wrong:
        raise NonFiniteError(
            f"{who}: its outputs are NaN or infinite for {wrong} of {len(scores)} samples; it has "
            "diverged, or was given such weights or inputs: leave it out"
        )


def log_softmax(outputs: np.ndarray) -> np.ndarray:
    """log p (..., K) of logits (..., K), on the host."""
    top = outputs.argmax(axis=-1)[..., None]
    shifted = outputs - np.take_along_axis(outputs, top, axis=-1)
    others = np.exp(shifted)
    np.put_along_axis(others, top, 0, axis=-1)  # whose 1 would hide them
    return shifted - np.log1p(others.sum(axis=-1, keepdims=True))


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

    def parts(self, n: int) -> list[slice]:
        """n samples cut into those that pass through all members together: `evaluate.parts`."""
        return parts(self.nets, n, BATCH, ROOM)

    def member_probabilities(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """Each member's softmax (N, K) for x (N, *input_shape), a NumPy array.

        Raises SettingError for a network without a softmax, NonFiniteError for one that has
        diverged, naming it; and what `evaluate.outputs` raises.
        """
        for number, net in enumerate(self.nets):
            check_classifies(net, f"the answer of an ensemble's member {number}")
        for number, net in enumerate(self.nets):
            found = []
            for _, scores in outputs(net, x, BATCH, ROOM):
                check_finite(scores, f"member {number} of {len(self.nets)}")
                found.append(self.device.get(probabilities(net, scores)))
            yield np.concatenate(found)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """The mean softmax (N, K) for x (N, *input_shape), a NumPy array."""
        return np.mean([*self.member_probabilities(x)], axis=0)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The class (N,) that the mean softmax likes best."""
        return self.probabilities(x).argmax(axis=1)

    def accuracy(self, x: np.ndarray, y: np.ndarray) -> float:
        """The fraction of samples that the mean softmax has right; y (N,)."""
        y = labels(self.nets[0], len(x), y)
        return float((self.predict(x) == y).mean())
