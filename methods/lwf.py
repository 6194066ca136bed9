"""Learning without Forgetting (Li & Hoiem 2016): the old network's answers to the new task's data.

No sample is kept. Before a task is learnt the network is copied; while it is learnt, what the copy
says about each new batch, softened by a temperature, is a second target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..nnlite import Network
from ..nnlite.optim import Optimizer
from ..nnlite.workspace import Mode
from .base import Method, TaskEnd
from .importance import probabilities
from .settings import NOT_NEGATIVE, POSITIVE, limited


@dataclass
class LwF(Method):
    """LwF: L = L_batch + lam sum_heads mean_n H(softmax(z_old / T), softmax(z / T)).

    H(q, p) = -sum q log p, over the classes of each old head, with T = `temperature`; its gradient
    by z is (p - q) / T. As in the paper there is no factor T^2 (Hinton's, in some codes).

    An old head is an old task's active classes. Tasks without any share one head: the classes whose
    labels have come up so far, so that classes which never came are no target. The old network
    answers in mode "eval", the new one's second pass over the batch runs in `mode`; "train" moves
    running statistics once more.

    The paper first trains a new head alone (a warm-up); here there is none.
    Raises SettingError or UnknownNameError for settings outside these.
    """

    name = "lwf"
    convention = "lam sum over old heads of the cross-entropy to softmax(z_old/T) at T, no T^2"
    on_host = frozenset({"classes"})
    limits = limited(lam=NOT_NEGATIVE, temperature=POSITIVE)
    lam: float = 1.0
    temperature: float = 2.0
    mode: Mode = "train"

    def start(self, net: Network, optimizer: Optimizer) -> None:
        self._teacher: Network | None = None

    def see(self, net: Network, x: np.ndarray, y: np.ndarray) -> None:
        self._x = x

    def adjust(self, net: Network, grad: np.ndarray) -> None:
        if "classes" not in self.arrays:
            return
        old = self._old(net).trace(self._x).outputs / self.temperature
        saved = net.trace(self._x, self.mode)
        new = saved.outputs / self.temperature
        dz = np.zeros_like(new)
        for active in self.arrays["classes"]:
            dz += _less(probabilities(net, new, active), probabilities(net, old, active))
        dz *= net.dtype.type(self.lam / self.temperature / saved.n)
        net.pull(saved, dz, grad, beta=1.0)

    def _old(self, net: Network) -> Network:
        """The network as it was when the last task ended, also after a run was resumed."""
        if self._teacher is None:
            self._teacher = net.like()
            self._teacher.theta[...] = self.arrays["theta"]
            self._teacher.state.restore(self.arrays, "state.")
        return self._teacher

    def end_task(self, net: Network, end: TaskEnd) -> None:
        self._teacher = None
        self.arrays["theta"] = net.theta.copy()
        self.arrays |= net.state.kept("state.")
        self.arrays["classes"] = self._heads(net, end)

    def _heads(self, net: Network, end: TaskEnd) -> np.ndarray:
        """The old heads (H, K) bool, that of the task which ends among them."""
        heads = self.arrays.get("classes", np.zeros((0, net.num_outputs), bool))
        active = end.task.active
        if active is None:
            seen = np.isin(np.arange(net.num_outputs), net.device.get(end.train[1]))
            return (seen | heads.any(axis=0))[None]
        return heads if (heads == active).all(axis=1).any() else np.vstack([heads, active])


def _less(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """p - q (N, K) of softmaxes: where both are above 1/2, what the others' differences leave.

    All differences sum to 0, and near 1 the two would cancel.
    """
    gap, sure = p - q, (p > 0.5) & (q > 0.5)
    return np.where(sure, -np.where(sure, 0, gap).sum(axis=1, keepdims=True), gap)
