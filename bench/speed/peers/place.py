"""Where this process's peer computes, which the worker says before it imports the peer.

backend "cpu": everything on the processor. "cuda": weightspace's CUDA kernels, torch and CuPy on
the current GPU. "cuda-host": weightspace's CUDA kernels on the processor, to try out the bench.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ....kernels import get_backend
from ....kernels.errors import unknown_name

BACKENDS = ("cpu", "cuda", "cuda-host")
_here = "cpu"


def settle(backend: str) -> None:
    """Compute on `backend` from now on. Raises UnknownNameError."""
    global _here  # noqa: PLW0603  (one process serves one peer)
    if backend not in BACKENDS:
        raise unknown_name("backend of the bench", backend, BACKENDS)
    _here = backend


def backend() -> str:
    """The name of weightspace's backend."""
    return _here


def torch_device() -> str:
    """What torch calls the place."""
    return "cuda" if _here == "cuda" else "cpu"


def tf32() -> bool:
    """Whether products of float32 may round their inputs: asked of all peers alike."""
    return os.environ.get("WEIGHTSPACE_TF32") == "1"


def put(array: Any) -> Any:
    """A NumPy array in the memory of weightspace's backend."""
    return get_backend(_here).device.put(array)


def get(array: Any) -> np.ndarray:
    """An array of weightspace's backend as a NumPy array: a copy, where it is not the same."""
    return get_backend(_here).device.get(array)


def wait() -> None:
    """Until all work that weightspace or CuPy queued is done."""
    get_backend(_here).device.synchronize()
