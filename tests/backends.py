"""The backends that tests are parametrised by; one that is not here skips, and says why.

$WEIGHTSPACE_REQUIRE_CUDA=1, which `make test-cuda` sets, turns that skip into a failure for "cuda":
a run that was meant to test a GPU cannot pass without one. $WEIGHTSPACE_TEST_CUDA=cuda-host runs
the tests of a GPU on the host launcher, slowly, to try out the tests themselves.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any, cast

import numpy as np
import pytest
from weightspace.kernels import Backend, available, get_backend
from weightspace.kernels.c.signature import parameters
from weightspace.kernels.device import NUMPY
from weightspace.kernels.errors import DeviceError, MissingExtraError
from weightspace.kernels.spec import PLANNERS

ON_NUMPY = ("reference", "cpu")  # those that compute on NumPy's arrays
OF_NETWORKS = (*ON_NUMPY, "cuda-host", "cuda")
BACKENDS = (*OF_NETWORKS, "c")  # "c" has the kernels in float32 alone
CHECKED = "cuda-host-check"  # the host launcher again, which watches every access to memory
GPU = os.environ.get("WEIGHTSPACE_TEST_CUDA", "cuda")
REQUIRED = os.environ.get("WEIGHTSPACE_REQUIRE_CUDA") == "1"


@cache
def checked(order: int = 1) -> Any:
    """CUDA's kernels with every access checked, the threads in order (0) or in reverse (1)."""
    from weightspace.kernels.cuda import CudaOps
    from weightspace.kernels.cuda_host import HostDevice

    return CudaOps(HostDevice(mode="check", order=order))


def find(name: str) -> Backend:
    """The backend of that name, if it is here."""
    there = available(study=True)
    if name.startswith("cuda-host") and "cuda-host" not in there:
        pytest.skip("needs a C++ compiler: apt install g++")
    try:
        found = checked() if name == CHECKED else get_backend(name)
        if name == "c":
            return (
                cast(Backend, InFloat32(found))
                if name in there
                else pytest.skip("needs a C compiler: gcc")
            )
        if name == "cpu" and name not in there:
            pytest.skip("the cpu backend needs Numba's compiler: unset NUMBA_DISABLE_JIT")
        return found
    except (DeviceError, MissingExtraError) as wrong:
        if REQUIRED and name == "cuda":
            pytest.fail(f"WEIGHTSPACE_REQUIRE_CUDA is 1, and there is none: {wrong}", pytrace=False)
        pytest.skip(str(wrong))


class InFloat32:
    """The backend "c": a test that gives it float64 skips."""

    def __init__(self, ops: Backend) -> None:
        self._ops = ops
        self.NAME, self.device = ops.NAME, ops.device

    def __getattr__(self, name: str) -> Any:
        kernel = getattr(self._ops, name)
        if name in PLANNERS:
            return kernel
        wide = [each.type == "double" for each in parameters(name) if each.kind != "size"]

        def call(*arguments: Any) -> None:
            for given, own in zip(arguments, wide, strict=True):
                if isinstance(given, np.ndarray) and given.dtype == np.float64 and not own:
                    pytest.skip("the C kernels are those of float32")
            kernel(*arguments)

        return call


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
