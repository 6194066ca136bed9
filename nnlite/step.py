"""TrainingStep: forward, loss, backward and the optimizer, as one thing that is done again.

On ordinary memory a step is done at once and its loss is at hand: `replayed_step` does many in one
call. On a GPU it is queued, and nothing waits for it: `captured_step` has that way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .captured_step import CapturedStep
from .net import Network
from .optim import Optimizer, Streams
from .replayed_step import EagerStep, ReplayedStep
from .step_program import StepProgram

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
        whole = None
        if adjust is None:
            mask = net.mask(active)
            whole = StepProgram(net, optimizer, moments, self.streams, self.grad, mask)
        self._way: CapturedStep | EagerStep
        if net.device.asynchronous:
            self._way = CapturedStep(net, whole, self.grad, active)
        elif whole is not None:
            self._way = ReplayedStep(net, whole, self.grad, active)
        else:
            self._way = EagerStep(net, self.grad, active)

    @property
    def full(self) -> bool:
        """Whether `read` must come before the next `queue`."""
        return self._way.full

    def queue(self, x: np.ndarray, y: np.ndarray, count: int) -> None:
        """Step number `count` (from 1) on the batch x (N, *input_shape), y (N,).

        Raises what `Network.loss_and_grad` raises.
        """
        self._way.queue(x, y, count, self._update)  # not kept there: a circle would keep memory

    @property
    def many(self) -> bool:
        """Whether `queue_many` does."""
        return isinstance(self._way, ReplayedStep) and self._way.many

    def queue_many(
        self, x: np.ndarray, y: np.ndarray, rows: np.ndarray, sizes: np.ndarray, count: int
    ) -> None:
        """Steps from number `count` on, in one call, on rows of all samples x (M, *input_shape),
        y (M,). sizes (steps,) int64: of their batches; rows int64: those of the first, then those
        of the second, ... None is taken after a loss that is not finite."""
        assert isinstance(self._way, ReplayedStep)
        self._way.queue_many(x, y, rows, sizes, count)

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
