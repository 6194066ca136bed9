"""TrainingStep: forward, loss, backward and the optimizer, as one thing that is done again.

On ordinary memory a step is done at once and its loss is at hand (`_Eager`). On a GPU it is queued,
and nothing waits for it: `captured_step` has that way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .captured_step import CapturedStep, Update
from .net import Network
from .optim import Optimizer, Streams

Adjust = Callable[[Network, np.ndarray], None]


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
        self.grad = net.device.empty((net.num_parameters,), net.dtype)
        way = CapturedStep if net.device.asynchronous else _Eager
        self._way = way(net, self.grad, active, may_capture=adjust is None)

    @property
    def full(self) -> bool:
        """Whether `read` must come before the next `queue`."""
        return self._way.full

    def queue(self, x: np.ndarray, y: np.ndarray, count: int) -> None:
        """Step number `count` (from 1) on the batch x (N, *input_shape), y (N,).

        Raises what `Network.loss_and_grad` raises.
        """
        self._way.queue(x, y, count, self._update)  # not kept there: a circle would keep memory

    def read(self) -> list[float]:
        """The losses of the steps since the last call, in order; waits for them."""
        return self._way.read()

    def _update(self, count: Any) -> None:
        """The optimizer's step along the gradient; count: its number, maybe the device's."""
        if self.adjust is not None:
            self.adjust(self.net, self.grad)
        self.optimizer.step(
            self.net.ops, self.net.theta, self.grad, self.moments, count, self.streams
        )


class _Eager:
    """A step done at once, where reading its loss waits for nothing."""

    def __init__(
        self, net: Network, grad: np.ndarray, active: np.ndarray | None, may_capture: bool
    ) -> None:
        self._net, self._grad = net, grad
        self._active = None if active is None else net.mask(active)
        self._waiting: list[float] = []  # losses that nobody has read

    @property
    def full(self) -> bool:
        return bool(self._waiting)

    def queue(self, x: np.ndarray, y: np.ndarray, count: int, update: Update) -> None:
        loss, _ = self._net.loss_and_grad(x, y, self._grad, self._active, mode="train")
        self._waiting.append(loss)
        if np.isfinite(loss):  # a step along NaN would leave nothing to look at
            update(count)

    def read(self) -> list[float]:
        found, self._waiting = self._waiting, []
        return found
