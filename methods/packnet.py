"""PackNet (Mallya & Lazebnik 2018): each task owns weights, and later tasks may only read them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..nnlite import Network
from ..nnlite.optim import Optimizer, Streams
from .base import MANY, Method, TaskEnd
from .settings import SHARE_BELOW_1, limited
from .tasks import Task


@dataclass
class PackNet(Method):
    """PackNet: prune what a task learnt, retrain what is left, freeze it; the rest is free again.

    A task trains all free weights. When the last `retrain` share of its steps begins, the share
    `prune` with the smallest |w| of the free weights of each layer is set to 0 and left to later
    tasks; what survives is the task's own, trained on to the task's end and frozen for good. In a
    test of task k the weights of later tasks are 0 (the task must be known), and running statistics
    are those of the end of task k.

    Layers' weights (two axes or more) are pruned. Biases and norms belong to the first task, as in
    the paper. A head that is masked to a task's classes has rows of its own for each: those of the
    task's classes, bias included, become its own unpruned; an unmasked head is a layer like others.

    owner (P,): 0 where a weight is free, else the number of its task, from 1.
    Raises SettingError for shares outside 0..1 (1 excluded).
    """

    name = "packnet"
    convention = (
        "weights of earlier tasks frozen, smallest |w| of a task's own freed for later ones"
    )
    on_host = frozenset({"owner", "begun"})
    asks_task = True
    limits = limited(prune=SHARE_BELOW_1, retrain=SHARE_BELOW_1)
    prune: float = 0.75
    retrain: float = 1 / 3

    def start(self, net: Network, optimizer: Optimizer) -> None:
        self.arrays["owner"] = np.zeros(net.num_parameters, np.int16)
        self.arrays["gain"] = np.ones_like(net.theta)
        self.arrays["begun"] = np.zeros(2, np.int64)  # the task's number, and whether it is pruned
        self._whole: dict[str, np.ndarray] = {}  # what a test has put aside

    @property
    def owner(self) -> np.ndarray:
        """Each weight's task, (P,)."""
        return self.arrays["owner"]

    def begin_task(self, net: Network, index: int, task: Task, steps: int) -> None:
        self._active = task.active
        self._prune_at = round(steps * (1 - self.retrain))
        if self.arrays["begun"][0] != index + 1:  # else a run that goes on
            self.arrays["begun"][:] = index + 1, 0
            self._train(net, self.owner == 0)

    def streams(self) -> Streams:
        return Streams(gain=self.arrays["gain"])

    def select(self, net: Network, task: int, step: int | None) -> None:
        self._put_back(net)
        number, pruned = self.arrays["begun"].tolist()
        if step is None:
            if task + 1 < number:
                self._show(net, task)
        elif step >= self._prune_at and not pruned:
            self._prune(net)

    def steady(self, task: int, step: int) -> int:
        return self._prune_at - step if step < self._prune_at else MANY

    def end_task(self, net: Network, end: TaskEnd) -> None:
        if not self.arrays["begun"][1]:
            self._prune(net)
        self.arrays |= net.state.kept(f"state.{end.index}.")

    def persistent_bytes(self) -> int:
        """Bytes of the owners and of each task's running statistics."""
        return sum(a.nbytes for name, a in self.arrays.items() if name not in ("gain", "begun"))

    # ---- inside ------------------------------------------------------------------------------

    def _train(self, net: Network, which: np.ndarray) -> None:
        """Let only `which` (P,) bool move, from the next step on."""
        self.arrays["gain"][...] = net.device.put(which.astype(net.dtype))

    def _prune(self, net: Network) -> None:
        """Share the free weights out: to this task, or to later ones."""
        number = int(self.arrays["begun"][0])
        size, free = np.abs(net.device.get(net.theta)), self.owner == 0
        lost = np.zeros_like(free)
        own = self._head_rows(net, self._active)
        other = self._head_rows(net, None if self._active is None else ~self._active)
        for name in net.layout:
            lo, shape = net.layout.offset(name), net.layout.shape(name)
            at = lo + np.flatnonzero((free & ~own & ~other)[lo : lo + int(np.prod(shape))])
            if len(shape) > 1:
                order = np.argsort(size[at], kind="stable")
                lost[at[order[: round(self.prune * len(at))]]] = True
        self.owner[free & ~lost & ~other] = number
        net.theta *= net.device.put((~lost).astype(net.dtype))
        self.arrays["begun"][1] = 1
        self._train(net, self.owner == number)

    def _head_rows(self, net: Network, classes: np.ndarray | None) -> np.ndarray:
        """The head's weights (P,) bool of these `classes` (K,); None: none of them."""
        found = np.zeros(net.num_parameters, bool)
        head = list(net.layout)[-1].rpartition(".")[0]  # the last layer that has weights
        for name in net.layout:
            if classes is not None and name.rpartition(".")[0] == head:
                net.layout.view(found, name)[classes] = True
        return found

    def _show(self, net: Network, task: int) -> None:
        """Put aside what task `task` did not know."""
        self._whole = {"theta": net.theta.copy(), **net.state.kept("state.")}
        known = (self.owner > 0) & (self.owner <= task + 1)
        net.theta *= net.device.put(known.astype(net.dtype))
        net.state.restore(self.arrays, f"state.{task}.")

    def _put_back(self, net: Network) -> None:
        if self._whole:
            net.theta[...] = self._whole["theta"]
            net.state.restore(self._whole, "state.")
            self._whole = {}
