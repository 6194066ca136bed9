"""CapturedStep: a training step on a GPU, queued and not waited for.

Losses gather in an array there until somebody reads them. Once a batch of a size has been through,
its step, the program that other backends replay, is captured as a CUDA graph, so a small network's
twenty launches cost as much as one. What changes from step to step then lies in the device's
memory: the batch, in buffers that stay where they are, and the step's number, which a kernel counts
on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from .net import Network
from .step_program import StepProgram, Update

ROOM = 64  # losses that a device keeps until they are read


class CapturedStep:
    """Steps of one network on a device, as `TrainingStep` asks for them.

    program: what a step replays; None where something looks at the gradient before the update, and
    each step is queued launch by launch. grad (P,): where a step's gradient goes.
    """

    def __init__(
        self,
        net: Network,
        program: StepProgram | None,
        grad: np.ndarray,
        active: np.ndarray | None,
    ) -> None:
        self._net, self._program, self._grad = net, program, grad
        self._mask = net.mask(active)
        self._active = active  # as it was given: labels from the host are looked at there
        self._queued = 0  # losses that nobody has read
        self._losses = net.device.empty((ROOM,), np.float64)
        self._mean = net.device.empty((1,), np.float64)
        self._clocks = net.device.zeros((2,), np.int64)  # the step's and the draw's number
        # a graph with its batch and its replay, whose memory nobody else may get meanwhile
        self._graphs: dict[Any, tuple[Callable[[], None], Any]] = {}
        self._rooms: dict[Any, np.ndarray] = {}  # where batches from the host are put
        self._seen: set[Any] = set()
        self._moves: Any = None  # the buffers that graphs work in, and how often they moved
        self._draw = -1  # the draw's number that `_clocks` holds

    @property
    def full(self) -> bool:
        """Whether there is no room for one more loss."""
        return self._queued == ROOM

    def queue(self, x: np.ndarray, y: np.ndarray, count: int, update: Update) -> None:
        """Queue step number `count` on a batch; its graph, where one was captured."""
        net, device = self._net, self._net.device
        if not device.owns(y):  # once it is on the device, nobody waits to look at it
            y = net.loss.targets(y, (len(x), net.num_outputs), net.dtype, self._active)
        x, y = self._placed("x", x), self._placed("y", y)
        draw = net.draws
        if self._moves != self._lie():  # graphs remember where these were
            self._graphs.clear()
            self._seen.clear()
            self._draw = -1
        if self._draw != draw:  # also after passes in mode "train" that `adjust` made
            self._clocks[...] = device.put(np.array([count, draw]))
        key = len(y), device.address(x), device.address(y)
        if key in self._seen and self._program is not None:
            if key not in self._graphs:
                graph = device.capture(lambda: self._work(x, y, update))
                self._graphs[key] = graph, (x, y, self._program.ready(len(y)))
            self._graphs[key][0]()
            net.draws = draw + 1  # a graph counts in the device's memory alone
        else:
            self._work(x, y, update)
            self._seen.add(key)
            if self._program is not None:
                net.draws = draw + 1
        self._draw = draw + 1
        self._moves = self._lie()
        self._losses[self._queued : self._queued + 1] = self._mean
        self._queued += 1

    def read(self) -> list[float]:
        """The losses queued since the last call, in order; waits for them."""
        if not self._queued:
            return []
        found = self._net.device.get(self._losses)[: self._queued].tolist()
        self._queued = 0
        return found

    def _placed(self, name: str, array: np.ndarray) -> np.ndarray:
        """The array on the device; one from the host always at the same place for its shape."""
        if self._net.device.owns(array):
            return array
        there = self._net.device.put(array)
        room = self._rooms.setdefault((name, array.shape), there)
        if room is not there:
            room[...] = there
        return room

    def _lie(self) -> Any:
        """Whatever is another when the buffers have moved."""
        net = self._net
        replays = net._each.mine.replays
        return net.workspace, net.workspace.moves, replays and replays.moves

    def _work(self, x: np.ndarray, y: np.ndarray, update: Update) -> None:
        """One step, with nothing in it that waits or differs from one step to the next."""
        net, ops = self._net, cast("Any", self._net.ops)  # a device's, which counts steps by itself
        found = None if self._program is None else self._program.ready(len(x))
        if found is not None:
            found.bind({"x": x, "y": y, "loss": self._mean})
            found.run({"step": self._clocks[:1], "draw": self._clocks[1:]})
        else:
            # the mean at once, before `adjust` may use the losses' buffer
            net.gradient(x, y, self._grad, self._mask, self._clocks[1:], self._mean)
            update(self._clocks[:1])
        ops.advance(self._clocks)
