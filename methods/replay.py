"""Replay: training goes on with samples of earlier tasks in every step (ER and DER++)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..nnlite import Network
from .base import TaskEnd
from .rehearsal import Rehearsal
from .settings import NOT_NEGATIVE, SHARE, limited


@dataclass
class _FromMemory(Rehearsal):
    """As many samples from the memory as the batch has."""

    def see(self, net: Network, x: np.ndarray, y: np.ndarray) -> None:
        self._size = len(x)

    def _rows(self, kept: Sequence[int], batch: int) -> Sequence[int]:
        return (min(batch, sum(kept)),)


@dataclass
class Replay(_FromMemory):
    """Experience replay (ER; Chaudhry et al. 2019): a batch of the memory joins every batch.

        g = (1 - share) g_batch + share g_memory

    g_batch and g_memory are gradients of mean losses, the latter over as many samples as the batch
    has (all, if there are fewer), drawn anew at each step. share None: m / (n + m), so that g is
    the gradient of the mean over both together; 1/2 once there are enough.

    BatchNorm2d in mode "train" sees the two batches one after the other, each with its own
    statistics. The memory is filled by equal numbers a task, not by a reservoir.
    """

    name = "replay"
    convention = "(1-share) batch gradient + share memory gradient, share = m/(n+m) unless set"
    limits = limited(share=SHARE)
    share: float | None = None

    def adjust(self, net: Network, grad: np.ndarray) -> None:
        if not self.memory.tasks:
            return
        rows = self._draw(self._size)
        share = len(rows) / (self._size + len(rows)) if self.share is None else self.share
        self.memory.loss_gradient(net, rows, grad, 1 - share, share, self.mode)


@dataclass
class DERPP(_FromMemory):
    """Dark Experience Replay++ (Buzzega et al. 2020, eq. 6): stored logits as targets, and labels.

        L = L_batch + alpha mean_n MSE(f(x_n), z_n) + beta mean_m CE(f(x_m), y_m)

    n and m run over two batches drawn from the memory, each of the batch's size; z_n are the logits
    stored with x_n. MSE is the mean over the outputs of the sample's task, as in the authors' code,
    for which their alphas hold (the paper prints the sum over them). Logits are stored when a task
    ends; the authors' reservoir takes them on the way there.
    """

    name = "derpp"
    convention = "batch loss + alpha MSE(logits, stored; mean over outputs) + beta CE of the memory"
    limits = limited(alpha=NOT_NEGATIVE, beta=NOT_NEGATIVE)
    alpha: float = 0.5
    beta: float = 0.5

    def _store(self, net: Network, end: TaskEnd) -> None:
        self.memory.add(net, end, self.memories, outputs=True)

    def adjust(self, net: Network, grad: np.ndarray) -> None:
        memory = self.memory
        if not memory.tasks:
            return

        def towards_stored(outputs: np.ndarray, rows: np.ndarray) -> np.ndarray:
            """d MSE / d outputs = 2/K (outputs - stored), K the classes of the sample's task."""
            dz = outputs - memory.take(net, "outputs", rows)
            for _, at, active in memory.groups(rows):
                dz[at] *= net.mask(active) * net.dtype.type(2 / active.sum())
            return dz

        logits, labels = self._draw(self._size), self._draw(self._size)
        memory.pull(net, logits, towards_stored, grad, 1.0, self.alpha, self.mode)
        memory.loss_gradient(net, labels, grad, 1.0, self.beta, self.mode)
