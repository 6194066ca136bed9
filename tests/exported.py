"""Exported C on this machine, compiled as strictly as for a device, in an arena with guards."""

from __future__ import annotations

from typing import Any

import numpy as np
from weightspace.nnlite import Network
from weightspace.nnlite.export.c import Exported
from weightspace.nnlite.export.c.host import FLAGS, Host


class Device(Host):
    """An exported network whose arena begins with anything, and ends where it should."""

    GUARD = 64

    def __init__(self, made: Exported, flags: tuple[str, ...] = FLAGS) -> None:
        super().__init__(made, flags)
        self._room = np.full(made.arena_bytes + 2 * self.GUARD, 0xA5, np.uint8)
        self.arena = self._room[self.GUARD : self.GUARD + made.arena_bytes]
        assert self.arena.ctypes.data % 16 == 0
        self.arena[:] = np.random.default_rng(0).integers(0, 256, self.arena.size)

    def __getattr__(self, name: str) -> Any:
        function = super().__getattr__(name)

        def call(*given: Any) -> Any:
            found = function(*given)
            edges = self._room[: self.GUARD], self._room[-self.GUARD :]
            assert all((edge == 0xA5).all() for edge in edges), f"{name} wrote past the arena"
            return found

        return call


def restarted(net: Network) -> Network:
    """The network with statistics that are not those of the beginning."""
    rng = np.random.default_rng(5)
    for name in net.state:
        net.state[name][...] = rng.uniform(0.5, 1.5, net.state[name].shape)
    return net
