"""StepProgram: a training step as a program, over the arrays that it moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .net import Network
from .optim import Optimizer, Streams
from .program.replay import Replay, by_machine
from .program.verbs import STREAMS

Update = Callable[[Any], None]  # of the step's number: the optimizer's step along the gradient


class StepProgram:
    """Forward, loss, backward and the optimizer of one network, for batches of any size.

    moments: the optimizer's. grad (P,): where a step's gradient goes. mask (K,) bool: the classes
    in play.
    """

    def __init__(
        self,
        net: Network,
        optimizer: Optimizer,
        moments: dict[str, np.ndarray],
        streams: Streams,
        grad: np.ndarray,
        mask: np.ndarray,
    ) -> None:
        given = {name: array for name in STREAMS if (array := getattr(streams, name)) is not None}
        self._net = net
        self._options = "optimizer", optimizer, "streams", tuple(given), "lam", float(streams.lam)
        self._known: dict[Any, Replay | None] = {}  # what `ready` found
        self._bound = {**moments, **given, "grad": grad, "active": mask}

    @property
    def many(self) -> bool:
        """Whether many steps are one call; the program of a small batch is like that of any."""
        net = self._net
        found = net.programs.get(net, "train", 2, *self._options, "samples", 2)
        return found is not None and by_machine(found, net.ops)

    def ready(self, batch: int, samples: int = 0) -> Replay | None:
        """Its replay for batches of this size; None where no program can hold the network.

        samples: how many there are in "all x", of which "rows" numbers a batch; 0: x, y are given.
        """
        found = self._known.get(self._key(batch, samples))
        if found is not None and found.bound is self._bound:
            return found
        found = self._net._replay("train", batch, *self._options, "samples", samples)
        if found is not None and found.bound is not self._bound:  # another's, or nobody's
            found.bind(self._bound)
            found.bound = self._bound
        self._known[self._key(batch, samples)] = found
        return found

    def _key(self, batch: int, samples: int) -> Any:
        """What a replay is good for: a size of batch, and this thread's buffers where they lie."""
        replays = self._net._each.mine.replays
        return replays, replays and replays.moves, batch, samples
