"""Fixtures shared by all tests. Hypothesis draws the same examples at every run."""

from __future__ import annotations

import os
import shutil
import signal

import backends
import numpy as np
import pytest
from blobs import make_blobs
from hypothesis import HealthCheck, settings
from planted import Clock
from weightspace.bench.speed import timing
from weightspace.kernels import Backend
from weightspace.kernels.device import NUMPY
from weightspace.methods import Task

settings.register_profile(
    "weightspace",
    derandomize=True,  # a failing example fails again, and CI sees what we saw
    deadline=None,  # the first call of a kernel compiles it
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("weightspace")


@pytest.fixture(params=backends.ON_NUMPY)
def backend(request) -> str:
    """Every backend that computes on NumPy's arrays, by name (`gpu` is the other)."""
    backends.find(request.param)
    return request.param


@pytest.fixture(params=backends.OF_NETWORKS)
def every_backend(request) -> str:
    """Every backend of networks by name, of which the device has arrays of its own kind."""
    backends.find(request.param)
    return request.param


@pytest.fixture(params=[*backends.ON_NUMPY, "cuda-host"])
def host_backend(request) -> str:
    """Every backend that computes without a GPU, "cuda-host" in the place of a GPU's."""
    backends.find(request.param)
    return request.param


@pytest.fixture
def untyped():
    """untyped(x) is x, of which a type checker knows nothing: what is wrong on purpose."""
    return lambda value: value


@pytest.fixture(scope="session")
def gpu() -> str:
    """The name of the backend that stands for the GPU."""
    backends.find(backends.GPU)
    return backends.GPU


@pytest.fixture(params=[*backends.BACKENDS, backends.CHECKED])
def device_ops(request) -> Backend:
    """The kernels of every backend on arrays of its own device, CUDA's also with a checker."""
    return backends.find(request.param)


@pytest.fixture
def ops(device_ops):
    """The same on NumPy's arrays, which are moved to the device and back."""
    return device_ops if device_ops.device is NUMPY else backends.OnHost(device_ops)


@pytest.fixture(scope="session", autouse=True)
def signals() -> None:
    """Signals as in a terminal: a shell has some of them ignored by what runs in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """The clock that the bench measures by, which stands still until the test moves it."""
    planted = Clock()
    monkeypatch.setattr(timing, "perf_counter_ns", lambda: planted.now)
    return planted


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def blob_tasks() -> list[Task]:
    """Three tasks of clusters in different places."""
    return [Task.from_arrays(f"blobs {i}", make_blobs(i), make_blobs(i, 60)) for i in range(3)]


@pytest.fixture
def nowhere(monkeypatch, request):
    """Only the data that a test names are looked at."""
    if "real_data" not in request.fixturenames:
        monkeypatch.delenv("WEIGHTSPACE_DATA", raising=False)


@pytest.fixture
def real_data() -> str:
    """The folder of the real data sets, if this machine has them."""
    folder = os.environ.get("WEIGHTSPACE_DATA")
    if not folder:
        pytest.skip("needs the real data sets: set $WEIGHTSPACE_DATA to their folder")
    return folder


@pytest.fixture(params=("gcc", "clang"))
def c_compiler(request, monkeypatch):
    """Each C compiler in turn, for kernels in C. Skips where it is not; a warning is an error."""
    from weightspace.kernels.c import library

    if shutil.which(request.param) is None:
        pytest.skip(f"needs the compiler {request.param}")
    monkeypatch.setenv("CC", request.param)
    library.compiler.cache_clear()
    yield request.param
    library.compiler.cache_clear()
