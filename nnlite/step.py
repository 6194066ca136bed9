"""TrainingStep: forward, loss, backward and the optimizer, as one thing that is done again.

On ordinary memory a step is done at once and its loss is at hand. On a GPU it is queued, and
nothing waits for it: losses gather in an array there until somebody reads them. Once a batch of a
size has been through, its step is captured as a CUDA graph, so a small network's twenty launches
cost as much as one. What changes from step to step then lies in the device's memory: the batch, in
buffers that stay where they are, and the step's number, which a kernel counts on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .net import Network
from .optim import Optimizer, Streams

Adjust = Callable[[Network, np.ndarray], None]
ROOM = 64  # losses that a device keeps until they are read


class TrainingStep:
    """Steps of one network, optimizer and set of streams, over batches of any size.

    moments: the optimizer's `state`. active (K,) bool: the classes in play, or None. adjust(net,
    grad): changes the gradient before the step; a step with one is never captured, since it may
    read what it likes. After `queue`, `read` hands out the losses. `full` says that it must.
    """

    def __init__(
        self,
        net: Network,
        optimizer: Optimizer,
        moments: dict[str, np.ndarray],
        streams: Streams | None = None,
        active: np.ndarray | None = None,
        adjust: Adjust | None = None,
    ) -> None:
        self.net, self.optimizer, self.moments = net, optimizer, moments
        self.streams, self.adjust = streams or Streams(), adjust
        self.active = None if active is None else net.mask(active)
        self._active = active  # as it was given: labels from the host are looked at there
        self.grad = net.device.empty((net.num_parameters,), net.dtype)
        self._waiting: list[float] = []  # losses that are known already
        self._queued = 0  # losses that are still the device's
        if net.device.asynchronous:
            self._losses = net.device.empty((ROOM,), net.dtype)
            self._mean = net.device.empty((1,), net.dtype)
            self._clocks = net.device.zeros((2,), np.int64)  # the step's and the draw's number
            # a graph with its batch, whose memory nobody else may get while it is replayed
            self._graphs: dict[Any, tuple[Callable[[], None], np.ndarray, np.ndarray]] = {}
            self._rooms: dict[Any, np.ndarray] = {}  # where batches from the host are put
            self._seen: set[Any] = set()
            self._moves: Any = None  # the buffers that graphs work in, and how often they moved
            self._draw = -1  # the draw's number that `_clocks` holds

    @property
    def full(self) -> bool:
        """Whether `read` must come before the next `queue`."""
        return bool(self._waiting) or self._queued == ROOM

    def queue(self, x: np.ndarray, y: np.ndarray, count: int) -> None:
        """Step number `count` (from 1) on the batch x (N, *input_shape), y (N,).

        Raises what `Network.loss_and_grad` raises.
        """
        if self.net.device.asynchronous:
            self._queue(x, y, count)
            return
        loss, _ = self.net.loss_and_grad(x, y, self.grad, self.active, mode="train")
        self._waiting.append(loss)
        if np.isfinite(loss):  # a step along NaN would leave nothing to look at
            self._update(count)

    def read(self) -> list[float]:
        """The losses of the steps since the last call, in order; waits for them."""
        found, self._waiting = self._waiting, []
        if self._queued:
            found = self.net.device.get(self._losses)[: self._queued].tolist()
            self._queued = 0
        return found

    def _update(self, count: Any) -> None:
        if self.adjust is not None:
            self.adjust(self.net, self.grad)
        self.optimizer.step(
            self.net.ops, self.net.theta, self.grad, self.moments, count, self.streams
        )

    # ---- on a device -------------------------------------------------------------------------

    def _queue(self, x: np.ndarray, y: np.ndarray, count: int) -> None:
        net, device = self.net, self.net.device
        if not device.owns(y):  # once it is on the device, nobody waits to look at it
            y = net.loss.targets(y, (len(x), net.num_outputs), net.dtype, self._active)
        x, y = self._placed("x", x), self._placed("y", y)
        draw = net.draws
        if self._moves != (net.workspace, net.workspace.moves):  # graphs remember where these were
            self._graphs.clear()
            self._seen.clear()
            self._draw = -1
        if self._draw != draw:  # also after passes in mode "train" that `adjust` made
            self._clocks[...] = device.put(np.array([count, draw]))
        key = len(y), device.address(x), device.address(y)
        if key in self._seen and self.adjust is None:
            if key not in self._graphs:
                self._graphs[key] = device.capture(lambda: self._work(x, y)), x, y
            self._graphs[key][0]()
            net.draws = draw + 1  # a graph counts in the device's memory alone
        else:
            self._work(x, y)
            self._seen.add(key)
        self._draw = draw + 1
        self._moves = net.workspace, net.workspace.moves
        self._losses[self._queued : self._queued + 1] = self._mean
        self._queued += 1

    def _placed(self, name: str, array: np.ndarray) -> np.ndarray:
        """The array on the device; one from the host always at the same place for its shape."""
        if self.net.device.owns(array):
            return array
        there = self.net.device.put(array)
        room = self._rooms.setdefault((name, array.shape), there)
        if room is not there:
            room[...] = there
        return room

    def _work(self, x: np.ndarray, y: np.ndarray) -> None:
        """One step, with nothing in it that waits or differs from one step to the next."""
        loss = self.net.gradient(x, y, self.grad, self.active, draw=self._clocks[1:])
        self.net.ops.mean_loss(loss, self._mean)  # before `adjust` may use the losses' buffer
        self._update(self._clocks[:1])
        self.net.ops.advance(self._clocks)
