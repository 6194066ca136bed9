"""A device's kernels on NumPy arrays, for tests that hold for every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
from weightspace.kernels import Backend, get_backend
from weightspace.kernels.device import NUMPY


class OnHost:
    """A backend whose kernels take NumPy arrays: each call moves them there, and back."""

    def __init__(self, ops: Backend) -> None:
        self._ops = ops
        self.NAME, self.device = ops.NAME, NUMPY

    def __getattr__(self, name: str) -> Any:
        kernel, device = getattr(self._ops, name), self._ops.device
        if name.endswith("_workspace"):
            return kernel

        def call(*arguments: Any) -> None:
            moved = [device.put(a) if isinstance(a, np.ndarray) else a for a in arguments]
            kernel(*moved)
            for host, there in zip(arguments, moved, strict=True):
                if isinstance(host, np.ndarray) and host.flags.writeable:
                    host[...] = device.get(there)

        return call


def on_host(name: str) -> Backend:
    """The backend `name`, or its stand-in that takes NumPy arrays."""
    ops = get_backend(name)
    return ops if ops.device is NUMPY else OnHost(ops)
