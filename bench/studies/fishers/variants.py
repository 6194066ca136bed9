"""The five ways: exact, exact of a few samples, sampled, empirical, batched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ....methods import EWC, TaskEnd
from ....methods.importance import fisher
from ....methods.settings import COUNT, limited
from ....nnlite import Network

SQUARED = 128  # samples whose gradients are added up before they are squared


def batch_squares(
    net: Network, x: np.ndarray, y: np.ndarray, active: np.ndarray | None = None,
    batch: int = SQUARED,
) -> np.ndarray:  # fmt: skip
    """The mean over batches of the squared gradient of a batch's mean loss, (P,).

    What several libraries take for the Fisher information (van de Ven 2025, "batched"; there the
    formula has a batch's sum, its code the mean, as here). It is no estimate of it: gradients of
    opposite signs cancel before they are squared.
    """
    total = net.device.zeros((net.num_parameters,), net.dtype)
    grad = net.device.zeros((net.num_parameters,), net.dtype)
    starts = range(0, len(x), batch)
    for lo in starts:
        net.loss_and_grad(x[lo : lo + batch], y[lo : lo + batch], grad, active, "eval")
        total += grad * grad
    return total / net.dtype.type(len(starts))


@dataclass
class BatchedEWC(EWC):
    """EWC whose importance is `batch_squares`: a convention of other libraries, not a Fisher.

    squared: the samples of a batch.
    """

    name = "ewc-batched"
    convention = "(lam/2) sum S (theta-anchor)^2, S = mean of squared gradients of batches' means"
    limits = limited(**EWC.limits, squared=COUNT)
    squared: int = SQUARED

    def importance(self, net: Network, x: np.ndarray, y: np.ndarray, end: TaskEnd) -> np.ndarray:
        return batch_squares(net, x, y, end.task.active, self.squared)


class Variant(NamedTuple):
    """A way to compute it. label: in tables. method(lam, few): EWC by it. alone: it by itself."""

    label: str
    method: Callable[[float, int], EWC]
    alone: Callable[[Network, np.ndarray, np.ndarray, np.ndarray | None], Any]


VARIANTS = {
    "exact": Variant(
        "exact", lambda lam, few: EWC(lam, fisher="true"),
        lambda net, x, y, active: fisher(net, x, kind="true", active=active),
    ),
    "few": Variant(
        "exact, few samples", lambda lam, few: EWC(lam, fisher="true", samples=few),
        lambda net, x, y, active: fisher(net, x, kind="true", active=active),
    ),
    "sampled": Variant(
        "sampled labels", lambda lam, few: EWC(lam, fisher="sampled"),
        lambda net, x, y, active: fisher(net, x, kind="sampled", active=active),
    ),
    "empirical": Variant(
        "empirical", lambda lam, few: EWC(lam, fisher="empirical"),
        lambda net, x, y, active: fisher(net, x, y, "empirical", active=active),
    ),
    "batched": Variant(
        f"squares of batches of {SQUARED}", lambda lam, few: BatchedEWC(lam), batch_squares,
    ),
}  # fmt: skip
