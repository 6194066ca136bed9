"""Memory: training samples kept from earlier tasks, which all rehearsal methods share.

A store holds M samples x with their labels y, the number of the task each came with, that task's
active classes and, if asked for, the network's outputs at the time. It is a view on a method's
`arrays`, so `fit` checkpoints it and a resumed run goes on with the same samples.

| array            | shape           | lies on    | holds                                          |
|------------------|-----------------|------------|------------------------------------------------|
| "memory.x"       | (M, *input)     | the device | inputs, as the stream standardised them        |
| "memory.y"       | (M,) int64      | the device | labels                                         |
| "memory.outputs" | (M, K)          | the device | logits in mode "eval" at the time of storing   |
| "memory.task"    | (M,) int64      | the host   | 0 for the task stored first, ascending         |
| "memory.active"  | (tasks, K) bool | the host   | the classes of each task                       |

A method that has a Memory names `HOST` in its `on_host`. Rows are numbers 0..M-1, sorted, so that
rows of one task are neighbours: a softmax over a task's own classes then covers one slice.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..kernels.errors import SettingError, ShapeError
from ..nnlite import Network
from ..nnlite.init import generator
from ..nnlite.losses import CrossEntropy
from ..nnlite.workspace import Mode
from .base import TaskEnd
from .evaluate import outputs
from .importance import BATCH, ROOM
from .penalty import choose_samples
from .settings import whole

HOST = frozenset({"memory.task", "memory.active"})
Rows = np.ndarray | slice  # sorted row numbers on the host, or a slice of all of them
# cotangent(outputs (n, K), rows (n,)) -> (n, K): of each sample, without 1/N
Cotangent = Callable[[np.ndarray, np.ndarray], np.ndarray]
_KEY = 0x3E30  # the choice of samples has a random stream of its own


class Group(NamedTuple):
    """Consecutive rows whose softmax runs over the same classes: of a task, or of several."""

    task: int  # that of the first
    rows: slice  # into the rows that were asked about
    active: np.ndarray  # (K,) bool, on the host


class Memory:
    """The store in `arrays`, empty where they hold none yet. See the module's text."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays

    # ---- what is kept ----------------------------------------------------------------------------

    def __len__(self) -> int:
        """M, the number of samples."""
        return len(self.arrays["memory.task"]) if "memory.task" in self.arrays else 0

    @property
    def tasks(self) -> int:
        """The number of tasks stored."""
        return len(self.arrays["memory.active"]) if "memory.active" in self.arrays else 0

    @property
    def nbytes(self) -> int:
        """Bytes of all of the store's arrays."""
        return sum(a.nbytes for name, a in self.arrays.items() if name.startswith("memory."))

    def of_task(self, k: int) -> slice:
        """The rows of the task stored as number k. Raises ShapeError where there is none."""
        if not 0 <= k < self.tasks:
            raise ShapeError(f"task {k} of a memory that holds {self.tasks}: give 0 to tasks - 1")
        lo, hi = np.searchsorted(self.arrays["memory.task"], [k, k + 1])
        return slice(int(lo), int(hi))

    def take(self, net: Network, name: str, rows: Rows) -> np.ndarray:
        """Rows of "memory.x", "memory.y" or "memory.outputs", on the device.

        Of a slice, or of rows that follow one another, a view.
        """
        array = self.arrays[f"memory.{name}"]
        if isinstance(rows, slice):
            return array[rows]
        if len(rows) and (np.diff(rows) == 1).all():
            return array[int(rows[0]) : int(rows[-1]) + 1]
        return array[net.device.put(rows)]

    def groups(self, rows: Rows) -> list[Group]:
        """`rows`, which are sorted, cut where the active classes change: task, slice, classes.

        Not where a task ends: a hundred rows of hundreds of tasks that share a head are one group.
        """
        if not self.tasks:
            return []
        task = self.arrays["memory.task"][rows]
        active = self.arrays["memory.active"][task]
        changes = np.flatnonzero((active[1:] != active[:-1]).any(axis=1)) + 1
        cuts = [0, *changes.tolist(), len(task)]
        return [
            Group(int(task[lo]), slice(lo, hi), active[lo]) for lo, hi in pairwise(cuts) if lo < hi
        ]

    # ---- storing and drawing -----------------------------------------------------------------

    def add(self, net: Network, end: TaskEnd, count: int, outputs: bool = False) -> None:
        """Store `count` samples of the task just learnt (all, if it has fewer), as the next task.

        They are drawn uniformly without replacement by Philox, keyed by (seed, task). outputs: keep
        the logits that `net` gives for them in mode "eval", too.

        Raises SettingError for a count below 1 or a loss without labels, ShapeError where outputs
        are asked for, but earlier samples have none, or the other way round.
        """
        whole("a memory's count", count)
        if net.loss_name != "cross_entropy":
            raise SettingError(
                f"a memory stores labels for the loss 'cross_entropy'; this network's is "
                f"'{net.loss_name}'"
            )
        if self.tasks and outputs != ("memory.outputs" in self.arrays):
            raise ShapeError("a memory keeps outputs for all of its samples or for none")
        x, y = (net.device.put(a) for a in choose_samples(end, count, "random", _KEY))
        active = np.ones(net.num_outputs, bool) if end.task.active is None else end.task.active
        new = {
            "task": np.full(len(x), self.tasks, np.int64),
            "active": active[None],
            "x": x,
            "y": y,
        }
        if outputs:
            new["outputs"] = logits(net, x)
        for name, array in new.items():
            old = self.arrays.get(f"memory.{name}")
            # a copy, because all of a task's samples would be a view of what `fit` trains on
            kept = array.copy() if old is None else np.concatenate([old, array])
            self.arrays[f"memory.{name}"] = kept

    def draw(self, size: int, *key: int) -> np.ndarray:
        """`size` row numbers drawn without replacement by Philox(key), sorted; at most all M."""
        if size >= len(self):
            return np.arange(len(self))
        return np.sort(generator(*key).choice(len(self), size, replace=False, shuffle=False))

    # ---- gradients ---------------------------------------------------------------------------

    def loss_gradient(
        self,
        net: Network,
        rows: Rows,
        out: np.ndarray,
        beta: float = 0.0,
        scale: float = 1.0,
        mode: Mode = "eval",
    ) -> None:
        """out (P,) = beta out + scale grad of the mean over `rows` of -log p(y | x).

        The mean is the loss's own, by its weights. Each sample's softmax runs over the classes of
        its own task. See `pull` for mode.
        """

        def cotangent(outputs: np.ndarray, part: np.ndarray) -> np.ndarray:
            y, dz = self.take(net, "y", part), np.empty_like(outputs)
            for _, at, active in self.groups(part):
                dz[at] = net._judge(outputs[at], y[at], net.mask(active)).cotangent
            return dz

        if net.loss != CrossEntropy():
            y = net.device.get(self.take(net, "y", rows))
            scale *= len(y) / (net.loss.total(y) or 1.0)  # where nothing counts, all of it is 0
        self.pull(net, rows, cotangent, out, beta, scale, mode)

    def pull(
        self,
        net: Network,
        rows: Rows,
        cotangent: Cotangent,
        out: np.ndarray,
        beta: float = 0.0,
        scale: float = 1.0,
        mode: Mode = "eval",
    ) -> None:
        """out (P,) = beta out + scale times the mean over `rows` of J_n^T u_n.

        cotangent(outputs (n, K), part (n,)) gives the u_n of the rows `part`. mode "train" makes
        the passes training passes: batch statistics, which move the running ones, and dropped
        units. They hold all rows at once, as far as memory allows (`importance.ROOM`).

        Raises ShapeError where there are no rows.
        """
        numbers = np.arange(len(self))[rows] if isinstance(rows, slice) else rows
        if not len(numbers):
            raise ShapeError("a gradient over no rows of the memory: its mean is not defined")
        batch = net.batch_within(ROOM)
        for lo in range(0, len(numbers), batch):
            part = numbers[lo : lo + batch]
            saved = net.trace(self.take(net, "x", part), mode)
            dy = cotangent(saved.outputs, part)
            dy *= net.dtype.type(scale / len(numbers))  # the mean is taken here, and only here
            net.pull(saved, dy, out, 1.0 if lo else beta)


def logits(net: Network, x: np.ndarray) -> np.ndarray:
    """The outputs (N, K) for x in mode "eval", an array of their own.

    At most 256 samples a pass, where each stands alone. Raises what `evaluate.outputs` raises.
    """
    return np.concatenate([part.copy() for _, part in outputs(net, x, BATCH, ROOM)])
